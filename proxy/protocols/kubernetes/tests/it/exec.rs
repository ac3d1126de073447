//! Programs in pods, over WebSocket: what they write, how they end, and what is recorded of it.

use crate::gateway::{Gateway, TOKEN, get, request};
use crate::server::Script;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

const ALLOW: &str = "rules: [{name: all, action: Allow, kubernetes: {}}]\nmasking: [{detectors: [Secrets], with: {type: \
                     Redact}}]";
const EXEC: &str = "/api/v1/namespaces/shop/pods/web/exec";
const CANARY: &str = "ghp_x7Qz1xP0vB2nM4kL6jH8gF5dS3aQ9wE1rT0y";

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

async fn open(gateway: &Gateway, query: &str, protocols: &str) -> Socket {
    let mut request = get(&format!("{EXEC}?{query}"));
    let headers = request.headers_mut();
    headers.insert("connection", "Upgrade".parse().unwrap());
    headers.insert("upgrade", "websocket".parse().unwrap());
    headers.insert("sec-websocket-version", "13".parse().unwrap());
    headers.insert("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==".parse().unwrap());
    headers.insert("sec-websocket-protocol", protocols.parse().unwrap());
    let mut response = gateway.ask(request).await;
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let io = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    WebSocketStream::from_raw_socket(io, Role::Client, None).await
}

/// Everything until the close.
async fn hear(socket: &mut Socket) -> Vec<Vec<u8>> {
    let mut heard = Vec::new();
    while let Some(Ok(message)) = socket.next().await {
        match &message {
            Message::Binary(bytes) => heard.push(bytes.to_vec()),
            Message::Close(_) => break,
            Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {
                panic!("{message:?}")
            }
        }
    }
    heard
}

#[tokio::test]
async fn output_and_outcome_arrive_masked_and_in_order() {
    let gateway = Gateway::start(ALLOW).await;
    let status = br#"{"metadata":{},"status":"Failure","message":"command terminated","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]},"code":500}"#;
    let messages = vec![
        b"\x01".to_vec(),
        [b"\x01the token is ", CANARY.as_bytes()].concat(),
        b"\x02an error\n".to_vec(),
        [b"\x03".as_slice(), status].concat(),
    ];
    gateway.server.script(EXEC, Script::Socket { after: 1, messages });
    let mut socket = open(&gateway, "command=env&stdout=true&stdin=true", "v5.channel.k8s.io").await;
    socket.send(Message::Binary(b"\x00input\n".as_slice().into())).await.unwrap();
    let heard = hear(&mut socket).await;
    let of = |channel: u8| -> Vec<u8> {
        heard.iter().filter(|m| m[0] == channel).flat_map(|m| m[1..].to_vec()).collect()
    };
    let out = String::from_utf8(of(1)).unwrap();
    assert!(out.starts_with("the token is ") && !out.contains(CANARY), "{out}");
    assert_eq!(of(2), b"an error\n");
    assert_eq!(of(3), status);
    assert_eq!(heard.last().unwrap()[0], 3, "the outcome comes last");
    assert_eq!(gateway.server.heard(), [b"\x00input\n"]);
    gateway.wait_for_log("error: create pods/exec").await;
    let log = gateway.log();
    assert!(log.contains("an error") && log.contains("input") && !log.contains(CANARY));
}

#[tokio::test]
async fn a_token_among_subprotocols_opens_a_session_and_goes_nowhere() {
    use base64::Engine as _;
    let gateway = Gateway::start(ALLOW).await;
    gateway.server.script(EXEC, Script::Socket { after: 0, messages: Vec::new() });
    let encoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(TOKEN);
    let mut request =
        request("GET", &format!("{EXEC}?command=env&stdout=true")).body(Full::default()).unwrap();
    let headers = request.headers_mut();
    headers.remove("authorization");
    headers.insert("connection", "keep-alive, Upgrade".parse().unwrap());
    headers.insert("upgrade", "WebSocket".parse().unwrap());
    headers.insert("sec-websocket-version", "13".parse().unwrap());
    headers.insert("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==".parse().unwrap());
    let protocols = format!("base64url.bearer.authorization.k8s.io.{encoded}, v4.channel.k8s.io");
    headers.insert("sec-websocket-protocol", protocols.parse().unwrap());
    let response = gateway.ask(request).await;
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["sec-websocket-protocol"], "v4.channel.k8s.io");
    let asked = format!("{:?}", gateway.server.asked());
    assert!(!asked.contains(&encoded) && !asked.contains(TOKEN), "{asked}");
    assert!(!gateway.log().contains(&encoded) && !gateway.log().contains(TOKEN));
}

#[tokio::test]
async fn a_client_that_speaks_on_a_channel_of_the_server_is_cut_off() {
    let gateway = Gateway::start(ALLOW).await;
    gateway.server.script(EXEC, Script::Socket { after: 1, messages: Vec::new() });
    let mut socket = open(&gateway, "command=env&stdin=true", "v5.channel.k8s.io").await;
    socket.send(Message::Binary(b"\x01forged output".as_slice().into())).await.unwrap();
    assert!(hear(&mut socket).await.is_empty());
    assert!(gateway.server.heard().is_empty());
    gateway.wait_for_log("aborted: create pods/exec").await;
}

#[tokio::test]
async fn a_rule_by_files_is_about_whatever_a_command_line_does_to_them() {
    let rules = r#"rules:
- {name: keys, action: Deny, kubernetes: {paths: ["*/tls.key"]}}
- {name: tree, action: Deny, kubernetes: {effects: [Remove], unbounded: true}}
- {name: look, action: Allow, kubernetes: {commands: [{name: cat}, {name: ls}, {name: sh}, {name: rm}, {name: xxd}], paths: ["/srv/*"]}}
"#;
    let gateway = Gateway::start(rules).await;
    gateway.server.script(EXEC, Script::Socket { after: 0, messages: Vec::new() });
    for (words, expected) in [
        (&["cat", "/srv/app.log"][..], 101),
        (&["sh", "-c", "ls /srv/a; rm /srv/b"], 101),
        (&["cat", "/srv/tls.key"], 403),
        (&["sh", "-c", "cd /srv && cat tls.k*"], 403),
        (&["xxd", "/srv/tls.key"], 403),
        // where it starts, nobody knows
        (&["cat", "tls.key"], 403),
        (&["cat", "app.log"], 403),
        (&["cat", "/etc/passwd"], 403),
        (&["xxd", "/etc/passwd"], 403),
        (&["rm", "-r", "/srv/a"], 403),
        (&["sh"], 403),
    ] {
        let escaped = |word: &&str| word.replace('&', "%26").replace(';', "%3B").replace(' ', "+");
        let words: Vec<_> = words.iter().map(|word| format!("command={}", escaped(word))).collect();
        let query = words.join("&");
        let mut request = get(&format!("{EXEC}?{query}&stdout=true"));
        for (name, value) in [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", "v5.channel.k8s.io"),
        ] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        assert_eq!(gateway.ask(request).await.status(), expected, "{query}");
    }
}
