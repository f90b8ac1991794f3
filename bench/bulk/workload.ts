/** A value as handlers have it. */
export type Value = string | number | boolean | Date | null

/** A row by its columns. */
export type Row = Record<string, Value>

/** A column of a table that rows are written into. */
export interface Column {
  readonly name: string
  readonly type: 'text' | 'int4' | 'float8' | 'timestamptz' | 'uuid' | 'bool'
}

/** A table, and how its rows come about: the row of a number has a key of its own, whatever its version. */
export interface Workload {
  readonly table: string
  readonly columns: readonly Column[]
  readonly key: readonly string[]
  row(number: number, version: number): Row
}

const startMs = Date.UTC(2024, 4, 1)
const airports = ['YSSY', 'YMML', 'YBBN', 'YPPH', 'YPAD', 'WSSS', 'NZAA', 'KLAX']

/** A spread of numbers that is the same on every machine. */
const spread = (number: number, salt: number): number =>
  (Math.imul(number ^ Math.imul(salt, 0x9e3779b9), 0x85ebca6b) >>> 0) / 2 ** 32

const pick = <T>(choices: readonly T[], number: number, salt: number): T =>
  choices[Math.floor(spread(number, salt) * choices.length)] as T

const columns = (types: Readonly<Record<string, Column['type']>>): Column[] =>
  Object.entries(types).map(([name, type]) => ({ name, type }))

/** The air traffic's flights, of a feed that is polled. */
const flights: Workload = {
  table: 'flights',
  columns: columns({
    callsign: 'text',
    cid: 'int4',
    logon_time: 'timestamptz',
    aircraft_type: 'text',
    position_lat: 'float8',
    position_lng: 'float8',
    altitude: 'int4',
    speed: 'int4',
    heading: 'int4',
    transponder: 'text',
    departure: 'text',
    arrival: 'text',
    route: 'text',
    status: 'text',
    last_updated: 'timestamptz',
  }),
  key: ['callsign', 'cid', 'logon_time'],
  row(number, version) {
    const at = number + 31 * version
    return {
      callsign: `QFA${number}`,
      cid: 800_000 + (number % 700_001),
      logon_time: new Date(startMs + number * 1_000),
      aircraft_type: pick(['B738', 'A320', 'B789', 'DH8D', 'C172'], number, 1),
      position_lat: -44 + 34 * spread(at, 2),
      position_lng: 112 + 42 * spread(at, 3),
      altitude: Math.floor(41_000 * spread(at, 4)),
      speed: Math.floor(520 * spread(at, 5)),
      heading: Math.floor(360 * spread(at, 6)),
      transponder: number % 9 === 0 ? null : `${1_000 + (number % 6_777)}`,
      departure: pick(airports, number, 7),
      arrival: pick(airports, number, 8),
      route: `DCT WOL H65 LEECE Q29 BOOIN DCT ${number % 1_000}`,
      status: pick(['active', 'active', 'active', 'completed', 'stale'], at, 9),
      last_updated: new Date(startMs + version * 60_000 + (number % 60_000)),
    }
  },
}

/** The car's telemetry, one row a second, of which many readings are not there. */
const telemetry: Workload = {
  table: 'telemetry_raw',
  columns: columns({
    session_id: 'uuid',
    ts: 'timestamptz',
    latitude: 'float8',
    longitude: 'float8',
    altitude_ft: 'float8',
    speed_mph: 'float8',
    engine_rpm: 'float8',
    throttle_position: 'float8',
    coolant_temp_f: 'float8',
    intake_temp_f: 'float8',
    fuel_level_percent: 'float8',
    fuel_remaining_gal: 'float8',
    state_of_charge: 'float8',
    battery_voltage: 'float8',
    battery_current_a: 'float8',
    battery_temp_f: 'float8',
    hv_power_kw: 'float8',
    motor_a_rpm: 'float8',
    motor_b_rpm: 'float8',
    generator_rpm: 'float8',
    motor_temp_max_f: 'float8',
    ambient_temp_f: 'float8',
    odometer_miles: 'float8',
    charger_power_kw: 'float8',
    charger_ac_voltage: 'float8',
    charger_connected: 'bool',
    gear: 'int4',
  }),
  key: ['session_id', 'ts'],
  row(number, version) {
    const session = Math.floor(number / 3_600)
    const parked = number % 5 === 0
    const reading = (index: number) =>
      parked && index > 3 && index % 3 === 0
        ? null
        : Math.round(1e4 * spread(number + 31 * version, index)) / 10
    // As one literal: V8 keeps fields that are added by computed names in a dictionary, as few sources of rows do.
    return {
      session_id: `00000000-0000-4000-8000-${`${session}`.padStart(12, '0')}`,
      ts: new Date(startMs + number * 1_000),
      latitude: reading(0),
      longitude: reading(1),
      altitude_ft: reading(2),
      speed_mph: reading(3),
      engine_rpm: reading(4),
      throttle_position: reading(5),
      coolant_temp_f: reading(6),
      intake_temp_f: reading(7),
      fuel_level_percent: reading(8),
      fuel_remaining_gal: reading(9),
      state_of_charge: reading(10),
      battery_voltage: reading(11),
      battery_current_a: reading(12),
      battery_temp_f: reading(13),
      hv_power_kw: reading(14),
      motor_a_rpm: reading(15),
      motor_b_rpm: reading(16),
      generator_rpm: reading(17),
      motor_temp_max_f: reading(18),
      ambient_temp_f: reading(19),
      odometer_miles: reading(20),
      charger_power_kw: reading(21),
      charger_ac_voltage: reading(22),
      charger_connected: number % 50 === 0,
      gear: number % 5,
    }
  },
}

/** By the names that the tables of figures have. */
export const workloads: Readonly<Record<string, Workload>> = { flights, telemetry }

/** The DDL of a workload, under whatever name. */
export function createTable({ table, columns, key }: Workload): string {
  const defined = columns.map(({ name, type }) => `${name} ${type}${key.includes(name) ? ' not null' : ''}`)
  return `create table ${table} (${defined.join(', ')}, primary key (${key.join(', ')}))`
}

/**
 * The rows of one upsert: half of them are in a table of `base` rows, half are not, in no order. Each `round` has rows
 * of its own as long as the table holds enough.
 */
export function* rowsOf(workload: Workload, count: number, base: number, round: number): Generator<Row> {
  // One row alone is new in every second round.
  const updates = count === 1 ? round % 2 : Math.floor(count / 2)
  const inserts = count - updates
  const stride = strideOf(count)
  for (let index = 0, at = 0; index < count; index++) {
    at = (at + stride) % count
    const number =
      at < updates
        ? (round * updates + at) % base
        : base + (count === 1 ? round : round * inserts) + at - updates
    yield workload.row(number, round + 1)
  }
}

/** A step that comes by all of `count` places before it comes back. */
function strideOf(count: number): number {
  let stride = Math.max(1, Math.floor(count * 0.618))
  while (greatestCommon(stride, count) !== 1) stride += 1
  return stride
}

const greatestCommon = (a: number, b: number): number => (b === 0 ? a : greatestCommon(b, a % b))
