//! Messages of a client in a session, before a server that answers each.
//!
//! Input: how approvals end and which commands fail, how the stream is cut, the client's bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy_policy::Effects;
use proxy_postgres::analyze::{Analyzer, SessionState};
use proxy_postgres::catalogue::Catalogue;
use proxy_postgres::fuzzing;
use proxy_postgres_fuzz::frames::{cut, frame, pieces};
use proxy_postgres_fuzz::gateway::{Manner, catalogue, run, session};
use proxy_postgres_fuzz::postgres::Server;
use std::sync::LazyLock;

static JUDGE: LazyLock<(Analyzer, Catalogue)> = LazyLock::new(|| (Analyzer::new(1024), catalogue()));

fuzz_target!(|data: &[u8]| {
    let Some((&[manner, step], bytes)) = data.split_first_chunk() else { return };
    fuzzing::decode(bytes);
    let approvals = (manner & 7).min(4);
    run(async {
        let (session, mut peers) = session(Manner { approvals, detectors: manner & 8 != 0 }).await;
        let mut server = Server::default();
        server.fails = manner >> 4;
        let mut answer = |bytes: &[u8]| vec![server.answer(bytes)];
        for piece in pieces(bytes, step) {
            peers.client.say(&piece);
            peers.settle(&mut answer).await;
        }
        peers.client.say(&frame(b'X', b""));
        peers.settle(&mut answer).await;
        peers.client.finish();
        peers.part(session).await;

        let (_, rest) = cut(&peers.client.heard);
        assert!(rest.is_empty(), "the client got half a message");
        let (_, rest) = cut(&peers.server.heard);
        assert!(rest.is_empty(), "the server got half a message");
        for (tag, body) in &server.arrived {
            upstream(*tag, body, approvals == 0);
        }
    });
});

/// What may have gone upstream.
fn upstream(tag: u8, body: &[u8], approved: bool) {
    assert!(b"QPBDECSHdcfX".contains(&tag), "message {tag:#04x} went upstream");
    let mut strings = body.split(|byte| *byte == 0);
    let text = match tag {
        b'Q' => strings.next(),
        b'P' => strings.nth(1),
        _ => return,
    };
    let text = std::str::from_utf8(text.expect("a text")).expect("UTF-8");
    let (analyzer, catalogue) = &*JUDGE;
    let analysis = analyzer.analyze(text, &SessionState::new("app", "app"), catalogue);
    let touches = match &analysis.command.reading.effects {
        Effects::Known(touches) => touches,
        Effects::Unknown { why, touches } => {
            assert!(!why.starts_with("cannot be parsed"), "{text:?} went upstream: {why}");
            touches
        }
    };
    for touch in touches {
        assert!(touch.effect != "Drop", "{text:?} went upstream");
        // A statement that would be held may be prepared.
        assert!(approved || tag == b'P' || touch.effect != "Truncate", "{text:?} went upstream");
    }
}
