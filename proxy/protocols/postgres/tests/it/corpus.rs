//! The bypass corpora of `tests/bypass`, and the database that their statements are about.

use crate::client::{Message, Raw};
use crate::gateway::Gateway;
use crate::server::{PASSWORD, Server};
use bytes::{Buf as _, BufMut as _};
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;

pub(crate) const MASKING: &str = include_str!("../bypass/masking.sql");
pub(crate) const BLOCKING: &str = include_str!("../bypass/blocking.sql");

/// One statement, or several in one text, and what is expected of it.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) expected: Vec<String>,
    pub(crate) sql: String,
}

impl Case {
    pub(crate) fn expects(&self, what: &str) -> bool {
        self.expected.iter().any(|expected| expected == what)
    }

    /// Whether running it can change nothing: then its session and its database are good for the next one.
    pub(crate) fn only_reads(&self) -> bool {
        let reads = ["select", "table", "with", "values", "show", "explain"];
        let word = self.sql.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        let writes = [";", " into ", "update", "delete", "insert", "set_config"];
        reads.contains(&word) && !writes.iter().any(|word| self.sql.contains(word))
    }

    /// The statements of the text, as a client of the extended protocol has to send them.
    pub(crate) fn statements(&self) -> Vec<&str> {
        pg_query::split_with_scanner(&self.sql).unwrap_or_else(|_| vec![&self.sql])
    }
}

pub(crate) fn cases(corpus: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for part in corpus.split("\n--- ").map(|part| part.trim_start_matches("--- ")) {
        let (head, sql) = part.split_once('\n').expect("a case has a statement");
        let (name, expected) = head.split_once(" | ").expect("a case has expectations");
        let expected = expected.split(", ").map(str::to_owned).collect();
        cases.push(Case { name: name.to_owned(), expected, sql: sql.trim_end().to_owned() });
    }
    cases
}

/// Everything that the corpora name, real. `CANARY` stands for the value that must not get out.
const SCHEMA: &str = r"
reset role;
-- Some cases make as many rows as a masked number says.
do $$ begin execute format('alter database %I set statement_timeout = ''500ms''', current_database()); end $$;
do $$ begin create role mallory; exception when duplicate_object or unique_violation then null; end $$;
do $$ begin create role nobody_x; exception when duplicate_object or unique_violation then null; end $$;
create extension hstore; create extension dblink; create extension pageinspect;
set role app;
create schema other;
create table customers(id int primary key, name text, ssn text, doc jsonb);
create table customers_old() inherits (customers);
create table orders(id int primary key, customer_id int, total numeric);
create table victim(id int primary key, t text);
create table log(id int unique, message text);
create sequence seq;
create function getssn(int) returns text immutable language sql as 'select ssn from public.customers where id = $1';
create table people(id int, name text, initials text generated always as (public.getssn(id)) stored);
create view customer_view as select id, ssn as national_id from customers;
create view outer_view as select national_id as v from customer_view;
create view vv as select id, t from victim;
create function fd() returns int language sql as 'delete from public.victim; select 1';
create view vf as select fd() as fd;
create materialized view customer_copy as select ssn as s from customers;
create procedure drop_everything() language plpgsql as 'begin drop table public.victim cascade; end';
create function tf() returns trigger language plpgsql as 'begin delete from public.victim; return new; end';
create trigger t before update on victim for each row when (old.id < 0) execute function tf();
create function same(text, text) returns text language sql as 'select $1';
create function same(int, int) returns int language sql as 'delete from public.victim; select 1';
create operator === (function = same, leftarg = text, rightarg = text);
create operator === (function = same, leftarg = int, rightarg = int);
create type ty as (v text);
create function fc(int) returns ty language sql
  as 'delete from public.victim; select row(public.getssn($1))::public.ty';
create cast (int as ty) with function fc(int);
";

/// Rows as they are before each case; also takes back what a case before may have done.
const ROWS: &str = r#"
do $$ begin alter table customers rename harmless to ssn; exception when undefined_column then null; end $$;
truncate customers, log, orders, victim, people;
drop view if exists w;
drop index if exists u;
insert into customers values (1, 'ada', 'CANARY', '{"ssn": "CANARY"}'), (2, 'bob', null, null);
insert into customers_old values (10, 'cyd', 'CANARY', null);
insert into orders values (1, 1, 10), (2, 1, 20);
insert into victim values (1, 'one'), (2, 'two');
insert into log values (1, 'first');
insert into people(id, name) values (1, 'ada');
"#;

pub(crate) fn schema(canary: &str) -> String {
    let rows = rows(canary);
    format!("{SCHEMA}{rows}refresh materialized view customer_copy; analyze")
}

pub(crate) fn rows(canary: &str) -> String {
    ROWS.replace("CANARY", canary)
}

/// The owner of the database, connected past the gateway.
pub(crate) async fn direct(server: &Server, database: &str) -> tokio_postgres::Client {
    let mut config = tokio_postgres::Config::new();
    config.host("localhost").port(server.port).user("app").dbname(database).password(PASSWORD);
    config.ssl_mode(tokio_postgres::config::SslMode::Require);
    let tls = crate::client::Tls(std::sync::Arc::new(server.certificates.client()));
    let (client, connection) = config.connect(tls).await.unwrap();
    tokio::spawn(async move { connection.await.ok() });
    client.batch_execute("set statement_timeout = '20s'").await.unwrap();
    client
}

/// How a statement is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    /// `Query`, the whole text at once.
    Simple,
    /// `Parse` to `Sync` for each statement, results as text.
    Text,
    /// The same, with binary results.
    Binary,
}

pub(crate) const PROTOCOLS: [Protocol; 3] = [Protocol::Simple, Protocol::Text, Protocol::Binary];

/// Sends statements through the gateway, in one session as long as that serves.
pub(crate) struct Agent<'a> {
    gateway: &'a Gateway,
    session: Option<Raw>,
}

impl<'a> Agent<'a> {
    pub(crate) fn new(gateway: &'a Gateway) -> Self {
        Self { gateway, session: None }
    }

    /// Sends a case and gives every message that comes back.
    pub(crate) async fn run(&mut self, case: &Case, protocol: Protocol) -> Vec<Message> {
        let mut raw = match self.session.take() {
            Some(raw) => raw,
            None => self.gateway.raw().await,
        };
        let mut heard = Vec::new();
        let statements = if protocol == Protocol::Simple { vec![&*case.sql] } else { case.statements() };
        for sql in statements {
            match protocol {
                Protocol::Simple => drop(raw.query(sql)),
                Protocol::Text => extended(&mut raw, sql, 0),
                Protocol::Binary => extended(&mut raw, sql, 1),
            }
            raw.send().await;
            if !answer(&mut raw, protocol, &mut heard).await {
                return heard;
            }
        }
        if case.only_reads() {
            self.session = Some(raw);
        }
        heard
    }
}

/// `Parse`, `Bind`, `Describe`, `Execute`, `Sync`.
fn extended(raw: &mut Raw, sql: &str, format: i16) {
    raw.parse("", sql);
    let none = std::iter::empty::<()>();
    frontend::bind("", "", [], none, |(), _| Ok(IsNull::Yes), [format], &mut raw.out).ok().unwrap();
    frontend::describe(b'P', "", &mut raw.out).unwrap();
    raw.execute("").sync();
}

/// Reads up to `ReadyForQuery`; a server that wants data gets none. False: the session is over.
async fn answer(raw: &mut Raw, protocol: Protocol, heard: &mut Vec<Message>) -> bool {
    while let Some(message) = raw.try_read().await {
        let tag = message.tag;
        heard.push(message);
        match tag {
            'Z' => return true,
            'G' => {
                raw.out.put_slice(b"f\0\0\0\x05\0");
                if protocol != Protocol::Simple {
                    // The one behind Execute is ignored while data is awaited.
                    raw.sync();
                }
                raw.send().await;
            }
            _ => {}
        }
    }
    false
}

/// The values of all rows, in order.
pub(crate) fn values(messages: &[Message]) -> Vec<Vec<Option<Vec<u8>>>> {
    let rows = messages.iter().filter(|message| message.tag == 'D').map(|message| {
        let mut body = &message.body[..];
        let count = body.get_u16();
        let value = |_| {
            let length = usize::try_from(body.get_i32()).ok()?;
            Some(body.copy_to_bytes(length).to_vec())
        };
        (0..count).map(value).collect()
    });
    rows.collect()
}
