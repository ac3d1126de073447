//! Clients that do not play by the rules, and ordinary ones with unusual starts.

use crate::client::{Raw, field, tags};
use crate::gateway::{Gateway, TOKEN};
use bytes::BufMut as _;
use proxy_postgres::options::Options;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const ALL: &str = "rules:\n- {name: all, action: Allow, postgresql: {}}\n";

async fn says(gateway: &Gateway, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(("127.0.0.1", gateway.port)).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = socket.read_to_end(&mut answer);
    // A reset is an end as well.
    tokio::time::timeout(Duration::from_secs(5), read).await.expect("an end").ok();
    answer
}

fn startup(code: u32, parameters: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    packet.put_u32(u32::try_from(8 + parameters.len()).unwrap());
    packet.put_u32(code);
    packet.put_slice(parameters);
    packet
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_there_is_no_session() {
    let Some(gateway) = Gateway::start(ALL, "").await else { return };
    let answer = says(&gateway, &startup(196_608, b"user\0app\0\0")).await;
    assert!(String::from_utf8_lossy(&answer).contains("sslmode=require"));
    let gss_then_plain = [startup(80_877_104, b""), startup(196_608, b"user\0app\0\0")].concat();
    let answer = says(&gateway, &gss_then_plain).await;
    assert!(answer.starts_with(b"N") && String::from_utf8_lossy(&answer).contains("28000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_first_asks_for_kerberos_gets_its_session_over_tls() {
    let Some(gateway) = Gateway::start(ALL, "").await else { return };
    let mut socket = TcpStream::connect(("127.0.0.1", gateway.port)).await.unwrap();
    socket.write_all(&startup(80_877_104, b"")).await.unwrap();
    assert_eq!(socket.read_u8().await.unwrap(), b'N');
    let mut raw = Raw::secure(socket, &gateway).await;
    raw.start(&[("user", "app"), ("database", &gateway.database)]).await;
    raw.query("select 42").send().await;
    let answer = raw.answer().await;
    assert_eq!(tags(&answer), "TDCZ", "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_before_the_handshake_never_survive_it() {
    let Some(gateway) = Gateway::start(ALL, "").await else { return };
    let injected = [startup(80_877_103, b""), startup(196_608, b"user\0app\0\0")].concat();
    let answer = says(&gateway, &injected).await;
    assert!(answer.is_empty() || answer[0] == b'S', "{answer:?}");
    assert!(!answer.contains(&b'R'), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_half_open_connections_end() {
    let quick = |options: &mut Options| options.limits.handshake = Duration::from_secs(1);
    let Some(gateway) = Gateway::start_with(ALL, "", |_| {}, quick).await else { return };
    for garbage in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 64], &[0xff; 64], b"\x16\x03\x01\0\x05hello", b"", b"\0\0"]
    {
        says(&gateway, garbage).await;
    }
    let mut raw = gateway.raw().await;
    raw.query("select 1").send().await;
    raw.answer().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_oversized_and_malformed_messages_end_the_session_with_a_reason() {
    let Some(gateway) = Gateway::start(ALL, "").await else { return };
    for (bytes, code) in [
        (&b"!\0\0\0\x04"[..], "08P01"),
        (b"Q\0\0\0\x03", "08P01"),
        (b"Q\x7f\xff\xff\xff", "54000"),
        (b"Q\0\0\0\x0cselect 1", "08P01"),
        (b"Q\0\0\0\x06\xff\0", "08P01"),
        (b"B\0\0\0\x05\0", "08P01"),
        (b"S\0\0\0\x05\0", "08P01"),
    ] {
        let mut raw = gateway.raw().await;
        raw.out.put_slice(bytes);
        raw.send().await;
        let answer = raw.read().await;
        assert_eq!(
            (answer.tag, field(std::slice::from_ref(&answer), 'E', 'C').as_str()),
            ('E', code),
            "{bytes:?}: {answer:?}"
        );
        assert!(raw.try_read().await.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_token_a_foreign_role_and_replication_are_refused() {
    let Some(gateway) = Gateway::start(ALL, "").await else { return };
    let refused = |config: tokio_postgres::Config| {
        let tls = gateway.tls();
        async move { config.connect(tls).await.err().expect("refused").code().unwrap().code().to_owned() }
    };
    assert_eq!(refused(gateway.config("another-token")).await, "28000");
    let mut config = gateway.config(TOKEN);
    config.user("postgres");
    assert_eq!(refused(config).await, "28000");
    let mut config = gateway.config(TOKEN);
    config.options("-c role=postgres");
    assert_eq!(refused(config).await, "42501");
    let mut raw = Raw::connect(&gateway).await;
    raw.out.put_slice(&startup(196_608, b"user\0app\0replication\0database\0\0"));
    raw.send().await;
    let answer = raw.read().await;
    assert_eq!(field(&[answer], 'E', 'C'), "42501");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_its_token_expires() {
    let Some(gateway) = Gateway::start(ALL, "").await else { return };
    let client = {
        let (client, connection) =
            gateway.config(&format!("{TOKEN}-2")).connect(gateway.tls()).await.unwrap();
        tokio::spawn(connection);
        client
    };
    assert!(client.simple_query("select 1").await.is_ok());
    tokio::time::timeout(Duration::from_secs(5), async {
        while !client.is_closed() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn protocol_3_2_gets_long_keys_and_an_unknown_minor_version_is_negotiated() {
    let Some(gateway) = Gateway::start(ALL, "").await else { return };
    for (code, negotiated, key_bytes) in [(196_610, false, 32), (196_700, true, 32), (196_609, true, 4)] {
        let mut raw = Raw::connect(&gateway).await;
        let parameters = format!("user\0app\0database\0{}\0\0", gateway.database);
        raw.out.put_slice(&startup(code, parameters.as_bytes()));
        raw.send().await;
        let mut message = raw.read().await;
        assert_eq!(message.tag == 'v', negotiated, "{message:?}");
        if negotiated {
            message = raw.read().await;
        }
        assert_eq!(message.tag, 'R');
        raw.out.put_slice(b"p\0\0\0\x11a-good-token\0");
        raw.send().await;
        let key = raw.answer().await.into_iter().find(|message| message.tag == 'K').unwrap();
        assert_eq!(key.body.len(), 4 + key_bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_taken_by_oauthbearer_when_the_client_asks_for_it() {
    let Some(gateway) = Gateway::start(ALL, "").await else { return };
    let mut raw = Raw::connect(&gateway).await;
    let parameters =
        format!("user\0app\0database\0{}\0options\0-c portcullis.auth=oauthbearer\0\0", gateway.database);
    raw.out.put_slice(&startup(196_608, parameters.as_bytes()));
    raw.send().await;
    assert_eq!(raw.read().await.body, b"\0\0\0\x0aOAUTHBEARER\0\0");
    let response = format!("n,,\u{1}auth=Bearer {TOKEN}\u{1}\u{1}");
    let mut body = b"OAUTHBEARER\0".to_vec();
    body.put_u32(u32::try_from(response.len()).unwrap());
    body.put_slice(response.as_bytes());
    raw.out.put_u8(b'p');
    raw.out.put_u32(u32::try_from(body.len() + 4).unwrap());
    raw.out.put_slice(&body);
    raw.send().await;
    assert_eq!(raw.answer().await.last().unwrap().tag, 'Z');
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_ends_idle_sessions_at_once() {
    let Some(gateway) = Gateway::start(ALL, "").await else { return };
    let mut raw = gateway.raw().await;
    gateway.drain.cancel();
    let last = raw.read().await;
    assert_eq!(field(&[last], 'E', 'C'), "57P01");
    assert!(raw.try_read().await.is_none());
}
