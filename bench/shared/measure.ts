/** One thing to time: does something so many times. */
export interface Timed {
  readonly name: string
  run(operations: number): unknown
}

/** How long and how often `race` measures. */
export interface RaceOptions {
  readonly rounds: number
  /** How long each one runs in a round, in milliseconds of the processor, like all times here. */
  readonly roundMs: number
  readonly warmUpMs: number
  /** At most so many operations a round, for what keeps something of each until the round is over. */
  readonly maxOperations?: number
}

/** What one contender took, round by round. */
export interface Lap {
  readonly name: string
  /** Nanoseconds an operation. */
  readonly ns: readonly number[]
  /** The same relative to the first contender in the same round. */
  readonly ratio: readonly number[]
}

/**
 * Times contenders against the first of them: all take turns in every round, in a different order each time, so
 * that what else the machine does meets them alike and a ratio is of neighbours in time.
 */
export async function race(timed: readonly Timed[], options: RaceOptions): Promise<Lap[]> {
  const operations = new Map<Timed, number>()
  for (const each of timed) operations.set(each, await operationsFor(each, options))
  const ns = new Map<Timed, number[]>(timed.map((each) => [each, []]))
  for (let round = 0; round < options.rounds; round++) {
    for (let turn = 0; turn < timed.length; turn++) {
      const each = timed[(round + turn) % timed.length] as Timed
      const count = operations.get(each) ?? 1
      ns.get(each)?.push(((await elapsedMs(each, count)) * 1e6) / count)
    }
  }
  const limit = ns.get(timed[0] as Timed) ?? []
  return timed.map((each) => {
    const own = ns.get(each) ?? []
    return {
      name: each.name,
      ns: own,
      ratio: own.map((value, round) => value / (limit[round] ?? Number.NaN)),
    }
  })
}

/** Runs it until it is warm, and gives the number of operations that fill a round. */
async function operationsFor(each: Timed, { roundMs, warmUpMs, maxOperations = Infinity }: RaceOptions) {
  let operations = 1
  let left = warmUpMs
  for (;;) {
    const ms = await elapsedMs(each, operations)
    left -= ms
    const fitting = Math.max(
      1,
      Math.min(maxOperations, Math.round((operations * roundMs) / Math.max(ms, 0.01))),
    )
    if (left <= 0) return fitting
    operations = Math.min(fitting, operations * 10)
  }
}

/**
 * In time of the processor, all threads of this process together: on a machine that others use as well, the
 * clock would tell of them. Waiting is not in it.
 */
async function elapsedMs(each: Timed, operations: number): Promise<number> {
  const start = process.cpuUsage()
  const done = each.run(operations)
  if (done instanceof Promise) await done
  const { user, system } = process.cpuUsage(start)
  const ms = (user + system) / 1_000
  await new Promise(setImmediate) // what was left to do is done outside the measured time
  return ms
}

/**
 * A loop over `call(0)`, `call(1)`, ... `call(count - 1)`, round and round. Each has code of its own: in one
 * loop for all, the engine would no longer know what it calls, and the fastest would pay the most for that.
 */
export function loopOf(call: (id: number) => unknown, count: number, { awaited }: { awaited: boolean }) {
  const make = new Function(
    'call',
    'count',
    `let id = 0, last
    return ${awaited ? 'async ' : ''}function (operations) {
      for (let n = 0; n < operations; n++) {
        last = ${awaited ? 'await ' : ''}call(id)
        id = id + 1 === count ? 0 : id + 1
      }
    }`,
  )
  return make(call, count) as (operations: number) => unknown
}

/** The value below which a share of the samples lies. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  const at = (sorted.length - 1) * share
  const low = sorted[Math.floor(at)] ?? Number.NaN
  const high = sorted[Math.ceil(at)] ?? Number.NaN
  return low + (high - low) * (at - Math.floor(at))
}

export function median(samples: readonly number[]): number {
  return quantile(samples, 0.5)
}
