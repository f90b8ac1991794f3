import { type Kysely, type Migration, sql } from 'kysely'

/**
 * The system as the report found it. No index of `track_points` leads to a flight's first or last fix: through
 * `(datetime, flight_uuid)` PostgreSQL reads every flight's fixes in the order of time until it meets one of
 * this flight, and through `(flight_uuid, lat, lon, datetime)` it would read the whole flight, in the order of
 * its latitudes, and sort it.
 */
export const theOldSystem: Migration = {
  async up(db: Kysely<unknown>) {
    await db.schema
      .createTable('flights')
      .addColumn('id', 'uuid', (column) => column.primaryKey().defaultTo(sql`gen_random_uuid()`))
      .addColumn('flight_id', 'text', (column) => column.notNull())
      .addColumn('race_id', 'text', (column) => column.notNull())
      .addColumn('pilot_id', 'text', (column) => column.notNull())
      .addColumn('pilot_name', 'text', (column) => column.notNull())
      .addColumn('source', 'text', (column) => column.notNull().check(sql`source in ('live', 'upload')`))
      .addColumn('created_at', 'timestamptz', (column) => column.notNull().defaultTo(sql`now()`))
      .addColumn('first_fix', 'jsonb')
      .addColumn('last_fix', 'jsonb')
      .addColumn('total_points', 'integer', (column) => column.notNull().defaultTo(0))
      .addColumn('closed_at', 'timestamptz')
      .addUniqueConstraint('flights_flight_id_source', ['flight_id', 'source'])
      .addCheckConstraint('flights_fixes_come_together', sql`(first_fix is null) = (last_fix is null)`)
      .execute()
    await db.schema.createIndex('flights_race_pilot').on('flights').columns(['race_id', 'pilot_id']).execute()

    await db.schema
      .createTable('track_points')
      .addColumn('datetime', 'timestamptz', (column) => column.notNull())
      .addColumn('id', 'bigint', (column) => column.generatedByDefaultAsIdentity())
      .addColumn('flight_uuid', 'uuid', (column) =>
        column.notNull().references('flights.id').onDelete('cascade'),
      )
      .addColumn('lat', 'double precision', (column) => column.notNull().check(sql`lat between -90 and 90`))
      .addColumn('lon', 'double precision', (column) => column.notNull().check(sql`lon between -180 and 180`))
      .addColumn('elevation', 'double precision')
      .addColumn('barometric_altitude', 'double precision')
      .addPrimaryKeyConstraint('track_points_pkey', ['datetime', 'id'])
      .addUniqueConstraint('track_points_fix', ['flight_uuid', 'lat', 'lon', 'datetime'])
      .execute()
    await db.schema
      .createIndex('track_points_datetime_flight')
      .on('track_points')
      .columns(['datetime', 'flight_uuid'])
      .execute()
  },

  async down(db: Kysely<unknown>) {
    await db.schema.dropTable('track_points').execute()
    await db.schema.dropTable('flights').execute()
  },
}
