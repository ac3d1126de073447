//! Every way to destroy that is known, through the gateway, against a real server: what it is aimed at stays.
//!
//! Each statement of `tests/bypass/blocking.sql` runs in the simple and in the extended protocol, under a policy that
//! allows ordinary reads and writes, denies what destroys, and holds changes of whole tables; nobody approves.

use crate::client::{Message, field, tags};
use crate::corpus::{Agent, BLOCKING, Case, Protocol, cases, direct, rows, schema};
use crate::gateway::Gateway;
use proxy_core::approval::Outcome;
use std::fmt::Write as _;

const RULES: &str = "
rules:
- name: ordinary
  action: Allow
  postgresql: {effects: [Connect, Select, Insert, Update, Create, Set, Transaction, Lock, Notify]}
- {name: no-destruction, action: Deny, postgresql: {effects: [Delete, Drop, Truncate]}}
- {name: whole-tables, action: Hold, postgresql: {effects: [Update], unbounded: true}}
";
const VALUE: &str = "078-05-1120";
/// What must be as it was: the table, its columns, its rows, and that nothing is in its place.
const VICTIM: &str = "select coalesce((select string_agg(v::text, ' ' order by id) from public.victim v), '') || ' ' ||
    (select string_agg(attname, ',' order by attnum) from pg_attribute where attrelid = 'public.victim'::regclass
     and attnum > 0) || ' ' || (select string_agg(c.relowner::regrole || ':' || c.relkind::text, ',') from pg_class c
     where c.oid in ('public.victim'::regclass, 'public.vv'::regclass)) || ' ' || (select count(*) from customers)";

/// It changes single rows, or adds some, as the policy allows.
fn may_change(case: &Case) -> bool {
    case.expects("not:(unbounded)") || case.expects("touch:Insert public.victim")
}

async fn victim(owner: &tokio_postgres::Client) -> Result<String, String> {
    owner.query_one(VICTIM, &[]).await.map(|row| row.get(0)).map_err(|error| error.to_string())
}

#[derive(Debug, Default)]
struct Tally {
    denied: u32,
    held: u32,
    failed: u32,
    allowed: u32,
}

impl Tally {
    fn add(&mut self, messages: &[Message], held: bool) {
        let errors = messages.iter().filter(|message| message.tag == 'E');
        let mut codes = errors.map(|error| field(std::slice::from_ref(error), 'E', 'C'));
        match codes.next().as_deref() {
            _ if held => self.held += 1,
            Some("42501") => self.denied += 1,
            Some(_) => self.failed += 1,
            None => self.allowed += 1,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_destroys_where_destruction_is_denied_or_held() {
    let Some(gateway) = Gateway::start(RULES, &schema(VALUE)).await else { return };
    let owner = direct(&gateway.server, &gateway.database).await;
    let before = victim(&owner).await.unwrap();
    let corpus = cases(BLOCKING);
    let mut done = String::new();
    for protocol in [Protocol::Simple, Protocol::Text] {
        let (mut agent, mut tally) = (Agent::new(&gateway), Tally::default());
        for case in &corpus {
            gateway.approvals.deny_the_next_few();
            let asked = gateway.approvals.questions.lock().unwrap().len();
            let messages = agent.run(case, protocol).await;
            tally.add(&messages, gateway.approvals.questions.lock().unwrap().len() > asked);
            let after = victim(&owner).await;
            if after.as_ref() != Ok(&before) && !may_change(case) {
                let what = format!("{protocol:?} {}: {after:?}\n  {}\n  {messages:?}", case.name, case.sql);
                writeln!(done, "{what}").unwrap();
            }
            if after.as_ref() != Ok(&before) {
                owner.batch_execute(&rows(VALUE)).await.unwrap();
            }
        }
        println!("{protocol:?}: {} cases, {tally:?}", corpus.len());
        assert!(tally.denied > 80 && tally.held > 0 && tally.allowed > 0, "{tally:?}");
    }
    assert!(done.is_empty(), "{done}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_statements_destroy_where_nothing_stands_between() {
    let Some(gateway) = Gateway::start(RULES, "").await else { return };
    let (mut destructive, corpus) = (0, cases(BLOCKING));
    let mut database = gateway.server.database(&schema(VALUE));
    for case in &corpus {
        // The owner's own session: what the role may do past the gateway.
        let owner = direct(&gateway.server, &database).await;
        let before = victim(&owner).await.unwrap();
        owner.batch_execute("set statement_timeout = '200ms'").await.unwrap();
        let _any = owner.simple_query(&case.sql).await;
        drop(owner);
        let after = victim(&direct(&gateway.server, &database).await).await;
        if after.as_ref() != Ok(&before) {
            destructive += 1;
            database = gateway.server.database(&schema(VALUE));
        }
    }
    println!("{destructive} of {} cases are destructive", corpus.len());
    assert!(destructive >= 40, "{destructive}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_one_segment_is_judged() {
    let Some(gateway) = Gateway::start(RULES, &schema(VALUE)).await else { return };
    let mut raw = gateway.raw().await;
    raw.query("select 1").query("drop table victim cascade").query("select 2").send().await;
    assert_eq!(tags(&raw.answer().await), "TDCZ");
    assert_eq!(tags(&raw.answer().await), "EZ");
    assert_eq!(tags(&raw.answer().await), "TDCZ");
    assert_eq!(gateway.server.sql(&gateway.database, "select count(*) from victim"), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destructive_statement_is_refused_under_every_name() {
    let Some(gateway) = Gateway::start(RULES, &schema(VALUE)).await else { return };
    let mut raw = gateway.raw().await;
    // Prepared by SQL, bound by the protocol; and a cursor of the protocol that SQL fetches from.
    raw.query("prepare zz as delete from victim").send().await;
    assert_eq!(field(&raw.answer().await, 'E', 'C'), "42501");
    raw.bind("", "zz").execute("").sync().send().await;
    // It was never prepared, so the server does not know it.
    assert_eq!(field(&raw.answer().await, 'E', 'C'), "26000");
    raw.parse("s", "delete from victim").bind("p", "s").execute("p").sync().send().await;
    assert_eq!(field(&raw.answer().await, 'E', 'C'), "42501");
    raw.query("execute s").query("fetch all from p").send().await;
    assert_eq!(field(&raw.answer().await, 'E', 'C'), "42501");
    assert_eq!(field(&raw.answer().await, 'E', 'C'), "42501");
    assert_eq!(gateway.server.sql(&gateway.database, "select count(*) from victim"), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_encoding_or_string_syntax_is_never_in_force() {
    let Some(gateway) = Gateway::start(RULES, &schema(VALUE)).await else { return };
    let mut raw = gateway.raw().await;
    for sql in [
        "set client_encoding = 'SJIS'",
        "set names 'GBK'",
        "set standard_conforming_strings = off",
        "select set_config('client_encoding', 'BIG5', false)",
        "begin; set local standard_conforming_strings = off; commit",
    ] {
        raw.query(sql).send().await;
        assert_eq!(field(&raw.answer().await, 'E', 'C'), "42501", "{sql}");
    }
    raw.query(r"select 'a\'; delete from victim; --'").send().await;
    assert_eq!(field(&raw.answer().await, 'E', 'C'), "42501");
    assert_eq!(gateway.server.sql(&gateway.database, "select count(*) from victim"), "2");
}

impl crate::gateway::Scripted {
    /// Whoever asks is told no.
    fn deny_the_next_few(&self) {
        for _ in 0..4 {
            self.next().send_replace(Some(Outcome::Denied { approver: "dora: no".to_owned() }));
        }
    }
}
