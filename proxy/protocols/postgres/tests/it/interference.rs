//! Two databases that differ in nothing but the values of masked columns: whoever may read them, and may not filter by
//! those columns, gets the same from both, byte by byte, by whatever function, operator, cast or form of query of the
//! server.
//!
//! Where one of the two is an error the other need not be: whether a value can be computed at all is told.

use crate::client::{Message, Raw, field, tags};
use crate::gateway::Gateway;

const POLICY: &str = "
maskedPredicates: Deny
rules:
- {name: reads, action: Allow, postgresql: {effects: [Connect, Select, Transaction]}}
masking:
- columns: [public.people.ssn, public.people.born, public.people.salary, public.people.notes,
    public.people.tags, public.people.score, public.people.active, public.people.ip,
    public.people.feeling, public.people.span, public.people.pic, public.people.seen, public.people.code]
";
const SCHEMA: &str = "
create type mood as enum ('sad', 'ok', 'happy');
create table people (id int, name text, ssn text, born date, salary numeric, notes jsonb, tags text[], score float8,
  active bool, ip inet, feeling mood, span int4range, pic bytea, seen timestamp, code int);
create table plain (id int, label text);
insert into plain select i, 'label ' || i from generate_series(1, 3) i;
create view who as select id, name, ssn as number, upper(ssn) as shown, nullif(ssn, '12') as unless from people;
";
/// Values that differ from row to row.
const ONE: &str = "insert into people select i, 'name ' || i, (11 + i)::text, date '1970-01-01' + i, 1000 + i,
  jsonb_build_object('a', 11 + i), array[i::text, 'x'], i * 1.25, i = 1, '10.0.0.1'::inet + i,
  case when i = 1 then 'sad' else 'ok' end::mood, int4range(1, 3 + i), decode('3' || i, 'hex'), timestamp '2020-01-01' + i * interval '1 day', i
  from generate_series(1, 4) i";
/// The same ones in every row.
const OTHER: &str = "insert into people select i, 'name ' || i, '345', date '1985-05-05', 77000, jsonb_build_object('b', 1, 'c', 2),
  array['2', 'y', 'z'], -9.5, false, '192.168.7.9', 'happy', int4range(50, 70), '\\x3233', timestamp '2024-12-31', 3
  from generate_series(1, 4) i";

/// An expression for each type: a masked column where there is one of it.
const OF_TYPE: &str = "(values ('text', 'p.ssn', true), ('date', 'p.born', true), ('numeric', 'p.salary', true),
  ('jsonb', 'p.notes', true), ('text[]', 'p.tags', true), ('double precision', 'p.score', true),
  ('boolean', 'p.active', true), ('inet', 'p.ip', true), ('int4range', 'p.span', true), ('bytea', 'p.pic', true),
  ('timestamp without time zone', 'p.seen', true), ('integer', 'p.code', true), ('bigint', 'p.code::bigint', true),
  ('smallint', 'p.code::smallint', true), ('real', 'p.score::real', true), ('json', 'p.notes::json', true),
  ('timestamp with time zone', 'p.seen::timestamptz', true), ('name', 'p.ssn::name', true), ('\"any\"', 'p.ssn', true),
  ('character varying', 'p.ssn::varchar', true), ('character', 'p.ssn::bpchar', true), ('anyelement', 'p.ssn', true),
  ('anynonarray', 'p.ssn', true), ('anycompatible', 'p.ssn', true), ('anyarray', 'p.tags', true),
  ('anycompatiblearray', 'p.tags', true), ('anyenum', 'p.feeling', true), ('anyrange', 'p.span', true),
  ('record', 'row(p.ssn, p.code)', true), ('tsvector', 'p.ssn::tsvector', true), ('oid', 'p.code::oid', true),
  ('interval', 'p.code * interval ''1 day''', true), ('bit', 'p.code::bit(8)', true), ('xml', 'p.ssn::xml', true),
  ('money', 'p.salary::money', true), ('time without time zone', 'p.seen::time', true), ('cidr', 'p.ip::cidr', true),
  ('jsonpath', '''$.*''::jsonpath', false), ('tsquery', '''1''::tsquery', false), ('point', 'point(1, 2)', false),
  ('regconfig', '''simple''::regconfig', false)) as one(type, expression, masked)";

/// Every function that takes what is masked.
fn functions() -> String {
    format!(
        "select format(case p.prokind when 'w' then 'select id, pg_catalog.%I(%s) over (order by id) from people p'
           when 'a' then 'select pg_catalog.%I(%s) from people p' else 'select id, pg_catalog.%I(%s) from people p' end,
           p.proname, string_agg(coalesce(one.expression, 'null::' || format_type(a.type, null)), ', ' order by a.place))
         from pg_proc p, unnest(p.proargtypes) with ordinality as a(type, place)
           left join {OF_TYPE} on one.type = format_type(a.type, null)
         where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind <> 'p'
           and not exists (select from unnest(p.proargtypes) t where t in ('internal'::regtype, 'cstring'::regtype))
         group by p.oid, p.proname, p.prokind having bool_or(one.masked) order by 1"
    )
}

fn operators() -> String {
    format!(
        "select format('select id, (%s) operator(pg_catalog.%s) (%s) from people p', l.expression, o.oprname, r.expression)
         from pg_operator o join {} on l.type = format_type(o.oprleft, null)
           join {} on r.type = format_type(o.oprright, null)
         where o.oprnamespace = 'pg_catalog'::regnamespace and (l.masked or r.masked) order by 1",
        OF_TYPE.replace(" one(", " l("),
        OF_TYPE.replace(" one(", " r("),
    )
}

fn casts() -> String {
    format!(
        "select format('select id, (%s)::%s from people p', one.expression, format_type(t.oid, null))
         from pg_type t, {OF_TYPE}
         where t.typnamespace = 'pg_catalog'::regnamespace and t.typtype in ('b', 'r') and t.typrelid = 0 and one.masked
           and t.typname !~ '^_' order by 1"
    )
}

/// Forms of queries; `{}` is a masked text, `{?}` a condition on one.
const FORMS: &[&str] = &[
    "select id, {} from people p",
    "select id, nullif({}, '12') from people p",
    "select id, nullif('12', {}) from people p",
    "select id, case when {?} then 'yes' end from people p",
    "select id, case when {?} then name end from people p",
    "select id, case {} when '12' then name end from people p",
    "select id, coalesce(nullif({}, '12'), name) from people p",
    "select id, (select name where {?}) from people p",
    "select id, (select max(label) from plain where {?}) from people p",
    "select id, (array['a', null])[case when {?} then 1 else 2 end] from people p",
    "select id, exists (select where {?}) from people p",
    "select id, {} in (select label from plain) from people p",
    "select max(name) filter (where {?}) from people p",
    "select string_agg(name, ',') filter (where {?}) from people p",
    "select count(*) filter (where {?}) from people p",
    "select string_agg(name, ',' order by {}) from people p",
    "select string_agg(name, ',' order by {}) over (order by id) from people p",
    "select max(name) over (order by {}) from people p",
    "select max(name) over (partition by {}) from people p",
    "select lag(name) over (order by {}) from people p",
    "select first_value(name) over (order by id rows between case when {?} then 1 else 0 end preceding and current row) from people p",
    "select nth_value(name, p.code) over (order by id rows between unbounded preceding and unbounded following) from people p",
    "select percentile_disc(0.5) within group (order by {}) from people p",
    "select mode() within group (order by {}) from people p",
    "select distinct on ({}) name from people p",
    "select distinct {} from people p",
    "select {} from people p group by 1",
    "select name from people p group by name, {}",
    "select max(name) from people p group by rollup ({})",
    "select max(name) from people p having max({}) > '2'",
    "select name from people p order by {}",
    "select name from people p order by case when {?} then id end",
    "select name from people p where {?}",
    "select name from people p limit (select code from people limit 1)",
    "select name from people p offset (select code from people limit 1)",
    "select name from people p order by id fetch first (select code from people limit 1) rows with ties",
    "select name from people p join plain q on {} = q.label",
    "select name from people p left join plain q on {?}",
    "select q.label from people p left join plain q on q.id = p.code",
    "select name from people p join (select ssn from people) r using (ssn)",
    "select a.name from people a natural join people b",
    "select {} from people p union select 'x'",
    "select 'x' except select {} from people p",
    "select '12' intersect select {} from people p",
    "select {} from people p union all select label from plain",
    "select id, t from people p, unnest(p.tags) t",
    "select id, n from people p, unnest(p.tags) with ordinality as t(x, n)",
    "select id from people p, generate_series(1, p.code)",
    "select id, generate_series(1, p.code) from people p",
    "select id, unnest(p.tags) from people p",
    "select id, jsonb_object_keys(p.notes) from people p",
    "select id from people p, regexp_split_to_table({}, '1')",
    "select id, x.* from people p, jsonb_each_text(p.notes) x",
    "select id from people p, lateral (select 1 where {?}) l",
    "select id from people p cross join lateral (values (1), (2)) v(n) where v.n <= p.code",
    "select id, p::text from people p",
    "select id, (p).ssn from people p",
    "select id, ssn(p) from people p",
    "select id, row_to_json(p) from people p",
    "select id, to_jsonb(p) ->> 'ssn' from people p",
    "select id, (p.*)::text from people p",
    "select id, p is null, p is not null from people p",
    "select id, num_nulls({}), {} is null from people p",
    "select array_agg(p) from people p",
    "select json_agg(p) from people p",
    "select xmlforest({} as x)::text from people p",
    "select x from people p, xmltable('/a' passing xmlelement(name a, {}) columns x text path '.')",
    "select format('%s', p) from people p",
    "select concat_ws(',', p.*) from people p",
    "select id, greatest({}, 'a'), least({}, 'a') from people p",
    "select * from who",
    "select id, coalesce(unless, 'none') from who",
    "with c as materialized (select {} as x from people p) select x from c",
    "with c(x) as (select {} from people p) select count(*) from c",
    "with recursive c(n) as (select 1 union all select n + 1 from c where n < (select max(code) from people)) select n from c",
    "with recursive c(n, t) as (select id, {} from people p union all select n + 10, t from c where n < 10) select * from c",
    "values ((select {} from people p limit 1))",
    "select (select {} from people p where id = 1) || label from plain",
    "select label from plain where label > (select {} from people p where id = 1)",
    "select label from plain order by (select {} from people p where id = plain.id)",
    "explain (costs off) select name from people p where {?}",
    "explain (analyze, costs off, timing off, summary off) select {} from people p",
    "copy (select id, {} from people p) to stdout",
    "copy (select id, nullif({}, '12') from people p) to stdout",
    "copy (select id, case when {?} then id end from people p) to stdout (format csv)",
    "copy (select id, nullif({}, '12') from people p) to stdout (format binary)",
    "copy people to stdout",
    "copy people (id, ssn, code) to stdout (format csv, header)",
    "select convert_from(pic, 'utf8') from people",
    "table people",
];

/// Forms of writing, each followed by a look at what became of it, and taken back.
const WRITTEN: &[&str] = &[
    "update plain set label = {} from people p",
    "update plain set label = case when {?} then 'yes' end from people p where p.id = plain.id",
    "update plain set label = 'x' where (select {?} from people p limit 1)",
    "update plain set label = 'x' from people p where p.id = plain.id and {?}",
    "update people p set name = {}",
    "update people p set name = case when {?} then 'yes' else 'no' end",
    "update people p set name = name returning id, {}",
    "update people p set name = name returning old_name(p)",
    "update people p set name = name where {?} returning id",
    "update people p set (name, ssn) = (select {}, 'x')",
    "delete from plain using people p where {?}",
    "delete from people p where {?}",
    "delete from people p returning *",
    "insert into plain select id, {} from people p",
    "insert into plain select id, name from people p where {?}",
    "insert into plain select case when {?} then 1 else 2 end, name from people p",
    "insert into plain select p.code, name from people p",
    "insert into plain values (1, (select {} from people p limit 1)) returning *",
    "insert into people select * from people",
    "insert into people(id, name) select id, {} from people p",
    "insert into people(id, ssn) select id, p.ssn from people p returning ssn, id",
    "merge into plain q using people p on q.id = p.id when matched and {?} then update set label = 'yes'",
    "merge into plain q using people p on q.id = p.id when matched then update set label = {}",
    "merge into plain q using people p on q.id = p.code when matched then delete",
    "create table copied as select id, {} as x from people p; table copied",
    "create table copied as select id, name from people p where {?}; table copied",
    "create temp table copied as select id, {} as x from people p; table copied",
    "create temp table copied as select id, name, nullif({}, '12') as x from people p; select id, x, x is null from copied",
    "select id, {} as x into copied from people p; table copied",
    "create table copied (like people including all); insert into copied select * from people; table copied",
    "create table copied () inherits (people); select id, {} from copied p",
    "create view copied as select id, {} as x, case when {?} then 'a' end as y from people p; table copied",
    "create view copied(a, b) as select id, {} from people p; select b || 'x', b = '12' from copied",
    "create view copied as select id, {} as x from people p; create view again as select id, x as z from copied; table again",
    "create materialized view copied as select id, {} as x from people p; table copied",
    "create materialized view copied as select id, name from people p where {?}; table copied",
    "alter table people rename column ssn to other; select id, other from people",
    "alter table people rename to humans; select id, ssn from humans",
    "alter table people rename ssn to name2; alter table people rename label to ssn",
    "alter table plain add column x text; update plain set x = {} from people p; table plain",
    "create function reveal(people) returns text language sql as 'select $1.ssn'; select id, reveal(p) from people p",
    "declare c cursor for select id, {} from people p; fetch all from c",
    "declare c cursor for select id, name from people p where {?}; fetch all from c",
    "prepare x as select id, {} from people p; execute x; deallocate x",
    "prepare x(text) as select id, nullif({}, $1) from people p; execute x('12'); deallocate x",
    "with moved as (delete from people p returning id, {} as x) select * from moved",
    "with moved as (delete from people p where {?} returning id) select count(*) from moved",
    "with moved as (update people p set name = {} returning name) select * from moved",
    "select set_config('application_name', {}, false) from people p; show application_name",
    "set application_name = 'x'; select id, {} from people p",
    "notify news, 'x'; listen news; select pg_notify('news', {}) from people p",
    "lock table people; select id, {} from people p",
    "create index on people (ssn); explain (costs off) select name from people p where {?}",
    "analyze people; select most_common_vals::text from pg_stats where tablename = 'people'",
    "analyze people; select n_distinct, null_frac from pg_stats where tablename = 'people'",
    "do $$ begin perform set_config('x.y', (select ssn from people limit 1), false); end $$; show x.y",
    "select lo_from_bytea(4711, p.pic) from people p where id = 1; select lo_get(4711)",
    "select lo_from_bytea(4711, ''); select lo_put(4711, 0, {}::bytea) from people p where id = 1; select lo_get(4711)",
    "select lo_create(4711); select lowrite(lo_open(4711, 131072), {}::bytea) from people p where id = 1; select lo_get(4711)",
    "select lo_create(case when {?} then 4711 else 4712 end) from people p where id = 1; select loid from pg_largeobject_metadata",
    "create rule r as on update to plain do also select ssn from people; update plain set label = 'x'",
    "grant select on people to public; select id, {} from people p",
    "comment on table plain is 'x'; select id, {} from people p",
];

/// What a client can tell of an answer. Of an error only its code: its place is one in the client's own text.
fn told(answer: &[Message]) -> Vec<(char, Vec<u8>)> {
    answer.iter().filter(|message| message.tag != 'T').map(|one| (one.tag, one.body.clone())).collect()
}

/// The server ran into an error. A refusal of the gateway is an answer like any other.
fn fails(answer: &[Message]) -> bool {
    answer.iter().any(|message| message.tag == 'E') && field(answer, 'E', 'C') != "42501"
}

/// How many were compared, of how many.
async fn compare(one: &mut Raw, other: &mut Raw, queries: &[String]) -> (usize, Vec<String>) {
    let (mut compared, mut differing) = (0, Vec::new());
    for sql in queries {
        let (here, there) = (one.ask(sql).await, other.ask(sql).await);
        if fails(&here) || fails(&there) {
            continue;
        }
        compared += 1;
        if told(&here) != told(&there) {
            differing.push(format!("{sql}\n  {}: {here:?}\n  {}: {there:?}", tags(&here), tags(&there)));
        }
    }
    (compared, differing)
}

fn filled(forms: &[&str]) -> Vec<String> {
    let of = |form: &&str| {
        [("p.ssn", "p.active"), ("upper(p.ssn)", "p.ssn = '12'"), ("p.notes ->> 'a'", "p.code < 2")]
            .map(|(text, condition)| form.replace("{}", text).replace("{?}", condition))
    };
    let mut filled: Vec<String> = forms.iter().flat_map(of).collect();
    filled.sort();
    filled.dedup();
    filled
}

#[tokio::test(flavor = "multi_thread")]
async fn masked_values_make_no_difference() {
    let Some(one) = Gateway::start(POLICY, &format!("{SCHEMA}; {ONE}")).await else { return };
    let other = Gateway::start(POLICY, &format!("{SCHEMA}; {OTHER}")).await.unwrap();
    let (mut here, mut there) = (one.raw().await, other.raw().await);
    let lines =
        |sql: String| one.server.sql(&one.database, &sql).lines().map(str::to_owned).collect::<Vec<_>>();
    let mut wrong = Vec::new();
    for (what, queries) in [
        ("forms", filled(FORMS)),
        ("functions", lines(functions())),
        ("operators", lines(operators())),
        ("casts", lines(casts())),
    ] {
        let began = std::time::Instant::now();
        let (compared, differing) = compare(&mut here, &mut there, &queries).await;
        println!(
            "{what}: {compared} of {} compared in {:?}, {} differ",
            queries.len(),
            began.elapsed(),
            differing.len()
        );
        assert!(
            queries.len() > 100 && compared * 6 > queries.len(),
            "{what}: {compared} of {}",
            queries.len()
        );
        wrong.extend(differing);
    }
    assert!(wrong.is_empty(), "{} tell what is masked:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_with_masked_values_makes_no_difference() {
    let policy = POLICY.replace("{effects: [Connect, Select, Transaction]}", "{}");
    let Some(one) = Gateway::start(&policy, &format!("{SCHEMA}; {ONE}")).await else { return };
    let other = Gateway::start(&policy, &format!("{SCHEMA}; {OTHER}")).await.unwrap();
    let (mut compared, mut wrong) = (0, Vec::new());
    for form in filled(WRITTEN) {
        let (mut here, mut there) = (one.raw().await, other.raw().await);
        let steps: Vec<String> = ["begin"]
            .into_iter()
            .chain(form.split("; "))
            .chain([
                "select id, label from plain order by 1, 2",
                "select id, name from people order by 1, 2",
                "rollback",
            ])
            .map(str::to_owned)
            .collect();
        let (steps_compared, differing) = compare(&mut here, &mut there, &steps).await;
        compared += usize::from(steps_compared == steps.len());
        wrong.extend(differing.into_iter().map(|one| format!("{form}: {one}")));
    }
    println!("{compared} compared, {} differ", wrong.len());
    assert!(wrong.is_empty(), "{} tell what is masked:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared > 50, "only {compared} were answered without an error of the server");
}
