//! Random conversations in the protocol, pipelined as no driver would: what the server answers through the gateway is
//! what it answers directly, message by message.

use crate::client::{Message, Raw};
use crate::gateway::Gateway;
use bytes::BufMut;
use postgres_protocol::message::frontend;

const POLICY: &str = "
rules:
- {name: all, action: Allow, postgresql: {}}
- {name: even-this, action: Allow, postgresql: {effects: [Unknown]}}
";
const SCHEMA: &str = "
create table t(i int primary key, s text, n numeric);
insert into t select i, 's' || i, i * 1.5 from generate_series(1, 5) i;
create table u(i int);
";

/// Texts: with parameters and without, that fail early and late, that change the session.
const TEXTS: &[&str] = &[
    "select 1",
    "select i, s, n from t order by i",
    "select s from t where i = $1",
    "select $1::text || 'x'",
    "select $1::int + $2::int",
    "select 1 / (i - 3) from t order by i",
    "select nothing from t",
    "selec 1",
    "",
    "-- nothing",
    "insert into u values (1) returning i",
    "insert into t values (1, 'twice')",
    "insert into u select i from t where i > $1",
    "update t set s = 'changed' where i = 2",
    "delete from u",
    "begin",
    "begin; select 1",
    "commit",
    "rollback",
    "rollback and chain",
    "savepoint a",
    "rollback to a",
    "release a",
    "start transaction isolation level serializable",
    "set transaction read only",
    "set local work_mem = '3MB'",
    "set work_mem = '4MB'",
    "show work_mem",
    "reset all",
    "set application_name = 'told'",
    "drop table if exists nowhere",
    "create temp table v(i int)",
    "drop table v",
    "select * from v",
    "insert into v values (7)",
    "declare c cursor for select i from t order by i",
    "declare p scroll cursor with hold for select s from t order by i",
    "fetch 2 from c",
    "fetch all from p",
    "move 1 in c",
    "close c",
    "close all",
    "prepare a as select 'prepared by hand'",
    "prepare b(int) as select s from t where i = $1",
    "execute a",
    "execute b(2)",
    "deallocate a",
    "deallocate all",
    "discard all",
    "listen news",
    "notify news, 'payload'",
    "unlisten *",
    "explain (costs off) select * from t",
    "values (1, 'a'), (2, null)",
    "copy t to stdout",
    "copy (select i from t order by i) to stdout (format csv)",
    "select generate_series(1, 50)",
    "select repeat('x', 20000)",
    "lock table u",
    "truncate u",
    "select pg_notify('news', 'called')",
    "do $$ begin raise notice 'told'; end $$",
    "do $$ begin raise exception 'thrown'; end $$",
    "select 1; select 2",
    "select 1; select 1/0; select 3",
    "insert into u values (5); select count(*) from u; rollback",
    "begin; insert into u values (6); commit; select count(*) from u",
];

/// Small and repeatable.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides).unwrap()).unwrap()
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.roll(choices.len())]
    }
}

const STATEMENTS: &[&str] = &["", "", "a", "b", "long"];
const PORTALS: &[&str] = &["", "", "p", "c"];

/// Adds one message, or a few that belong together, and says which.
fn step(dice: &mut Dice, out: &mut bytes::BytesMut) -> String {
    match dice.roll(20) {
        0..=3 => {
            let (name, text) = (dice.of(STATEMENTS), dice.of(TEXTS));
            let types: &[u32] = if dice.roll(4) == 0 { &[25] } else { &[] };
            frontend::parse(name, text, types.iter().copied(), out).unwrap();
            format!("Parse {name:?} {text:?} {types:?}")
        }
        4..=6 => bind(dice, out),
        7..=9 => {
            let (portal, rows) = (dice.of(PORTALS), [0, 0, 1, 2][dice.roll(4)]);
            frontend::execute(portal, rows, out).unwrap();
            format!("Execute {portal:?} {rows}")
        }
        10 => {
            let (kind, name) =
                if dice.roll(2) == 0 { (b'S', dice.of(STATEMENTS)) } else { (b'P', dice.of(PORTALS)) };
            frontend::describe(kind, name, out).unwrap();
            format!("Describe {} {name:?}", char::from(kind))
        }
        11 => {
            let (kind, name) =
                if dice.roll(2) == 0 { (b'S', dice.of(STATEMENTS)) } else { (b'P', dice.of(PORTALS)) };
            frontend::close(kind, name, out).unwrap();
            format!("Close {} {name:?}", char::from(kind))
        }
        12 => {
            frontend::flush(out);
            "Flush".to_owned()
        }
        13 | 14 => {
            frontend::sync(out);
            "Sync".to_owned()
        }
        15 => copy(dice, out),
        16 => {
            // what drivers do for one statement
            let text = dice.of(TEXTS);
            frontend::parse("", text, [], out).unwrap();
            frontend::describe(b'S', "", out).unwrap();
            put_bind(out, "", "", &[], 0);
            frontend::execute("", 0, out).unwrap();
            frontend::sync(out);
            format!("Parse, Describe, Bind, Execute, Sync {text:?}")
        }
        _ => {
            let text = dice.of(TEXTS);
            frontend::query(text, out).unwrap();
            format!("Query {text:?}")
        }
    }
}

fn bind(dice: &mut Dice, out: &mut bytes::BytesMut) -> String {
    let (portal, statement) = (dice.of(PORTALS), dice.of(STATEMENTS));
    let values: &[&str] = [&[][..], &["2"], &["2", "3"], &["no number"]][dice.roll(4)];
    let format = i16::try_from(dice.roll(2)).unwrap();
    put_bind(out, portal, statement, values, format);
    format!("Bind {portal:?} {statement:?} {values:?} {format}")
}

fn put_bind(out: &mut bytes::BytesMut, portal: &str, statement: &str, values: &[&str], format: i16) {
    let bound = frontend::bind(
        portal,
        statement,
        [],
        values,
        |value, buffer| {
            buffer.put_slice(value.as_bytes());
            Ok(postgres_protocol::IsNull::No)
        },
        [format],
        out,
    );
    assert!(bound.is_ok(), "the values are short");
}

/// A copy with its data, as a query of its own: whoever does not send what a copy expects loses what follows.
fn copy(dice: &mut Dice, out: &mut bytes::BytesMut) -> String {
    let text = dice.of(&[
        "copy u from stdin",
        "copy u from stdin; select count(*) from u",
        "copy u from stdin (format csv)",
    ]);
    let data = dice.of(&["1\n2\n", "x\n", "", "3\n\\.\n"]);
    frontend::query(text, out).unwrap();
    frontend::CopyData::new(data.as_bytes()).unwrap().write(out);
    let ends = dice.roll(3);
    if ends == 0 {
        frontend::copy_fail("given up", out).unwrap();
    } else {
        frontend::copy_done(out);
    }
    format!("Query {text:?} {data:?} {}", if ends == 0 { "CopyFail" } else { "CopyDone" })
}

/// Empty queries at the end of a round: answered whatever the state of the transaction is.
const LAST: usize = 5;

/// Everything up to the answers of the last queries.
async fn heard(raw: &mut Raw) -> Vec<Message> {
    let (mut heard, mut empty) = (Vec::new(), 0);
    loop {
        let Some(mut message) = raw.try_read().await else {
            heard.push(Message { tag: '-', body: b"the connection ended".to_vec() });
            return heard;
        };
        let done = message.tag == 'Z' && empty == LAST;
        match message.tag {
            'I' => empty += 1,
            'Z' if heard.last().is_some_and(|last: &Message| last.tag == 'I') => {}
            _ => empty = 0,
        }
        match message.tag {
            // the process is another one
            'A' => message.body[..4].fill(0),
            'T' => forget_tables(&mut message.body),
            _ => {}
        }
        heard.push(message);
        if done {
            return heard;
        }
    }
}

/// Object identifiers of tables, which the two databases need not share.
fn forget_tables(description: &mut [u8]) {
    let mut at = 2;
    while at < description.len() {
        at += description[at..].iter().position(|byte| *byte == 0).unwrap() + 1;
        description[at..at + 4].fill(0);
        at += 18;
    }
}

/// The server has lost its mind: `FATAL` with an internal error, or a crash. Some versions do where a portal of the
/// protocol ends its own transaction.
fn is_lost(answer: &[Message]) -> bool {
    let says = |message: &Message, words: &[u8]| message.body.windows(words.len()).any(|part| part == words);
    let crash =
        |message: &Message| says(message, b"57P02") || says(message, b"the server closed the connection");
    let fatal = |message: &Message| says(message, b"FATAL") && says(message, b"XX000");
    answer.iter().any(|message| crash(message) || fatal(message))
}

async fn said_alike(seed: u64, gateway: &Gateway, database: &str) -> Result<usize, String> {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let (mut through, mut direct) = (gateway.raw().await, Raw::directly(&gateway.server, database).await);
    let mut before = Vec::new();
    for _ in 0..12 {
        let mut out = bytes::BytesMut::new();
        let steps: Vec<String> = (0..=dice.roll(8)).map(|_| step(&mut dice, &mut out)).collect();
        frontend::sync(&mut out);
        for _ in 0..LAST {
            frontend::query("", &mut out).unwrap();
        }
        let mut answers = Vec::new();
        for raw in [&mut direct, &mut through] {
            raw.out.extend_from_slice(&out);
            raw.send().await;
            answers.push(heard(raw).await);
        }
        before.push(steps.join("\n  "));
        let ended = answers[0].last().is_some_and(|last| last.tag == '-');
        if ended || answers.iter().any(|answer| is_lost(answer)) {
            return Ok(before.len());
        }
        if answers[0] != answers[1] {
            let said = before.join("\n  --\n  ");
            let same = answers[0].iter().zip(&answers[1]).take_while(|(one, other)| one == other).count();
            let from = |answer: &[Message]| format!("{:?}", &answer[same.saturating_sub(1)..]);
            let (directly, through) = (from(&answers[0]), from(&answers[1]));
            return Err(format!(
                "seed {seed}\n  {said}\ndirectly from message {same} {directly}\nthrough  {through}"
            ));
        }
    }
    Ok(before.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn random_conversations_are_those_with_the_server() {
    let Some(gateway) = Gateway::start_alone(POLICY, SCHEMA).await else { return };
    let database = gateway.server.database(SCHEMA);
    let number = |name: &str, default| std::env::var(name).map_or(default, |value| value.parse().unwrap());
    let (first, count) = (number("PORTCULLIS_SEED", 1), number("PORTCULLIS_CONVERSATIONS", 40));
    let mut different = Vec::new();
    for seed in first..first + count {
        gateway.server.wait();
        if let Err(difference) = said_alike(seed, &gateway, &database).await {
            different.push(difference);
        }
    }
    assert!(different.is_empty(), "{} of {count} differ:\n{}", different.len(), different.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_without_being_asked_for_is_on_record() {
    let Some(gateway) = Gateway::start(POLICY, SCHEMA).await else { return };
    let mut raw = gateway.raw().await;
    raw.query("listen news").send().await;
    raw.answer().await;
    gateway.server.sql(&gateway.database, "notify news, 'while nothing runs'");
    let heard = raw.read().await;
    assert!(heard.tag == 'A' && heard.body.ends_with(b"news\0while nothing runs\0"), "{heard:?}");
    assert!(gateway.log().contains("while nothing runs"), "on record before the client has it");
    raw.query("notify news, 'while it runs'").send().await;
    let answer = raw.answer().await;
    assert_eq!(answer.iter().map(|one| one.tag).collect::<String>(), "CAZ", "{answer:?}");
    assert!(gateway.log().contains("while it runs\u{0}"), "the payload, not only the statement");
}
