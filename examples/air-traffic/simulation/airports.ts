import { type Random, seededRandom } from '../../shared/random.ts'

/** An airport, as the `airports` table holds it. */
export interface Airport {
  readonly icao_code: string
  readonly name: string
  readonly country: string
  /** A state of Australia, elsewhere a continent. */
  readonly region: string
  readonly latitude: number
  readonly longitude: number
  readonly is_active: boolean
}

/** Where airports are drawn: a part of a country, roughly, as degrees from south-west to north-east. */
interface Area {
  readonly country: string
  readonly region: string
  /** What ICAO codes begin with there. */
  readonly prefix: string
  readonly count: number
  readonly south: number
  readonly west: number
  readonly north: number
  readonly east: number
}

function area(
  country: string,
  region: string,
  prefix: string,
  count: number,
  [south, west, north, east]: readonly [number, number, number, number],
): Area {
  return { country, region, prefix, count, south, west, north, east }
}

/** 512 of 926 are Australian. */
const areas: readonly Area[] = [
  area('Australia', 'New South Wales', 'Y', 104, [-36.5, 141.5, -29, 152.5]),
  area('Australia', 'Queensland', 'Y', 132, [-28.5, 138.5, -13, 149]),
  area('Australia', 'Western Australia', 'Y', 110, [-34, 115.5, -16, 128.5]),
  area('Australia', 'Victoria', 'Y', 58, [-38.3, 141.5, -36, 147.5]),
  area('Australia', 'South Australia', 'Y', 48, [-34.8, 130, -26.5, 140.5]),
  area('Australia', 'Northern Territory', 'Y', 42, [-25.5, 129.5, -12.5, 137.5]),
  area('Australia', 'Tasmania', 'Y', 18, [-43, 145.3, -41, 148]),
  area('New Zealand', 'Oceania', 'NZ', 34, [-46, 168, -36, 176]),
  area('Papua New Guinea', 'Oceania', 'AY', 18, [-9, 142, -4, 147]),
  area('Fiji', 'Oceania', 'NF', 8, [-18.2, 177.4, -17.4, 178.6]),
  area('Indonesia', 'Asia', 'WI', 34, [-8, 96, 4, 118]),
  area('Singapore', 'Asia', 'WS', 2, [1.28, 103.7, 1.42, 103.99]),
  area('Malaysia', 'Asia', 'WM', 14, [2, 101, 6, 103.3]),
  area('Japan', 'Asia', 'RJ', 36, [33, 131, 41, 141]),
  area('India', 'Asia', 'VO', 30, [9, 74, 24, 82]),
  area('United Arab Emirates', 'Asia', 'OM', 8, [23.5, 53, 25.5, 56]),
  area('South Africa', 'Africa', 'FA', 22, [-33, 19, -24, 30]),
  area('Ghana', 'Africa', 'DG', 6, [5.2, -2.8, 9, 0.9]),
  area('United Kingdom', 'Europe', 'EG', 34, [50.7, -4, 57, 1]),
  area('Germany', 'Europe', 'ED', 36, [48, 7, 53.5, 13.5]),
  area('France', 'Europe', 'LF', 30, [43.5, -1, 49.5, 7]),
  area('Brazil', 'South America', 'SB', 30, [-28, -55, -5, -40]),
  area('United States', 'North America', 'K', 72, [31, -118, 47, -75]),
]

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'
const syllables = [
  'ban',
  'dar',
  'ger',
  'kal',
  'lin',
  'mor',
  'nar',
  'pol',
  'ron',
  'tam',
  'ula',
  'ver',
  'wan',
  'yar',
]
const endings = ['a', 'bah', 'by', 'dale', 'field', 'ford', 'goo', 'ra', 'ton', 'wick']

/**
 * The airports of the simulation: invented, in the right numbers, with codes that begin as those of their country
 * do and places that lie in it, more or less. A seed gives the same ones on every machine.
 */
export function drawAirports(seed = 1): Airport[] {
  const taken = new Set<string>()
  return areas.flatMap((place, number) => {
    const random = seededRandom(seed, 1, number)
    return Array.from({ length: place.count }, () => drawAirport(place, random, taken))
  })
}

function drawAirport(place: Area, random: Random, taken: Set<string>): Airport {
  let icao_code: string
  do {
    icao_code = place.prefix
    while (icao_code.length < 4) icao_code += random.pick([...LETTERS])
  } while (taken.has(icao_code))
  taken.add(icao_code)
  const name = random.pick(syllables) + random.pick(syllables) + random.pick(endings)
  return {
    icao_code,
    name: `${name.charAt(0).toUpperCase()}${name.slice(1)}`,
    country: place.country,
    region: place.region,
    latitude: round(random.between(place.south, place.north)),
    longitude: round(random.between(place.west, place.east)),
    is_active: random.chance(0.96),
  }
}

const round = (degrees: number) => Math.round(degrees * 1e4) / 1e4
