//! What a name stands for changes within a session, and the server keeps what it stood for when it planned. The masked
//! table is hidden behind an empty one of the same name in each of these; that rows come shows that the server read the
//! masked one all the same, and that none of them is in clear shows that the gateway knew.

use crate::client::{Message, Raw, tags};
use crate::gateway::Gateway;
use bytes::BufMut as _;

const CANARY: &str = "078-05-1120";
const POLICY: &str = "
rules:
- {name: all, action: Allow, postgresql: {}}
masking:
- {columns: [public.customers.ssn]}
";
const SCHEMA: &str = "
create table customers(name text, ssn text);
insert into customers values ('ada', '078-05-1120'), ('bob', '078-05-1120');
create schema elsewhere;
create table elsewhere.customers(name text, ssn text);
create schema third;
create table third.customers(name text, ssn text);
insert into third.customers values ('plain', 'open');
";
const SELECT: &str = "select ssn from customers";
const HIDE: &str = "create temp table customers(name text, ssn text)";

/// Makes the session's temporary schema: when that comes into being the server plans everything again.
const FIRST: &str = "create temp table first(a int)";

/// What a client sends, each with a `Sync` of its own.
enum Step {
    /// A simple query.
    Query(&'static str),
    /// `Parse` of a text by a name.
    Parse(&'static str),
    /// `Describe` of a statement.
    Describe(&'static str),
    /// `Bind` of a portal to a statement.
    Bind(&'static str, &'static str),
    /// `Bind` with a parameter that the statement does not have: the server refuses it.
    BadBind(&'static str),
    /// `Execute` of a portal.
    Execute(&'static str),
    /// Statements in one pipeline.
    Pipeline(&'static [&'static str]),
}

use Step::{BadBind, Bind, Describe, Execute, Parse, Pipeline, Query};

async fn step(raw: &mut Raw, step: &Step) -> Vec<Message> {
    match *step {
        Query(sql) => raw.query(sql),
        Parse(name) => raw.parse(name, SELECT).sync(),
        Describe(name) => {
            postgres_protocol::message::frontend::describe(b'S', name, &mut raw.out).unwrap();
            raw.sync()
        }
        Bind(portal, statement) => raw.bind(portal, statement).sync(),
        BadBind(statement) => {
            let none = std::iter::empty::<()>();
            let null = |(), _: &mut bytes::BytesMut| Ok(postgres_protocol::IsNull::Yes);
            let bound = postgres_protocol::message::frontend::bind(
                "bad",
                statement,
                [],
                none,
                null,
                [0, 0, 0],
                &mut raw.out,
            );
            assert!(bound.is_ok());
            raw.sync()
        }
        Execute(portal) => raw.execute(portal).sync(),
        Pipeline(texts) => {
            for text in texts {
                raw.extended(text);
            }
            raw.sync()
        }
    };
    raw.send().await;
    raw.answer().await
}

/// Runs the steps and gives the tags of the last answer. Nothing of it is in clear.
async fn last(gateway: &Gateway, what: &str, steps: &[Step]) -> String {
    let (tags, in_clear) = run(gateway, steps).await;
    assert_eq!(in_clear, None, "{what}");
    tags
}

/// Runs the steps and gives the tags of the last answer, and the answer in which something was in clear.
async fn run(gateway: &Gateway, steps: &[Step]) -> (String, Option<Vec<Message>>) {
    let mut raw = gateway.raw().await;
    let mut answer = Vec::new();
    for one in steps {
        answer = step(&mut raw, one).await;
        let heard: Vec<u8> = answer.iter().flat_map(|message| message.body.clone()).collect();
        if heard.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()) {
            return (tags(&answer), Some(answer));
        }
    }
    raw.out.put_slice(b"X\0\0\0\x04");
    raw.send().await;
    (tags(&answer), None)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_means_what_it_meant_when_it_was_bound() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    for change in ["set local search_path = elsewhere", HIDE] {
        let steps = [Query("begin"), Parse("s"), Bind("p", "s"), Query(change), Execute("p")];
        assert_eq!(last(&gateway, change, &steps).await, "DDCZ");
    }
    let renewed = [
        Query("begin; prepare s as select ssn from customers"),
        Bind("p", "s"),
        Query("deallocate s"),
        Query("prepare s as select name from third.customers"),
        Execute("p"),
    ];
    assert_eq!(last(&gateway, "another statement by its name", &renewed).await, "DDCZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_may_mean_what_it_meant_when_it_was_prepared_or_planned() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    let scenes: [(&str, Vec<Step>); 4] = [
        ("hidden behind a temporary table", vec![Query(FIRST), Query("begin"), Parse("s"), Query(HIDE)]),
        (
            "planned again while it was public",
            vec![
                Query(FIRST),
                Query("set search_path = elsewhere"),
                Parse("s"),
                Query("set search_path = public"),
                Query("begin"),
                Bind("p", "s"),
                Execute("p"),
                Query("commit"),
                Query(HIDE),
                Query("begin"),
            ],
        ),
        (
            "planned again when it was described",
            vec![
                Query(FIRST),
                Query("set search_path = elsewhere"),
                Parse("s"),
                Query("set search_path = public"),
                Describe("s"),
                Query(HIDE),
                Query("begin"),
            ],
        ),
        (
            "planned again by a portal that failed",
            vec![
                Query(FIRST),
                Query("set search_path = elsewhere"),
                Parse("s"),
                Query("set search_path = public"),
                BadBind("s"),
                Query(HIDE),
                Query("begin"),
            ],
        ),
    ];
    for (what, before) in scenes {
        let mut steps = before;
        steps.extend([Bind("p", "s"), Execute("p")]);
        let tags = last(&gateway, what, &steps).await;
        assert!(tags == "DDCZ", "{what}: {tags}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_runs_statements_with_any_meaning_that_they_had() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    let by_sql = [
        Query(FIRST),
        Query("set search_path = elsewhere"),
        Query("prepare s as select ssn from customers"),
        Query("set search_path = public"),
        Query("execute s"),
        Query(HIDE),
        Query("execute s"),
    ];
    assert_eq!(last(&gateway, "planned again by SQL", &by_sql).await, "TDDCZ");
    let by_explain = [
        Query(FIRST),
        Query("set search_path = elsewhere"),
        Query("prepare s as select ssn from customers"),
        Query("set search_path = public"),
        Query("explain execute s"),
        Query(HIDE),
        Query("execute s"),
    ];
    assert_eq!(last(&gateway, "planned again to be explained", &by_explain).await, "TDDCZ");
    let by_protocol = [Query(FIRST), Parse("s"), Query(HIDE), Query("execute s")];
    assert_eq!(last(&gateway, "prepared by protocol", &by_protocol).await, "TDDCZ");
    let within_protocol = [Query(FIRST), Parse("s"), Query(HIDE), Pipeline(&["execute s"])];
    assert_eq!(last(&gateway, "run by SQL in the protocol", &within_protocol).await, "12DDCZ");
    let by_both = [
        Query(FIRST),
        Query("set search_path = elsewhere"),
        Parse("s"),
        Query("execute s"),
        Query("set search_path = public"),
        Bind("p", "s"),
        Query(HIDE),
        Query("execute s"),
    ];
    assert_eq!(last(&gateway, "planned again by the protocol", &by_both).await, "TDDCZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_prepared_stays_prepared_whatever_fails_behind_it() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    let at_once = [
        Query("prepare s as select name from third.customers"),
        Query("deallocate s; prepare s as select ssn from customers; select 1/0"),
        Query("execute s"),
    ];
    // After such a text nobody knows which of both it is.
    assert_eq!(last(&gateway, "in one text", &at_once).await, "EZ");
    let pipeline = [
        Query("prepare s as select name from third.customers"),
        Pipeline(&["deallocate s", "prepare s as select ssn from customers", "select 1/0"]),
        Query("execute s"),
    ];
    assert_eq!(last(&gateway, "in a pipeline", &pipeline).await, "TDDCZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hides_a_table_may_be_gone_without_a_word() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    for (what, steps) in [
        (
            "on commit drop",
            vec![
                Query("begin; create temp table customers(name text, ssn text) on commit drop"),
                Query("commit"),
                Query(SELECT),
            ],
        ),
        (
            "cascade",
            vec![
                Query("create temp table base(name text, ssn text)"),
                Query("create temp view customers as table base"),
                Query("drop table base cascade"),
                Query(SELECT),
            ],
        ),
        (
            "another name",
            vec![Query(HIDE), Query("alter table pg_temp.customers rename to others"), Query(SELECT)],
        ),
        (
            "a path until the end of the transaction",
            vec![
                Query("begin"),
                Query("set local search_path = elsewhere"),
                Query("savepoint a"),
                Query("set search_path = elsewhere"),
                Query("rollback to a"),
                Query("commit"),
                Query(SELECT),
            ],
        ),
        (
            "a savepoint of the same name that was released",
            vec![
                Query("begin; savepoint a"),
                Query("set search_path = elsewhere"),
                Query("savepoint a"),
                Query("release a"),
                Query("rollback to a"),
                Query(SELECT),
            ],
        ),
    ] {
        assert_eq!(last(&gateway, what, &steps).await, "TDDCZ", "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_savepoints_than_are_followed_are_refused() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    let mut raw = gateway.raw().await;
    step(&mut raw, &Query("begin")).await;
    let mut set = 0;
    while tags(&step(&mut raw, &Query("savepoint a")).await) == "CZ" {
        set += 1;
        assert!(set < 200);
    }
    assert!(set > 50, "{set}");
    assert_eq!(tags(&step(&mut raw, &Query("release a")).await), "CZ");
    assert_eq!(tags(&step(&mut raw, &Query("savepoint a")).await), "CZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_path_alone_makes_a_statement_mean_nothing_but_what_it_finds_there() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    let mut raw = gateway.raw().await;
    step(&mut raw, &Parse("s")).await;
    for (path, expected) in
        [("public", "078-05-1120"), ("third", "open"), ("public", "078-05-1120"), ("third", "open")]
    {
        let sql = if path == "third" { "set search_path = third" } else { "set search_path = public" };
        step(&mut raw, &Query(sql)).await;
        step(&mut raw, &Query("begin")).await;
        assert_eq!(tags(&step(&mut raw, &Bind("p", "s")).await), "2Z");
        let rows = format!("{:?}", step(&mut raw, &Execute("p")).await);
        assert_eq!(rows.contains(expected), path == "third", "{rows}");
        step(&mut raw, &Query("commit")).await;
    }
}

/// Definitions by which the rows of a masked table would be read under another name.
const ELSEWHERE: &[&[&str]] = &[
    &["alter schema public rename to p2", "select ssn from p2.customers"],
    &["alter table customers rename to c2", "select ssn from c2"],
    &["create schema n", "alter table customers set schema n", "select ssn from n.customers"],
    &["create table np(name text, ssn text)", "alter table customers inherit np", "select ssn from np"],
    &[
        "create table pt(name text, ssn text) partition by list (name)",
        "alter table pt attach partition customers default",
        "select ssn from pt",
    ],
    &["alter table customers add column c text generated always as (ssn) stored", "select c from customers"],
    &["create table t2(name text, ssn text)", "insert into t2 table customers", "select ssn from t2"],
    &["create view v(a, b) as table customers", "select b from v"],
    &["create view v(a, b) as table customers", "alter view v rename column b to c", "select c from v"],
    &["create view v(a, b) as table customers", "alter view v rename to w", "select b from w"],
    &["create materialized view mv as table customers", "select ssn from mv"],
    &["create function f() returns setof text language sql as 'select ssn from customers'", "select f()"],
    &[
        "create view v as select name, name as other from customers",
        "create or replace view v as select name, ssn as other from customers",
        "select other from v",
    ],
    &[
        "create table t2(name text, ssn text)",
        "create rule \"_RETURN\" as on select to t2 do instead select name, ssn from customers",
        "select ssn from t2",
    ],
    &[
        "create table t2(name text, ssn text)",
        "create rule r as on insert to t2 do also select ssn from customers",
        "insert into t2 values ('a', 'b')",
    ],
    &[
        "create table t2(name text, ssn text); insert into t2 values ('a', 'b')",
        "create rule r as on update to t2 do instead select ssn from customers",
        "update t2 set name = 'c'",
    ],
    &[
        "create table t2(name text, ssn text); create table t3(name text, ssn text)",
        "create rule r as on insert to t2 do also insert into t3 table customers",
        "insert into t2 values ('a', 'b')",
        "select ssn from t3",
    ],
    &[
        "create table t2(name text, ssn text); create table t3(name text, ssn text)",
        "create function f() returns trigger language plpgsql as 'begin insert into t3 table customers; return new; end'",
        "create trigger t before insert on t2 for each row execute function f()",
        "insert into t2 values ('a', 'b')",
        "select ssn from t3",
    ],
    &[
        "create function f() returns text language sql as 'select ssn from customers limit 1'",
        "create table t2(name text, ssn text default f())",
        "insert into t2(name) values ('a')",
        "select ssn from t2",
    ],
    &[
        "create function f(text) returns text language sql as 'select ssn from customers limit 1'",
        "create operator @@@ (function = f, rightarg = text)",
        "select @@@ 'a'",
    ],
    &[
        "create table t2(name text, ssn text)",
        "create policy p on t2 using (exists (select from customers where ssn = '078-05-1120'))",
        "select * from t2",
    ],
    &["create domain d as text default '078'", "alter table customers alter column ssn type d"],
    &["create temp view customers as select * from public.customers", "select ssn from customers"],
    &[
        "create view v as select * from elsewhere.customers",
        "create or replace view v as select * from public.customers",
        "select ssn from v",
    ],
    &["do 'begin execute ''create table t2 as table customers''; end'", "select ssn from t2"],
    &["create table t2 (like customers)", "alter table t2 inherit elsewhere.customers", "select ssn from t2"],
    &[
        "create extension if not exists dblink",
        "select * from dblink('', 'select ssn from customers') as t(a text)",
    ],
];

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_nobody_foresaw_are_masked_as_a_whole() {
    let rules = format!(
        "{SCHEMA} create table t2(name text);
        create rule r as on insert to t2 do also select name, ssn from customers;
        create rule u as on update to t2 do instead select ssn from customers;"
    );
    let Some(gateway) = Gateway::start(POLICY, &rules).await else { return };
    let insert = [Query("insert into t2 values ('a')")];
    assert!(last(&gateway, "a rule on INSERT", &insert).await.contains("DD"));
    let update = [Query("update t2 set name = 'b'")];
    assert!(last(&gateway, "a rule on UPDATE", &update).await.contains("DD"));
    // The server gives none of them to a portal.
    let extended = [Pipeline(&["update t2 set name = 'b'"])];
    assert_eq!(last(&gateway, "by the protocol", &extended).await, "12CZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_definition_leads_around_a_mask() {
    let mut in_clear = Vec::new();
    for texts in ELSEWHERE {
        for transaction in [false, true] {
            let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
            let mut steps: Vec<Step> = if transaction { vec![Query("begin")] } else { Vec::new() };
            steps.extend(texts.iter().map(|text| Query(text)));
            if run(&gateway, &steps).await.1.is_some() {
                in_clear.push((texts, transaction));
            }
        }
    }
    assert!(in_clear.is_empty(), "{in_clear:#?}");
}
