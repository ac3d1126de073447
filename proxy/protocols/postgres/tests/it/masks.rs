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

const DETECTED: &str = "
rules:
- {name: all, action: Allow, postgresql: {}}
masking:
- {detectors: [CreditCard, IpAddress, Secrets]}
";
const CARD: i64 = 4_111_111_111_111_111;
const PAY: &str = "create domain number as bigint;
    create table pay(id int, card bigint, other number, price numeric, host inet, cards bigint[], key bytea,
        span int8range, at timestamptz);
    insert into pay values (7, 4111111111111111, 4111111111111111, 4111111111111111, '203.0.113.7',
        '{1,4111111111111111}', 'AKIAQ3EGRIOD5NMXLWPZ', '[4111111111111111,4111111111111112)', '2021-03-04 05:06:18Z')";

/// Nothing of what is in the table is there, in no form in which the server writes it.
fn assert_nothing_of_it(bytes: &[u8], what: &str) {
    let numeric = b"\x10\x0f\x04\x57\x04\x57\x04\x57";
    let key = b"AKIAQ3EGRIOD5NMXLWPZ";
    let (card, hex) = (CARD.to_string(), const_hex::encode(key));
    let forms: [&[u8]; 7] = [
        &CARD.to_be_bytes(),
        card.as_bytes(),
        numeric,
        b"203.0.113.7",
        &[203, 0, 113, 7],
        key,
        hex.as_bytes(),
    ];
    for form in forms {
        assert!(!bytes.windows(form.len()).any(|window| window == form), "{what}: {form:?} in {bytes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn detectors_find_in_binary_what_they_find_in_text() {
    let Some(gateway) = Gateway::start(DETECTED, PAY).await else { return };
    let client = gateway.connect().await;
    for columns in
        ["card", "other", "price", "host", "cards", "key", "span", "row(card)", "array[host]", "(1, host)"]
    {
        let sql = format!("select {columns}, id, at::date::text, at from pay");
        let statement = client.prepare(&sql).await.unwrap();
        let row = client.query_one(&statement, &[]).await.unwrap();
        let id: i32 = row.get(1);
        let day: String = row.get(2);
        assert_eq!((id, &*day), (7, "2021-03-04"), "{sql}");
        let at: std::time::SystemTime = row.get(3);
        assert!(at > std::time::UNIX_EPOCH, "{sql}");
        let cells = cells(&client.simple_query(&sql).await.unwrap());
        assert_nothing_of_it(format!("{cells:?}").as_bytes(), &sql);
        let mut raw = gateway.raw().await;
        raw.parse("", &sql);
        raw.bind_binary("", "").execute("").sync().send().await;
        let answer = raw.answer().await;
        assert_eq!(tags(&answer), "12DCZ", "{sql}: nobody asked for a description");
        assert_nothing_of_it(&answer[2].body, &sql);
    }
    client.execute("set bytea_output = escape", &[]).await.unwrap();
    assert_nothing_of_it(
        format!("{:?}", cells(&client.simple_query("select key from pay").await.unwrap())).as_bytes(),
        "escape",
    );
    assert_nothing_of_it(&gateway.log_bytes(), "on record");
}

#[tokio::test(flavor = "multi_thread")]
async fn detectors_find_in_copies_what_they_find_in_rows() {
    let Some(gateway) = Gateway::start(DETECTED, PAY).await else { return };
    for from in ["pay", "(select * from pay)", "(select id, card + 0, row(host), host, key from pay)"] {
        for format in ["text", "csv", "binary"] {
            let mut raw = gateway.raw().await;
            raw.query(&format!("copy {from} to stdout (format {format})")).send().await;
            let answer = raw.answer().await;
            assert!(tags(&answer).ends_with("cCZ"), "{from} {format}: {answer:?}");
            let rows: Vec<u8> = answer
                .iter()
                .filter(|message| message.tag == 'd')
                .flat_map(|message| message.body.clone())
                .collect();
            assert_nothing_of_it(&rows, &format!("{from} {format}"));
            // Of a column that comes as it is the type is known: this timestamp would be a card number.
            let stamp = 668_149_578_000_000_i64.to_be_bytes();
            let is_there = rows.windows(8).any(|window| window == stamp);
            assert!(is_there || format != "binary" || from.contains("card"), "{from}");
        }
    }
    assert_nothing_of_it(&gateway.log_bytes(), "on record");
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
