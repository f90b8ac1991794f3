import { type Kysely, type Migration, sql } from 'kysely'
import { emptyDefault } from '../upkeep/partitions.ts'

/**
 * Splits the movements by month (UTC). The key of a partitioned table must hold the column that it is split by, so
 * `like ... including all` of the old table fails; and with a key of its own nature a movement that is written again
 * after a lost connection is the same movement.
 */
export const movementsByMonth: Migration = {
  async up(db: Kysely<unknown>) {
    await sql`alter table traffic_movements rename to traffic_movements_old`.execute(db)
    await sql`
      create table traffic_movements (
        id bigint generated always as identity,
        airport_code text not null,
        callsign text not null,
        cid integer not null,
        movement_type text not null check (movement_type in ('departure', 'arrival')),
        ts timestamptz not null,
        primary key (ts, airport_code, callsign, cid, movement_type)
      ) partition by range (ts)`.execute(db)
    await sql`create table traffic_movements_default partition of traffic_movements default`.execute(db)
    await sql`
      insert into traffic_movements overriding system value
      select id, airport_code, callsign, cid, movement_type, ts from traffic_movements_old
      on conflict do nothing`.execute(db)
    await restart(db)
    await sql`drop table traffic_movements_old`.execute(db)
    await emptyDefault(db)
  },

  async down(db: Kysely<unknown>) {
    await sql`alter table traffic_movements rename to traffic_movements_parts`.execute(db)
    await sql`
      create table traffic_movements (
        id bigint generated always as identity primary key,
        airport_code text not null,
        callsign text not null,
        cid integer not null,
        movement_type text not null check (movement_type in ('departure', 'arrival')),
        ts timestamptz not null
      )`.execute(db)
    await sql`
      insert into traffic_movements overriding system value
      select id, airport_code, callsign, cid, movement_type, ts from traffic_movements_parts`.execute(db)
    await restart(db)
    await sql`drop table traffic_movements_parts`.execute(db)
  },
}

/** Lets the ids go on after those that were copied. */
async function restart(db: Kysely<unknown>): Promise<void> {
  await sql`
    select setval(pg_get_serial_sequence('traffic_movements', 'id'), coalesce(max(id), 0) + 1, false)
    from traffic_movements`.execute(db)
}
