import type { ByteSink } from './byte-sink.ts'

/** A type as the catalog knows it, with what it is made of. */
export interface PgType {
  /** `pg_type.oid` */
  readonly oid: number
  /**
   * `format_type(oid, -1)`: the type as SQL writes it, quoted and with its schema where that is needed, and without
   * a modifier. A cast to `varchar(3)` would cut silently, where an assignment refuses.
   */
  readonly name: string
  /** `pg_type.typtype`: base, composite, domain, enum, multirange, pseudo, range. */
  readonly kind: 'b' | 'c' | 'd' | 'e' | 'm' | 'p' | 'r'
  /** Of an array (`typcategory = 'A'` and `typelem <> 0`): the type of its elements. */
  readonly element?: PgType | undefined
  /** Of an array: `typdelim` of its elements, `,` for all but `box`. */
  readonly delimiter?: string | undefined
  /** Of a domain: the type that it is made of (`typbasetype`). */
  readonly base?: PgType | undefined
}

/** Writes the values of one column in PostgreSQL's binary format. */
export interface FieldWriter {
  /** The type as which the values are sent, as SQL writes it: `int4`, `text`, `jsonb`. */
  readonly wireType: string
  readonly wireOid: number
  /**
   * The type that SQL has to cast to before the value can be assigned to the column or compared with it (`$1::inet`);
   * `undefined` where the wire type will do as it is. Without a modifier, for the assignment checks that.
   */
  readonly cast: string | undefined
  /**
   * For a column of which a value was refused with `mayBeText`: the writer that sends texts as they are, for the
   * server to read (`yesterday`, `2024-05-01 10:00 Europe/Vienna`). It refuses nothing that the server may know.
   */
  readonly asText: FieldWriter | undefined
  /**
   * Appends the value as array elements have it: its length as int32 and its bytes; `null` is
   * the length -1.
   *
   * @throws ValueError for what the type cannot hold; the sink is then as it was
   */
  write(sink: ByteSink, value: unknown): void
}
