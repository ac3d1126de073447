//! Large objects by the calls that libpq and the JDBC driver make by object identifier.

use crate::client::{Raw, field, tags};
use crate::gateway::Gateway;
use bytes::BufMut as _;

const OWNERS: &str = "
rules:
- {name: all, action: Allow, postgresql: {}}
masking:
- {detectors: [UsSsn], with: {type: Redact}}
";
const READERS: &str = "
rules:
- {name: reads, action: Allow, postgresql: {effects: [Connect, Select, Transaction]}}
- {name: open, action: Allow, postgresql: {effects: [Call], functions: [pg_catalog.lo_open, pg_catalog.lo_close]}}
";

/// A `FunctionCall` with every value in the binary format.
fn call(raw: &mut Raw, oid: u32, values: &[&[u8]]) {
    let mut body = oid.to_be_bytes().to_vec();
    body.put_slice(&[0, 1, 0, 1]);
    body.put_u16(u16::try_from(values.len()).unwrap());
    for value in values {
        body.put_u32(u32::try_from(value.len()).unwrap());
        body.put_slice(value);
    }
    body.put_slice(&[0, 1]);
    raw.out.put_u8(b'F');
    raw.out.put_u32(u32::try_from(body.len() + 4).unwrap());
    raw.out.put_slice(&body);
}

const LO_OPEN: u32 = 952;
const LOREAD: u32 = 954;
const LO_UNLINK: u32 = 964;
/// `INV_READ`.
const READ: [u8; 4] = 0x0004_0000_i32.to_be_bytes();

#[tokio::test(flavor = "multi_thread")]
async fn psql_puts_a_file_into_one_and_gets_it_back() {
    let Some(gateway) = Gateway::start(OWNERS, "select 1").await else { return };
    let directory = tempfile::tempdir().unwrap();
    let (there, back) = (directory.path().join("there"), directory.path().join("back"));
    let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_be_bytes).collect();
    std::fs::write(&there, &content).unwrap();
    let import = format!("\\lo_import {}", there.display());
    let export = format!("\\lo_export :LASTOID {}", back.display());
    let shown = gateway.psql(&["-c", &import, "-c", &export], &[]).await;
    assert!(shown.status.success(), "{shown:?}");
    assert!(std::fs::read(&back).unwrap() == content, "what came back is what went in");
    let log = gateway.log();
    for said in ["SELECT pg_catalog.lo_creat(", "SELECT pg_catalog.lowrite(", "SELECT pg_catalog.loread("] {
        assert!(log.contains(said), "{said} is on record");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_large_object_holds_is_masked() {
    let Some(gateway) = Gateway::start(OWNERS, "select lo_from_bytea(4711, 'call 078-05-1120 back')").await
    else {
        return;
    };
    let mut raw = gateway.raw().await;
    raw.query("begin");
    call(&mut raw, LO_OPEN, &[&4711_i32.to_be_bytes(), &READ]);
    call(&mut raw, LOREAD, &[&[0; 4], &100_i32.to_be_bytes()]);
    raw.send().await;
    raw.answer().await;
    let opened = raw.answer().await;
    assert_eq!((tags(&opened), &opened[0].body[..]), ("VZ".to_owned(), &[0, 0, 0, 4, 0, 0, 0, 0][..]));
    let read = raw.answer().await;
    assert_eq!((tags(&read), &read[0].body[..]), ("VZ".to_owned(), &[0xff; 4][..]), "NULL");
    assert!(!gateway.log().contains("078-05-1120"));
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_judged_as_the_statement_would_be() {
    let Some(gateway) = Gateway::start(READERS, "select lo_from_bytea(4711, 'content')").await else {
        return;
    };
    let mut raw = gateway.raw().await;
    raw.query("begin");
    call(&mut raw, LO_OPEN, &[&4711_i32.to_be_bytes(), &READ]);
    call(&mut raw, LO_UNLINK, &[&4711_i32.to_be_bytes()]);
    raw.query("rollback");
    // one that takes other values than it is given, and text
    call(&mut raw, LO_OPEN, &[&4711_i32.to_be_bytes()]);
    call(&mut raw, LO_OPEN, &[b"4711", b"262144"]);
    raw.send().await;
    raw.answer().await;
    assert_eq!(tags(&raw.answer().await), "VZ", "what a rule names");
    let unlinked = raw.answer().await;
    assert_eq!((tags(&unlinked), field(&unlinked, 'E', 'C')), ("EZ".to_owned(), "42501".to_owned()));
    assert!(field(&unlinked, 'E', 'M').contains("Call pg_catalog.lo_unlink"), "{unlinked:?}");
    raw.answer().await;
    for _ in 0..2 {
        let answer = raw.answer().await;
        assert_eq!((tags(&answer), field(&answer, 'E', 'C')), ("EZ".to_owned(), "42501".to_owned()));
    }
    assert_eq!(gateway.server.sql(&gateway.database, "select count(*) from pg_largeobject_metadata"), "1");
}
