export type { Missing } from './answers.ts'
export type { LoaderCall } from './batch.ts'
export {
  type Absent,
  type BatchedLoader,
  batchedLoader,
  type KeyedOptions,
  type Load,
  type LoaderOptions,
  type OneOptions,
} from './batched-loader.ts'
export { LoaderAnswerError, LoaderMissingError, LoaderNoScopeError, LoaderQueueFullError } from './errors.ts'
export type { KeyPart, LoaderKey } from './key-token.ts'
export type { Loader, LoaderStats, LoadOptions } from './loader.ts'
export { type KeyOf, type RowByOptions, type RowsByOptions, rowBy, rowsBy } from './rows-by.ts'
export type { OrderBy } from './rows-sql.ts'
export { loaderObserver, loaderScope } from './scope.ts'
export type { LoaderCounters, LoaderEvents } from './settings.ts'
export type { KyselySelect, RowsDb, SelectText } from './source.ts'
