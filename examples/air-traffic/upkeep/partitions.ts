import { type Kysely, sql } from 'kysely'

/** Months that have a partition before they begin. */
const MONTHS_AHEAD = 2

/** The first moment of a month of UTC, `months` later than that of `time`. */
function monthOf(time: Date, months = 0): Date {
  return new Date(Date.UTC(time.getUTCFullYear(), time.getUTCMonth() + months, 1))
}

/** `traffic_movements_2026_03` */
function partitionName(month: Date): string {
  return `traffic_movements_${month.toISOString().slice(0, 7).replace('-', '_')}`
}

/**
 * Makes sure that the month of `now` and the two after it have their partition of `traffic_movements`, and that
 * nothing is in the default one, which takes what no month does (a movement of long ago, a clock that is wrong) so
 * that a write never fails for want of a partition.
 *
 * @returns the partitions that it made
 */
export async function ensurePartitions<DB>(db: Kysely<DB>, now: Date): Promise<string[]> {
  const months = Array.from({ length: MONTHS_AHEAD + 1 }, (_, ahead) => monthOf(now, ahead))
  const made = await makePartitions(db, months)
  return [...made, ...(await emptyDefault(db))]
}

/** Gives each month that has rows in the default partition a partition of its own, with these rows. */
export async function emptyDefault<DB>(db: Kysely<DB>): Promise<string[]> {
  const { rows } = await sql<{ month: Date }>`
    select distinct date_trunc('month', ts, 'UTC') as month from traffic_movements_default
    order by month`.execute(db)
  return makePartitions(
    db,
    rows.map(({ month }) => month),
  )
}

async function makePartitions<DB>(db: Kysely<DB>, months: readonly Date[]): Promise<string[]> {
  const made: string[] = []
  for (const month of months) {
    const isMade = db.isTransaction
      ? await makePartition(db, month)
      : await db.transaction().execute((transaction) => makePartition(transaction, month))
    if (isMade) made.push(partitionName(month))
  }
  return made
}

/**
 * Makes one month's partition beside the table, moves into it what the default partition has of that month, and
 * only then attaches it: `create table ... partition of` fails (23514) when the default partition has such rows.
 */
async function makePartition<DB>(db: Kysely<DB>, month: Date): Promise<boolean> {
  const name = sql.table(partitionName(month))
  const [from, to] = [sql.lit(month.toISOString()), sql.lit(monthOf(month, 1).toISOString())]
  // Instances that begin at the same time take turns, and the later ones find it done.
  await sql`select pg_advisory_xact_lock(hashtext('traffic_movements partitions'))`.execute(db)
  const { rows } = await sql<{ exists: boolean }>`
    select to_regclass(${partitionName(month)}) is not null as exists`.execute(db)
  if (rows[0]?.exists === true) return false
  await sql`
    create table ${name} (like traffic_movements including defaults including constraints)`.execute(db)
  // Writers wait here, before they choose a partition: one that has chosen the default one and then waits for it
  // fails when this month is no longer for it (23514).
  await sql`lock table only traffic_movements in share row exclusive mode`.execute(db)
  await sql`
    with moved as (
      delete from traffic_movements_default where ts >= ${from} and ts < ${to} returning *
    )
    insert into ${name} select * from moved`.execute(db)
  await sql`
    alter table traffic_movements attach partition ${name} for values from (${from}) to (${to})`.execute(db)
  return true
}
