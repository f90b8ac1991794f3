import type { PgClient, PgResult } from '../core/pg.ts'
import { UnsupportedError } from '../core/seam/unsupported.ts'
import { BatchQueue, type BatchReader } from './batches.ts'
import { fieldsOf } from './copy-line.ts'
import { inlineParameters, literalsQuery } from './inline.ts'
import { isFromServer, type PgConnection, queryClass, type RowMaker, readyAgain } from './pg-protocol.ts'
import type { SqlQuery } from './print.ts'

/** Batches that may wait for their reader before the socket is paused. */
const maxWaiting = 2

/**
 * The rows of a query by `copy (<query>) to stdout`, in text format. Names and types come from a Describe before it,
 * and rows are made by pg's own Result from the texts that COPY gives, which are those of the protocol: so each value
 * is what `client.query` makes of it. COPY takes no parameters: see inline.ts.
 */
export async function copyOut(
  client: PgClient,
  { text, values = [] }: SqlQuery,
  batchSize: number,
): Promise<BatchReader> {
  const Query = queryClass(client)
  const maker = new Query({ text })._result
  const { parameters } = await describeStatement(client, text, maker)
  if (parameters.length !== values.length) {
    // pg's own words come from the server, in Bind, which COPY has not got.
    throw new UnsupportedError(
      'streamRows',
      `the query has ${parameters.length} parameters, but ${values.length} values were given`,
    )
  }
  let inlined = text
  if (values.length > 0) {
    const result: PgResult<{ readonly literals: string }> = await client.query(
      literalsQuery(values, parameters),
    )
    inlined = inlineParameters(text, JSON.parse(result.rows[0]?.literals ?? '[]'))
  }
  const copy = new CopyOut(`copy (${inlined}\n) to stdout`, maker, batchSize)
  client.query(copy)
  return copy
}

interface Description {
  /** The types of the parameters. */
  readonly parameters: readonly number[]
}

/** Asks for the types of a statement's parameters and columns; the latter go to the maker of rows. */
function describeStatement(client: PgClient, text: string, maker: RowMaker): Promise<Description> {
  return new Promise((resolve, reject) => {
    let parameters: readonly number[] = []
    let forget = () => {}
    client.query({
      text,
      // Where pg puts the client's own type parsers.
      _result: maker,
      submit(connection: PgConnection) {
        const told = ({ dataTypeIDs }: { readonly dataTypeIDs: readonly number[] }) => {
          parameters = dataTypeIDs
        }
        connection.once('parameterDescription', told)
        forget = () => connection.removeListener('parameterDescription', told)
        connection.parse({ text })
        connection.describe({ type: 'S', name: '' })
        connection.sync()
      },
      handleRowDescription: ({ fields }: { readonly fields: readonly object[] }) => maker.addFields(fields),
      handleReadyForQuery: () => resolve({ parameters }),
      handleError: (error: unknown, connection: PgConnection | undefined) => {
        forget()
        if (connection === undefined || !isFromServer(error)) reject(error)
        else void readyAgain(connection).then(() => reject(error))
      },
    })
  })
}

class CopyOut implements BatchReader {
  mustRunOut = true
  readonly text: string
  readonly #maker: RowMaker
  readonly #batchSize: number
  readonly #hasColumns: boolean
  readonly #queue = new BatchQueue()
  #rows: unknown[] = []
  #connection: PgConnection | undefined
  #isPaused = false
  #closing = false
  #rest!: () => void
  readonly #atRest = new Promise<void>((resolve) => {
    this.#rest = resolve
  })

  constructor(text: string, maker: RowMaker, batchSize: number) {
    this.text = text
    this.#maker = maker
    this.#batchSize = batchSize
    this.#hasColumns = maker.fields.length > 0
  }

  read(): Promise<unknown[] | undefined> {
    const batch = this.#queue.shift()
    if (this.#queue.size < maxWaiting) this.#flow()
    return batch
  }

  /** The server cannot be told to stop: what is left is read and dropped. */
  close(): Promise<void> {
    this.#closing = true
    this.#queue.end()
    this.#flow()
    return this.#atRest
  }

  submit(connection: PgConnection): void {
    this.#connection = connection
    connection.query(this.text)
  }

  /** One row each, as the protocol promises. */
  handleCopyData({ chunk }: { readonly chunk: Buffer }): void {
    if (this.#closing) return
    try {
      this.#rows.push(this.#maker.parseRow(this.#hasColumns ? fieldsOf(chunk) : []))
    } catch (error) {
      this.#closing = true
      this.#queue.end(error)
      return
    }
    if (this.#rows.length < this.#batchSize) return
    this.#deliver()
    if (this.#queue.size >= maxWaiting) {
      this.#isPaused = true
      this.#connection?.stream.pause()
    }
  }

  handleCommandComplete(): void {
    if (this.#rows.length > 0) this.#deliver()
  }

  handleReadyForQuery(): void {
    this.mustRunOut = false
    this.#queue.end()
    this.#rest()
  }

  handleError(error: unknown, connection: PgConnection | undefined): void {
    this.mustRunOut = false
    if (connection === undefined || !isFromServer(error)) this.#rest()
    else void readyAgain(connection).then(this.#rest)
    this.#queue.end(error)
  }

  #deliver(): void {
    this.#queue.push(this.#rows)
    this.#rows = []
  }

  #flow(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#connection?.stream.resume()
  }
}
