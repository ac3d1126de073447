//! Masks, by every message that a value can leave through.

use crate::client::{field, tags};
use crate::gateway::Gateway;
use tokio_postgres::SimpleQueryMessage;

const CANARY: &str = "078-05-1120";
const RULES: &str = "
rules:
- {name: all, action: Allow, postgresql: {}}
masking:
- {columns: [public.customers.ssn], with: {type: Partial, keepLast: 2}}
- {columns: [public.customers.doc]}
- {detectors: [UsSsn, Jwt], with: {type: Redact}}
";
const CUSTOMERS: &str = "create table customers(id int primary key, name text, ssn text unique, doc jsonb);
    insert into customers values (1, 'ada', '078-05-1120', '{\"ssn\": \"078-05-1120\"}'), (2, 'bob', null, null);
    create table notes(id int, body text); insert into notes values (1, 'call 078-05-1120 back'), (2, 'fine')";

fn cells(messages: &[SimpleQueryMessage]) -> Vec<Vec<Option<String>>> {
    let rows = messages.iter().filter_map(|message| {
        let SimpleQueryMessage::Row(row) = message else { return None };
        Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect())
    });
    rows.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn masked_columns_are_masked_in_text_and_in_binary() {
    let Some(gateway) = Gateway::start(RULES, CUSTOMERS).await else { return };
    let client = gateway.connect().await;
    let rows =
        cells(&client.simple_query("select id, name, ssn, doc from customers order by id").await.unwrap());
    assert_eq!(rows[0][..2], [Some("1".to_owned()), Some("ada".to_owned())]);
    assert!(rows[0][2].as_ref().unwrap().ends_with("20"), "{rows:?}");
    assert_eq!(rows[1], [Some("2".to_owned()), Some("bob".to_owned()), None, None]);
    assert!(!format!("{rows:?}").contains(CANARY));
    let row = client.query_one("select id, name, ssn from customers where id = $1", &[&1]).await.unwrap();
    assert_eq!((row.get::<_, i32>(0), row.get::<_, &str>(1)), (1, "ada"));
    assert!(row.get::<_, &str>(2).ends_with("20") && !row.get::<_, &str>(2).contains("078"));
    let log = gateway.log();
    assert!(!log.contains(CANARY) && log.contains("public.customers.ssn") && log.contains("ada"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_description_are_masked_as_well() {
    let Some(gateway) = Gateway::start(RULES, CUSTOMERS).await else { return };
    let mut raw = gateway.raw().await;
    raw.extended("select ssn, name from customers where id = 1").sync().send().await;
    let answer = raw.answer().await;
    assert_eq!(tags(&answer), "12DCZ");
    assert_eq!(answer[2].body, b"\0\x02\xff\xff\xff\xff\0\0\0\x03ada");
    raw.query("begin; declare c cursor for select ssn from customers order by id")
        .execute("c")
        .sync()
        .send()
        .await;
    raw.answer().await;
    let answer = raw.answer().await;
    assert!(!format!("{answer:?}").contains(CANARY), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn detectors_find_secrets_in_any_column_and_leave_the_others_alone() {
    let Some(gateway) = Gateway::start(RULES, CUSTOMERS).await else { return };
    let client = gateway.connect().await;
    let rows = cells(&client.simple_query("select body from notes order by id").await.unwrap());
    let first = rows[0][0].as_ref().unwrap();
    assert!(first.starts_with("call ") && first.ends_with(" back") && !first.contains(CANARY), "{first}");
    assert_eq!(rows[1][0].as_deref(), Some("fine"));
    assert!(!gateway.log().contains(CANARY));
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_masked_in_every_format() {
    let Some(gateway) = Gateway::start(RULES, CUSTOMERS).await else { return };
    for sql in [
        "copy customers to stdout",
        "copy customers(ssn, id) to stdout (format csv, header, force_quote *)",
        "copy (select ssn, name from customers) to stdout with csv delimiter ';'",
        "copy customers to stdout (format binary)",
        "copy notes to stdout",
    ] {
        let mut raw = gateway.raw().await;
        raw.query(sql).send().await;
        let answer = raw.answer().await;
        assert!(tags(&answer).starts_with('H') && tags(&answer).ends_with("cCZ"), "{sql}: {answer:?}");
        assert!(!format!("{answer:?}").contains(CANARY), "{sql}: {answer:?}");
        let data = format!("{answer:?}");
        assert!(
            data.contains("ada") || data.contains("fine") || sql.contains("(ssn, id)"),
            "{sql}: {answer:?}"
        );
    }
    assert!(!gateway.log().contains(CANARY));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_and_notifications_do_not_quote_masked_values() {
    let Some(gateway) = Gateway::start(RULES, CUSTOMERS).await else { return };
    let mut raw = gateway.raw().await;
    raw.query("insert into customers(id, ssn) select 3, ssn from customers where id = 1").send().await;
    let answer = raw.answer().await;
    assert!(!format!("{answer:?}").contains(CANARY), "{answer:?}");
    raw.query("select ssn::int from customers where id = 1").send().await;
    let answer = raw.answer().await;
    assert_eq!(tags(&answer[answer.len() - 2..]), "EZ");
    assert_eq!(field(&answer, 'E', 'C'), "22P02");
    assert!(
        field(&answer, 'E', 'M').contains("withheld") && !format!("{answer:?}").contains(CANARY),
        "{answer:?}"
    );
    raw.query("select 1/0").send().await;
    assert_eq!(field(&raw.answer().await, 'E', 'M'), "division by zero");
    raw.query("listen ch").send().await;
    raw.answer().await;
    gateway.server.sql(&gateway.database, "select pg_notify('ch', ssn) from customers where id = 1");
    raw.query("select 1").send().await;
    let mut heard = raw.answer().await;
    while !heard.iter().any(|message| message.tag == 'A') {
        heard.push(raw.read().await);
    }
    assert!(!format!("{heard:?}").contains(CANARY), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolled_back_table_does_not_hide_the_masked_one() {
    let Some(gateway) = Gateway::start(RULES, CUSTOMERS).await else { return };
    let mut raw = gateway.raw().await;
    for begin in ["begin; create temp table customers(ssn text)", "rollback"] {
        raw.query(begin).send().await;
        raw.answer().await;
    }
    raw.query("select ssn from customers where id = 1").send().await;
    assert!(!format!("{:?}", raw.answer().await).contains(CANARY));
    // In a pipeline, where the server undoes it without a word.
    raw.extended("create temp table customers(ssn text)").extended("select 1/0").sync().send().await;
    raw.answer().await;
    raw.query("select ssn from customers where id = 1").send().await;
    assert!(!format!("{:?}", raw.answer().await).contains(CANARY));
    // A commit of a failed transaction is a rollback.
    for sql in ["begin", "create temp table customers(ssn text)", "select 1/0", "commit"] {
        raw.query(sql).send().await;
        raw.answer().await;
    }
    raw.query("select ssn from customers where id = 1").send().await;
    assert!(!format!("{:?}", raw.answer().await).contains(CANARY));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_a_failed_parse_did_not_take_keeps_its_meaning() {
    let Some(gateway) = Gateway::start(RULES, CUSTOMERS).await else { return };
    let mut raw = gateway.raw().await;
    raw.parse("s", "select ssn from customers where id = 1").sync().send().await;
    assert_eq!(tags(&raw.answer().await), "1Z");
    raw.parse("s", "select name from customers where id = 1").sync().send().await;
    assert_eq!(field(&raw.answer().await, 'E', 'C'), "42P05");
    raw.bind("", "s").execute("").sync().send().await;
    let answer = raw.answer().await;
    assert!(tags(&answer) == "2DCZ" && !format!("{answer:?}").contains(CANARY), "{answer:?}");
}
