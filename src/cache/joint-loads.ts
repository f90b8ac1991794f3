import { setCallerContext } from '../core/joint-work.ts'
import { Flight, type Load } from './flight.ts'
import { currentLoad, runLoad } from './load-context.ts'
import { Slot } from './slots.ts'

const unasked: Load = {
  policy: {
    ttlMs: 0,
    ttlJitterRatio: 0,
    staleWhileRevalidateMs: 0,
    staleIfErrorMs: 0,
    softTimeoutMs: undefined,
    timeoutMs: undefined,
    refreshAheadRatio: undefined,
    refreshAheadMinHits: 1,
    errorTtlMs: 0,
    results: 'share',
  },
  run: () => undefined,
  detach: undefined,
  dependencies: [],
  dependenciesOf: undefined,
  shouldCache: undefined,
  identityInKey: false,
}

/**
 * What is done at once for several loads, a batch of a loader: a part of each of them, without a key of its own, and what
 * it reads they depend on.
 */
function jointLoad(loads: readonly Flight[]): Flight {
  const joint = new Flight(new Slot(undefined, undefined), unasked, false)
  joint.started = true
  for (const load of loads) joint.isPartOf(load)
  // At once, not when it ends: an invalidation meanwhile looks for the loads that its cache knows.
  joint.absorb = (dependencies, storedAt) => {
    for (const load of loads) load.absorb(dependencies, storedAt)
  }
  return joint
}

/** Makes work that is done jointly for several loads count for each of them. */
export function countJointLoads(): void {
  setCallerContext({
    current: currentLoad,
    // Who does the work has bounds of its own; kept, the places would bound how many come together.
    onWait: (load) => (load as Flight).leavePlace?.(),
    async runFor(loads, work) {
      const joint = jointLoad([...loads] as Flight[])
      try {
        return await runLoad(joint, work)
      } finally {
        joint.settled = true
        joint.leaveOthers()
      }
    },
  })
}
