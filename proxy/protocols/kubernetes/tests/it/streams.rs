//! Streams whose ends the test holds itself: nothing is lost, reordered or blocked, however they end.

use crate::gateway::{Gateway, get, request};
use crate::server::{Handed, Script};
use crate::spdy::{FIN, GOAWAY, Heard, PING, RST_STREAM, SYN_REPLY, SYN_STREAM, Side};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::Full;
use proxy_audit::stream::{Channel, StreamEvent};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

pub(crate) const ALLOW: &str = "rules: [{name: all, action: Allow, kubernetes: {}}]\nmasking: [{detectors: [Secrets], with: {type: \
                     Redact}}]";
pub(crate) const NONE: &str = "rules: [{name: none, action: Deny}]";
pub(crate) const SUCCESS: &[u8] = b"\x03{\"metadata\":{},\"status\":\"Success\"}";

pub(crate) type Socket = WebSocketStream<Handed>;

/// Both ends of a stream through the gateway.
pub(crate) async fn ends(
    gateway: &Gateway,
    subresource: &str,
    query: &str,
    headers: &[(&'static str, &str)],
) -> (Handed, Handed) {
    let path = format!("/api/v1/namespaces/shop/pods/web/{subresource}");
    let (to, mut handed) = mpsc::unbounded_channel();
    gateway.server.script(&path, Script::Hand(to));
    let is_websocket = headers.iter().any(|(_, value)| *value == "websocket");
    let target = format!("{path}?{query}");
    let mut request = if is_websocket {
        get(&target)
    } else {
        request("POST", &target).body(Full::<Bytes>::default()).unwrap()
    };
    request.headers_mut().insert("connection", "Upgrade".parse().unwrap());
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let client = gateway.upgraded(request).await;
    (client, handed.recv().await.unwrap())
}

pub(crate) async fn sockets(gateway: &Gateway, subresource: &str, query: &str) -> (Socket, Socket) {
    let protocol = if subresource == "portforward" { "v4.channel.k8s.io" } else { "v5.channel.k8s.io" };
    let headers = [
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", protocol),
    ];
    let (client, server) = ends(gateway, subresource, query, &headers).await;
    (
        WebSocketStream::from_raw_socket(client, Role::Client, None).await,
        WebSocketStream::from_raw_socket(server, Role::Server, None).await,
    )
}

pub(crate) async fn spdy(
    gateway: &Gateway,
    subresource: &str,
    protocol: &str,
) -> (Side<Handed>, Side<Handed>) {
    let headers = [("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", protocol)];
    let (client, server) = ends(gateway, subresource, "command=sh&stdin=true&stdout=true", &headers).await;
    (Side::new(client), Side::new(server))
}

pub(crate) fn binary(bytes: &[u8]) -> Message {
    Message::Binary(Bytes::copy_from_slice(bytes))
}

/// Messages until the close, by channel.
async fn hear(socket: &mut Socket, channel: u8) -> Vec<u8> {
    let mut heard = Vec::new();
    while let Some(Ok(message)) = socket.next().await {
        if matches!(message, Message::Close(_)) {
            break;
        }
        if let Message::Binary(bytes) = &message
            && bytes[0] == channel
        {
            heard.extend_from_slice(&bytes[1..]);
        }
    }
    heard
}

#[tokio::test]
async fn attach_gives_what_comes_and_records_the_terminals_sizes() {
    let gateway = Gateway::start(ALLOW).await;
    let (mut client, mut server) = sockets(&gateway, "attach", "stdin=true&stdout=true&tty=true").await;
    for size in [br#"{"Width":80,"Height":24}"#, br#"{"Width":99,"Height":50}"#] {
        let message = binary(&[b"\x04", size.as_slice()].concat());
        client.send(message.clone()).await.unwrap();
        assert_eq!(server.next().await.unwrap().unwrap(), message);
    }
    // a prompt has no end of line, and is shown all the same
    server.send(binary(b"\x01/ # ")).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), binary(b"\x01/ # "));
    client.send(binary(b"\x00exit\r")).await.unwrap();
    assert_eq!(server.next().await.unwrap().unwrap(), binary(b"\x00exit\r"));
    server.send(binary(SUCCESS)).await.unwrap();
    server.close(None).await.unwrap();
    assert_eq!(hear(&mut client, 3).await, SUCCESS[1..]);
    gateway.wait_for_log("ok: create pods/attach").await;
    assert_eq!(
        gateway.recorded(),
        [
            StreamEvent::Resize { columns: 80, rows: 24 },
            StreamEvent::Resize { columns: 99, rows: 50 },
            StreamEvent::Data { channel: Channel::STDOUT, bytes: Bytes::from_static(b"/ # ") },
            StreamEvent::Data { channel: Channel::STDIN, bytes: Bytes::from_static(b"exit\r") },
            StreamEvent::Exit(0),
        ]
    );
}

#[tokio::test]
async fn an_output_that_is_closed_first_costs_the_other_nothing() {
    let gateway = Gateway::start(ALLOW).await;
    let (mut client, mut server) = sockets(&gateway, "exec", "command=sh&stdout=true&stderr=true").await;
    server.send(binary(b"\x01first, without an end")).await.unwrap();
    server.send(binary(&[255, 2])).await.unwrap();
    server.send(binary(b"\x01 of line; second")).await.unwrap();
    server.send(binary(SUCCESS)).await.unwrap();
    server.close(None).await.unwrap();
    let heard = hear(&mut client, 1).await;
    assert_eq!(String::from_utf8(heard).unwrap(), "first, without an end of line; second");
}

#[tokio::test]
async fn input_that_is_closed_first_leaves_output_open() {
    let gateway = Gateway::start(ALLOW).await;
    let (mut client, mut server) = sockets(&gateway, "exec", "command=sort&stdin=true&stdout=true").await;
    client.send(binary(b"\x00b\na\n")).await.unwrap();
    client.send(binary(&[255, 0])).await.unwrap();
    assert_eq!(server.next().await.unwrap().unwrap(), binary(b"\x00b\na\n"));
    assert_eq!(server.next().await.unwrap().unwrap(), binary(&[255, 0]));
    server.send(binary(b"\x01a\nb\n")).await.unwrap();
    server.send(binary(SUCCESS)).await.unwrap();
    server.close(None).await.unwrap();
    assert_eq!(hear(&mut client, 1).await, b"a\nb\n");
    gateway.wait_for_log("ok: create pods/exec").await;
    assert!(gateway.recorded().contains(&StreamEvent::End(Channel::STDIN)));
}

#[tokio::test]
async fn a_client_that_leaves_a_program_before_its_end_leaves_it_aborted() {
    let gateway = Gateway::start(ALLOW).await;
    let (mut client, mut server) = sockets(&gateway, "exec", "command=sh&stdin=true&stdout=true").await;
    client.close(None).await.unwrap();
    assert!(matches!(server.next().await, Some(Ok(Message::Close(_)))));
    drop(server);
    gateway.wait_for_log("aborted: create pods/exec").await;
}

#[tokio::test]
async fn input_flows_while_the_client_reads_no_output() {
    let gateway = Gateway::start(ALLOW).await;
    let (client, server) = sockets(&gateway, "exec", "command=cat&stdin=true&stdout=true").await;
    let ((mut to_server, from_server), (mut to_client, mut from_client)) = (client.split(), server.split());
    let line = [b"\x01".as_slice(), &b"an ordinary line\n".repeat(2000)].concat();
    // more than every buffer between both holds
    let writing = tokio::spawn(async move {
        for _ in 0..1000 {
            to_client.send(binary(&line)).await.unwrap();
        }
        to_client.send(binary(SUCCESS)).await.unwrap();
        to_client.close().await.unwrap();
    });
    for number in 0..1000_u32 {
        let message = [b"\x00".as_slice(), &number.to_be_bytes()].concat();
        to_server.send(binary(&message)).await.unwrap();
        assert_eq!(from_client.next().await.unwrap().unwrap(), binary(&message));
    }
    assert!(
        !writing.is_finished(),
        "the client has read nothing, and the gateway keeps no more than it must"
    );
    let mut client = to_server.reunite(from_server).unwrap();
    assert_eq!(hear(&mut client, 1).await.len(), 1000 * 2000 * b"an ordinary line\n".len());
    writing.await.unwrap();
}

#[tokio::test]
async fn a_session_that_ends_while_its_client_reads_nothing_does_not_stay() {
    let gateway = Gateway::start(ALLOW).await;
    let (client, server) = sockets(&gateway, "exec", "command=yes&stdout=true").await;
    let (mut to_client, from_client) = server.split();
    let line = [b"\x01".as_slice(), &b"an ordinary line\n".repeat(2000)].concat();
    let writing = tokio::spawn(async move { while to_client.send(binary(&line)).await.is_ok() {} });
    gateway.wait_for_log("ordinary line").await;
    gateway.put_in_force(NONE);
    tokio::time::timeout(std::time::Duration::from_secs(30), writing).await.unwrap().unwrap();
    // the client has a few seconds to hear of it
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    gateway.wait_for_log("aborted: create pods/exec").await;
    drop((client, from_client));
}

/// Opens the two streams of a connection through a forwarded port.
pub(crate) async fn forward(client: &mut Side<Handed>, server: &mut Side<Handed>, first: u32) {
    forward_as(client, server, first, &first.to_string()).await;
}

/// As [`forward`], of a connection that the client calls so.
pub(crate) async fn forward_as(client: &mut Side<Handed>, server: &mut Side<Handed>, first: u32, id: &str) {
    for (stream, kind) in [(first, "error"), (first + 2, "data")] {
        let headers = [("streamtype", kind), ("port", "80"), ("requestid", id)];
        client.open(SYN_STREAM, stream, &headers).await;
        assert!(matches!(server.hear().await, Some(Heard::Control(SYN_STREAM, 0, _))));
        server.open(SYN_REPLY, stream, &[]).await;
        assert!(matches!(client.hear().await, Some(Heard::Control(SYN_REPLY, 0, _))));
    }
    client.data(first, FIN, b"").await;
    assert_eq!(server.hear().await, Some(Heard::Data(first, FIN, Vec::new())));
}

#[tokio::test]
async fn a_forwarded_connection_that_is_closed_by_half_goes_on_the_other_way() {
    let gateway = Gateway::start(ALLOW).await;
    let (mut client, mut server) = spdy(&gateway, "portforward", "portforward.k8s.io").await;
    forward(&mut client, &mut server, 1).await;
    // the server has said all; the client has not
    server.data(3, FIN, b"answer").await;
    assert_eq!(client.read(3, usize::MAX).await, b"answer");
    for _ in 0..3 {
        client.data(3, 0, b"question").await;
        assert_eq!(server.hear().await, Some(Heard::Data(3, 0, b"question".to_vec())));
    }
    client.data(3, FIN, b"").await;
    assert_eq!(server.hear().await, Some(Heard::Data(3, FIN, Vec::new())));
    server.data(1, FIN, b"").await;
    assert_eq!(client.hear().await, Some(Heard::Data(1, FIN, Vec::new())));
    // the next one is not disturbed
    forward(&mut client, &mut server, 5).await;
    client.data(7, FIN, b"more").await;
    assert_eq!(server.hear().await, Some(Heard::Data(7, FIN, b"more".to_vec())));
}

#[tokio::test]
async fn what_is_still_under_way_when_a_stream_is_reset_ends_nothing_else() {
    let gateway = Gateway::start(ALLOW).await;
    let (mut client, mut server) = spdy(&gateway, "portforward", "portforward.k8s.io").await;
    forward(&mut client, &mut server, 1).await;
    let reset = [3_u32.to_be_bytes(), 5_u32.to_be_bytes()].concat();
    server.control(RST_STREAM, 0, &reset).await;
    assert_eq!(client.hear().await, Some(Heard::Control(RST_STREAM, 0, reset)));
    client.data(3, 0, b"too late").await;
    forward(&mut client, &mut server, 5).await;
    let reset = [7_u32.to_be_bytes(), 5_u32.to_be_bytes()].concat();
    client.control(RST_STREAM, 0, &reset).await;
    assert_eq!(server.hear().await, Some(Heard::Control(RST_STREAM, 0, reset)));
    server.data(7, 0, b"too late").await;
    forward(&mut client, &mut server, 9).await;
}

#[tokio::test]
async fn a_client_that_writes_on_a_stream_that_nobody_opened_is_cut_off() {
    let gateway = Gateway::start(ALLOW).await;
    let (mut client, mut server) = spdy(&gateway, "portforward", "portforward.k8s.io").await;
    forward(&mut client, &mut server, 1).await;
    client.data(99, 0, b"forged").await;
    assert_eq!(server.hear().await, None);
}

/// Opens the streams of a program: error 1, input 3, output 5.
pub(crate) async fn program(client: &mut Side<Handed>, server: &mut Side<Handed>) {
    for (stream, kind) in [(1, "error"), (3, "stdin"), (5, "stdout")] {
        client.open(SYN_STREAM, stream, &[("streamtype", kind)]).await;
        assert!(matches!(server.hear().await, Some(Heard::Control(SYN_STREAM, 0, _))));
        server.open(SYN_REPLY, stream, &[]).await;
        assert!(matches!(client.hear().await, Some(Heard::Control(SYN_REPLY, 0, _))));
    }
}

#[tokio::test]
async fn output_after_a_goaway_is_whole() {
    let gateway = Gateway::start(ALLOW).await;
    let (mut client, mut server) = spdy(&gateway, "exec", "v4.channel.k8s.io").await;
    program(&mut client, &mut server).await;
    server.data(5, 0, b"no end of").await;
    server.control(GOAWAY, 0, &[0; 8]).await;
    server.data(5, FIN, b" line").await;
    server.data(1, FIN, &SUCCESS[1..]).await;
    assert_eq!(client.read(5, usize::MAX).await, b"no end of line");
    assert_eq!(client.read(1, usize::MAX).await, SUCCESS[1..]);
    drop((client, server));
    gateway.wait_for_log("ok: create pods/exec").await;
}

#[tokio::test]
async fn nothing_is_hidden_in_control_frames() {
    let gateway = Gateway::start(ALLOW).await;
    let secret = "ghp_x7Qz1xP0vB2nM4kL6jH8gF5dS3aQ9wE1rT0y";
    for hide in 0..3 {
        let (mut client, mut server) = spdy(&gateway, "exec", "v4.channel.k8s.io").await;
        program(&mut client, &mut server).await;
        match hide {
            0 => server.control(PING, 0, &[&[0; 4], secret.as_bytes()].concat()).await,
            1 => server.open(SYN_REPLY, 5, &[("x-note", secret)]).await,
            _ => server.open(SYN_STREAM, 2, &[("streamtype", "stdout")]).await,
        }
        server.data(5, 0, b"more\n").await;
        assert_eq!(client.hear().await, None, "{hide}");
    }
}

#[tokio::test]
async fn a_program_whose_session_ends_says_why_on_its_error_stream() {
    let gateway = Gateway::start(ALLOW).await;
    let (mut client, mut server) = spdy(&gateway, "exec", "v4.channel.k8s.io").await;
    program(&mut client, &mut server).await;
    gateway.put_in_force(NONE);
    let status = String::from_utf8(client.read(1, usize::MAX).await).unwrap();
    assert!(status.contains("may no longer use"), "{status}");
    assert_eq!(server.hear().await, None);
    gateway.wait_for_log("aborted: create pods/exec").await;
}

#[tokio::test]
async fn a_policy_reaches_programs_that_run() {
    for (policy, words) in [
        (
            "rules: [{name: no-exec, action: Deny, kubernetes: {resources: [pods/exec]}},\n\
             {name: all, action: Allow, kubernetes: {}}]",
            "no-exec",
        ),
        (
            "rules: [{name: all, action: Allow, kubernetes: {}}]\nmasking: [{detectors: [PersonalData]}]",
            "what is masked for this identity has changed",
        ),
    ] {
        let gateway = Gateway::start(ALLOW).await;
        let (mut client, mut server) = spdy(&gateway, "exec", "v4.channel.k8s.io").await;
        program(&mut client, &mut server).await;
        gateway.put_in_force(policy);
        let status = String::from_utf8(client.read(1, usize::MAX).await).unwrap();
        assert!(status.contains(words), "{status}");
        assert_eq!(server.hear().await, None);
        gateway.wait_for_log("aborted: create pods/exec").await;
    }
}

#[tokio::test]
async fn a_long_input_arrives_byte_for_byte_over_both_transports() {
    let gateway = Gateway::start(ALLOW).await;
    let piece: Vec<u8> = (0..32 * 1024_u32).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect();
    let (mut client, mut server) = spdy(&gateway, "exec", "v4.channel.k8s.io").await;
    program(&mut client, &mut server).await;
    let sent = piece.clone();
    let sending = tokio::spawn(async move {
        for _ in 0..128 {
            client.data(3, 0, &sent).await;
        }
        client.data(3, FIN, b"").await;
        client
    });
    assert!(server.read(3, usize::MAX).await == piece.repeat(128));
    drop(sending.await.unwrap());
    let (mut client, mut server) = sockets(&gateway, "exec", "command=cat&stdin=true&stdout=true").await;
    let message = binary(&[b"\x00".as_slice(), &piece].concat());
    let sending = tokio::spawn(async move {
        for _ in 0..128 {
            client.send(message.clone()).await.unwrap();
        }
        client.close(None).await.unwrap();
        client
    });
    assert!(hear(&mut server, 0).await == piece.repeat(128));
    drop(sending.await.unwrap());
}
