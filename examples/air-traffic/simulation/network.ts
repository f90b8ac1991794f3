import { type Random, seededRandom } from '../../shared/random.ts'
import type { Airport } from './airports.ts'
import type { FeedController, FeedPilot, FeedSnapshot } from './feed-format.ts'
import { flightState, flightTimes } from './flight-path.ts'

/** How many members there are; 15 of 16 pilots and 5 of 6 controllers are connected at a time. */
export interface NetworkScale {
  readonly pilots: number
  readonly controllers: number
}

/** About 1,500 flights and 200 controllers at a time. */
export const busyEvening: NetworkScale = { pilots: 1_600, controllers: 240 }

/** A network of pilots and controllers, whose state is a function of the time and of nothing else. */
export interface Network {
  readonly airports: readonly Airport[]
  /** What the feed shows at a time. */
  at(time: Date): FeedSnapshot
  /** The flights that ended in a time, each as the feed showed it last. */
  flown(from: Date, to: Date): Generator<FlownFlight>
}

/** A flight that is over. */
export interface FlownFlight {
  readonly last: FeedPilot
  /** When it took off and landed; a pilot who came back under a new logon time took off before that. */
  readonly takeOff: Date
  readonly landing: Date
}

const MINUTE = 60_000
/** So that two kinds of draws for one member do not give the same numbers. */
const streams = { member: 11, session: 12, gap: 13, shift: 14 } as const

const airlines = ['QFA', 'VOZ', 'JST', 'ANZ', 'SIA', 'UAE', 'BAW', 'DLH', 'AFR', 'UAL', 'JAL', 'RXA']
const aircraft = [
  'B738',
  'A320',
  'A321',
  'B789',
  'A359',
  'B77W',
  'A388',
  'E190',
  'DH8D',
  'C172',
  'PC12',
  'B744',
]

/**
 * Draws a network. Pilots fly one session after another, of two to five hours; every fiftieth shares a callsign with
 * a neighbour; some lose the connection in flight and come back; flight plans come late, lack parts, or are missing
 * from a single poll. The same seed and time give the same snapshot.
 */
export function drawNetwork(airports: readonly Airport[], scale: NetworkScale, seed = 1): Network {
  return {
    airports,
    at(time) {
      const now = time.getTime()
      const pilots: FeedPilot[] = []
      for (let number = 0; number < scale.pilots; number += 1) {
        const pilot = pilotAt(airports, seed, number, now)
        if (pilot !== undefined) pilots.push(pilot)
      }
      const controllers: FeedController[] = []
      for (let number = 0; number < scale.controllers; number += 1) {
        const controller = controllerAt(airports, seed, number, now)
        if (controller !== undefined) controllers.push(controller)
      }
      const update_timestamp = iso(now)
      return {
        general: { update_timestamp, connected_clients: pilots.length + controllers.length },
        pilots,
        controllers,
      }
    },
    *flown(from, to) {
      for (let number = 0; number < scale.pilots; number += 1)
        yield* flownBy(airports, seed, number, from.getTime(), to.getTime())
    },
  }
}

const iso = (ms: number) => new Date(ms).toISOString()

/** One session of a pilot: from logging on to logging off. */
interface Session {
  readonly number: number
  readonly start: number
  readonly end: number
}

/** How one member's sessions follow one another. */
interface Habit {
  /** From the start of a session to that of the next. */
  readonly period: number
  readonly phase: number
  /** Between two sessions. */
  readonly gap: number
}

function sessionOf({ period, phase, gap }: Habit, number: number): Session {
  const start = phase + number * period
  return { number, start, end: start + period - gap }
}

function sessionAt(habit: Habit, now: number): Session | undefined {
  const session = sessionOf(habit, Math.floor((now - habit.phase) / habit.period))
  return now < session.end ? session : undefined
}

function habitOf(seed: number, number: number): Habit & { readonly lag: number } {
  const member = seededRandom(seed, streams.member, number)
  const period = member.integer(120, 300) * MINUTE
  const phase = Math.floor(member.next() * period)
  return { period, phase, gap: member.integer(6, 20) * MINUTE, lag: member.integer(0, 20) * 1_000 }
}

function* flownBy(
  airports: readonly Airport[],
  seed: number,
  number: number,
  from: number,
  to: number,
): Generator<FlownFlight> {
  const habit = habitOf(seed, number)
  for (let next = Math.floor((from - habit.phase) / habit.period); ; next += 1) {
    const session = sessionOf(habit, next)
    if (session.end > to) return
    const last = session.end > from ? pilotAt(airports, seed, number, session.end - 1_000) : undefined
    const { takeOff, landing } = flightTimes(session)
    if (last !== undefined) yield { last, takeOff: new Date(takeOff), landing: new Date(landing) }
  }
}

function pilotAt(
  airports: readonly Airport[],
  seed: number,
  number: number,
  now: number,
): FeedPilot | undefined {
  const habit = habitOf(seed, number)
  const session = sessionAt(habit, now)
  if (session === undefined) return undefined

  const random = seededRandom(seed, streams.session, number, session.number)
  const plan = drawPlan(airports, random, session.end - session.start)
  const callsign = sharesCallsign(number)
    ? `${airlines[Math.floor(number / 50) % airlines.length]}${Math.floor(number / 50) + 1}`
    : `${random.pick(airlines)}${random.integer(100, 9_999)}`
  const logonTime = logonAfterLoss(random, session, now)
  if (logonTime === undefined) return undefined

  const last_updated = iso(now - habit.lag)
  const record = { cid: 800_000 + number, callsign, logon_time: iso(logonTime), last_updated }
  const minute = Math.floor(now / MINUTE)
  // The plan is filed some minutes after logging on; and sometimes the feed forgets it for a minute.
  const isFiled = now - session.start > 3 * MINUTE
  const isForgotten = seededRandom(seed, streams.gap, number, minute).chance(0.01)
  const flightPlan = plan.filed === undefined || !isFiled || isForgotten ? {} : { flight_plan: plan.filed }
  if (now - session.start < MINUTE)
    return { ...record, latitude: 0, longitude: 0, altitude: 0, groundspeed: 0 }
  return { ...record, ...flightState(plan, session, now), ...flightPlan }
}

/** The pilot and the neighbour before it, in every fifty. */
const sharesCallsign = (number: number) => number % 50 < 2

/**
 * When the pilot's present connection was made: for most that of the session, for some that after a loss of two to
 * six minutes, which may have kept its old logon time; `undefined` while it is lost.
 */
function logonAfterLoss(random: Random, session: Session, now: number): number | undefined {
  const isUnlucky = random.chance(0.06)
  const lostAt = session.start + random.between(0.2, 0.8) * (session.end - session.start)
  const backAt = lostAt + random.integer(2, 6) * MINUTE
  const keepsTime = random.chance(0.5)
  if (!isUnlucky || now < lostAt) return session.start
  if (now < backAt) return undefined
  return keepsTime ? session.start : backAt
}

/** Where a session goes, and as what it was filed. */
export interface Plan {
  readonly from: Airport
  readonly to: Airport
  /** Feet. */
  readonly cruiseAltitude: number
  readonly hidesHeading: boolean
  readonly filed: FeedPilot['flight_plan']
}

function drawPlan(airports: readonly Airport[], random: Random, duration: number): Plan {
  const from = random.pick(airports)
  // Of a dozen, the one that an airliner reaches in that time.
  const candidates = Array.from({ length: 12 }, () => random.pick(airports)).filter((to) => to !== from)
  const hours = duration / (60 * MINUTE) - 0.25
  const misfit = (to: Airport) => Math.abs(nauticalMiles(from, to) / hours - 430)
  const to = candidates.reduce(
    (best, next) => (misfit(next) < misfit(best) ? next : best),
    candidates[0] ?? from,
  )
  const cruiseAltitude = random.integer(26, 41) * 1_000
  const type = random.pick(aircraft)
  const hidesAircraft = random.chance(0.03)
  const isUnfiled = random.chance(0.08)
  return {
    from,
    to,
    cruiseAltitude,
    hidesHeading: random.chance(0.01),
    filed: isUnfiled
      ? undefined
      : {
          ...(hidesAircraft ? {} : { aircraft: type }),
          departure: from.icao_code,
          arrival: to.icao_code,
          route: `DCT ${from.icao_code.slice(1)}${to.icao_code.slice(1, 3)} DCT`,
        },
  }
}

function nauticalMiles(from: Airport, to: Airport): number {
  const north = (to.latitude - from.latitude) * 60
  const east =
    shorterWay(to.longitude - from.longitude) * 60 * Math.cos(((from.latitude + to.latitude) * Math.PI) / 360)
  return Math.hypot(north, east)
}

/** A difference of longitudes, never the long way round. */
export const shorterWay = (degrees: number) => ((degrees + 540) % 360) - 180

const facilities = ['DEL', 'GND', 'TWR', 'APP', 'CTR'] as const
const givenNames = ['Ada', 'Ben', 'Cleo', 'Dara', 'Eli', 'Fay', 'Gus', 'Hana', 'Ivo', 'Juno']
const surnames = ['Abbot', 'Brook', 'Cole', 'Drew', 'Ellis', 'Frost', 'Grant', 'Hale', 'Irwin', 'Jones']

/** A position, which one controller after another staffs. */
function controllerAt(
  airports: readonly Airport[],
  seed: number,
  number: number,
  now: number,
): FeedController | undefined {
  const position = seededRandom(seed, streams.shift, number)
  const period = position.integer(60, 240) * MINUTE
  const phase = Math.floor(position.next() * period)
  const facility = position.pick(facilities)
  // Each position its own airport, so that no callsign is drawn twice.
  const airport = airports[(number * 37) % airports.length]
  const shift = sessionAt({ period, phase, gap: period / 6 }, now)
  if (shift === undefined || airport === undefined) return undefined
  const random = seededRandom(seed, streams.shift, number, shift.number)
  return {
    cid: 900_000 + random.integer(0, 9_999),
    name: `${random.pick(givenNames)} ${random.pick(surnames)}`,
    callsign: `${airport.icao_code}_${facility}`,
    ...(random.chance(0.04) ? {} : { frequency: (118 + random.integer(0, 720) / 40).toFixed(3) }),
    facility,
    rating: random.integer(2, 7),
    logon_time: iso(shift.start),
    last_updated: iso(now - random.integer(0, 20) * 1_000),
  }
}
