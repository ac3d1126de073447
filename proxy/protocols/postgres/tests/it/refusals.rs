//! What is refused, what it costs the client, and that nothing of it reached the server.

use crate::client::{field, tags};
use crate::gateway::Gateway;
use bytes::BufMut as _;
use proxy_postgres::options::Options;
use std::time::Duration;

const RULES: &str = "
rules:
- {name: ordinary, action: Allow, postgresql: {effects: [Connect, Select, Insert, Update, Create, Set, Transaction]}}
- {name: no-deletes, action: Deny, postgresql: {effects: [Delete, Drop, Truncate]}, message: Ask the owners.}
";
const TABLE: &str = "create table t(id int primary key, v text); insert into t values (1, 'one')";

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_leaves_session_and_transaction_usable_and_names_its_rule() {
    let Some(gateway) = Gateway::start(RULES, TABLE).await else { return };
    let mut raw = gateway.raw().await;
    raw.query("begin").send().await;
    assert_eq!(raw.answer().await.last().unwrap().body, b"T");
    raw.query("insert into t values (2, 'two')")
        .query("delete from t where id = 4711")
        .query("commit")
        .send()
        .await;
    assert_eq!(tags(&raw.answer().await), "CZ");
    let refused = raw.answer().await;
    assert_eq!((tags(&refused), &refused[1].body[..]), ("EZ".to_owned(), &b"T"[..]));
    assert_eq!(field(&refused, 'E', 'C'), "42501");
    assert_eq!(field(&refused, 'E', 'D'), "policy agents, rule no-deletes");
    assert_eq!(raw.answer().await.last().unwrap().body, b"I");
    assert_eq!(gateway.server.sql(&gateway.database, "select count(*) from t"), "2");
    assert!(gateway.server.log().contains("insert into t values (2, 'two')"));
    assert!(!gateway.server.log().contains("id = 4711"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refused_statement_refuses_the_whole_query() {
    let Some(gateway) = Gateway::start(RULES, TABLE).await else { return };
    let mut raw = gateway.raw().await;
    raw.query("insert into t values (3, 'x'); drop table t; select 1").send().await;
    assert_eq!(tags(&raw.answer().await), "EZ");
    assert_eq!(gateway.server.sql(&gateway.database, "select count(*) from t"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_text_is_refused_when_it_is_parsed_and_the_rest_is_discarded() {
    let Some(gateway) = Gateway::start(RULES, TABLE).await else { return };
    let mut raw = gateway.raw().await;
    raw.extended("delete from t").extended("select 1").sync().extended("select 2").sync().send().await;
    let refused = raw.answer().await;
    assert_eq!(tags(&refused), "EZ");
    assert_eq!(field(&refused, 'E', 'C'), "42501");
    assert_eq!(tags(&raw.answer().await), "12DCZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_within_a_pipeline_rolls_back_what_the_pipeline_did() {
    let Some(gateway) = Gateway::start(RULES, TABLE).await else { return };
    let mut raw = gateway.raw().await;
    raw.extended("insert into t values (4, 'x')")
        .extended("delete from t")
        .extended("select 1")
        .sync()
        .send()
        .await;
    let answer = raw.answer().await;
    assert_eq!(tags(&answer), "12CEZ");
    assert_eq!(field(&answer, 'E', 'C'), "42501");
    assert_eq!(gateway.server.sql(&gateway.database, "select count(*) from t"), "1");
    raw.extended("select 1").sync().send().await;
    assert_eq!(tags(&raw.answer().await), "12DCZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_change_is_seen_by_the_next_execution_of_a_prepared_statement() {
    let Some(gateway) = Gateway::start(RULES, TABLE).await else { return };
    let client = gateway.connect().await;
    let prepared = client.prepare("select v from t").await.unwrap();
    assert_eq!(client.query(&prepared, &[]).await.unwrap().len(), 1);
    gateway.put_in_force("rules:\n- {name: connect, action: Allow, postgresql: {effects: [Connect]}}\n");
    let error = client.query(&prepared, &[]).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42501");
    gateway.put_in_force("rules:\n- {name: nothing, action: Deny, postgresql: {}}\n");
    // A statement that comes before the session's end is denied like any other.
    for _ in 0..500 {
        let refused = client.simple_query("select 1").await.unwrap_err();
        match refused.code().map(tokio_postgres::error::SqlState::code) {
            Some("42501") => tokio::time::sleep(Duration::from_millis(20)).await,
            None | Some("57P01") => return,
            Some(_) => panic!("{refused:?}"),
        }
    }
    panic!("a session that may not connect any more goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_statement_and_a_cursor_made_by_sql_are_known_to_the_protocol() {
    let Some(gateway) = Gateway::start(RULES, TABLE).await else { return };
    let mut raw = gateway.raw().await;
    raw.query("prepare p as select v from t").send().await;
    assert_eq!(tags(&raw.answer().await), "CZ");
    raw.bind("", "p").execute("").sync().send().await;
    assert_eq!(tags(&raw.answer().await), "2DCZ");
    raw.query("begin; declare c cursor for select v from t").send().await;
    assert_eq!(tags(&raw.answer().await), "CCZ");
    raw.execute("c").sync().send().await;
    assert_eq!(tags(&raw.answer().await), "DCZ");
    raw.query("commit").send().await;
    raw.answer().await;
    raw.execute("nothing here").sync().send().await;
    assert_eq!(field(&raw.answer().await, 'E', 'C'), "42501");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_call_by_object_identifier_is_refused() {
    let Some(gateway) = Gateway::start(RULES, TABLE).await else { return };
    let mut raw = gateway.raw().await;
    raw.out.put_slice(b"F\0\0\0\x0e\0\0\0\x01\0\0\0\0\0\0");
    raw.send().await;
    assert_eq!(tags(&raw.answer().await), "EZ");
    raw.query("select 1").send().await;
    assert_eq!(tags(&raw.answer().await), "TDCZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_recorded_does_not_run() {
    let small = |options: &mut proxy_audit::SpoolOptions| options.max_bytes = 96 * 1024;
    let Some(gateway) = Gateway::start_with(RULES, TABLE, small, |_: &mut Options| {}).await else { return };
    let client = gateway.connect().await;
    let mut done = 0;
    let error = loop {
        match client.batch_execute("insert into t values ((select max(id) + 1 from t), 'y')").await {
            Ok(()) => done += 1,
            Err(error) => break error,
        }
        assert!(done < 1000, "the spool never filled");
    };
    assert!(error.code().is_some_and(|code| code.code() == "58000") || error.is_closed(), "{error:?}");
    let rows: i32 = gateway.server.sql(&gateway.database, "select count(*) from t").parse().unwrap();
    assert!(rows == done + 1 || rows == done + 2, "{rows} rows after {done}");
    let statements = gateway.log().matches("insert into t values").count();
    assert!(statements >= usize::try_from(rows - 1).unwrap(), "{statements} records of {rows} rows");
}
