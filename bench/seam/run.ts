import type { Row } from '../../examples/shared/terminal.ts'

/** What a run measures on, and tells its progress to. */
export interface Run {
  /** Of a PostgreSQL. */
  readonly url: string
  readonly quick: boolean
  show(text: string): void
}

/** A table, for people by columns and rows, for programs by what was measured. */
export interface Table {
  readonly id: string
  readonly title: string
  readonly columns: readonly string[]
  readonly rows: readonly Row[]
  readonly measured: unknown
}
