import { type Kysely, type Migration, sql } from 'kysely'

/**
 * Says what a flight is: (callsign, cid, logon_time). An upsert needs a unique index to meet (SQLSTATE 42P10
 * without one), and a page by key needs an order without ties. Of rows that the old system had twice, the newest
 * stays.
 */
export const whatAFlightIs: Migration = {
  async up(db: Kysely<unknown>) {
    await sql`
      delete from flights where ctid in (
        select ctid from (
          select ctid, row_number() over (
            partition by callsign, cid, logon_time order by last_updated desc, ctid desc
          ) as number
          from flights
        ) numbered
        where number > 1
      )`.execute(db)
    await db.schema
      .alterTable('flights')
      .addPrimaryKeyConstraint('flights_pkey', ['callsign', 'cid', 'logon_time'])
      .execute()
    // The key begins with the callsign.
    await db.schema.dropIndex('flights_callsign').execute()
  },

  async down(db: Kysely<unknown>) {
    await db.schema.createIndex('flights_callsign').on('flights').column('callsign').execute()
    await db.schema.alterTable('flights').dropConstraint('flights_pkey').execute()
    await sql`
      alter table flights
        alter callsign set not null, alter cid set not null, alter logon_time set not null`.execute(db)
  },
}
