//! Every way to a masked value that is known, through the gateway, against a real server: the value arrives in no form.
//!
//! Each statement of `tests/bypass/masking.sql` runs in the simple and in the extended protocol, with text and with
//! binary results, under policies that allow as much as policies can: so that it is masks, not refusals, that are put to
//! the test. Column masks work alone first, and then with detectors.

use crate::client::{Message, Raw, field, tags};
use crate::corpus::{Agent, Case, MASKING, PROTOCOLS, Protocol, cases, direct, rows, schema, values};
use crate::gateway::Gateway;
use bytes::BufMut as _;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use tokio_postgres::SimpleQueryMessage;

const CANARY: &str = "078-05-1120";
/// Another value, unlike the canary in every digit.
const OTHER: &str = "219-64-7385";

const MASKS: &str = "
masking:
- {columns: [public.customers.ssn, public.customers.doc]}
";
const DETECTORS: &str = "- {detectors: [Secrets, PersonalData]}\n";
const ANYTHING: &str = "
rules:
- {name: all, action: Allow, postgresql: {}}
- {name: unknown, action: Allow, postgresql: {effects: [Unknown]}}
";
const KNOWN: &str = "
rules:
- {name: all, action: Allow, postgresql: {}}
";
const READS: &str = "
rules:
- {name: reads, action: Allow, postgresql: {effects: [Connect, Select, Transaction]}}
";

/// The forms in which a value must not arrive.
struct Forms(Vec<(&'static str, Vec<u8>)>);

impl Forms {
    fn of(secret: &str) -> Self {
        let digits: String = secret.chars().filter(char::is_ascii_digit).collect();
        let number: i32 = digits.parse().unwrap();
        let mut forms = vec![
            ("raw", secret.into()),
            ("without its first character", secret.split_at(1).1.into()),
            ("digits", digits.clone().into()),
            ("number", number.to_string().into()),
            ("number but for its last digit", (number / 10).to_string().into()),
            ("reversed", secret.chars().rev().collect::<String>().into()),
            ("reversed digits", digits.chars().rev().collect::<String>().into()),
            ("hex", hex(secret.as_bytes()).into()),
            ("HEX", hex(secret.as_bytes()).to_uppercase().into()),
            ("hex of digits", hex(digits.as_bytes()).into()),
            ("int8", [&8_i32.to_be_bytes()[..], &i64::from(number).to_be_bytes()].concat()),
            ("int4", [&4_i32.to_be_bytes()[..], &number.to_be_bytes()].concat()),
            ("first eight characters as a number", {
                i64::from_be_bytes(secret.as_bytes()[..8].try_into().unwrap()).to_string().into()
            }),
            ("first eight characters", secret.split_at(8).0.into()),
        ];
        for shift in 0..3 {
            forms.push(("base64", base64_part(secret.as_bytes(), shift).into()));
        }
        Self(forms)
    }

    fn found_in(&self, bytes: &[u8]) -> Option<&'static str> {
        let found = |form: &[u8]| bytes.windows(form.len()).any(|window| window == form);
        self.0.iter().find(|(_, form)| found(form)).map(|(name, _)| *name)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

/// What Base64 makes of `bytes` behind `shift` bytes that are not known: the characters that only `bytes` decide.
fn base64_part(bytes: &[u8], shift: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let padded = [&[0; 2][..shift], bytes].concat();
    let mut out = String::new();
    for chunk in padded.chunks_exact(3) {
        let bits = u32::from_be_bytes([0, chunk[0], chunk[1], chunk[2]]);
        for sextet in [bits >> 18, bits >> 12, bits >> 6, bits] {
            out.push(char::from(ALPHABET[(sextet & 63) as usize]));
        }
    }
    let undecided = [0, 2, 3][shift];
    out.split_off(undecided)
}

#[test]
fn every_form_is_found_where_it_is() {
    let forms = Forms::of(CANARY);
    // As PostgreSQL's encode(…, 'base64') has it, at three alignments.
    for text in ["MDc4LTA1LTExMjA=", "eDA3OC0wNS0xMTIw", "eHgwNzgtMDUtMTEyMA=="] {
        assert_eq!(forms.found_in(text.as_bytes()), Some("base64"), "{text}");
    }
    for (bytes, form) in [
        (&b"x078-05-1120x"[..], "raw"),
        (b"078051120", "digits"),
        (b"0211-50-870", "reversed"),
        (b"\\x3037382d30352d31313230", "hex"),
        (b"\0\0\0\x08\0\0\0\0\x04\xa6\xf7\x30", "int8"),
    ] {
        assert_eq!(forms.found_in(bytes), Some(form));
    }
    assert_eq!(forms.found_in(OTHER.as_bytes()), None);
}

/// Everything that came, and the columns of each result read downwards: a value may come in pieces.
fn heard(messages: &[Message]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        bytes.push(u8::try_from(message.tag).unwrap());
        bytes.put_u32(u32::try_from(message.body.len() + 4).unwrap());
        bytes.extend(&message.body);
    }
    let rows = values(messages);
    for column in 0..rows.iter().map(Vec::len).max().unwrap_or_default() {
        bytes.push(0);
        bytes.extend(rows.iter().filter_map(|row| row.get(column)?.as_deref()).flatten());
    }
    bytes
}

/// Text inside a corpus that only the running test knows.
fn placed(gateway: &Gateway) -> Vec<Case> {
    let mut cases = cases(MASKING);
    let here = format!(
        "port={} dbname={} host=localhost user=app password={} sslmode=require sslcert=/none",
        gateway.server.port,
        gateway.database,
        crate::server::PASSWORD
    );
    for case in &mut cases {
        case.sql = case.sql.replace("port=25432 dbname=postgres host=127.0.0.1 user=postgres", &here);
    }
    cases
}

/// Counts of what became of the cases.
#[derive(Debug, Default)]
struct Tally {
    masked: u32,
    refused: u32,
    failed: u32,
    other: u32,
}

impl Tally {
    fn add(&mut self, messages: &[Message]) {
        let errors = messages.iter().filter(|message| message.tag == 'E');
        let codes: BTreeSet<String> =
            errors.map(|error| field(std::slice::from_ref(error), 'E', 'C')).collect();
        if codes.contains("42501") {
            self.refused += 1;
        } else if !codes.is_empty() {
            self.failed += 1;
        } else if format!("{messages:?}").contains("[MASKED") {
            self.masked += 1;
        } else {
            self.other += 1;
        }
    }
}

/// Runs the corpus under a policy and tells every case by which the canary got out.
async fn run(policy: &str) {
    let Some(gateway) = Gateway::start(policy, &schema(CANARY)).await else { return };
    let owner = direct(&gateway.server, &gateway.database).await;
    let (forms, corpus) = (Forms::of(CANARY), placed(&gateway));
    let mut leaks = String::new();
    for protocol in PROTOCOLS {
        let mut agent = Agent::new(&gateway);
        let mut tally = Tally::default();
        for case in &corpus {
            let messages = agent.run(case, protocol).await;
            if !case.only_reads() {
                owner.batch_execute(&rows(CANARY)).await.unwrap();
            }
            tally.add(&messages);
            if let Some(form) = forms.found_in(&heard(&messages)) {
                writeln!(leaks, "{protocol:?} {}: {form}\n  {}\n  {messages:?}", case.name, case.sql)
                    .unwrap();
            }
        }
        println!("{protocol:?}: {} cases, {tally:?}", corpus.len());
    }
    let log = gateway.log_bytes();
    if let Some(form) = forms.found_in(&log) {
        writeln!(leaks, "the audit log: {form}").unwrap();
    }
    assert!(leaks.is_empty(), "{leaks}");
    assert!(log.len() > 100_000, "{} bytes on record", log.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn most_statements_get_the_value_where_nothing_masks_it() {
    let Some(gateway) = Gateway::start(ANYTHING, &schema(CANARY)).await else { return };
    let owner = direct(&gateway.server, &gateway.database).await;
    let (forms, corpus) = (Forms::of(CANARY), placed(&gateway));
    let mut agent = Agent::new(&gateway);
    let mut without = Vec::new();
    let tainted: Vec<&Case> = corpus.iter().filter(|case| case.name.starts_with('M')).collect();
    for case in &tainted {
        let messages = agent.run(case, Protocol::Simple).await;
        if !case.only_reads() {
            owner.batch_execute(&rows(CANARY)).await.unwrap();
        }
        if forms.found_in(&heard(&messages)).is_none() {
            if case.name.contains("M062") {
                println!("{messages:?}");
            }
            without.push(&*case.name);
        }
    }
    println!("{} of {} get it; not: {without:?}", tainted.len() - without.len(), tainted.len());
    // The rest tell it piece by piece, by counting, or only to a superuser.
    assert!(without.len() * 3 < tainted.len(), "{without:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_gets_a_masked_value_where_everything_is_allowed() {
    run(&format!("{ANYTHING}{MASKS}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_gets_a_masked_value_where_every_known_effect_is_allowed() {
    run(&format!("{KNOWN}{MASKS}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_gets_a_masked_value_where_reads_are_allowed() {
    run(&format!("{READS}{MASKS}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_gets_a_masked_value_with_detectors_as_well() {
    run(&format!("{ANYTHING}{MASKS}{DETECTORS}")).await;
}

/// Whether the canary stands somewhere by itself, as it is or as the server writes `bytea`: where letters, digits or
/// dashes run into it, no detector knows it for what it is.
fn stands_alone(bytes: &[u8]) -> bool {
    let forms = [CANARY.as_bytes().to_vec(), [b"\\x", hex(CANARY.as_bytes()).as_bytes()].concat()];
    forms.iter().any(|form| {
        let mut windows = bytes.windows(form.len()).enumerate();
        windows.any(|(at, window)| {
            let before = at.checked_sub(1).and_then(|at| bytes.get(at));
            let near =
                |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
            window == form && !near(before) && !near(bytes.get(at + form.len()))
        })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_gets_a_value_as_it_is_where_detectors_alone_look_for_it() {
    let policy = format!("{ANYTHING}masking:\n{DETECTORS}");
    let Some(gateway) = Gateway::start(&policy, &schema(CANARY)).await else { return };
    let owner = direct(&gateway.server, &gateway.database).await;
    let (mut leaks, mut masked) = (String::new(), 0);
    for protocol in PROTOCOLS {
        let mut agent = Agent::new(&gateway);
        for case in &placed(&gateway) {
            let messages = agent.run(case, protocol).await;
            if !case.only_reads() {
                owner.batch_execute(&rows(CANARY)).await.unwrap();
            }
            masked += u32::from(format!("{messages:?}").contains("[MASKED:us-ssn]"));
            if messages.iter().any(|message| stands_alone(&message.body)) {
                writeln!(leaks, "{protocol:?} {}\n  {}\n  {messages:?}", case.name, case.sql).unwrap();
            }
        }
    }
    assert!(leaks.is_empty() && !stands_alone(&gateway.log_bytes()), "{leaks}");
    println!("masked in {masked} answers");
    assert!(masked > 100, "{masked}");
}

/// Distinct values of a case's rows, with none where there is no row.
async fn distinct(gateway: &Gateway, canary: &str) -> Vec<(String, BTreeSet<Vec<u8>>)> {
    let owner = direct(&gateway.server, &gateway.database).await;
    let mut agent = Agent::new(gateway);
    let mut found = Vec::new();
    for case in cases(MASKING).into_iter().filter(|case| case.expects("tainted")) {
        let messages = agent.run(&case, Protocol::Simple).await;
        if !case.only_reads() {
            owner.batch_execute(&rows(canary)).await.unwrap();
        }
        let values = values(&messages).into_iter().flatten().flatten().collect();
        found.push((format!("{}\n  {}", case.name, case.sql), values));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn no_value_that_arrives_depends_on_a_masked_one() {
    let policy = format!("{KNOWN}{MASKS}");
    let Some(one) = Gateway::start(&policy, &schema(CANARY)).await else { return };
    let Some(two) = Gateway::start(&policy, &schema(OTHER)).await else { return };
    let mut different = String::new();
    for ((name, one), (_, two)) in distinct(&one, CANARY).await.into_iter().zip(distinct(&two, OTHER).await) {
        // How many rows there are may tell a guess right or wrong; what is in them may not.
        if !one.is_empty() && !two.is_empty() && one != two {
            let text = |values: BTreeSet<Vec<u8>>| {
                values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect::<Vec<_>>()
            };
            writeln!(different, "{name}: {:?} and {:?}", text(one), text(two)).unwrap();
        }
    }
    assert!(different.is_empty(), "{different}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_columns_come_as_they_are() {
    for policy in [format!("{READS}{MASKS}"), format!("{ANYTHING}{MASKS}")] {
        let Some(gateway) = Gateway::start(&policy, &schema(CANARY)).await else { return };
        let owner = direct(&gateway.server, &gateway.database).await;
        let mut agent = Agent::new(&gateway);
        for case in cases(MASKING).iter().filter(|case| case.expects("clear")) {
            let mut expected: Vec<Vec<Option<Vec<u8>>>> = Vec::new();
            for message in owner.simple_query(&case.sql).await.unwrap() {
                let SimpleQueryMessage::Row(row) = message else { continue };
                expected.push((0..row.len()).map(|i| row.get(i).map(|v| v.as_bytes().to_vec())).collect());
            }
            let messages = agent.run(case, Protocol::Simple).await;
            let got = values(&messages);
            assert_eq!(got.len(), expected.len(), "{}: {}: {messages:?}", case.name, case.sql);
            assert!(got == expected || case.sql.contains("now()"), "{}: {}: {got:?}", case.name, case.sql);
        }
    }
}

async fn masked_gateway(rest: &str) -> Option<Gateway> {
    Gateway::start(&format!("{ANYTHING}{MASKS}{rest}"), &schema(CANARY)).await
}

fn assert_clean(gateway: &Gateway, messages: &[Message]) {
    let forms = Forms::of(CANARY);
    assert_eq!(forms.found_in(&heard(messages)), None, "{messages:?}");
    assert_eq!(forms.found_in(&gateway.log_bytes()), None, "on record");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_made_by_sql_are_masked_when_the_protocol_uses_them() {
    let Some(gateway) = masked_gateway("").await else { return };
    for format in [0_i16, 1] {
        let mut raw = gateway.raw().await;
        raw.query("prepare p as select ssn, name from customers where id = 1").send().await;
        assert_eq!(tags(&raw.answer().await), "CZ");
        let none = std::iter::empty::<()>();
        let null = |(), _: &mut bytes::BytesMut| Ok(postgres_protocol::IsNull::Yes);
        postgres_protocol::message::frontend::bind("", "p", [], none, null, [format], &mut raw.out)
            .ok()
            .unwrap();
        raw.execute("").sync().send().await;
        let answer = raw.answer().await;
        assert!(tags(&answer) == "2DCZ" && format!("{answer:?}").contains("ada"), "{answer:?}");
        assert_clean(&gateway, &answer);
        raw.query("begin; declare c cursor for select ssn from customers").execute("c").sync().send().await;
        raw.answer().await;
        let answer = raw.answer().await;
        assert_eq!(tags(&answer), "DDDCZ");
        assert_clean(&gateway, &answer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_not_called_by_its_object_identifier() {
    let Some(gateway) = masked_gateway("").await else { return };
    let oid: u32 =
        gateway.server.sql(&gateway.database, "select 'public.getssn'::regproc::oid").parse().unwrap();
    let mut raw = gateway.raw().await;
    let mut call = oid.to_be_bytes().to_vec();
    // One argument, as text: 1. The result as text.
    call.extend(b"\0\0\0\x01\0\0\0\x011\0\0");
    raw.out.put_u8(b'F');
    raw.out.put_u32(u32::try_from(call.len() + 4).unwrap());
    raw.out.put_slice(&call);
    raw.send().await;
    let answer = raw.answer().await;
    assert_eq!(tags(&answer), "EZ");
    assert_clean(&gateway, &answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_of_a_pipeline_gets_the_masks_of_its_own_statement() {
    let Some(gateway) = masked_gateway("").await else { return };
    let mut raw = gateway.raw().await;
    // Two queries in one segment, a batch that fails half way, and a batch without a Sync of its own.
    raw.query("select name from customers where id = 1").query("select ssn from customers where id = 1");
    raw.extended("select name from customers where id = 1").extended("select 1/0");
    raw.extended("select ssn from customers").sync();
    raw.extended("select ssn from customers where id = 1")
        .query("select name, ssn from customers where id = 1");
    raw.send().await;
    let mut all = Vec::new();
    for expected in ["TDCZ", "TDCZ", "12DC1EZ", "12DCTDCZ"] {
        let answer = raw.answer().await;
        assert_eq!(tags(&answer), expected, "{answer:?}");
        all.extend(answer);
    }
    assert_eq!(format!("{all:?}").matches("ada").count(), 3, "{all:?}");
    assert_clean(&gateway, &all);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_do_not_carry_masked_values() {
    let Some(gateway) = masked_gateway("").await else { return };
    let mut all = Vec::new();
    for store in [
        "select set_config('application_name', ssn, false) from customers where id = 1",
        "select set_config(n, ssn, false) from customers, (values ('application_name')) v(n) where customers.id = 1",
        "select set_config('a.b', ssn, false) from customers where id = 1",
        "select set_config('work_mem', replace(ssn, '-', ''), false) from customers where id = 1",
    ] {
        let mut raw = gateway.raw().await;
        for sql in [
            store,
            "show application_name",
            "select current_setting('application_name')",
            "show a.b",
            "show work_mem",
        ] {
            raw.query(sql).send().await;
            all.extend(raw.answer().await);
        }
    }
    assert_clean(&gateway, &all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detector_reads_names_that_clients_give_themselves() {
    let Some(gateway) = masked_gateway(DETECTORS).await else { return };
    let mut raw = Raw::connect(&gateway).await;
    let settings = [("user", "app"), ("database", &*gateway.database), ("application_name", CANARY)];
    let mut all = raw.start(&settings).await;
    for sql in
        ["show application_name", "set application_name = '078-05-1120 again'", "select 1 as \"078-05-1120\""]
    {
        raw.query(sql).send().await;
        all.extend(raw.answer().await);
    }
    assert_clean(&gateway, &all);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_refused_at_the_start_are_not_said_again() {
    let Some(gateway) = masked_gateway("").await else { return };
    for settings in
        [[("user", CANARY), ("database", &*gateway.database)], [("user", "app"), ("database", CANARY)]]
    {
        let mut raw = Raw::connect(&gateway).await;
        let answer = raw.start(&settings).await;
        assert_eq!(answer.last().unwrap().tag, 'E', "{answer:?}");
        assert_eq!(Forms::of(CANARY).found_in(&heard(&answer)), None, "{answer:?}");
    }
}
