//! First packets, parameters, and how a client presents its token.
//!
//! Input: which way in, how the stream is cut, the client's bytes.

#![no_main]

use async_trait::async_trait;
use libfuzzer_sys::fuzz_target;
use proxy_core::authn::{BearerToken, Verified};
use proxy_core::refusal::{Refusal, RefusalKind};
use proxy_postgres::{Authenticate, fuzzing};
use proxy_postgres_fuzz::frames::{contains, cut, pieces};
use proxy_postgres_fuzz::gateway::{identity, run, tls};
use proxy_postgres_fuzz::peers::connection;
use std::sync::Arc;

/// Takes every token that is one.
#[derive(Debug)]
struct Everybody;

#[async_trait]
impl Authenticate for Everybody {
    async fn verify(&self, token: &BearerToken) -> Result<Verified, Refusal> {
        assert!(!token.expose().is_empty(), "an empty token");
        if token.expose() == "bad" {
            let (message, hint) = ("the token is not trusted".to_owned(), "request another".to_owned());
            return Err(Refusal { kind: RefusalKind::Authentication, rule: None, message, hint });
        }
        Ok(Verified::for_tests(identity(), jiff::Timestamp::MAX))
    }

    fn discovery_url(&self) -> Option<String> {
        Some("https://idp.example.com/.well-known/openid-configuration".to_owned())
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&[way, step], bytes)) = data.split_first_chunk() else { return };
    run(async {
        let (socket, mut client) = connection();
        let session = async move {
            if way % 2 == 0 {
                fuzzing::open(socket, Arc::new(tls())).await
            } else {
                fuzzing::arrive(socket, &Everybody).await
            }
        };
        let session = tokio::spawn(session);
        for piece in pieces(bytes, step) {
            client.say(&piece);
            tokio::task::yield_now().await;
        }
        client.finish();
        let accepted = session.await.expect("no panic");
        client.listen();
        if way % 2 == 0 {
            in_the_clear(&client.heard);
        } else {
            protected(&client.heard, accepted);
        }
    });
});

/// Before TLS: single bytes that say yes or no to it, then a handshake or one refusal.
fn in_the_clear(heard: &[u8]) {
    let rest = match heard.iter().position(|byte| *byte != b'N') {
        None => return,
        Some(at) if heard[at] == b'S' => &heard[at + 1..],
        Some(at) => &heard[at..],
    };
    // 0x15 is a TLS alert: there is no certificate to go on with.
    if let [b'E', ..] = rest {
        let (frames, rest) = cut(rest);
        assert!(rest.is_empty() && frames.len() == 1 && contains(frames[0].1, b"SFATAL\0"));
    } else {
        assert!(matches!(rest, [] | [0x15, ..]), "{heard:?}");
    }
}

/// Within TLS: whole messages; somebody is let in only who was asked for a token.
fn protected(heard: &[u8], accepted: bool) {
    let (frames, rest) = cut(heard);
    assert!(rest.is_empty(), "half a message: {heard:?}");
    let tags: String = frames.iter().map(|(tag, _)| char::from(*tag)).collect();
    let asked = tags.strip_prefix('v').unwrap_or(&tags);
    if accepted {
        assert_eq!(asked, "R");
    } else {
        // Nothing, or a refusal, at once or after one question or two.
        assert!(matches!(asked, "" | "E" | "R" | "RE" | "RR" | "RRE"), "{tags}");
    }
    if let Some((_, body)) = frames.iter().find(|(tag, _)| *tag == b'E') {
        assert!(contains(body, b"SFATAL\0") && body.ends_with(b"\0\0"));
    }
}
