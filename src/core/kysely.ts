/** The parts of Kysely that millrace uses, by shape, so that `kysely` stays an optional peer. */

/** A `Kysely<DB>` or a `Transaction<DB>`. */
export interface KyselyHandle {
  readonly isTransaction: boolean
  getExecutor(): object
}

/** Whether this is a Kysely instance or transaction, by shape. */
export function isKysely(value: unknown): value is KyselyHandle {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as Partial<KyselyHandle>).isTransaction === 'boolean' &&
    typeof (value as Partial<KyselyHandle>).getExecutor === 'function'
  )
}
