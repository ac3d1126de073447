//! Messages of a server, at login and in answer to commands.
//!
//! Input: what the client asks for, how the stream is cut, the server's bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy_core::mask::Masker;
use proxy_postgres::fuzzing;
use proxy_postgres_fuzz::frames::{contains, cut, frame, only, pieces, text};
use proxy_postgres_fuzz::gateway::{Manner, credentials, run, session};
use proxy_postgres_fuzz::peers::connection;

/// What a server may say to a client, in a session and at its start.
const TAGS: &[u8] = b"123ACDEGHINSTZcdnstRK";

fuzz_target!(|data: &[u8]| {
    let Some((&[asked, step], bytes)) = data.split_first_chunk() else { return };
    fuzzing::decode(bytes);
    rebuilt(bytes);
    if asked & 15 == 15 {
        run(login(bytes, step));
    } else {
        run(in_session(asked, step, bytes));
    }
});

/// Each frame as a message of text: whole again, and without the server's words where they are withheld.
fn rebuilt(bytes: &[u8]) {
    let masker = Masker::new(&[], &[7; 32]);
    let mut rest = bytes;
    while let Some((header, _)) = rest.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        if length < 4 || length >= rest.len() {
            break;
        }
        let (frame, after) = rest.split_at(length + 1);
        for withhold in [false, true] {
            let [report, notification, parameter] = fuzzing::texts(frame, &masker, withhold);
            for out in [&report, &notification, &parameter].into_iter().flatten() {
                only(out);
            }
            if let (Some(report), true) = (report, withhold) {
                withheld(&frame[5..], only(&report).1);
            }
        }
        rest = after;
    }
}

/// What is left of a report whose texts are withheld. The server's message stays only of what it found in the client's
/// own text, at a place there and not in statements that were made of values.
fn withheld(before: &[u8], after: &[u8]) {
    let fields =
        |body: &[u8]| body.split(|byte| *byte == 0).filter_map(|field| field.first().copied()).collect();
    let given: Vec<u8> = fields(before);
    let about_the_text = given.contains(&b'P') && !given.iter().any(|field| b"Wpq".contains(field));
    for field in after.split(|byte| *byte == 0).filter(|field| !field.is_empty()) {
        let known = b"SVCPFLR".contains(&field[0]);
        let message = field[0] == b'M' && (about_the_text || field.starts_with(b"Mmessage withheld: "));
        assert!(known || message, "{before:?} -> {after:?}");
    }
}

async fn login(bytes: &[u8], step: u8) {
    let (socket, mut server) = connection();
    let login = tokio::spawn(async move { fuzzing::log_in(socket, &credentials()).await });
    for piece in pieces(bytes, step) {
        server.say(&piece);
        tokio::task::yield_now().await;
    }
    server.finish();
    if let Some(parameters) = login.await.expect("no panic") {
        let (frames, rest) = cut(&parameters);
        assert!(rest.is_empty() && frames.iter().all(|(tag, _)| *tag == b'S'));
    }
    server.listen();
    assert!(
        !contains(&server.heard, credentials().password.expose().as_bytes()),
        "the password in the clear"
    );
}

async fn in_session(asked: u8, step: u8, bytes: &[u8]) {
    let (session, mut peers) = session(Manner { approvals: 0, detectors: asked & 16 != 0 }).await;
    peers.client.say(&request(asked & 15));
    // The server speaks once it was asked, or unasked.
    let mut parts = Some(pieces(bytes, step));
    peers.settle(&mut |_| parts.take().unwrap_or_default()).await;
    peers.settle(&mut |_| Vec::new()).await;
    if let Some(parts) = parts.take() {
        peers.settle(&mut |_| Vec::new()).await;
        for part in parts {
            peers.server.say(&part);
            tokio::task::yield_now().await;
        }
    }
    peers.settle(&mut |_| Vec::new()).await;
    peers.server.finish();
    peers.part(session).await;
    let (frames, rest) = cut(&peers.client.heard);
    for (tag, _) in &frames {
        assert!(TAGS.contains(tag), "message {tag:#04x} reached the client");
    }
    // Rows without masks pass while they arrive. One that never arrived whole is the last thing that is heard.
    assert!(matches!(rest, [] | [b'D' | b'd', ..]), "half a message: {rest:?}");
    assert!(rest.is_empty() || contains(bytes, rest), "words within a row: {rest:?}");
}

/// What the client sends.
fn request(which: u8) -> Vec<u8> {
    let query = |sql: &str| text(b'Q', sql);
    let extended = |sql: &str, execute: &[u8]| {
        let parse = frame(b'P', &[b"s\0", sql.as_bytes(), b"\0\0\0"].concat());
        let bind = frame(b'B', b"\0s\0\0\0\0\0\0\x01\0\x01");
        [parse, bind, frame(b'D', b"P\0"), frame(b'E', execute), frame(b'S', b"")].concat()
    };
    match which {
        0 => query("select id, name from customers"),
        1 => query("select name, ssn, doc from customers"),
        2 => query("select * from customers, nowhere"),
        3 => query("select 1; select ssn from customers; begin; select name from people"),
        4 => query("copy customers to stdout"),
        5 => query("copy customers to stdout (format csv, header)"),
        6 => query("copy (select ssn, id from customers) to stdout (format binary)"),
        7 => [query("copy people from stdin"), frame(b'd', b"1\tx\n"), frame(b'c', b"")].concat(),
        8 => extended("select ssn, name from customers", b"\0\0\0\0\x02"),
        9 => extended("insert into people(id) values (1) returning id", b"\0\0\0\0\0"),
        10 => [extended("begin", b"\0\0\0\0\0"), query("commit and chain"), query("listen x")].concat(),
        11 => [frame(b'D', b"Ss\0"), frame(b'C', b"Ps\0"), frame(b'H', b""), frame(b'S', b"")].concat(),
        12 => [extended("drop table victim", b"\0\0\0\0\0"), query("truncate victim")].concat(),
        13 => query("create table t(a int); declare c cursor with hold for select ssn from customers"),
        _ => Vec::new(),
    }
}
