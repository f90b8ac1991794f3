import type { Contender, Opened, OpenOptions } from '../contender.ts'

const CALLERS = 1_000
const LOAD_MS = 20
const ID = 7

/** What 1,000 callers of one key meet, whose load is under way until all of them have asked. */
export interface Stampede {
  /** Of a cold key. */
  readonly cold: { readonly loads: number; readonly right: number }
  /** Of a key whose load fails. */
  readonly failing: {
    readonly loads: number
    /** Callers that were told of the error. */
    readonly errors: number
    /** Rejections that nobody could have handled. */
    readonly unhandled: number
    /** Until the last one was told. */
    readonly durationMs: number
    /** Loads of one more call afterwards: 1 where no error was kept. */
    readonly loadsAfter: number
  }
  /** Half of them, an invalidation, the other half while the load of the first half is still under way. */
  readonly invalidated: {
    readonly loads: number
    /** Callers that came after the invalidation and got what was loaded before it. */
    readonly stale: number
    readonly errors: number
    /** Whether a call after everything is over gets what was loaded before the invalidation. */
    readonly staleAtRest: boolean
  }
}

/** What 1,000 concurrent callers of one key cost, and get. */
export async function measureStampede(contender: Contender, _options: object): Promise<Stampede> {
  return {
    cold: await cold(contender),
    failing: await failing(contender),
    invalidated: await invalidated(contender),
  }
}

async function cold(contender: Contender): Promise<Stampede['cold']> {
  const gate = gateway()
  let loads = 0
  const cache = open(contender, async () => {
    loads += 1
    await gate.promise
    return 'value'
  })
  const answers = await callers(CALLERS, cache)
  gate.resolve()
  return { loads, right: (await answers()).filter((answer) => answer === 'value').length }
}

async function failing(contender: Contender): Promise<Stampede['failing']> {
  const gate = gateway()
  let loads = 0
  let unhandled = 0
  const count = () => {
    unhandled += 1
  }
  process.on('unhandledRejection', count)
  const cache = open(contender, async () => {
    loads += 1
    await gate.promise
    await sleep(LOAD_MS)
    throw new Error('the load failed')
  })
  const answers = await callers(CALLERS, cache)
  const start = performance.now()
  gate.resolve()
  const errors = (await answers()).filter((answer) => answer instanceof Failure).length
  const durationMs = performance.now() - start
  await sleep(2 * LOAD_MS)
  const loadsUntilThen = loads
  await Promise.allSettled([cache.byId(ID)])
  await sleep(2 * LOAD_MS)
  process.off('unhandledRejection', count)
  return { loads: loadsUntilThen, errors, unhandled, durationMs, loadsAfter: loads - loadsUntilThen }
}

async function invalidated(contender: Contender): Promise<Stampede['invalidated']> {
  const gate = gateway()
  let loads = 0
  let version = 1
  const cache = open(contender, async () => {
    loads += 1
    const read = version
    await gate.promise
    return read
  })
  const before = await callers(CALLERS / 2, cache)
  version = 2
  await cache.drop(ID)
  const after = await callers(CALLERS / 2, cache)
  gate.resolve()
  const [first, second] = [await before(), await after()]
  await sleep(LOAD_MS)
  const loadsUntilThen = loads
  return {
    loads: loadsUntilThen,
    stale: second.filter((answer) => answer === 1).length,
    errors: [...first, ...second].filter((answer) => answer instanceof Failure).length,
    staleAtRest: (await cache.byId(ID)) !== 2,
  }
}

class Failure {}

/** A promise that is resolved from outside. */
function gateway() {
  let resolve: () => void = () => undefined
  const promise = new Promise<void>((done) => {
    resolve = done
  })
  return { promise, resolve: () => resolve() }
}

/**
 * Calls so often: half of them in one turn of the event loop, the others spread over the next turns, so that a
 * cache that looks before it joins meets them all.
 */
async function callers(count: number, cache: Opened): Promise<() => Promise<unknown[]>> {
  const answers: Promise<unknown>[] = []
  for (let n = 0; n < count; n++) {
    // Each caller handles its own error at once; what is unhandled is nobody's.
    answers.push(Promise.resolve(cache.byId(ID)).catch(() => new Failure()))
    if (n >= count / 2 && n % 50 === 0) await new Promise(setImmediate)
  }
  await new Promise(setImmediate)
  return () => Promise.all(answers)
}

function open(contender: Contender, load: OpenOptions['load']): Opened {
  return contender.open({
    maxEntries: 1_000,
    ttlMs: 300_000,
    results: 'share',
    prebuilt: 0,
    load,
    loadRange: () => load(0),
  })
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
