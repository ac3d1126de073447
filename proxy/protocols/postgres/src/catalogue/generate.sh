#!/bin/sh
# Writes functions.txt, operators.txt and relations.txt: what every PostgreSQL has, read from a real server.
# usage: PGHOST=… PGPORT=… PGUSER=… ./generate.sh   (a fresh cluster, connected to database postgres)
set -eu
cd "$(dirname "$0")"
# name, worst volatility (v > s > i), set-returning?, names of the columns it returns when it returns a row
psql -XAtq -F ' ' -d postgres > functions.txt <<'SQL'
with f as (
  select p.proname, p.provolatile, p.proretset, t.typtype = 'p' and t.typname in ('record', 'anyelement', 'any') or t.typtype = 'c' as composite,
    (select string_agg(a.name, ',' order by a.n) from unnest(p.proargnames, p.proargmodes) with ordinality a(name, mode, n)
      where a.mode in ('o', 'b', 't')) as columns
  from pg_proc p join pg_type t on t.oid = p.prorettype
  where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind in ('f', 'a', 'w')
    and t.typname not in ('internal', 'trigger', 'event_trigger', 'language_handler', 'fdw_handler', 'index_am_handler',
      'tsm_handler', 'table_am_handler')
    and not exists (select from unnest(p.proargtypes) a(t) where a.t = 'internal'::regtype and p.prokind = 'f'))
select proname, max(case provolatile when 'v' then 'v' when 's' then 's' else 'i' end collate "C"),
  case when bool_or(proretset) then 's' else '-' end,
  case when bool_or(composite) then case when count(distinct coalesce(columns, '?')) = 1 and not bool_or(columns is null) and bool_and(composite)
    then max(columns) else '?' end else '-' end
from f group by proname order by proname collate "C"
SQL
psql -XAtq -d postgres -c "select distinct oprname collate \"C\" from pg_operator where oid < 16384 order by 1" > operators.txt
psql -XAtq -F ' ' -d postgres > relations.txt <<'SQL'
select case n.nspname when 'pg_catalog' then 'c' else 'i' end, c.relname,
  (select string_agg(a.attname, ',' order by a.attnum) from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname in ('pg_catalog', 'information_schema') and c.relkind in ('r', 'v') order by 1, c.relname collate "C"
SQL
