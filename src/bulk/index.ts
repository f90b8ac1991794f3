export { bulkDelete, bulkInsert, bulkUpdate, bulkUpsert } from './bulk.ts'
export { BulkAbortedError, BulkRejectedError, BulkRowError, bulkOutcomeOf } from './errors.ts'
export type { Rows } from './input.ts'
export type { Insertable, Keyed, OfColumns, TableOf, Updatable } from './typed.ts'
export type {
  BulkDeleteOptions,
  BulkInsertOptions,
  BulkOptions,
  BulkOutcome,
  BulkProgress,
  BulkTarget,
  BulkUpdateOptions,
  BulkUpsertOptions,
  RejectedRow,
} from './types.ts'
