//! What is believed before the server has said it, and what is not: names that are made anew across a `Sync`, settings
//! that are not set after all, rows that an error quotes.

use crate::client::{Message, field, tags};
use crate::gateway::Gateway;

const CANARY: &str = "078-05-1120";
const POLICY: &str = "
rules:
- {name: work, action: Allow, postgresql: {effects: [Select, Insert, Update], relations: ['public.*', 'tenant.*', 'pg_catalog.*']}}
- {name: elsewhere, action: Allow, postgresql: {effects: [Select], relations: ['front.*', 'viewed.*']}}
- {name: session, action: Allow, postgresql: {effects: [Connect, Set, Transaction]}}
- {name: removal, action: Deny, postgresql: {effects: [Delete]}}
masking:
- {columns: [public.customers.ssn]}
- {columns: [public.customers.phone], with: {type: Partial, keepLast: 4}}
";
const SCHEMA: &str = "
create table customers(id int primary key, name text not null, ssn text, phone text, ref int);
create table parents(id int primary key);
insert into parents values (1);
insert into customers values (1, 'ada', '078-05-1120', '0123456789', null), (2, 'bob', '078-05-1120', '9876543210', null);
create table children(parent int not null references parents on delete set null, secret text);
create schema tenant; create table tenant.payroll(pay int);
create schema hidden; create table hidden.payroll(pay int); insert into hidden.payroll values (666);
create schema front; create table front.customers(id int, name text, ssn text);
create table front.base(id int, name text, ssn text);
create schema viewed; create view viewed.customers as select * from front.base;
create function public.json_value(json, text) returns text language sql as 'delete from public.children; select 1::text';
";

/// Everything is allowed; the column is masked.
const ALL: &str = "
rules:
- {name: all, action: Allow, postgresql: {}}
- {name: unknown, action: Allow, postgresql: {effects: [Unknown]}}
masking:
- {columns: [public.customers.ssn]}
";

fn in_clear(messages: &[Message], canary: &str) -> bool {
    messages
        .iter()
        .any(|message| message.body.windows(canary.len()).any(|window| window == canary.as_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_keeps_its_meaning_behind_a_sync() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    let mut raw = gateway.raw().await;
    raw.parse("s", "select ssn from customers where id = 1").sync().send().await;
    assert_eq!(tags(&raw.answer().await), "1Z");
    // the second Parse fails, and what is behind its Sync runs the first text
    raw.parse("s", "select name from customers where id = 1").sync();
    raw.bind("", "s").execute("").sync().send().await;
    assert_eq!(field(&raw.answer().await, 'E', 'C'), "42P05");
    let rows = raw.answer().await;
    assert_eq!(tags(&rows), "2DCZ");
    assert!(!in_clear(&rows, CANARY), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_message_had_skipped_is_not_what_runs_behind_the_sync() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    let mut raw = gateway.raw().await;
    raw.parse("", "select ssn from customers where id = 1").sync().send().await;
    assert_eq!(tags(&raw.answer().await), "1Z");
    // its Bind fails, so that its Parse is skipped
    raw.bind("", "nope").parse("", "select name from customers where id = 1").sync();
    raw.bind("", "").execute("").sync().send().await;
    assert_eq!(field(&raw.answer().await, 'E', 'C'), "26000");
    let rows = raw.answer().await;
    assert_eq!(tags(&rows), "2DCZ");
    assert!(!in_clear(&rows, CANARY), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_whose_bind_failed_is_not_what_runs_behind_the_sync() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    let mut raw = gateway.raw().await;
    raw.query("begin").query("declare p cursor with hold for select ssn from customers").query("commit");
    raw.send().await;
    for _ in 0..3 {
        raw.answer().await;
    }
    raw.parse("s", "select name from customers").bind("p", "s").sync().execute("p").sync().send().await;
    assert_eq!(field(&raw.answer().await, 'E', 'C'), "42P03");
    let rows = raw.answer().await;
    assert_eq!(tags(&rows), "DDCZ");
    assert!(!in_clear(&rows, CANARY), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelines_whose_names_are_their_own_wait_for_nothing() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    let mut raw = gateway.raw().await;
    for _ in 0..20 {
        raw.extended("select id from customers where id = 1").sync();
    }
    raw.parse("named", "select 1").sync().bind("", "named").execute("").sync();
    raw.send().await;
    for _ in 0..20 {
        assert_eq!(tags(&raw.answer().await), "12DCZ");
    }
    assert_eq!(tags(&raw.answer().await), "1Z");
    assert_eq!(tags(&raw.answer().await), "2DCZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_is_believed_only_where_it_is_set() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    let not_set = [
        "select set_config('search_path', 'tenant', true)",
        "select set_config('search_path', 'tenant', false) where false",
        "select set_config('search_path', 'tenant', false) limit 0",
        "select coalesce('x', set_config('search_path', 'tenant', false))",
        "prepare p as select set_config('search_path', 'tenant', false)",
        "explain select set_config('search_path', 'tenant', false)",
        "with q as (select set_config('search_path', 'tenant', false)) select 1",
    ];
    for text in not_set {
        let mut raw = gateway.raw().await;
        raw.query("set search_path = hidden").query(text).query("select * from payroll").send().await;
        assert_eq!(tags(&raw.answer().await), "CZ");
        raw.answer().await;
        let rows = raw.answer().await;
        assert_eq!(field(&rows, 'E', 'C'), "42501", "{text}: {rows:?}");
    }
    let mut raw = gateway.raw().await;
    raw.query("set search_path = hidden").query("select set_config('search_path', 'tenant', false)");
    raw.query("select * from payroll").send().await;
    for expected in ["CZ", "TDCZ", "TCZ"] {
        assert_eq!(tags(&raw.answer().await), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_error_quotes_a_row_with_masked_columns() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    let mut raw = gateway.raw().await;
    let quoting = [
        "update customers set name = null where id = 1",
        "insert into customers as c values (1, 'x') on conflict (id) do update set name = null",
        "update customers set id = 2 where id = 1",
        "insert into customers(id, name) values (1, 'x')",
    ];
    for text in quoting {
        raw.query(text).send().await;
        let answer = raw.answer().await;
        assert!(field(&answer, 'E', 'C').starts_with("23"), "{answer:?}");
        assert!(!in_clear(&answer, CANARY), "{text}: {answer:?}");
        // programs tell by it what happened, and people
        assert!(in_clear(&answer, "constraint"), "{text}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mask_that_shows_a_part_shows_no_other_part() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    let mut raw = gateway.raw().await;
    for text in [
        "update customers set phone = repeat('x', 20) || left(phone, 4)",
        "update customers set phone = ssn",
        "update customers set phone = substr(ssn, 1, 4)",
    ] {
        raw.query(text).send().await;
        let answer = raw.answer().await;
        assert_eq!(field(&answer, 'E', 'C'), "42501", "{text}: {answer:?}");
        assert!(field(&answer, 'E', 'M').contains("masked-copy"), "{answer:?}");
    }
    for text in ["update customers set ssn = left(phone, 4)", "update customers set phone = '5550000000'"] {
        raw.query(text).send().await;
        assert_eq!(tags(&raw.answer().await), "CZ", "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_judged_in_time_is_refused_in_time() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    let relations: Vec<String> = (0..40).map(|n| format!("pg_catalog.pg_class r{n}")).collect();
    let chain: Vec<String> = (0..2000)
        .map(|n| format!("r{}.c{}::text = r{}.c{}::text", n % 40, n / 40, (n + 1) % 40, (n + 1) / 40))
        .collect();
    let mut raw = gateway.raw().await;
    raw.query(&format!("select 1 from {} where {}", relations.join(", "), chain.join(" and "))).send().await;
    let answer = raw.answer().await;
    assert_eq!(field(&answer, 'E', 'C'), "42501", "{answer:?}");
    assert!(field(&answer, 'E', 'M').contains("too large to be judged"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_sync_comes_too_early_leaves_the_session_in_step() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    let mut raw = gateway.raw().await;
    raw.extended("copy tenant.payroll from stdin").sync();
    postgres_protocol::message::frontend::CopyData::new(&b"1\n"[..]).unwrap().write(&mut raw.out);
    postgres_protocol::message::frontend::copy_done(&mut raw.out);
    raw.sync().query("select * from tenant.payroll").send().await;
    assert_eq!(tags(&raw.answer().await), "12GCZ");
    assert_eq!(tags(&raw.answer().await), "TDCZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_waits_for_the_names_that_the_protocol_makes() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    for synced in [false, true] {
        let mut raw = gateway.raw().await;
        raw.parse("s", "select name from customers where id = 1").sync().query("execute s").send().await;
        assert_eq!(tags(&raw.answer().await), "1Z");
        assert_eq!(tags(&raw.answer().await), "TDCZ");
        postgres_protocol::message::frontend::close(b'S', "s", &mut raw.out).unwrap();
        raw.parse("s", "select ssn from customers where id = 1");
        if synced {
            raw.sync();
        }
        raw.query("execute s").send().await;
        let mut rows = raw.answer().await;
        if synced {
            rows = raw.answer().await;
        }
        assert!(tags(&rows).ends_with("TDCZ"), "{rows:?}");
        assert!(!in_clear(&rows, CANARY), "{rows:?}");
    }
    // a statement whose text runs another one
    let mut raw = gateway.raw().await;
    raw.parse("s", "select name from customers where id = 1").parse("e", "execute s").sync().send().await;
    assert_eq!(tags(&raw.answer().await), "11Z");
    postgres_protocol::message::frontend::close(b'S', "s", &mut raw.out).unwrap();
    raw.parse("s", "select ssn from customers where id = 1").bind("", "e").execute("").sync().send().await;
    let rows = raw.answer().await;
    assert_eq!(tags(&rows), "312DCZ");
    assert!(!in_clear(&rows, CANARY), "{rows:?}");
    let mut raw = gateway.raw().await;
    raw.query("begin; declare c cursor for select name from customers").send().await;
    raw.answer().await;
    postgres_protocol::message::frontend::close(b'P', "c", &mut raw.out).unwrap();
    raw.parse("", "select ssn from customers").bind("c", "").sync().query("fetch all from c").send().await;
    raw.answer().await;
    let rows = raw.answer().await;
    // what the protocol bound, SQL does not know
    assert_eq!(field(&rows, 'E', 'C'), "42501", "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_which_the_server_sees_a_part_is_not_spoken() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    let mut raw = gateway.raw().await;
    raw.parse(&"A".repeat(63), "select name from customers").sync().send().await;
    assert_eq!(tags(&raw.answer().await), "1Z");
    raw.parse(&"A".repeat(64), "select ssn from customers").sync().send().await;
    let answer = raw.read().await;
    assert!(in_clear(&[answer], "a name of more than 63 bytes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_path_leads_to_may_be_more_than_the_gateway_knows() {
    let Some(gateway) = Gateway::start(ALL, SCHEMA).await else { return };
    let cut = "f".repeat(63);
    let long = format!(
        "create schema {cut}; create table {cut}.customers(ssn text); grant usage on schema {cut} to public"
    );
    gateway.server.sql(&gateway.database, &long);
    let set_long = format!("set search_path = '{cut}xx', front");
    let scenes: [&[&str]; 7] = [
        &[
            "set search_path = front",
            "begin",
            "set local search_path = public",
            "set search_path from current",
            "commit",
        ],
        &[
            "create schema publicx",
            "create table publicx.customers(ssn text)",
            "select set_config('search_path', 'publicx'::varchar(6), false)",
        ],
        &["set search_path = front, public", "begin", "drop schema front cascade"],
        &["set search_path = viewed, public", "begin", "drop table front.base cascade"],
        &["set search_path = front, public", "begin", "drop owned by app"],
        &["set search_path = front, public", "begin", "alter schema front rename to zz"],
        &["set search_path = front, public", "revoke usage on schema front from app"],
    ];
    for scene in scenes {
        let mut raw = gateway.raw().await;
        for text in scene {
            raw.query(text).send().await;
            raw.answer().await;
        }
        raw.query("select ssn from customers").send().await;
        let rows = raw.answer().await;
        assert!(!in_clear(&rows, CANARY), "{scene:?}: {rows:?}");
        raw.query("rollback").query("grant usage on schema front to app").send().await;
        raw.answer().await;
        raw.answer().await;
    }
    let mut raw = gateway.raw().await;
    raw.query(&set_long).query("select id from customers").send().await;
    raw.answer().await;
    let rows = raw.answer().await;
    // the schema whose name was cut has no such column
    assert_eq!(field(&rows, 'E', 'C'), "42703", "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_another_session_is_known_to_all_at_once() {
    let Some(gateway) = Gateway::start(ALL, SCHEMA).await else { return };
    let (mut one, mut other) = (gateway.raw().await, gateway.raw().await);
    one.query("set search_path = viewed, public").query("select ssn from customers").send().await;
    one.answer().await;
    one.answer().await;
    other.query("drop view viewed.customers").send().await;
    assert_eq!(tags(&other.answer().await), "CZ");
    one.query("select ssn from customers").send().await;
    let rows = one.answer().await;
    assert_eq!(tags(&rows), "TDDCZ");
    assert!(!in_clear(&rows, CANARY), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_another_table_than_was_foreseen_are_masked_as_a_whole() {
    let Some(gateway) = Gateway::start(ALL, SCHEMA).await else { return };
    let mut raw = gateway.raw().await;
    raw.query("select * from customers").send().await;
    raw.answer().await;
    // past the gateway, so that it cannot know yet
    let moved = "alter table customers drop column name; alter table customers add column name text";
    gateway.server.sql(&gateway.database, moved);
    raw.query("select * from customers").send().await;
    let rows = raw.answer().await;
    assert!(!in_clear(&rows, CANARY), "{rows:?}");
    raw.parse("", "select * from customers").bind("", "");
    postgres_protocol::message::frontend::describe(b'P', "", &mut raw.out).unwrap();
    raw.execute("").sync().send().await;
    let rows = raw.answer().await;
    assert!(!in_clear(&rows, CANARY), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_in_the_place_of_a_masked_one_is_masked_as_a_whole_until_it_is_known() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    let mut raw = gateway.raw().await;
    raw.query("select * from customers").send().await;
    assert!(in_clear(&raw.answer().await, "ada"));
    // its columns stand in another order, and nobody but the server knows
    let swapped = "alter table customers rename to former;
        create table customers(ssn text, name text, id int, phone text, ref int);
        insert into customers values ('078-05-1120', 'cyd', 3, '0123456789', null);
        grant select on customers to public";
    gateway.server.sql(&gateway.database, swapped);
    for sql in ["select * from customers", "table customers"] {
        raw.query(sql).send().await;
        let rows = raw.answer().await;
        assert_eq!(tags(&rows), "TDCZ");
        assert!(!in_clear(&rows, CANARY), "{rows:?}");
    }
    raw.query("select name from customers").send().await;
    assert!(in_clear(&raw.answer().await, "cyd"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_server_takes_for_a_call_is_one() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    let mut raw = gateway.raw().await;
    raw.query("select json_value('{}'::json, '$')").send().await;
    let answer = raw.answer().await;
    assert_eq!(field(&answer, 'E', 'C'), "42501", "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_copy_tells_whether_a_guess_is_right() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    let mut raw = gateway.raw().await;
    raw.query("copy (select id, ssn from customers) to stdout (null '078-05-1120')").send().await;
    let answer = raw.answer().await;
    assert!(!in_clear(&answer, CANARY), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_message_behind_one_that_is_waited_for_is_taken() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    let mut raw = gateway.raw().await;
    raw.extended("begin");
    raw.query(&format!("select 1 /* {} */", "x".repeat(1_000_000))).send().await;
    assert_eq!(tags(&raw.answer().await), "12CTDCZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_a_portal_sets_is_set_once() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    let mut raw = gateway.raw().await;
    raw.query("begin").send().await;
    raw.answer().await;
    raw.parse("", "select set_config('search_path', 'tenant', false)").bind("p", "").execute("p").sync();
    raw.query("set search_path = hidden").execute("p").sync().query("select * from payroll").send().await;
    assert_eq!(tags(&raw.answer().await), "12DCZ");
    assert_eq!(tags(&raw.answer().await), "CZ");
    assert_eq!(field(&raw.answer().await, 'E', 'C'), "42501");
    let rows = raw.answer().await;
    assert!(!in_clear(&rows, "666"), "{rows:?}");
    let mut raw = gateway.raw().await;
    for text in [
        "prepare p as select set_config('search_path', 'tenant', false)",
        "set search_path = hidden",
        "create temp table x as execute p with no data",
    ] {
        raw.query(text).send().await;
        raw.answer().await;
    }
    raw.query("select * from payroll").send().await;
    let rows = raw.answer().await;
    assert!(!in_clear(&rows, "666"), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_null_of_ones_own_is_copied_where_no_column_is_masked() {
    let detectors = "
rules:
- {name: all, action: Allow, postgresql: {}}
masking:
- {detectors: [Secrets]}
";
    let Some(gateway) = Gateway::start(detectors, SCHEMA).await else { return };
    let mut raw = gateway.raw().await;
    raw.query("copy (select id, null::text from customers where id = 1) to stdout (null '')").send().await;
    let answer = raw.answer().await;
    assert_eq!(tags(&answer), "HdcCZ", "{answer:?}");
}
