import { MillraceError } from '../core/errors.ts'

const primitive = 'keysetPage'

/** Why a cursor was refused. */
export type PageCursorReason =
  /** It is no cursor at all. */
  | 'malformed'
  /** It was made by a millrace that wrote cursors in another way. */
  | 'version'
  /** It was changed, cut off, or signed with a secret that is not known here (or not signed). */
  | 'tampered'
  /** It was made for another order: other columns, directions or places of NULL. */
  | 'ordering'
  /** It was made for another query. */
  | 'query'
  /** PostgreSQL does not take a value in it for its column. */
  | 'value'
  /** `after` and `before` were both given. */
  | 'both'

const words: Readonly<Record<PageCursorReason, string>> = {
  malformed: 'it is no cursor',
  version: 'it has another version; begin again without a cursor',
  tampered: 'it was changed, or signed with another secret',
  ordering: 'it was made for another order; begin again without a cursor',
  query: 'it was made for another query; begin again without a cursor',
  value: 'a value in it does not fit its column',
  both: '`after` and `before` exclude one another',
}

/**
 * A cursor that came from outside cannot be used: what a host answers with status 400. Nothing was sent, but for
 * the reason `value`, where PostgreSQL's error is the `cause`. Code `MILLRACE_PAGE_CURSOR`.
 */
export class PageCursorError extends MillraceError {
  override readonly name = 'PageCursorError'
  declare readonly reason: PageCursorReason

  constructor(option: 'after' | 'before', reason: PageCursorReason, instance?: string, cause?: unknown) {
    super(
      'MILLRACE_PAGE_CURSOR',
      `keysetPage${instance === undefined ? '' : ` "${instance}"`}: the cursor \`${option}\` cannot be used: ${words[reason]}`,
      { primitive, instance, cause },
    )
    this.reason = reason
  }
}

/**
 * Two rows of a page stand at the same place of the order, so that pages would skip or repeat rows: the columns
 * of `key` are not unique in the result. Code `MILLRACE_PAGE_NOT_TOTAL`.
 */
export class PageOrderError extends MillraceError {
  override readonly name = 'PageOrderError'

  constructor(columns: readonly string[], instance?: string) {
    super(
      'MILLRACE_PAGE_NOT_TOTAL',
      `keysetPage${instance === undefined ? '' : ` "${instance}"`}: two rows have the same ${columns.join(', ')}; ` +
        '`key` must name columns that together are unique in the result',
      { primitive, instance },
    )
  }
}
