import { setImmediate as immediate, setTimeout as sleep } from 'node:timers/promises'

/** What is checked: how a key is read through the cache, and how it is written. */
export interface CoherenceOptions<K> {
  /** What readers and writers meet at; the fewer, the more often they do. */
  readonly keys: readonly K[]
  /** Reads a key through the cache. Gives the version of what it got. */
  readonly read: (key: K) => Promise<number>
  /** Writes a key and commits. Gives the new version; the versions of a key only grow. */
  readonly write: (key: K) => Promise<number>
  /** Tells the cache of a write that was committed. Without it, `write` has done so by the time that it resolves. */
  readonly invalidate?: ((key: K) => unknown) | undefined
  /** Whether a read or a write may fail so; anything else ends the check with that error. Default: none may. */
  readonly mayReject?: ((error: unknown) => boolean) | undefined
  /** How many read at a time. Default 16. */
  readonly readers?: number | undefined
  /** How many write at a time. Default 4. */
  readonly writers?: number | undefined
  /** How long they do, in milliseconds. */
  readonly durationMs: number
  /** Whether it is over with the first stale read. Default false. */
  readonly untilStale?: boolean | undefined
  /** How long a writer pauses between two writes, in milliseconds, on average. Default 1. */
  readonly pauseMs?: number | undefined
  /** How long to wait for what is still under way before the keys are read at rest, in milliseconds. Default 100. */
  readonly restMs?: number | undefined
  /** Makes the same choices of keys and pauses again; the timing is the machine's. Default: another one each time. */
  readonly seed?: number | undefined
}

/** A read that gave something older than what the cache had been told of before the read began. */
export interface StaleRead<K> {
  readonly key: K
  readonly got: number
  /** The newest version whose invalidation had returned. */
  readonly atLeast: number
  /** When it began, in milliseconds from the start of the check. */
  readonly atMs: number
}

/** What a check has seen. */
export interface CoherenceReport<K> {
  readonly seed: number
  readonly durationMs: number
  readonly reads: number
  readonly writes: number
  /** Reads and writes that failed as they may. */
  readonly rejected: number
  /** Reads during which their key was written and invalidated. None: the check has shown nothing. */
  readonly contested: number
  readonly staleReads: number
  /** The first of the stale reads, 20 at most. */
  readonly stale: readonly StaleRead<K>[]
  /** The keys that were still not as last written when all writers had ended. */
  readonly staleAtRest: readonly StaleRead<K>[]
}

const MOST_TOLD = 20
/** What does not end in so many milliseconds is said to hang. */
const PATIENCE_MS = 15_000

/**
 * Checks that a cache serves nothing older than what it was told of: writers commit a new version of a key and
 * then invalidate it, readers note the newest version whose invalidation has returned, read, and compare. At the
 * end, when nobody writes any more, every key has to be as it was last written.
 *
 * Whether it finds a fault is a matter of how often reads and writes meet: take few keys, and let the load take
 * its time after it has read (`select version, pg_sleep(0.01)`). See `contested`.
 *
 * @throws what a read or write failed with that must not; an Error when a read or write does not end
 */
export async function checkCoherence<K>(options: CoherenceOptions<K>): Promise<CoherenceReport<K>> {
  const check = new Check(options)
  await check.run()
  return check.report()
}

/** A report in words, for the message of an assertion. */
export function inWords<K>(report: CoherenceReport<K>): string {
  const told = (title: string, list: readonly StaleRead<K>[]) =>
    list.map(
      ({ key, got, atLeast, atMs }) =>
        `  ${title} ${JSON.stringify(key)} was ${got}, not ${atLeast} (${atMs.toFixed(1)} ms)`,
    )
  return [
    `${report.staleReads} of ${report.reads} reads stale, ${report.staleAtRest.length} keys stale at rest; ` +
      `${report.writes} writes, ${report.contested} reads contested, ${report.rejected} rejected, seed ${report.seed}`,
    ...told('read of', report.stale),
    ...told('at rest,', report.staleAtRest),
  ].join('\n')
}

class Check<K> {
  readonly #options: CoherenceOptions<K>
  readonly #seed: number
  readonly #startedAt = performance.now()
  /** By key: the newest version whose invalidation has returned. */
  readonly #known = new Map<K, number>()
  /** By key: how many invalidations have returned. */
  readonly #invalidations = new Map<K, number>()
  readonly #stale: StaleRead<K>[] = []
  readonly #staleAtRest: StaleRead<K>[] = []
  #reads = 0
  #writes = 0
  #rejected = 0
  #contested = 0
  #staleReads = 0
  #ended = false

  constructor(options: CoherenceOptions<K>) {
    if (options.keys.length === 0) throw new Error('checkCoherence: keys must hold at least one key')
    this.#options = options
    this.#seed = options.seed ?? Math.floor(Math.random() * 2 ** 31)
  }

  async run(): Promise<void> {
    const { readers = 16, writers = 4, durationMs, restMs = 100, keys } = this.#options
    const end = setTimeout(() => {
      this.#ended = true
    }, durationMs)
    const randoms = (count: number, first: number) =>
      Array.from({ length: count }, (_, i) => seeded(this.#seed + first + i))
    try {
      await inTime(
        Promise.all([
          ...randoms(writers, 0).map((random) => this.#whileItLasts(() => this.#write(random))),
          ...randoms(readers, writers).map((random) => this.#whileItLasts(() => this.#read(random))),
        ]),
        durationMs,
      )
    } finally {
      clearTimeout(end)
      this.#ended = true
    }
    // Twice, for the first reading may be what a late load then replaces.
    for (let reading = 0; reading < 2; reading++) {
      await sleep(restMs)
      const found = await inTime(Promise.all(keys.map((key) => this.#readAtRest(key))), 0)
      this.#staleAtRest.push(...found.flat())
    }
  }

  report(): CoherenceReport<K> {
    return {
      seed: this.#seed,
      durationMs: performance.now() - this.#startedAt,
      reads: this.#reads,
      writes: this.#writes,
      rejected: this.#rejected,
      contested: this.#contested,
      staleReads: this.#staleReads,
      stale: this.#stale,
      staleAtRest: this.#staleAtRest,
    }
  }

  async #whileItLasts(step: () => Promise<void>): Promise<void> {
    while (!this.#ended) {
      try {
        await step()
      } catch (error) {
        if (this.#options.mayReject?.(error) !== true) {
          this.#ended = true
          throw error
        }
        this.#rejected += 1
      }
    }
  }

  async #write(random: () => number): Promise<void> {
    const key = pick(this.#options.keys, random)
    const version = await this.#options.write(key)
    const told = this.#options.invalidate?.(key)
    // A step later it would be later than it need be, where the invalidation is at once.
    if (told instanceof Promise) await told
    this.#known.set(key, Math.max(version, this.#known.get(key) ?? version))
    this.#invalidations.set(key, (this.#invalidations.get(key) ?? 0) + 1)
    this.#writes += 1
    await sleep(random() * 2 * (this.#options.pauseMs ?? 1))
  }

  async #read(random: () => number): Promise<void> {
    // Not always at a turn of the event loop, for what lies between its turns is to be met, too.
    if (random() < 0.5) await immediate()
    for (let steps = random() * 4; steps >= 1; steps--) await undefined
    const key = pick(this.#options.keys, random)
    const atMs = performance.now() - this.#startedAt
    const atLeast = this.#known.get(key)
    const invalidations = this.#invalidations.get(key)
    try {
      const got = await this.#options.read(key)
      this.#reads += 1
      if (atLeast !== undefined && !(got >= atLeast)) this.#found({ key, got, atLeast, atMs })
    } finally {
      if (this.#invalidations.get(key) !== invalidations) this.#contested += 1
    }
  }

  #found(stale: StaleRead<K>): void {
    this.#staleReads += 1
    if (this.#stale.length < MOST_TOLD) this.#stale.push(stale)
    if (this.#options.untilStale === true) this.#ended = true
  }

  async #readAtRest(key: K): Promise<StaleRead<K>[]> {
    const atLeast = this.#known.get(key)
    const atMs = performance.now() - this.#startedAt
    const seen = this.#staleAtRest.some((stale) => stale.key === key)
    if (atLeast === undefined || seen) return []
    for (;;) {
      try {
        const got = await this.#options.read(key)
        return got >= atLeast ? [] : [{ key, got, atLeast, atMs }]
      } catch (error) {
        if (this.#options.mayReject?.(error) !== true) throw error
      }
    }
  }
}

async function inTime<T>(work: Promise<T>, durationMs: number): Promise<T> {
  const stop = new AbortController()
  const late = sleep(durationMs + PATIENCE_MS, undefined, { signal: stop.signal, ref: false }).then(() => {
    throw new Error(`checkCoherence: a read or write did not end in ${PATIENCE_MS} ms`)
  })
  late.catch(() => {})
  try {
    return await Promise.race([work, late])
  } finally {
    stop.abort()
  }
}

/** The first ones more often than the last, so that some keys are held long and others hardly. */
function pick<K>(keys: readonly K[], random: () => number): K {
  return keys[Math.floor(random() ** 2 * keys.length)] as K
}

/** The generator mulberry32: https://gist.github.com/tommyettinger/46a874533244883189143505d203312c (public domain). */
function seeded(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
