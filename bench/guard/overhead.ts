import { type CompiledQuery, Kysely } from 'kysely'
import type pg from 'pg'
import type { Observer, Statement, StatementOutcome } from '../../src/core/seam/observer.ts'
import type { QueryGuardOptions } from '../../src/guard/options.ts'
import { queryGuard } from '../../src/guard/query-guard.ts'
import { observedPostgres } from '../../src/kysely/observed-postgres.ts'
import { StubPool } from '../seam/stub.ts'
import { loopOf, median, type RaceOptions, race, type Timed } from '../shared/measure.ts'
import type { Run, Table } from '../shared/sections.ts'

interface DB {
  flights: { id: number; callsign: string; departure: string; arrival: string }
}

/** The rules that are compared, and whether there is a scope. */
const guards: readonly {
  readonly name: string
  readonly options?: QueryGuardOptions
  readonly scoped: boolean
}[] = [
  { name: 'no rules, no scope', options: {}, scoped: false },
  { name: 'in a scope', options: {}, scoped: true },
  { name: '+ budgets', options: { maxQueries: 1e9, maxTotalRows: 1e9, maxTotalMs: 1e9 }, scoped: true },
  {
    name: '+ N+1',
    options: { maxQueries: 1e9, maxTotalRows: 1e9, maxTotalMs: 1e9, nPlusOne: 1e9 },
    scoped: true,
  },
  { name: 'N+1 alone', options: { nPlusOne: 1e9 }, scoped: true },
  {
    name: 'slow log, the line of each',
    options: { slowQueries: { overMs: 1e9, caller: true } },
    scoped: false,
  },
  { name: 'slow log', options: { slowQueries: { overMs: 1e9 } }, scoped: false },
  { name: 'onUnbounded, a literal limit', options: { onUnbounded: 'throw' }, scoped: false },
]

const timingOf = ({ quick }: Run): RaceOptions =>
  quick ? { rounds: 7, roundMs: 20, warmUpMs: 200 } : { rounds: 41, roundMs: 60, warmUpMs: 1_500 }

/** What a statement costs through Kysely and an in-process stub of node-postgres, with a guard and without. */
export async function onStub(run: Run): Promise<Table[]> {
  const idle: Observer = { before: () => undefined, after: () => undefined }
  const contenders: {
    name: string
    send: () => Promise<unknown>
    within?: (work: () => Promise<void>) => Promise<void>
  }[] = [
    { name: 'not observed', send: sender([]) },
    { name: 'an observer that does nothing', send: sender([idle]) },
    ...guards.map(({ name, options, scoped }) => {
      const guard = queryGuard(options)
      const within = (work: () => Promise<void>) => guard.scope('bench', work)
      return { name: `guard: ${name}`, send: sender([guard]), ...(scoped ? { within } : {}) }
    }),
  ]
  run.show('a statement on the stub')
  const laps = await race(
    contenders.map(({ name, send, within }): Timed => {
      const loop = loopOf(send, 1, { awaited: true })
      return {
        name,
        run:
          within === undefined
            ? loop
            : async (...given) => {
                await within(async () => {
                  await loop(...given)
                })
              },
      }
    }),
    timingOf(run),
  )
  const observed = laps[1]?.ns ?? []
  const rows = laps.map(({ name, ns }) => ({
    '': name,
    'µs CPU': (median(ns) / 1_000).toFixed(2),
    'above the idle observer, ns': Math.round(
      median(ns.map((value, round) => value - (observed[round] ?? 0))),
    ),
  }))
  return [
    {
      id: 'stub',
      title: `A SELECT of Kysely, compiled before, to an in-process stub; CPU of this process, medians of ${timingOf(run).rounds} rounds`,
      columns: ['', 'µs CPU', 'above the idle observer, ns'],
      rows,
      measured: laps.map(({ name, ns }) => ({ name, ns: median(ns) })),
    },
  ]
}

function sender(observers: Observer[]): () => Promise<unknown> {
  const db = new Kysely<DB>({
    dialect: observedPostgres({ pool: new StubPool() as unknown as pg.Pool, observers }),
  })
  const query = queryOf(db)
  return () => db.executeQuery(query)
}

const queryOf = (db: Kysely<DB>): CompiledQuery =>
  db
    .selectFrom('flights')
    .select(['id', 'callsign', 'departure', 'arrival'])
    .where('departure', '=', 'YSSY')
    .where('arrival', '=', 'YMML')
    .orderBy('callsign')
    .limit(20)
    .compile()

/** The guard's own part of a statement, without the seam: its two hooks, called on a statement at hand. */
export async function hooks(run: Run): Promise<Table[]> {
  const db = new Kysely<DB>({ dialect: observedPostgres({ pool: new StubPool() as unknown as pg.Pool }) })
  const { sql, query } = queryOf(db)
  const outcome: StatementOutcome = {
    sent: true,
    durationMs: 1,
    error: undefined,
    uncertain: false,
    rows: [],
    rowCount: 1,
    affected: undefined,
    truncated: false,
  }
  const timed: Timed[] = [
    { name: 'nothing', run: loopOf(() => statementOf(sql, query), 1, { awaited: false }) },
  ]
  for (const { name, options, scoped } of guards) {
    const guard = queryGuard(options)
    const loop = loopOf(
      () => {
        const statement = statementOf(sql, query)
        guard.before?.(statement)
        guard.after?.(statement, outcome)
        return statement
      },
      1,
      { awaited: false },
    )
    timed.push({
      name,
      run: scoped
        ? (...given) =>
            guard.scope('bench', async () => {
              await loop(...given)
            })
        : loop,
    })
  }
  run.show('the hooks alone')
  const laps = await race(timed, timingOf(run))
  const nothing = laps[0]?.ns ?? []
  const extra = laps.map(({ name, ns }) => ({
    name,
    ns: median(ns.map((value, round) => value - (nothing[round] ?? 0))),
  }))
  return [
    {
      id: 'hooks',
      title: `The two hooks of a guard, ns a statement (text of ${sql.length} characters, made anew each time); CPU, medians of ${timingOf(run).rounds} rounds`,
      columns: ['guard', 'ns'],
      rows: extra.slice(1).map(({ name, ns }) => ({ guard: name, ns: Math.round(ns) })),
      measured: extra,
    },
  ]
}

/** A statement with a text that no map has seen, as Kysely makes one each time. */
function statementOf(sql: string, node: Statement['node']): Statement {
  return {
    text: Buffer.from(sql, 'latin1').toString('latin1'),
    values: undefined,
    name: undefined,
    node,
    tables: undefined,
    control: undefined,
    script: false,
    commits: false,
    streamed: false,
    connection: undefined,
    transaction: undefined,
    limitable: true,
    limit: () => undefined,
  }
}
