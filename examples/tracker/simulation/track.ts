import type { Random } from '../../shared/random.ts'
import type { Site } from './sites.ts'

/** A fix as a recorder writes it; `second` counts from take-off. */
export interface TrackFix {
  readonly second: number
  readonly lat: number
  readonly lon: number
  readonly elevation: number
  readonly barometric_altitude: number
}

/** What the air does on one day at one site. */
export interface Weather {
  /** Metres a second that the air moves to the east and to the north. */
  readonly windEast: number
  readonly windNorth: number
  /** Mean climb of a glider in the core of a usual thermal, metres a second. */
  readonly thermalStrength: number
  /** Metres above sea level where thermals end. */
  readonly cloudBase: number
  /** Metres that a barometer set to the standard atmosphere reads above the true altitude. */
  readonly barometerOffset: number
}

/** Draws a day with soarable weather. */
export function drawWeather(site: Site, random: Random): Weather {
  const direction = random.between(0, 2 * Math.PI)
  const speed = random.between(0.5, 4.5)
  return {
    windEast: speed * Math.sin(direction),
    windNorth: speed * Math.cos(direction),
    thermalStrength: random.between(1.4, 3.2),
    cloudBase: site.cloudBase + random.between(-250, 350),
    barometerOffset: random.between(-60, 60),
  }
}

const METRES_A_DEGREE = 111_320
const radians = (degrees: number) => (degrees * Math.PI) / 180

interface Thermal {
  readonly mode: 'thermal'
  /** Metres a second, mean over the climb. */
  readonly strength: number
  /** Radians a second; negative is a turn to the left. */
  readonly turnRate: number
  /** Metres above sea level where this climb is left. */
  readonly top: number
}

interface Glide {
  readonly mode: 'glide'
  /** Seconds until the next thermal is met. */
  until: number
  readonly bearing: number
  /** Metres a second that the air on this line sinks (above zero) or lifts. */
  readonly sinkingAir: number
}

type Phase = Thermal | Glide | { readonly mode: 'approach' }

const AIRSPEED_GLIDE = 10.5
const AIRSPEED_TURNING = 9
const SINK_GLIDE = 1.15
const SINK_APPROACH = 1.6
/** Below this height over the ground a pilot takes any lift there is. */
const LOW = 220

/**
 * A paraglider's flight, second by second: glides between thermals, circling climbs of 1 to 4 m/s that drift
 * with the wind, and a last glide that is on the ground in the second `seconds - 1`. A receiver adds what it
 * adds: noise that wanders by a few metres in place, and more in height.
 */
export function* flyTrack(
  site: Site,
  weather: Weather,
  seconds: number,
  random: Random,
): Generator<TrackFix, void, undefined> {
  const metresADegreeEast = METRES_A_DEGREE * Math.cos(radians(site.lat))
  const out = radians(site.valleyBearing + random.between(-50, 50))
  let east = random.between(-20, 20)
  let north = random.between(-20, 20)
  let altitude = site.launchElevation + 1
  let bearing = out
  let climb = 0
  let noiseEast = 0
  let noiseNorth = 0
  let noiseUp = 0
  let phase: Phase = newGlide(random.between(20, 90), out)

  function newGlide(until: number, towards: number): Glide {
    return { mode: 'glide', until, bearing: towards, sinkingAir: random.normal() * 0.35 + 0.25 }
  }

  function newThermal(): Thermal {
    const radius = random.between(28, 48)
    return {
      mode: 'thermal',
      strength: Math.min(4, Math.max(1, weather.thermalStrength + random.normal() * 0.6)),
      turnRate: (random.chance(0.5) ? 1 : -1) * (AIRSPEED_TURNING / radius),
      top: weather.cloudBase - Math.abs(random.normal()) * 180,
    }
  }

  /** The slope falls from the launch to the valley within 3 km. */
  function groundBelow(): number {
    const share = Math.min(1, Math.hypot(east, north) / 3_000)
    return site.launchElevation + (site.valleyElevation - site.launchElevation) * share
  }

  function nextPhase(second: number): Phase {
    const height = altitude - groundBelow()
    const left = seconds - 1 - second
    if (phase.mode === 'approach' || left * SINK_APPROACH <= height) return { mode: 'approach' }
    if (phase.mode === 'thermal') {
      if (altitude < phase.top) return phase
      return newGlide(random.between(90, 480), bearing + random.between(-0.6, 0.6))
    }
    phase.until -= 1
    if (phase.until <= 0 || height < LOW) return newThermal()
    return phase
  }

  for (let second = 0; second < seconds; second += 1) {
    phase = nextPhase(second)
    const left = seconds - 1 - second
    let airspeed = AIRSPEED_GLIDE
    let wantedClimb: number
    if (phase.mode === 'thermal') {
      bearing += phase.turnRate + random.normal() * 0.02
      airspeed = AIRSPEED_TURNING
      // One side of a circle is nearer to the core than the other.
      wantedClimb = phase.strength * (1 + 0.35 * Math.sin(bearing))
    } else if (phase.mode === 'glide') {
      bearing += (phase.bearing - bearing) * 0.1 + random.normal() * 0.015
      wantedClimb = -SINK_GLIDE - phase.sinkingAir
    } else {
      bearing += Math.sin(second / 40) * 0.05
      wantedClimb = left === 0 ? 0 : -(altitude - groundBelow()) / left
    }
    climb += (wantedClimb - climb) * (phase.mode === 'approach' ? 0.6 : 0.25)
    altitude = Math.max(groundBelow(), altitude + climb)
    if (left === 0) altitude = groundBelow()
    const moving = altitude > groundBelow() + 1 || second < 5
    if (moving) {
      east += airspeed * Math.sin(bearing) + weather.windEast
      north += airspeed * Math.cos(bearing) + weather.windNorth
    }

    noiseEast = noiseEast * 0.95 + random.normal() * 0.5
    noiseNorth = noiseNorth * 0.95 + random.normal() * 0.5
    noiseUp = noiseUp * 0.97 + random.normal() * 0.7
    yield {
      second,
      lat: round(site.lat + (north + noiseNorth) / METRES_A_DEGREE, 6),
      lon: round(site.lon + (east + noiseEast) / metresADegreeEast, 6),
      elevation: round(altitude + noiseUp, 1),
      barometric_altitude: round(altitude + weather.barometerOffset + random.normal() * 0.3, 1),
    }
  }
}

function round(value: number, digits: number): number {
  const scale = 10 ** digits
  return Math.round(value * scale) / scale
}
