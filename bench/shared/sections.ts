import { parseArgs } from 'node:util'
import { startPostgres } from '../../examples/shared/postgres.ts'
import { runProgram, type Scope, UsageError } from '../../examples/shared/program.ts'
import { formatTable, type Row, statusLine } from '../../examples/shared/terminal.ts'
import { writeBlocks } from './docs.ts'
import { type Machine, machine } from './machine.ts'

/** How thoroughly a section measures, and where it tells its progress. */
export interface Progress {
  readonly quick: boolean
  show(text: string): void
}

/** What a section measures on. */
export interface Run extends Progress {
  /** Of a PostgreSQL. */
  readonly url: string
}

/** A table, for people by columns and rows, for programs by what was measured. */
export interface Table {
  readonly id: string
  readonly title: string
  readonly columns: readonly string[]
  readonly rows: readonly (Row | string)[]
  readonly measured: unknown
}

/** A bench of sections, each of which measures some tables. */
export interface Sections<R extends Progress> {
  /** By what `--only` calls them. */
  readonly sections: Readonly<Record<string, (run: R) => Promise<Table[]>>>
  /** Makes what they measure on. */
  readonly open: (scope: Scope, progress: Progress) => Promise<R>
  /** Where `--write` puts the tables; without it there is no `--write`. */
  readonly docs?: {
    readonly page: URL
    /** The id of a table's block, and what to put there. */
    readonly blockOf: (table: Table, on: Machine) => [id: string, text: string]
  }
}

/** A PostgreSQL for the sections, which ends with the bench. */
export async function onPostgres(scope: Scope, progress: Progress): Promise<Run> {
  const { url } = await scope.use(
    () => startPostgres(),
    (server) => server.stop(),
  )
  return { ...progress, url }
}

/** The program of a bench of sections: `[--json] [--quick] [--write] [--only <table>,...]`. */
export async function runSections<R extends Progress>({ sections, open, docs }: Sections<R>): Promise<void> {
  await runProgram(async (scope) => {
    const options = optionsOf(process.argv.slice(2), docs !== undefined)
    const chosen = options.only?.split(',') ?? Object.keys(sections)
    const unknown = chosen.find((id) => sections[id] === undefined)
    if (unknown !== undefined) {
      throw new UsageError(`--only: there is no table "${unknown}", only ${Object.keys(sections).join(', ')}`)
    }
    const { json = false, quick = false, write = false } = options
    if (write && quick) {
      throw new UsageError('--write: the figures of --quick are too rough to be written down')
    }
    const line = statusLine()
    const on = machine()
    const run = await open(scope, {
      quick,
      show(text) {
        scope.signal.throwIfAborted()
        line.show(text)
      },
    })
    if (!json) {
      console.log(`Node ${on.node}, ${on.platform}, ${on.cores} x ${on.cpu}, ${on.memoryGb} GB`)
      if (quick) console.log('--quick: few rounds, the figures are rough')
    }
    const tables: Table[] = []
    for (const id of chosen) {
      const made = (await sections[id]?.(run)) ?? []
      line.clear()
      tables.push(...made)
      if (write && docs !== undefined) {
        writeBlocks(docs.page, new Map(made.map((table) => docs.blockOf(table, on))))
      }
      if (json) continue
      for (const { title, columns, rows } of made) console.log(`\n${title}\n\n${formatTable(columns, rows)}`)
    }
    if (json) console.log(JSON.stringify({ machine: on, quick, tables }, undefined, 2))
  })
}

function optionsOf(args: string[], writes: boolean) {
  const flag = { type: 'boolean' } as const
  const only = { type: 'string' } as const
  try {
    const { write, ...rest } = parseArgs({
      args,
      options: { json: flag, quick: flag, write: flag, only },
    }).values
    if (write === true && !writes) throw new Error("Unknown option '--write'")
    return { ...rest, write }
  } catch (error) {
    const known = `--json, --quick${writes ? ', --write' : ''} and --only <table>,...`
    throw new UsageError(`${(error as Error).message}; there are ${known}`)
  }
}
