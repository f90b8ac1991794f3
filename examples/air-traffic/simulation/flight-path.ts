import type { FeedPilot } from './feed-format.ts'
import { type Plan, shorterWay } from './network.ts'

const MINUTE = 60_000
/** At the gate before the flight and after it. */
const BEFORE_MS = 8 * MINUTE
const AFTER_MS = 6 * MINUTE
const CLIMB_MS = 18 * MINUTE
const DESCENT_MS = 22 * MINUTE

type State = Pick<FeedPilot, 'latitude' | 'longitude' | 'altitude' | 'groundspeed' | 'heading'>

/** From logging on to logging off. */
interface Times {
  readonly start: number
  readonly end: number
}

/** When a flight takes off and lands. */
export const flightTimes = ({ start, end }: Times) => ({
  takeOff: start + BEFORE_MS,
  landing: end - AFTER_MS,
})

/** Where a flight is at a time: at the gate, climbing, cruising, descending, or at the gate again. */
export function flightState(
  { from, to, cruiseAltitude, hidesHeading }: Plan,
  times: Times,
  now: number,
): State {
  const { takeOff, landing } = flightTimes(times)
  const part = Math.min(1, Math.max(0, (now - takeOff) / (landing - takeOff)))
  const isFlying = part > 0 && part < 1
  const east = shorterWay(to.longitude - from.longitude)
  const north = to.latitude - from.latitude
  const height = Math.min(1, (now - takeOff) / CLIMB_MS, (landing - now) / DESCENT_MS)
  const heading = Math.round(((Math.atan2(east, north) * 180) / Math.PI + 360) % 360) % 360
  return {
    latitude: round(from.latitude + north * part),
    longitude: round(shorterWay(from.longitude + east * part)),
    altitude: isFlying ? Math.round(cruiseAltitude * height) : 0,
    groundspeed: isFlying ? Math.round(140 + 320 * height) : 0,
    ...(hidesHeading ? {} : { heading }),
  }
}

const round = (degrees: number) => Math.round(degrees * 1e5) / 1e5
