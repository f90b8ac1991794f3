import type { AtcPosition, Flight, Movement } from '../schema.ts'
import type { FlightReport } from './snapshot.ts'
import { flightKey, type ViewChanges } from './view.ts'

export type FlightWrite = FlightReport & Pick<Flight, 'status'>

/** What a flush writes: each key once. */
export interface Batch {
  readonly flights: readonly FlightWrite[]
  readonly positions: readonly AtcPosition[]
  readonly movements: readonly Movement[]
}

type Write =
  | { readonly table: 'flights'; readonly row: FlightWrite }
  | { readonly table: 'positions'; readonly row: AtcPosition }
  | { readonly table: 'movements'; readonly row: Movement }

/**
 * What is to be written. It holds one row for each key, the newest, with what older ones said that it does not; a
 * row leaves it only when its write is committed. When it is full it does not drop anything: `put` waits, and so does
 * whoever feeds it.
 */
export class WriteBuffer {
  readonly #maxRows: number
  /** What the next flush writes. */
  #waiting = new Map<string, Write>()
  /** What a flush is writing now. */
  #inFlight: ReadonlyMap<string, Write> = new Map()
  /** Told whenever rows come or leave. */
  readonly #listeners = new Set<() => void>()
  #accepted = 0
  #pushedBack = 0

  constructor({ maxRows = 10_000 }: { readonly maxRows?: number | undefined } = {}) {
    this.#maxRows = maxRows
  }

  get size(): number {
    return this.#waiting.size + this.#inFlight.size
  }

  stats() {
    return {
      rows: this.size,
      maxRows: this.#maxRows,
      /** Rows taken in so far, those among them that replaced one that waited. */
      accepted: this.#accepted,
      /** How often somebody had to wait for room. */
      pushedBack: this.#pushedBack,
    }
  }

  /**
   * Takes changes in; resolves when all are, waiting for room as long as it takes.
   *
   * @throws the reason of `signal` when that is aborted while it waits; what had no room by then is not accepted
   */
  async put(
    changes: Pick<ViewChanges, 'flights' | 'positions' | 'movements'>,
    signal?: AbortSignal,
  ): Promise<void> {
    for (const [key, write] of writesOf(changes)) {
      if (!this.#hasRoomFor(key)) {
        this.#pushedBack += 1
        // Another may have taken the room by the time that this one goes on.
        while (!this.#hasRoomFor(key)) await this.#until(() => this.#hasRoomFor(key), signal)
      }
      this.#waiting.set(key, merge(this.#waiting.get(key), write))
      this.#accepted += 1
      this.#changed()
    }
  }

  /**
   * Hands all that waits to `write`. When that succeeds, it is forgotten; when it fails, it waits again, beneath what
   * has come since. One at a time.
   */
  async flush(write: (batch: Batch) => Promise<void>): Promise<void> {
    if (this.#inFlight.size > 0) throw new Error('a flush is under way')
    if (this.#waiting.size === 0) return
    const taken = this.#waiting
    this.#inFlight = taken
    this.#waiting = new Map()
    try {
      await write(batchOf(taken.values()))
    } catch (error) {
      const newer = this.#waiting
      this.#waiting = taken
      for (const [key, write] of newer) taken.set(key, merge(taken.get(key), write))
      throw error
    } finally {
      this.#inFlight = new Map()
      this.#changed()
    }
  }

  /** Resolves when there is something to write. */
  hasRows(signal?: AbortSignal): Promise<void> {
    return this.#until(() => this.#waiting.size > 0, signal)
  }

  /** Resolves when everything that was accepted is written. */
  isEmpty(signal?: AbortSignal): Promise<void> {
    return this.#until(() => this.size === 0, signal)
  }

  #hasRoomFor(key: string): boolean {
    return this.#waiting.has(key) || this.size < this.#maxRows
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listener()
  }

  #until(holds: () => boolean, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (settle: () => void) => {
        this.#listeners.delete(check)
        signal?.removeEventListener('abort', abort)
        settle()
      }
      const abort = () => end(() => reject(signal?.reason))
      const check = () => {
        if (holds()) end(resolve)
      }
      this.#listeners.add(check)
      signal?.addEventListener('abort', abort, { once: true })
      if (signal?.aborted === true) abort()
      else check()
    })
  }
}

function* writesOf(
  changes: Pick<ViewChanges, 'flights' | 'positions' | 'movements'>,
): Generator<[key: string, write: Write]> {
  for (const row of changes.flights) yield [`f ${flightKey(row)}`, { table: 'flights', row }]
  for (const row of changes.positions) yield [`p ${row.callsign}`, { table: 'positions', row }]
  for (const row of changes.movements)
    yield [
      `m ${row.airport_code} ${row.callsign} ${row.cid} ${row.movement_type} ${row.ts.getTime()}`,
      { table: 'movements', row },
    ]
}

/** The newer row, with what it does not say taken from the older one. */
function merge(held: Write | undefined, coming: Write): Write {
  if (held?.table === 'positions' && coming.table === 'positions')
    return held.row.last_seen > coming.row.last_seen ? held : coming
  if (held?.table !== 'flights' || coming.table !== 'flights') return coming
  const isLate = held.row.last_updated > coming.row.last_updated
  const [older, newer] = isLate ? [coming.row, held.row] : [held.row, coming.row]
  const said = Object.fromEntries(Object.entries(newer).filter(([, value]) => value !== undefined))
  return { table: 'flights', row: { ...older, ...said } }
}

function batchOf(writes: Iterable<Write>): Batch {
  const batch = { flights: [] as FlightWrite[], positions: [] as AtcPosition[], movements: [] as Movement[] }
  for (const write of writes) {
    if (write.table === 'flights') batch.flights.push(write.row)
    else if (write.table === 'positions') batch.positions.push(write.row)
    else batch.movements.push(write.row)
  }
  return batch
}
