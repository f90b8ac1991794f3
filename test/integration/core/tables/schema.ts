import type pg from 'pg'

/** Tables of one shape (`id int, v int`) in all ways in which PostgreSQL lets tables hang together. */
export async function setUpTables(pool: pg.Pool): Promise<void> {
  await pool.query(
    `
    create schema other;
    create table pilots (id int primary key, v int);
    create table flights (id int primary key, v int, pilot int references pilots on delete cascade on update cascade);
    create table fixes (id int primary key, v int, flight int references flights on delete set null);
    create table notes (id int primary key, v int, fix int references fixes on delete restrict);
    create table badges (id int primary key, v int, flight int default 0 references flights on delete set default);
    create table other.flights (id int primary key, v int);
    create table "Mixed Case" (id int primary key, v int);
    create table days (id int, v int) partition by range (id);
    create table days_1 partition of days for values from (0) to (5);
    create table days_2 partition of days for values from (5) to (100);
    create table animals (id int, v int);
    create table cats (purrs int) inherits (animals);
    create view active as select id, v from flights where v > 0;
    create view named as select a.id, p.v from active a join pilots p on p.id = a.id;
    create materialized view kept as select id, v from fixes;
    create table audited (id int primary key, v int);
    create table log (id int, v int);
    create function note_audited() returns trigger language plpgsql as $$
      begin insert into log values (1, 1); return null; end $$;
    create trigger note_audited after insert or delete on audited for each row execute function note_audited();
    create table touched (id int primary key, v int, at timestamptz);
    create function touch() returns trigger language plpgsql as $$
      begin new.at := clock_timestamp(); return new; end $$;
    create trigger touch before insert or update on touched for each row execute function touch();
    create table hidden (id int primary key, v int);
    create function run_hidden() returns trigger language plpgsql as $$
      begin execute 'insert into log values (2, 2)'; return null; end $$;
    create trigger run_hidden after update on hidden for each statement execute function run_hidden();
    create function count_pilots() returns bigint language sql stable as 'select count(*) from pilots';
    create function add_log(n int) returns int language plpgsql as $$
      begin insert into log values (n, n); return n; end $$;
    create function plain(n int) returns int language sql immutable as 'select n + 1';
    create function body_of_flights() returns bigint language sql stable begin atomic select count(*) from flights; end;
    create view counted as select count_pilots() as id, 1 as v;
    insert into pilots select i, i from generate_series(1, 9) i;
    insert into flights select i, i, i from generate_series(0, 9) i where i = 0 or i in (select id from pilots);
  `.replace('select i, i, i from', 'select i, i, nullif(i, 0) from'),
  )
  await pool.query(`
    insert into fixes select i, i, i from generate_series(1, 9) i;
    insert into notes select i, i, null from generate_series(1, 9) i;
    insert into badges select i, i, i from generate_series(1, 9) i;
    insert into other.flights select i, i from generate_series(1, 9) i;
    insert into "Mixed Case" select i, i from generate_series(1, 9) i;
    insert into days select i, i from generate_series(1, 9) i;
    insert into animals select i, i from generate_series(1, 9) i;
    insert into cats select i, i, i from generate_series(11, 19) i;
    insert into audited select i, i from generate_series(1, 9) i;
    insert into touched select i, i from generate_series(1, 9) i;
    insert into hidden select i, i from generate_series(1, 9) i;
    refresh materialized view kept;
  `)
}

/** What a query can select `id` and `v` from. */
export const sources = [
  'pilots', 'flights', 'fixes', 'other.flights', 'Mixed Case', 'days', 'days_1', 'animals', 'cats', 'active', 'named', 'kept',
] as const // biome-ignore format: a list of names
