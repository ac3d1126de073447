//! Sizes at their limits, and clients that send much and read nothing: memory stays bounded, and whoever asks for too
//! much is told so.
//!
//! What is measured is the memory of the whole process, so these tests run in processes of their own.

use crate::client::{Raw, field, tags};
use crate::gateway::Gateway;
use bytes::{BufMut as _, BytesMut};
use postgres_protocol::message::frontend;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const ALL: &str = "rules:\n- {name: all, action: Allow, postgresql: {}}\n";
const DETECTORS: &str =
    "rules:\n- {name: all, action: Allow, postgresql: {}}\nmasking:\n- {detectors: [PersonalData]}\n";
const READS: &str =
    "rules:\n- {name: reads, action: Allow, postgresql: {effects: [Connect, Select, Transaction]}}\n";
const MIB: usize = 1 << 20;

/// Runs the rest of a test in a process where no other test is. False: this is the process around it.
fn is_alone(test: &str) -> bool {
    if std::env::var_os("PORTCULLIS_TEST_ALONE").is_some() {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("sizes::{test}"), "--nocapture"]).env("PORTCULLIS_TEST_ALONE", "1");
    let done = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    println!("{said}");
    assert!(done.status.success(), "{said}");
    false
}

/// Most memory that this process has held since.
struct Peak(usize);

impl Peak {
    fn start() -> Self {
        // 5: the peak begins anew (proc_pid_clear_refs(5)).
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        Self(status("VmRSS:"))
    }

    /// MiB above the start.
    fn grown(&self) -> usize {
        status("VmHWM:").saturating_sub(self.0) / MIB
    }
}

fn status(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

/// Reads messages and throws their bodies away: tag and length of each, up to `ReadyForQuery` or the end.
async fn skim(raw: &mut Raw) -> Vec<(char, usize)> {
    let mut seen = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(tag) = raw.stream.read_u8().await {
        let Ok(length) = raw.stream.read_u32().await else { break };
        let mut left = length as usize - 4;
        while left > 0 {
            let now = left.min(buffer.len());
            let Ok(read) = raw.stream.read(&mut buffer[..now]).await else { return seen };
            if read == 0 {
                return seen;
            }
            left -= read;
        }
        seen.push((char::from(tag), length as usize - 4));
        if tag == b'Z' {
            break;
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_a_gigabyte_streams_through() {
    if !tokio::task::spawn_blocking(|| is_alone("a_value_of_a_gigabyte_streams_through")).await.unwrap() {
        return;
    }
    let Some(gateway) = Gateway::start(ALL, "").await else { return };
    let mut raw = gateway.raw().await;
    raw.query("select 1").send().await;
    raw.answer().await;
    // The longest row that the server makes: its buffers end at 1 GiB.
    let length: usize = (1 << 30) - 64;
    let peak = Peak::start();
    raw.query(&format!("select repeat('x', {length})")).send().await;
    let seen = skim(&mut raw).await;
    println!("{seen:?}, {} MiB more", peak.grown());
    assert_eq!(seen[1], ('D', length + 6));
    assert_eq!(seen.iter().map(|(tag, _)| *tag).collect::<String>(), "TDCZ");
    assert!(peak.grown() < 256, "{} MiB", peak.grown());
    assert!(gateway.log().contains("portcullis.result.truncated"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_too_large_to_be_masked_is_refused() {
    if !tokio::task::spawn_blocking(|| is_alone("a_value_that_is_too_large_to_be_masked_is_refused"))
        .await
        .unwrap()
    {
        return;
    }
    let Some(gateway) = Gateway::start(DETECTORS, "").await else { return };
    let mut raw = gateway.raw().await;
    let peak = Peak::start();
    for (length, fits) in [(60 * MIB, true), ((1 << 30) - 64, false)] {
        raw.query(&format!("select repeat('x', {length})")).send().await;
        if fits {
            let seen = skim(&mut raw).await;
            assert_eq!(seen[1], ('D', length + 6));
            continue;
        }
        let answer = [raw.read().await, raw.read().await];
        assert_eq!(tags(&answer), "TE");
        assert_eq!(field(&answer, 'E', 'C'), "54000");
        assert!(field(&answer, 'E', 'M').contains("over the limit of 67108864"), "{answer:?}");
        assert!(raw.try_read().await.is_none());
    }
    println!("{} MiB more", peak.grown());
    assert!(peak.grown() < 384, "{} MiB", peak.grown());
    let mut raw = gateway.raw().await;
    raw.query("select 1").send().await;
    assert_eq!(tags(&raw.answer().await), "TDCZ");
}

/// What a client sends again and again, and under which policy.
fn floods() -> Vec<(&'static str, &'static str, BytesMut)> {
    let message = |put: &dyn Fn(&mut BytesMut)| {
        let mut out = BytesMut::new();
        put(&mut out);
        out
    };
    vec![
        ("queries", ALL, message(&|out| frontend::query("select 1", out).unwrap())),
        ("refused queries", READS, message(&|out| frontend::query("drop table t", out).unwrap())),
        ("queries that are no SQL", ALL, message(&|out| frontend::query("?", out).unwrap())),
        ("empty batches", ALL, message(&|out| frontend::sync(out))),
        ("flushes", ALL, message(&|out| frontend::flush(out))),
        (
            "batches",
            ALL,
            message(&|out| {
                frontend::parse("", "select 1", [], out).unwrap();
                out.put_slice(b"B\0\0\0\x0c\0\0\0\0\0\0\0\0");
                frontend::execute("", 0, out).unwrap();
                frontend::sync(out);
            }),
        ),
        (
            "refused batches",
            READS,
            message(&|out| {
                frontend::parse("", "drop table t", [], out).unwrap();
                frontend::sync(out);
            }),
        ),
        ("descriptions without a Sync", ALL, message(&|out| frontend::describe(b'S', "", out).unwrap())),
        ("closings without a Sync", ALL, message(&|out| frontend::close(b'S', "x", out).unwrap())),
        ("function calls", ALL, BytesMut::from(&b"F\0\0\0\x0e\0\0\0\x01\0\0\0\0\0\0"[..])),
        ("data of no copy", ALL, BytesMut::from(&b"d\0\0\0\x05x"[..])),
    ]
}

/// Sends until much has gone, or nothing goes any more. Gives the bytes that went.
async fn flood(raw: &mut Raw, message: &[u8]) -> usize {
    let chunk = message.repeat(16 * 1024 / message.len() + 1);
    let (mut sent, begun) = (0, Instant::now());
    while sent < 96 * MIB && begun.elapsed() < Duration::from_secs(10) {
        let writing = raw.stream.write_all(&chunk);
        match tokio::time::timeout(Duration::from_secs(2), writing).await {
            Ok(Ok(())) => sent += chunk.len(),
            Ok(Err(_)) | Err(_) => break,
        }
    }
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_that_nobody_reads_the_answers_of_takes_no_memory() {
    if !tokio::task::spawn_blocking(|| is_alone("a_flood_that_nobody_reads_the_answers_of_takes_no_memory"))
        .await
        .unwrap()
    {
        return;
    }
    let mut failures = String::new();
    for (name, policy, message) in floods() {
        let Some(gateway) = Gateway::start(policy, "").await else { return };
        let mut raw = gateway.raw().await;
        raw.query("select 1").send().await;
        raw.answer().await;
        let peak = Peak::start();
        let sent = flood(&mut raw, &message).await;
        let line = format!("{name}: {} KiB sent, {} MiB more\n", sent / 1024, peak.grown());
        print!("{line}");
        if peak.grown() > 64 {
            failures.push_str(&line);
        }
        drop(raw);
        let mut raw = gateway.raw().await;
        raw.query("select 1").send().await;
        assert_eq!(tags(&raw.answer().await), "TDCZ", "{name}");
    }
    assert!(failures.is_empty(), "{failures}");
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_columns_as_a_server_can_return_are_returned() {
    for policy in [ALL, DETECTORS] {
        let Some(gateway) = Gateway::start(policy, "").await else { return };
        let mut raw = gateway.raw().await;
        let select = |columns| format!("select {}", vec!["1"; columns].join(","));
        raw.query(&select(1664)).extended(&select(1664)).sync().query(&select(1665)).send().await;
        let answer = raw.answer().await;
        assert_eq!((tags(&answer).as_str(), answer[1].body[..2].to_vec()), ("TDCZ", vec![6, 128]));
        assert_eq!(tags(&raw.answer().await), "12DCZ");
        // too_many_columns, in the server's own words
        assert_eq!(field(&raw.answer().await, 'E', 'C'), "54011");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_of_several_megabytes_is_refused_and_the_session_goes_on() {
    let Some(gateway) = Gateway::start(ALL, "").await else { return };
    let mut raw = gateway.raw().await;
    let long = format!("select '{}'", "x".repeat(4 * MIB));
    raw.query(&long).extended(&long).sync().query("select 1").send().await;
    for expected in ["EZ", "EZ"] {
        let answer = raw.answer().await;
        assert_eq!((tags(&answer).as_str(), field(&answer, 'E', 'C').as_str()), (expected, "54000"));
        assert!(field(&answer, 'E', 'M').contains("over the limit of 1048576"), "{answer:?}");
        assert!(!field(&answer, 'E', 'H').is_empty());
    }
    assert_eq!(tags(&raw.answer().await), "TDCZ");
    // Values that long go as parameters.
    let value = "y".repeat(4 * MIB);
    let client = gateway.connect().await;
    let row = client.query_one("select length($1::text)", &[&value]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 4_194_304);
}

/// `Bind` of the unnamed statement with so many NULL parameters and result formats, and what is behind them.
fn bind(parameters: u16, formats: u16, rest: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 0];
    body.put_u16(parameters);
    body.extend([0xff; 4].repeat(usize::from(parameters)));
    body.put_u16(formats);
    body.extend([0, 1].repeat(usize::from(formats)));
    body.extend(rest);
    let mut message = vec![b'B'];
    message.put_u32(u32::try_from(body.len() + 4).unwrap());
    message.extend(body);
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bind_of_more_than_there_can_be_is_an_error() {
    let Some(gateway) = Gateway::start(ALL, "").await else { return };
    let mut raw = gateway.raw().await;
    for (parameters, formats) in [(u16::MAX, 0), (0, u16::MAX), (u16::MAX, u16::MAX)] {
        raw.parse("", "select 1").out.put_slice(&bind(parameters, formats, b""));
        raw.execute("").sync().send().await;
        let answer = raw.answer().await;
        assert!(tags(&answer) == "1EZ" && field(&answer, 'E', 'C') == "08P01", "{answer:?}");
    }
    raw.extended("select 1").sync().send().await;
    assert_eq!(tags(&raw.answer().await), "12DCZ");
    // A million more than the count says.
    raw.parse("", "select 1").out.put_slice(&bind(1, 1, &[0, 1].repeat(1_000_000)));
    raw.execute("").sync().send().await;
    let mut answer = vec![raw.read().await];
    while let Some(message) = raw.try_read().await {
        answer.push(message);
    }
    assert_eq!(field(&answer, 'E', 'C'), "08P01");
    let mut raw = gateway.raw().await;
    raw.query("select 1").send().await;
    assert_eq!(tags(&raw.answer().await), "TDCZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_of_more_statements_than_may_be_owed_goes_on() {
    let Some(gateway) = Gateway::start(ALL, "").await else { return };
    let mut raw = gateway.raw().await;
    let statements = 3_000;
    for _ in 0..statements {
        // Not one Flush or Sync, so that the server has no reason to answer any of it.
        raw.extended("select 1");
    }
    raw.sync().send().await;
    assert_eq!(tags(&raw.answer().await), format!("{}Z", "12DC".repeat(statements)));
    for _ in 0..6_000 {
        raw.query("");
    }
    raw.send().await;
    for _ in 0..6_000 {
        assert_eq!(tags(&raw.answer().await), "IZ");
    }
}
