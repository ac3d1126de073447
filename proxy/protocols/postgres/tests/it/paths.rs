//! Ordinary ways through.

use crate::client::{field, tags};
use crate::gateway::Gateway;

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
    for expected in ["SessionStart", "Statement", "Result"] {
        assert!(log.contains(expected) || log.to_lowercase().contains(&expected.to_lowercase()), "{expected}: {log}");
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
