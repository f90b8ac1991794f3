import { type Kysely, type Migration, sql } from 'kysely'

/**
 * The system as the report found it: nothing says what a flight is (its rows are found by callsign, and callsigns
 * collide), and all movements of all time are in one table.
 */
export const theOldSystem: Migration = {
  async up(db: Kysely<unknown>) {
    await db.schema
      .createTable('airports')
      .addColumn('icao_code', 'text', (column) => column.primaryKey())
      .addColumn('name', 'text', (column) => column.notNull())
      .addColumn('country', 'text', (column) => column.notNull())
      .addColumn('region', 'text', (column) => column.notNull())
      .addColumn('latitude', 'double precision', (column) => column.notNull())
      .addColumn('longitude', 'double precision', (column) => column.notNull())
      .addColumn('is_active', 'boolean', (column) => column.notNull().defaultTo(true))
      .execute()

    await db.schema
      .createTable('atc_positions')
      .addColumn('callsign', 'text', (column) => column.primaryKey())
      .addColumn('facility', 'text', (column) => column.notNull())
      .addColumn('position', 'text', (column) => column.notNull())
      .addColumn('status', 'text', (column) => column.notNull().check(sql`status in ('online', 'standby')`))
      .addColumn('frequency', 'text')
      .addColumn('controller_id', 'integer', (column) => column.notNull())
      .addColumn('controller_name', 'text', (column) => column.notNull())
      .addColumn('controller_rating', 'integer')
      .addColumn('last_seen', 'timestamptz', (column) => column.notNull())
      .execute()

    await db.schema
      .createTable('flights')
      .addColumn('callsign', 'text', (column) => column.notNull())
      .addColumn('cid', 'integer', (column) => column.notNull())
      .addColumn('logon_time', 'timestamptz', (column) => column.notNull())
      .addColumn('aircraft_type', 'text')
      .addColumn('position_lat', 'double precision', (column) =>
        column.check(sql`position_lat between -90 and 90`),
      )
      .addColumn('position_lng', 'double precision', (column) =>
        column.check(sql`position_lng between -180 and 180`),
      )
      .addColumn('altitude', 'integer')
      .addColumn('speed', 'integer')
      .addColumn('heading', 'integer')
      .addColumn('departure', 'text')
      .addColumn('arrival', 'text')
      .addColumn('route', 'text')
      .addColumn('status', 'text', (column) =>
        column.notNull().check(sql`status in ('preflight', 'airborne', 'landed', 'completed')`),
      )
      .addColumn('last_updated', 'timestamptz', (column) => column.notNull())
      .execute()
    await db.schema.createIndex('flights_callsign').on('flights').column('callsign').execute()

    await db.schema
      .createTable('traffic_movements')
      .addColumn('id', 'bigint', (column) => column.generatedAlwaysAsIdentity().primaryKey())
      .addColumn('airport_code', 'text', (column) => column.notNull())
      .addColumn('callsign', 'text', (column) => column.notNull())
      .addColumn('cid', 'integer', (column) => column.notNull())
      .addColumn('movement_type', 'text', (column) =>
        column.notNull().check(sql`movement_type in ('departure', 'arrival')`),
      )
      .addColumn('ts', 'timestamptz', (column) => column.notNull())
      .execute()

    await db.schema
      .createTable('flight_summaries')
      .addColumn('callsign', 'text', (column) => column.notNull())
      .addColumn('cid', 'integer', (column) => column.notNull())
      .addColumn('logon_time', 'timestamptz', (column) => column.notNull())
      .addColumn('aircraft_type', 'text')
      .addColumn('departure', 'text')
      .addColumn('arrival', 'text')
      .addColumn('duration_seconds', 'integer', (column) => column.notNull())
      .addColumn('completed_at', 'timestamptz', (column) => column.notNull())
      .addPrimaryKeyConstraint('flight_summaries_pkey', ['callsign', 'cid', 'logon_time'])
      .execute()

    await db.schema
      .createTable('movement_summaries')
      .addColumn('airport_icao', 'text', (column) => column.notNull())
      .addColumn('date', 'date', (column) => column.notNull())
      .addColumn('departures', 'integer', (column) => column.notNull())
      .addColumn('arrivals', 'integer', (column) => column.notNull())
      .addPrimaryKeyConstraint('movement_summaries_pkey', ['airport_icao', 'date'])
      .execute()
  },

  async down(db: Kysely<unknown>) {
    for (const table of [
      'movement_summaries',
      'flight_summaries',
      'traffic_movements',
      'flights',
      'atc_positions',
      'airports',
    ])
      await db.schema.dropTable(table).execute()
  },
}
