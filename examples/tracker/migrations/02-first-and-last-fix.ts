import { type Kysely, type Migration, sql } from 'kysely'

/**
 * The index that the fast side needs: a flight's fixes in the order of time. It is unique, so it also keeps a
 * flight from having two fixes of one second, and it replaces both secondary indexes of the old system: three
 * index entries a point become two.
 */
export const firstAndLastFix: Migration = {
  async up(db: Kysely<unknown>) {
    // The old key let a second hold several fixes, if their places differed; the first one that came stays.
    await sql`
      delete from track_points as later using track_points as earlier
      where later.flight_uuid = earlier.flight_uuid
        and later.datetime = earlier.datetime
        and later.id > earlier.id`.execute(db)
    await db.schema
      .createIndex('track_points_flight_datetime')
      .unique()
      .on('track_points')
      .columns(['flight_uuid', 'datetime desc'])
      .execute()
    await db.schema.alterTable('track_points').dropConstraint('track_points_fix').execute()
    await db.schema.dropIndex('track_points_datetime_flight').execute()
  },

  async down(db: Kysely<unknown>) {
    await db.schema
      .createIndex('track_points_datetime_flight')
      .on('track_points')
      .columns(['datetime', 'flight_uuid'])
      .execute()
    await db.schema
      .alterTable('track_points')
      .addUniqueConstraint('track_points_fix', ['flight_uuid', 'lat', 'lon', 'datetime'])
      .execute()
    await db.schema.dropIndex('track_points_flight_datetime').execute()
  },
}
