/** A database on paper: statements share its cores, wait beside them, and queue for one lock. */
export interface ModelOptions {
  readonly cores: number
  /** By how much each statement beyond the cores slows all down; 0 for an ideal server. */
  readonly contention: number
  /** Numbers from 0 up to 1. */
  readonly random: () => number
}

/** One kind of statement; times are means, exponentially distributed, in milliseconds. */
export interface ModelStatement {
  readonly text: string
  /** How often it comes, beside the others. */
  readonly weight: number
  readonly cpuMs: number
  readonly waitMs?: number
  /** How long it holds the one lock. */
  readonly lockMs?: number
}

/** Who asks: so many clients, each again after `thinkMs`, or so many requests a second. */
export type ModelLoad =
  | { readonly clients: number; readonly thinkMs?: number }
  | { readonly perSecond: number }

/** One process with a limit of its own in front of the database. */
export interface ModelInstance {
  /** How many statements it may have in the database at this time. */
  limit(nowMs: number): number
  ended?(nowMs: number, text: string, tookMs: number, saturated: boolean): void
  readonly load: ModelLoad | ((nowMs: number) => ModelLoad)
}

/** What became of one statement. */
export interface ModelSample {
  readonly atMs: number
  readonly text: string
  /** In the database. */
  readonly tookMs: number
  /** With the wait for a place. */
  readonly totalMs: number
}

interface Job {
  readonly statement: ModelStatement
  readonly instance: number
  readonly askedAt: number
  startedAt: number
  cpuLeft: number
  waitUntil: number
  lockMs: number
}

/** A seeded random (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/**
 * Runs the model for a span of its own time, event by event.
 *
 * A statement computes first (the cores are shared evenly), then waits beside them, then takes the lock.
 */
export function runModel(
  { cores, contention, random }: ModelOptions,
  statements: readonly ModelStatement[],
  instances: readonly ModelInstance[],
  untilMs: number,
): ModelSample[] {
  const samples: ModelSample[] = []
  const queues: Job[][] = instances.map(() => [])
  const running = instances.map(() => 0)
  const computing = new Set<Job>()
  const waiting = new Set<Job>()
  const locking: Job[] = []
  const arrivals: { atMs: number; instance: number }[] = []
  let lockedUntil = Infinity
  let now = 0

  const exponential = (meanMs: number) => (meanMs === 0 ? 0 : -meanMs * Math.log(1 - random()))
  const weights = statements.reduce((sum, { weight }) => sum + weight, 0)
  const choose = (): ModelStatement => {
    let at = random() * weights
    for (const statement of statements) {
      at -= statement.weight
      if (at < 0) return statement
    }
    return statements[0] as ModelStatement
  }
  const loadOf = (instance: ModelInstance) =>
    typeof instance.load === 'function' ? instance.load(now) : instance.load
  const speed = () => {
    const count = computing.size
    if (count <= cores) return 1
    return cores / count / (1 + contention * (count - cores))
  }

  const ask = (instance: number) => {
    const statement = choose()
    queues[instance]?.push({
      statement,
      instance,
      askedAt: now,
      startedAt: 0,
      cpuLeft: exponential(statement.cpuMs),
      waitUntil: exponential(statement.waitMs ?? 0),
      lockMs: exponential(statement.lockMs ?? 0),
    })
  }
  const startNext = (index: number) => {
    const queue = queues[index] ?? []
    const limit = instances[index]?.limit(now) ?? 0
    while (queue.length > 0 && (running[index] ?? 0) < limit) {
      const job = queue.shift() as Job
      job.startedAt = now
      running[index] = (running[index] ?? 0) + 1
      computing.add(job)
    }
  }
  const takeLock = () => {
    lockedUntil = locking[0] === undefined ? Infinity : now + locking[0].lockMs
  }
  const end = (job: Job) => {
    const { instance: index, statement } = job
    const instance = instances[index] as ModelInstance
    const tookMs = now - job.startedAt
    samples.push({ atMs: now, text: statement.text, tookMs, totalMs: now - job.askedAt })
    instance.ended?.(now, statement.text, tookMs, (queues[index]?.length ?? 0) > 0)
    running[index] = (running[index] ?? 0) - 1
    const load = loadOf(instance)
    if ('clients' in load) arrivals.push({ atMs: now + exponential(load.thinkMs ?? 0), instance: index })
    startNext(index)
  }
  const goOn = (job: Job) => {
    computing.delete(job)
    waiting.delete(job)
    if (job.waitUntil > 0) {
      job.waitUntil += now
      waiting.add(job)
    } else if (job.lockMs > 0) {
      locking.push(job)
      if (locking.length === 1) takeLock()
    } else end(job)
  }

  instances.forEach((instance, index) => {
    const load = loadOf(instance)
    if ('clients' in load) for (let each = 0; each < load.clients; each++) ask(index)
    else arrivals.push({ atMs: 0, instance: index })
    startNext(index)
  })

  while (now < untilMs) {
    const rate = speed()
    let next = Math.min(lockedUntil, untilMs)
    let computed: Job | undefined
    for (const job of computing) if (computed === undefined || job.cpuLeft < computed.cpuLeft) computed = job
    if (computed !== undefined) next = Math.min(next, now + computed.cpuLeft / rate)
    let waited: Job | undefined
    for (const job of waiting) if (waited === undefined || job.waitUntil < waited.waitUntil) waited = job
    if (waited !== undefined) next = Math.min(next, waited.waitUntil)
    let arrival: (typeof arrivals)[number] | undefined
    for (const each of arrivals) if (arrival === undefined || each.atMs < arrival.atMs) arrival = each
    if (arrival !== undefined) next = Math.min(next, arrival.atMs)
    for (const job of computing) job.cpuLeft -= (next - now) * rate
    now = next
    if (now >= untilMs) break
    if (arrival !== undefined && arrival.atMs <= now) {
      arrivals.splice(arrivals.indexOf(arrival), 1)
      ask(arrival.instance)
      const load = loadOf(instances[arrival.instance] as ModelInstance)
      if ('perSecond' in load) {
        arrivals.push({ atMs: now + exponential(1_000 / load.perSecond), instance: arrival.instance })
      }
      startNext(arrival.instance)
    } else if (waited !== undefined && waited.waitUntil <= now) {
      waited.waitUntil = 0
      goOn(waited)
    } else if (lockedUntil <= now) {
      const job = locking.shift() as Job
      takeLock()
      end(job)
    } else if (computed !== undefined) {
      goOn(computed)
    }
  }
  return samples
}
