import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { serveTask } from '../shared/child.ts'
import { loopOf, median, type RaceOptions, race } from '../shared/measure.ts'
import { type Contender, contenders } from './contenders.ts'

/** What a worker is asked to do. */
export interface Job {
  readonly contender: string
  readonly table: 'times' | 'refusals' | 'memory'
  readonly options: RaceOptions
}

/** Nanoseconds more than the limit of the same round, the median of the rounds; `undefined` where it has no such thing. */
export type Extra = Readonly<Record<string, number | undefined>>

const work = async () => 1

/** By how much each way of a call is dearer than `limit`. */
async function extraOver(
  limit: () => unknown,
  calls: Record<string, (() => unknown) | undefined>,
  options: RaceOptions,
) {
  const given = Object.entries(calls).flatMap(([name, call]) => (call === undefined ? [] : [{ name, call }]))
  const timed = [{ name: 'limit', call: limit }, ...given].map(({ name, call }) => ({
    name,
    run: loopOf(call, 1, { awaited: true }),
  }))
  const [base, ...laps] = await race(timed, options)
  const extra: Record<string, number> = { limit: median(base?.ns ?? []) }
  for (const { name, ns } of laps) {
    extra[name] = median(ns.map((value, round) => value - (base?.ns[round] ?? Number.NaN)))
  }
  return extra
}

function times(contender: Contender, options: RaceOptions): Promise<Extra> {
  const asking = async (signal: AbortSignal) => signal
  return extraOver(
    work,
    {
      closed: contender.closed(work),
      timeout: contender.timed(work, 2_000),
      signal: contender.signalled(asking, 2_000),
      // What nobody can save who is asked for a signal.
      controller: async () => new AbortController().signal,
    },
    options,
  )
}

/** Called from so deep that every stack is full, as in a service. */
const depth = 12

const deep = (frames: number, call: () => Promise<unknown>): (() => Promise<unknown>) =>
  frames === 0 ? call : deep(frames - 1, () => call())

const caught = (call: () => Promise<unknown>) => async () => {
  try {
    await call()
  } catch {
    // That is what is measured.
  }
}

async function refusals(contender: Contender, options: RaceOptions): Promise<Extra> {
  const refused = await contender.refused()
  const thrown = async () => {
    throw new Error('circuit breaker "default" is open')
  }
  const error: unknown = await deep(depth, refused)().catch((reason: unknown) => reason)
  const frames = error instanceof Error ? (error.stack ?? '').split('\n    at ').length - 1 : 0
  return {
    ...(await extraOver(caught(deep(depth, thrown)), { refused: caught(deep(depth, refused)) }, options)),
    frames,
  }
}

async function memory(contender: Contender): Promise<Extra> {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const used = () => {
    for (let time = 0; time < 4; time++) collect()
    const { heapUsed, external } = process.memoryUsage()
    return heapUsed + external
  }
  const count = 5_000
  const warm = contender.make()
  for (let call = 0; call < 20_000; call++) await warm.call()
  const settled = used()
  for (let call = 0; call < 500_000; call++) await warm.call()
  const growth = used() - settled
  warm.close()
  const before = used()
  const made = Array.from({ length: count }, () => contender.make())
  for (const breaker of made) await breaker.call()
  const bytes = (used() - before) / count
  for (const breaker of made) breaker.close()
  return { bytes, growth }
}

serveTask(async ({ contender, table, options }: Job): Promise<Extra> => {
  const make = contenders[contender]
  if (make === undefined) throw new Error(`there is no contender "${contender}"`)
  const made = await make()
  if (table === 'times') return times(made, options)
  return table === 'refusals' ? refusals(made, options) : memory(made)
})
