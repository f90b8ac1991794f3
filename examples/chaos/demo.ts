import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { ExampleContext } from '../shared/example.ts'
import { migrate } from '../shared/migrate.ts'
import { type Server, startServer } from '../shared/postgres/server.ts'
import type { Scope } from '../shared/program.ts'
import { formatMs, formatTable, type Row } from '../shared/terminal.ts'
import { openDatabase } from '../tracker/app.ts'
import { migrations } from '../tracker/migrations/index.ts'
import { seed } from '../tracker/seed.ts'
import { defaultScale } from '../tracker/simulation/season.ts'
import { openService } from './child.ts'
import { drive, type Kind, loadFlight, streamsOf, type Tally, timeOfFix } from './load.ts'
import { type Outage, outages } from './outages.ts'
import type { Side } from './service.ts'

const SIDES: readonly Side[] = ['pg alone', 'millrace']
const CONNECTIONS = 10

const LIST = 'longest without the list'
const columns = [
  '',
  'answered',
  'failed',
  LIST,
  'flights',
  'writes',
  'connections begun',
  'writes lost',
  'the process',
]

/** How long the parts of a run take, in milliseconds. */
interface Times {
  /** Before the outage. */
  readonly beforeMs: number
  /** Of the outage. */
  readonly outageMs: number
  /** After it. */
  readonly afterMs: number
}

const times: Times = { beforeMs: 2_000, outageMs: 4_000, afterMs: 6_000 }

/** What the users of one side saw of one outage. */
export interface Outcome {
  readonly tallies: readonly Tally[]
  /** Connections that the service began from the outage on. */
  readonly connections: number
  /** Writes that were answered well and are not in the database. */
  readonly lost: number
  /** What the service's process died of; undefined where it lived. */
  readonly died: string | undefined
}

/** Lets a database fail under both sides, and prints what their users saw. */
export async function demo(context: ExampleContext): Promise<void> {
  const rows: (Row | string)[] = []
  for (const outage of outages) {
    rows.push(`${outage.title} after ${times.outageMs / 1_000} s`)
    for (const side of SIDES) {
      context.line.show(`${outage.title}: ${side} ...`)
      rows.push(rowOf(side, await outlive(context.scope, outage, side)))
    }
  }
  context.print(formatTable(columns, rows))
}

/** Lets one side live through one outage of a server of its own. */
export async function outlive(
  scope: Scope,
  outage: Outage,
  side: Side,
  { beforeMs, outageMs, afterMs }: Times = times,
): Promise<Outcome> {
  const server = await scope.use(
    // A superuser, as everybody is here, may always take the last three of a server's connections.
    () => startServer({ settings: { max_connections: '40', superuser_reserved_connections: '0' } }),
    (started) => started.stop(),
  )
  try {
    const pilotIds = await fillTracker(server)
    const service = await openService(scope, { side, url: server.url, connections: CONNECTIONS })
    try {
      let isOver = false
      const driven = drive(service.origin, streamsOf(pilotIds), () => isOver, scope.signal)
      const outlived = (async () => {
        await sleep(beforeMs)
        const { connections } = service
        await outage.happen(server, outageMs)
        await sleep(afterMs)
        return service.connections - connections
      })().finally(() => {
        isOver = true
      })
      const [connections, tallies] = await Promise.all([outlived, driven])
      const lost = await countLost(server, tallies)
      return { tallies, connections, lost, died: service.died }
    } finally {
      await service.close()
    }
  } finally {
    await server.stop()
  }
}

/** Makes the tracker's tables, with a season of short flights in them. */
async function fillTracker(server: Server): Promise<string[]> {
  const pool = new pg.Pool({ connectionString: server.url, max: 2 })
  try {
    await migrate(openDatabase(pool), migrations)
    await seed(pool, { ...defaultScale, pointsPerFlight: 100 })
    const { rows } = await pool.query<{ pilot_id: string }>(
      'select distinct pilot_id from flights order by 1',
    )
    return rows.map((row) => row.pilot_id)
  } finally {
    await pool.end()
  }
}

async function countLost(server: Server, tallies: readonly Tally[]): Promise<number> {
  const acknowledged = tallyOf(tallies, 'fixes').succeeded.map(timeOfFix)
  const client = new pg.Client({ connectionString: server.url })
  await client.connect()
  try {
    const { rows } = await client.query<{ lost: number }>(
      `select count(*)::int as lost from unnest($1::timestamptz[]) as acknowledged
       where not exists (
         select from track_points join flights on flights.id = flight_uuid
         where flight_id = $2 and datetime = acknowledged)`,
      [acknowledged, loadFlight.flight_id],
    )
    return rows[0]?.lost ?? acknowledged.length
  } finally {
    await client.end()
  }
}

function tallyOf(tallies: readonly Tally[], kind: Kind): Tally {
  const tally = tallies.find((one) => one.kind === kind)
  if (tally === undefined) throw new Error(`nobody asked for ${kind}`)
  return tally
}

function rowOf(side: Side, { tallies, connections, lost, died }: Outcome): Row {
  const sum = (count: (tally: Tally) => number) => tallies.reduce((total, tally) => total + count(tally), 0)
  const without = (kind: Kind) => formatMs(tallyOf(tallies, kind).longestOutageMs)
  return {
    '': side,
    answered: sum((tally) => tally.answered),
    failed: sum((tally) => tally.failed),
    [LIST]: without('list'),
    flights: without('flights'),
    writes: without('fixes'),
    'connections begun': connections,
    'writes lost': lost,
    'the process': died === undefined ? 'lives' : 'died',
  }
}
