//! Held commands: approved, denied, cancelled, abandoned; alone, in a transaction, in a pipeline.

use crate::client::{Raw, field, tags};
use crate::gateway::Gateway;
use bytes::BufMut as _;
use postgres_protocol::message::frontend;
use proxy_core::approval::Outcome;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;

const RULES: &str = "
rules:
- {name: ordinary, action: Allow, postgresql: {effects: [Connect, Select, Insert, Transaction]}}
- {name: deletes, action: Hold, postgresql: {effects: [Delete]}, approval: {timeoutSeconds: 60}}
";
const TABLE: &str = "create table t(id int); insert into t values (1), (2)";

fn approved() -> Outcome {
    Outcome::Approved { approvers: vec!["dora (dba): fine".to_owned()] }
}

/// Reads notices until there are this many.
async fn notices(raw: &mut Raw, count: usize) {
    for _ in 0..count {
        let message = raw.read().await;
        assert_eq!(message.tag, 'N', "{message:?}");
        assert!(field(&[message], 'N', 'M').contains("orders-1"));
    }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 5 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_query_tells_the_client_again_and_again_and_runs_once_approved() {
    let Some(gateway) = Gateway::start(RULES, TABLE).await else { return };
    let answer = gateway.approvals.next();
    let mut raw = gateway.raw().await;
    raw.query("delete from t").query("select 1").send().await;
    notices(&mut raw, 3).await;
    assert_eq!(gateway.server.sql(&gateway.database, "select count(*) from t"), "2");
    answer.send_replace(Some(approved()));
    let mut answer = raw.answer().await;
    answer.retain(|message| message.tag != 'N');
    assert_eq!(tags(&answer), "CZ");
    assert_eq!(tags(&raw.answer().await), "TDCZ");
    assert_eq!(gateway.server.sql(&gateway.database, "select count(*) from t"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_command_does_not_run_and_the_transaction_goes_on() {
    let Some(gateway) = Gateway::start(RULES, TABLE).await else { return };
    gateway.approvals.next().send_replace(Some(Outcome::Denied { approver: "dora: no".to_owned() }));
    let mut raw = gateway.raw().await;
    raw.query("begin; insert into t values (3)").query("delete from t").query("commit").send().await;
    assert_eq!(tags(&raw.answer().await), "CCZ");
    let refused = raw.answer().await;
    assert_eq!(field(&refused, 'E', 'C'), "42501");
    assert!(gateway.approvals.questions.lock().unwrap()[0].in_transaction);
    assert_eq!(tags(&raw.answer().await), "CZ");
    assert_eq!(gateway.server.sql(&gateway.database, "select count(*) from t"), "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_in_a_pipeline_stalls_it_in_order() {
    let Some(gateway) = Gateway::start(RULES, TABLE).await else { return };
    let answer = gateway.approvals.next();
    let mut raw = gateway.raw().await;
    raw.extended("select 7").extended("delete from t").extended("select 8").sync().send().await;
    let mut early = String::new();
    while !early.contains("12DC12") || !early.contains('N') {
        early.push(raw.read().await.tag);
    }
    answer.send_replace(Some(approved()));
    let late: String = tags(&raw.answer().await).replace('N', "");
    assert_eq!(late, "C12DCZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_withdraws_its_request_within_a_second() {
    let Some(gateway) = Gateway::start(RULES, TABLE).await else { return };
    let _answer = gateway.approvals.next();
    let mut raw = gateway.raw().await;
    raw.query("delete from t").send().await;
    notices(&mut raw, 1).await;
    let left = Instant::now();
    raw.stream.shutdown().await.unwrap();
    drop(raw);
    until("withdrawn", || *gateway.approvals.withdrawn.lock().unwrap() == 1).await;
    assert!(left.elapsed() < Duration::from_secs(1));
    until("on record", || gateway.log().contains("withdrawn")).await;
    assert_eq!(gateway.server.sql(&gateway.database, "select count(*) from t"), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_request_cancels_a_held_command_and_a_running_one() {
    let Some(gateway) = Gateway::start(&RULES.replace("Select,", "Select, Call,"), TABLE).await else {
        return;
    };
    let _answer = gateway.approvals.next();
    let mut raw = gateway.raw().await;
    raw.query("delete from t").send().await;
    notices(&mut raw, 1).await;
    cancel(&gateway, &raw).await;
    let mut refused = raw.answer().await;
    refused.retain(|message| message.tag != 'N');
    assert_eq!((tags(&refused), field(&refused, 'E', 'C')), ("EZ".to_owned(), "57014".to_owned()));
    raw.query("select pg_sleep(30)").send().await;
    until("running", || {
        let sql =
            "select count(*) from pg_stat_activity where query = 'select pg_sleep(30)' and state = 'active'";
        gateway.server.sql(&gateway.database, sql) == "1"
    })
    .await;
    cancel(&gateway, &raw).await;
    let cancelled = raw.answer().await;
    assert_eq!(field(&cancelled, 'E', 'C'), "57014");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_request_cancels_a_command_that_is_approved_and_not_yet_sent() {
    let Some(gateway) = Gateway::start(RULES, TABLE).await else { return };
    let answer = gateway.approvals.next();
    let mut raw = gateway.raw().await;
    raw.query("delete from t").send().await;
    notices(&mut raw, 1).await;
    // What the names stand for cannot be looked up for a while.
    let (server, database) = (gateway.server.clone(), gateway.database.clone());
    let lock = "begin; lock table pg_catalog.pg_inherits in access exclusive mode; select pg_sleep(3)";
    let lock = tokio::task::spawn_blocking(move || server.sql(&database, lock));
    let waiting = |granted: bool| {
        let locks = "select count(*) from pg_locks join pg_database d on d.oid = database and datname = current_database() where relation = 'pg_catalog.pg_inherits'::regclass";
        gateway.server.sql(&gateway.database, &format!("{locks} and granted = {granted}")) == "1"
    };
    until("locked", || waiting(true)).await;
    answer.send_replace(Some(approved()));
    until("looked up", || waiting(false)).await;
    cancel(&gateway, &raw).await;
    let mut refused = raw.answer().await;
    refused.retain(|message| message.tag != 'N');
    assert_eq!((tags(&refused), field(&refused, 'E', 'C')), ("EZ".to_owned(), "57014".to_owned()));
    lock.await.unwrap();
    assert_eq!(gateway.server.sql(&gateway.database, "select count(*) from t"), "2");
    let _next = gateway.approvals.next();
    raw.query("delete from t").send().await;
    notices(&mut raw, 1).await;
    assert_eq!(*gateway.approvals.withdrawn.lock().unwrap(), 0, "the next one waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_when_its_session_is_ended_does_not_go_on_at_the_server() {
    let Some(gateway) = Gateway::start(&RULES.replace("Select,", "Select, Call,"), TABLE).await else {
        return;
    };
    let mut raw = gateway.raw().await;
    raw.query("select pg_sleep(31)").send().await;
    let running = || {
        let sql =
            "select count(*) from pg_stat_activity where query = 'select pg_sleep(31)' and state = 'active'";
        gateway.server.sql(&gateway.database, sql)
    };
    until("running", || running() == "1").await;
    gateway.put_in_force("rules:\n- {name: nothing, action: Deny, postgresql: {}}\n");
    until("ended", || running() == "0").await;
    let words = raw.read().await;
    assert_eq!(words.tag, 'E', "{words:?}");
}

async fn cancel(gateway: &Gateway, raw: &Raw) {
    let mut request = Vec::new();
    request.put_u32(u32::try_from(12 + raw.key.1.len()).unwrap());
    request.put_u32(80_877_102);
    request.put_i32(raw.key.0);
    request.put_slice(&raw.key.1);
    let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", gateway.port)).await.unwrap();
    socket.write_all(&request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_of_several_statements_waits_as_a_whole() {
    let Some(gateway) = Gateway::start(RULES, TABLE).await else { return };
    let answer = gateway.approvals.next();
    let mut raw = gateway.raw().await;
    raw.query("insert into t values (9); delete from t; select 8").send().await;
    notices(&mut raw, 2).await;
    assert_eq!(gateway.server.sql(&gateway.database, "select count(*) from t where id = 9"), "0");
    answer.send_replace(Some(approved()));
    let answer = tags(&raw.answer().await).replace('N', "");
    assert_eq!(answer, "CCTDCZ");
    assert_eq!(gateway.server.sql(&gateway.database, "select count(*) from t"), "0");
    // Denied, none of it runs either.
    gateway.approvals.next().send_replace(Some(Outcome::Denied { approver: "dora: no".to_owned() }));
    raw.query("insert into t values (9); delete from t").send().await;
    assert_eq!(tags(&raw.answer().await).replace('N', ""), "EZ");
    assert_eq!(gateway.server.sql(&gateway.database, "select count(*) from t"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_held_statement_of_a_batch_is_asked_for_in_its_turn() {
    let Some(gateway) = Gateway::start(RULES, TABLE).await else { return };
    let (first, second) = (gateway.approvals.next(), gateway.approvals.next());
    let mut raw = gateway.raw().await;
    raw.extended("delete from t where id = 1").extended("delete from t where id = 2").sync().send().await;
    notices(&mut raw, 1).await;
    assert_eq!(gateway.approvals.questions.lock().unwrap().len(), 1);
    first.send_replace(Some(approved()));
    until("the second is asked for", || gateway.approvals.questions.lock().unwrap().len() == 2).await;
    second.send_replace(Some(Outcome::Denied { approver: "dora: one is enough".to_owned() }));
    let answer = tags(&raw.answer().await).replace('N', "");
    assert_eq!(answer, "12C12EZ");
    // Outside of a transaction block the batch is one transaction.
    assert_eq!(gateway.server.sql(&gateway.database, "select count(*) from t"), "2");
}

const HELD_TABLE: &str = "
rules:
- {name: kept, action: Hold, postgresql: {effects: [Delete], relations: [public.t]}, approval: {timeoutSeconds: 60}}
- {name: others, action: Allow, postgresql: {}}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_is_held_for_what_it_was_bound_to() {
    let Some(gateway) = Gateway::start(HELD_TABLE, TABLE).await else { return };
    gateway.approvals.next().send_replace(Some(Outcome::Denied { approver: "dora: no".to_owned() }));
    let mut raw = gateway.raw().await;
    raw.query("begin").parse("s", "delete from t").bind("p", "s").sync().send().await;
    raw.answer().await;
    raw.answer().await;
    raw.query("create temp table t(id int)").send().await;
    raw.answer().await;
    raw.execute("p").sync().send().await;
    let answer = raw.answer().await;
    assert_eq!(field(&answer, 'E', 'C'), "42501", "{answer:?}");
    raw.query("commit").send().await;
    raw.answer().await;
    assert_eq!(gateway.server.sql(&gateway.database, "select count(*) from t"), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_name_stands_for_after_the_question_needs_another_approval() {
    let schema = "create table victim(id int); insert into victim values (1), (2);
        create schema front; create table front.victim(id int);";
    let rules = RULES.replace("Transaction]", "Transaction, Set, Drop]");
    let Some(gateway) = Gateway::start(&rules, schema).await else { return };
    let answer = gateway.approvals.next();
    let mut raw = gateway.raw().await;
    raw.query("set search_path = front, public").query("delete from victim").send().await;
    assert_eq!(tags(&raw.answer().await), "CZ");
    notices(&mut raw, 1).await;
    gateway.server.sql(&gateway.database, "drop table front.victim");
    answer.send_replace(Some(approved()));
    let mut answer = raw.answer().await;
    answer.retain(|message| message.tag != 'N');
    assert!(field(&answer, 'E', 'M').contains("changed while it waited"), "{answer:?}");
    assert_eq!(gateway.server.sql(&gateway.database, "select count(*) from victim"), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_parameter_or_another_type_of_it_is_another_effect() {
    let Some(gateway) = Gateway::start(RULES, TABLE).await else { return };
    let mut effects = Vec::new();
    for (types, value) in [(vec![23], "1"), (vec![23], "2"), (vec![20], "1"), (vec![23], "1")] {
        gateway.approvals.next().send_replace(Some(Outcome::Denied { approver: "dora: no".to_owned() }));
        let mut raw = gateway.raw().await;
        frontend::parse("", "delete from t where id < $1", types, &mut raw.out).unwrap();
        let put = |value: &str, out: &mut bytes::BytesMut| {
            out.put_slice(value.as_bytes());
            Ok(postgres_protocol::IsNull::No)
        };
        assert!(frontend::bind("", "", [], [value], put, [], &mut raw.out).is_ok());
        raw.execute("").sync().send().await;
        raw.answer().await;
        let asked = gateway.approvals.questions.lock().unwrap();
        effects.push(asked.last().unwrap().effect_digest.clone());
    }
    assert_eq!(effects[0], effects[3]);
    assert!(effects[0] != effects[1] && effects[0] != effects[2] && effects[1] != effects[2], "{effects:?}");
}
