//! Ordinary ways through.

use crate::client::{Message, Raw, field, tags};
use crate::gateway::Gateway;
use bytes::BufMut as _;

const ALL: &str = "
rules:
- {name: all, action: Allow, postgresql: {}}
- {name: unknown, action: Allow, postgresql: {effects: [Unknown]}}
";

const USERS: &str = "create table users(id int, name text); insert into users values (1, 'ada'), (2, 'bob')";

#[tokio::test(flavor = "multi_thread")]
async fn psql_runs_statements_through_tls_with_a_token() {
    let Some(gateway) = Gateway::start(ALL, USERS).await else { return };
    let done = gateway.psql(&["-Atc", "select name from users order by id"], &[]).await;
    assert_eq!(String::from_utf8_lossy(&done.stdout), "ada\nbob\n", "{done:?}");
    let log = gateway.log();
    for expected in ["portcullis.session.start", "portcullis.statement", "portcullis.result", "ada"] {
        assert!(log.contains(expected), "{expected} is not on record");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokio_postgres_runs_simple_extended_prepared_and_pipelined_statements() {
    let Some(gateway) = Gateway::start(ALL, USERS).await else { return };
    let client = gateway.connect().await;
    assert_eq!(client.simple_query("select 1; select 2").await.unwrap().len(), 6);
    let row = client.query_one("select name from users where id = $1", &[&2]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "bob");
    let prepared = client.prepare("select $1::int + 1").await.unwrap();
    let numbers = [1, 2, 3];
    let several = numbers.iter().map(|number| {
        let (client, prepared) = (&client, &prepared);
        async move { client.query_one(prepared, &[number]).await.unwrap().get::<_, i32>(0) }
    });
    let mut answers = Vec::new();
    for answer in several {
        answers.push(answer.await);
    }
    assert_eq!(answers, [2, 3, 4]);
    let error = client.simple_query("select 1/0").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "22012");
    assert!(client.simple_query("select 1").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_a_pipeline_come_in_order() {
    let Some(gateway) = Gateway::start(ALL, USERS).await else { return };
    let mut raw = gateway.raw().await;
    raw.extended("select 1").extended("select 2").sync().query("select 3").send().await;
    assert_eq!(tags(&raw.answer().await), "12DC12DCZ");
    assert_eq!(tags(&raw.answer().await), "TDCZ");
    raw.extended("select 1").extended("select nothing").extended("select 2").sync().send().await;
    let answer = raw.answer().await;
    assert_eq!(tags(&answer), "12DCEZ");
    assert_eq!(field(&answer, 'E', 'C'), "42703");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_is_copied_in_by_the_simple_and_by_the_extended_protocol() {
    let Some(gateway) = Gateway::start(ALL, USERS).await else { return };
    let mut raw = gateway.raw().await;
    raw.query("copy users from stdin").send().await;
    assert_eq!(raw.read().await.tag, 'G');
    copy(&mut raw, b"3\tcyd\n");
    raw.send().await;
    assert_eq!(tags(&raw.answer().await), "CZ");
    // As libpq does: a Sync with the command, which the server ignores while it copies, and one after the data.
    raw.extended("copy users from stdin").sync().send().await;
    assert_eq!(tags(&[raw.read().await, raw.read().await, raw.read().await]), "12G");
    copy(&mut raw, b"4\tdan\n");
    raw.sync().send().await;
    assert_eq!(tags(&raw.answer().await), "CZ");
    raw.query("select count(*) from users").send().await;
    let answer = raw.answer().await;
    assert!(tags(&answer) == "TDCZ" && answer[1].body.ends_with(b"4"), "{answer:?}");
}

fn copy(raw: &mut Raw, data: &[u8]) {
    raw.out.put_u8(b'd');
    raw.out.put_u32(u32::try_from(data.len() + 4).unwrap());
    raw.out.put_slice(data);
    raw.out.put_slice(b"c\0\0\0\x04");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_results_stream_and_are_counted() {
    let Some(gateway) = Gateway::start(ALL, USERS).await else { return };
    let mut raw = gateway.raw().await;
    raw.query("select g, repeat('x', 1000) from generate_series(1, 20000) g").send().await;
    let answer = raw.answer().await;
    assert_eq!(answer.len(), 20_003);
    raw.query("select repeat('x', 100000000)").send().await;
    assert_eq!(raw.answer().await[1].body.len(), 100_000_006);
    assert!(gateway.log().contains("portcullis.result.truncated"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_names_is_awaited_within_a_pipeline() {
    let Some(gateway) = Gateway::start(ALL, USERS).await else { return };
    let mut raw = gateway.raw().await;
    raw.extended("create table fresh(a int)")
        .extended("insert into fresh values (1)")
        .extended("table fresh")
        .sync();
    raw.send().await;
    assert_eq!(tags(&raw.answer().await), "12C12C12DCZ");
}

fn frame(message: &Message) -> Vec<u8> {
    let length = u32::try_from(message.body.len() + 4).unwrap();
    [&[u8::try_from(message.tag).unwrap()][..], &length.to_be_bytes(), &message.body].concat()
}

fn times(log: &[u8], frame: &[u8]) -> usize {
    log.windows(frame.len()).filter(|window| *window == frame).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_is_told_of_columns_is_on_record_with_the_rows() {
    let Some(gateway) = Gateway::start(ALL, USERS).await else { return };
    let mut raw = gateway.raw().await;
    let describe = |raw: &mut Raw, kind, name: &str| {
        postgres_protocol::message::frontend::describe(kind, name, &mut raw.out).unwrap();
    };
    let bind = |raw: &mut Raw, format: i16| {
        let none = std::iter::empty::<()>();
        let null = |(), _: &mut bytes::BytesMut| Ok(postgres_protocol::IsNull::Yes);
        let bound =
            postgres_protocol::message::frontend::bind("", "s", [], none, null, [format], &mut raw.out);
        assert!(bound.is_ok());
    };
    raw.parse("s", "select 7 as seven, 'x'::text");
    describe(&mut raw, b'S', "s");
    raw.sync().send().await;
    let answer = raw.answer().await;
    assert_eq!(tags(&answer), "1tTZ");
    let statement = frame(&answer[2]);
    // Executed three times in binary: its columns are on record once, with the formats of the portal.
    for _ in 0..3 {
        bind(&mut raw, 1);
        raw.execute("").sync().send().await;
        assert_eq!(tags(&raw.answer().await), "2DCZ");
    }
    let mut binary = statement.clone();
    let (seven, text) = (5 + 2 + "seven".len() + 1 + 16, statement.len() - 2);
    binary[seven + 1] = 1;
    binary[text + 1] = 1;
    assert_eq!(times(&gateway.log_bytes(), &statement), 0);
    assert_eq!(times(&gateway.log_bytes(), &binary), 1);
    // A portal that is described is on record as it is, also where the execution was sent right behind it.
    bind(&mut raw, 0);
    describe(&mut raw, b'P', "");
    raw.execute("").sync().send().await;
    let answer = raw.answer().await;
    assert_eq!(tags(&answer), "2TDCZ");
    assert_eq!(times(&gateway.log_bytes(), &[frame(&answer[1]), frame(&answer[2])].concat()), 1);
}
