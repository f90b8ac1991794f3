export type {
  KyselyDialect,
  KyselyNode,
  ObservedDialect,
} from '../core/seam/dialect.ts'
export { type ObserveOptions, observe } from '../core/seam/observe.ts'
export { type ObservedPostgresConfig, observedPostgres } from './observed-postgres.ts'
