//! What a database holds that makes it hard to read its catalogue: nobody's sessions end for it.

use crate::client::{field, tags};
use crate::gateway::Gateway;

const POLICY: &str = "
rules:
- {name: reads, action: Allow, postgresql: {effects: [Connect, Select, Transaction]}}
masking:
- {columns: [public.people.ssn]}
";
const OWNERS: &str = "
rules:
- {name: all, action: Allow, postgresql: {}}
masking:
- {columns: [public.people.ssn]}
";
const SCHEMA: &str = "
create table people(id int, ssn text);
insert into people values (1, '078-05-1120');
create view known as select id, ssn as number from people;
create type odd as enum ('a');
create view broken as select id, ssn as number, 'a'::odd as word from people;
create view emptied as select id, ssn as number from people;
create table computed(a int, b int generated always as (a + 1) stored);
insert into computed values (1);
";

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_the_server_cannot_show_is_all_that_is_refused() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    // what a crash, a bug or a superuser may leave
    let damage = "delete from pg_type where typname = 'odd'; \
                  delete from pg_rewrite where ev_class = 'emptied'::regclass";
    gateway.server.sql(&gateway.database, damage);
    let shown = gateway.server.sql(&gateway.database, "select count(pg_get_viewdef('emptied'::regclass))");
    assert_eq!(shown, "0", "no definition of the one, and an error for the other");
    let mut raw = gateway.raw().await;
    for (sql, rows) in [("select id from people", "TDCZ"), ("select b from computed", "TDCZ")] {
        let answer = raw.ask(sql).await;
        assert_eq!(tags(&answer), rows, "{sql}: {answer:?}");
    }
    let answer = raw.ask("select number from known").await;
    assert_eq!(tags(&answer), "TDCZ", "{answer:?}");
    let masked = answer[1].body.windows(8).any(|part| part == b"[MASKED:");
    assert!(masked, "it is known what the other shows: {answer:?}");
    for view in ["broken", "emptied"] {
        let answer = raw.ask(&format!("select id from {view}")).await;
        let code = field(&answer, 'E', 'C');
        assert_eq!((tags(&answer), code), ("EZ".to_owned(), "42501".to_owned()), "{view}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_whose_list_of_arguments_may_be_empty_can_be_told() {
    const FUNCTION: &str = "create function many(variadic a int[] default array[]::int[]) returns int \
                            language sql as 'select 1'";
    let Some(gateway) = Gateway::start(POLICY, FUNCTION).await else { return };
    let mut raw = gateway.raw().await;
    let answer = raw.ask("select 1").await;
    assert_eq!(tags(&answer), "TDCZ", "{answer:?}");
    for sql in ["select many()", "select many(1)", "select many(1, 2)", "select many(variadic array[1])"] {
        let answer = raw.ask(sql).await;
        let code = field(&answer, 'E', 'C');
        assert_eq!((tags(&answer), code), ("EZ".to_owned(), "42501".to_owned()), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_read_leaves_no_prepared_transaction_behind() {
    let Some(gateway) = Gateway::start(POLICY, "create table t(i int)").await else { return };
    let mut raw = gateway.raw().await;
    assert_eq!(tags(&raw.ask("begin").await), "CZ");
    assert_eq!(tags(&raw.ask("select * from t").await), "TCZ");
    let answer = raw.ask("prepare transaction 'kept'").await;
    assert_eq!(
        (tags(&answer), field(&answer, 'E', 'C')),
        ("EZ".to_owned(), "42501".to_owned()),
        "{answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_of_what_is_being_changed_keeps_nobody_waiting() {
    let Some(gateway) = Gateway::start(OWNERS, SCHEMA).await else { return };
    let (mut changing, mut other) = (gateway.raw().await, gateway.raw().await);
    for sql in ["begin", "alter table people add column extra int", "select extra from people"] {
        let answer = changing.ask(sql).await;
        assert!(!tags(&answer).contains('E'), "{sql}: {answer:?}");
    }
    let began = std::time::Instant::now();
    for sql in ["create table another(i int)", "select i from another"] {
        let answer = other.ask(sql).await;
        assert!(!tags(&answer).contains('E'), "{sql}: {answer:?}");
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(field(&other.ask("select number from known").await, 'E', 'C'), "42501");
    changing.ask("commit").await;
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while tags(&other.ask("select number from known").await) != "TDCZ" {
        assert!(std::time::Instant::now() < end, "it is known again");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}
