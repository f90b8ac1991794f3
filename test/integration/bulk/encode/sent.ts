import type pg from 'pg'
import {
  ArrayParameter,
  type FieldWriter,
  fieldWriter,
  type PgType,
} from '../../../../src/bulk/encode/index.ts'

interface CatalogRow {
  readonly oid: number
  readonly name: string
  readonly kind: PgType['kind']
  readonly element: number
  readonly base: number
  readonly delimiter: string | null
}

/** A type as the catalog has it, by its name. */
export async function typeOf(client: pg.Pool | pg.PoolClient, name: string | number): Promise<PgType> {
  const { rows } = await client.query<CatalogRow>(
    `select t.oid::int8::int4 as oid, format_type(t.oid, -1) as name, t.typtype as kind, t.typbasetype::int8::int4 as base,
       case when t.typcategory = 'A' then t.typelem::int8::int4 else 0 end as element, e.typdelim as delimiter
     from pg_type t left join pg_type e on e.oid = t.typelem where t.oid = ${typeof name === 'number' ? '$1' : '$1::regtype'}`,
    [name],
  )
  const [row] = rows
  if (row === undefined) throw new Error(`there is no type ${name}`)
  const { element, base, delimiter, ...type } = row
  return {
    ...type,
    ...(element === 0 ? {} : { element: await typeOf(client, element), delimiter: delimiter ?? ',' }),
    ...(base === 0 ? {} : { base: await typeOf(client, base) }),
  }
}

/** How the server shows what was sent as the elements of one array parameter and cast as `FieldWriter` says. */
export async function received(
  client: pg.Pool | pg.PoolClient,
  writer: FieldWriter,
  values: readonly unknown[],
  shown: (value: string) => string = (value) => `${value}::text`,
): Promise<(string | null)[]> {
  const parameter = new ArrayParameter(writer)
  for (const value of values) parameter.append(value)
  const value = writer.cast === undefined ? 'value' : `value::${writer.cast}`
  const { rows } = await client.query<{ shown: string | null }>(
    `select ${shown(value)} as shown from unnest($1::${writer.wireType}[]) with ordinality as sent(value, at) order by at`,
    [parameter.toBuffer()],
  )
  return rows.map(({ shown }) => shown)
}

/** The same for the name of a type. */
export async function receivedAs(
  client: pg.Pool | pg.PoolClient,
  name: string,
  values: readonly unknown[],
): Promise<(string | null)[]> {
  return received(client, fieldWriter(await typeOf(client, name)), values)
}
