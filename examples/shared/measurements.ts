import type { Call, Load, Measured, Meter } from './measure.ts'
import { UsageError } from './program.ts'
import { formatCount, formatMs, formatRatio, type Row, type StatusLine } from './terminal.ts'

/** What a service tells of itself at `/health`, as far as a load needs it. */
interface Health {
  readonly statements: number
  readonly cache: { readonly hits: number; readonly staleHits: number; readonly misses: number }
  /** Of one that runs under a guard. */
  readonly guard?: { readonly nPlusOnes: number }
}

/**
 * Asks a running service.
 *
 * @throws UsageError when nothing answers there
 */
export async function getJson<T>(url: string): Promise<T> {
  const response = await fetch(url).catch((error: unknown) => {
    throw new UsageError(
      `nothing answers at ${url} (${String((error as Error).cause ?? error)}): npm start, then again`,
    )
  })
  if (!response.ok) throw new UsageError(`${url} answers ${response.status}: ${await response.text()}`)
  return (await response.json()) as T
}

/** The columns of what `measureRow` gives. */
export const columns = ['', 'users', 'requests', 'statements', 'p50', 'p99', 'requests/s', 'hits']

/** And for a service under a guard: the statements that it found repeated in a request. */
export const guardedColumns = [...columns, 'N+1']

/** A load as a row of a table. */
export interface MeasuredRow {
  readonly row: Row
  readonly measured: Measured
}

/**
 * Sends a load and makes a row of it, with the statements and the hit ratio from what the service tells of
 * itself before and after; statements count what was sent `meanwhile` too.
 */
export async function measureRow(
  meter: Meter,
  name: string,
  load: Load,
  meanwhile?: Load,
): Promise<MeasuredRow> {
  const before = await getJson<Health>(`${load.origin}/health`)
  const [measured] = await Promise.all([
    meter.measure(load),
    meanwhile === undefined ? undefined : meter.measure(meanwhile),
  ])
  const after = await getJson<Health>(`${load.origin}/health`)
  const hits = after.cache.hits + after.cache.staleHits - before.cache.hits - before.cache.staleHits
  const reads = hits + after.cache.misses - before.cache.misses
  const { requests, errors, requestsPerSecond } = measured
  const row = {
    '': name,
    users: load.users,
    requests: `${formatCount(requests)}${errors === 0 ? '' : ` (${formatCount(errors)} failed)`}`,
    statements: after.statements - before.statements,
    p50: formatMs(measured.p50Ms),
    p99: formatMs(measured.p99Ms),
    'requests/s': requestsPerSecond < 10 ? requestsPerSecond.toFixed(1) : requestsPerSecond,
    hits: reads === 0 ? undefined : formatRatio(hits / reads),
    'N+1': (after.guard?.nPlusOnes ?? 0) - (before.guard?.nPlusOnes ?? 0) || undefined,
  }
  return { row, measured }
}

/** How much of something is sent, and what is sent besides. */
export interface MeasureOptions {
  /** Default 1. */
  readonly users?: number
  readonly requests?: number
  readonly durationMs?: number
  readonly meanwhile?: Load | undefined
}

/** The rows of a demo's table, as they come. */
export class Measurements {
  readonly rows: (Row | string)[] = []
  readonly #meter: Meter
  readonly #line: StatusLine
  readonly #origin: string

  constructor(meter: Meter, line: StatusLine, origin: string) {
    this.#meter = meter
    this.#line = line
    this.#origin = origin
  }

  heading(text: string): void {
    this.rows.push(text)
  }

  /** Brings an answer into the cache, outside the table. */
  async warm(call: Call): Promise<void> {
    await this.#meter.measure({ origin: this.#origin, users: 1, calls: [call], requests: 1 })
  }

  async measure(
    name: string,
    calls: readonly Call[],
    { users = 1, meanwhile, ...end }: MeasureOptions,
  ): Promise<Measured> {
    this.#line.show(`measuring: ${name} ...`)
    const load = { origin: this.#origin, users, calls, ...end }
    const { row, measured } = await measureRow(this.#meter, name, load, meanwhile)
    this.rows.push(row)
    return measured
  }
}
