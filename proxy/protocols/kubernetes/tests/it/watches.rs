//! Watches: they end with an event that says why, over HTTP as over WebSocket; and the gateway's own certificate as
//! credential.

use crate::gateway::{Gateway, TOKEN, get};
use crate::server::{Certificates, Script, Server};
use futures_util::StreamExt as _;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use proxy_kubernetes::options::Credential;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

const ALLOW: &str = "rules: [{name: all, action: Allow, kubernetes: {}}]\nmasking: [{detectors: [Secrets], with: {type: \
                     Redact}}]";
const PLAIN: &str = "rules: [{name: all, action: Allow, kubernetes: {}}]";
const NONE: &str = "rules: [{name: none, action: Deny}]";
const PODS: &str = "/api/v1/namespaces/shop/pods";
const CANARY: &str = "ghp_x7Qz1xP0vB2nM4kL6jH8gF5dS3aQ9wE1rT0y";

fn event(name: &str, note: &str) -> String {
    format!(
        "{{\"type\":\"ADDED\",\"object\":{{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{{\"name\":\"{name}\",\
         \"annotations\":{{\"note\":\"{note}\"}}}}}}}}\n"
    )
}

fn watch() -> Request<Full<bytes::Bytes>> {
    get(&format!("{PODS}?watch=1"))
}

/// A watch through HTTP: what came before the first event, then that event's rest until the end.
async fn all(gateway: &Gateway, end: impl FnOnce()) -> (Vec<u8>, bool) {
    let mut body = gateway.ask(watch()).await.into_body();
    let mut heard = body.frame().await.unwrap().unwrap().into_data().unwrap().to_vec();
    end();
    loop {
        match body.frame().await {
            None => return (heard, true),
            Some(Ok(frame)) => heard.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Some(Err(_)) => return (heard, false),
        }
    }
}

#[tokio::test]
async fn a_watch_ends_with_an_event_that_says_why() {
    for policy in [ALLOW, PLAIN] {
        let gateway = Gateway::start(policy).await;
        let first = event("web", "plain");
        gateway.server.script(PODS, Script::Endless("application/json", first.clone().into()));
        let (heard, is_whole) = all(&gateway, || gateway.put_in_force(NONE)).await;
        let text = String::from_utf8(heard).unwrap();
        let last = text.strip_prefix(&first).unwrap();
        let last: Value = serde_json::from_str(last).unwrap();
        assert_eq!(last["type"], "ERROR", "{last}");
        assert_eq!(last["object"]["code"], 401, "{last}");
        assert!(last["object"]["message"].as_str().unwrap().contains("may no longer use"), "{last}");
        assert!(is_whole);
        gateway.wait_for_log("aborted: watch pods").await;
        assert!(gateway.log().contains("may no longer use"), "the client got it, so it is on record");
    }
}

#[tokio::test]
async fn a_policy_reaches_watches_that_are_open() {
    let denied = "rules: [{name: no-pods, action: Deny, kubernetes: {resources: [pods]}},\n\
                  {name: all, action: Allow, kubernetes: {}}]";
    let gateway = Gateway::start(PLAIN).await;
    let first = event("web", "plain");
    gateway.server.script(PODS, Script::Endless("application/json", first.clone().into()));
    let (heard, is_whole) = all(&gateway, || gateway.put_in_force(denied)).await;
    let text = String::from_utf8(heard).unwrap();
    let last: Value = serde_json::from_str(text.strip_prefix(&first).unwrap()).unwrap();
    assert_eq!((&last["type"], &last["object"]["code"]), (&"ERROR".into(), &403.into()), "{last}");
    assert!(last["object"]["message"].as_str().unwrap().contains("no-pods"), "{last}");
    assert!(is_whole);
    gateway.wait_for_log("aborted: watch pods").await;
    // other masks: it ends as watches do, and its client starts another
    let gateway = Gateway::start(PLAIN).await;
    gateway.server.script(PODS, Script::Endless("application/json", first.clone().into()));
    let (heard, is_whole) = all(&gateway, || gateway.put_in_force(ALLOW)).await;
    assert_eq!((String::from_utf8(heard).unwrap(), is_whole), (first.clone(), true));
    // policies that change nothing for it leave it alone
    let gateway = Gateway::start(PLAIN).await;
    gateway.server.script(PODS, Script::Endless("application/json", first.clone().into()));
    let mut body = gateway.ask(watch()).await.into_body();
    body.frame().await.unwrap().unwrap();
    let others = "rules: [{name: no-nodes, action: Deny, kubernetes: {resources: [nodes]}},\n\
                  {name: all, action: Allow, kubernetes: {}}]";
    gateway.put_in_force(others);
    let more = tokio::time::timeout(std::time::Duration::from_millis(500), body.frame()).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test]
async fn a_watch_that_is_cut_in_the_middle_of_an_event_breaks_off() {
    let gateway = Gateway::start(PLAIN).await;
    let half = event("web", "plain").trim_end_matches("}\n").to_owned();
    gateway.server.script(PODS, Script::Endless("application/json", half.clone().into()));
    let (heard, is_whole) = all(&gateway, || gateway.put_in_force(NONE)).await;
    assert_eq!(String::from_utf8(heard).unwrap(), half);
    assert!(!is_whole);
}

#[tokio::test]
async fn a_watch_over_websocket_is_masked_and_says_why_it_ends() {
    let gateway = Gateway::start(ALLOW).await;
    let (to, mut handed) = mpsc::unbounded_channel();
    gateway.server.script(PODS, Script::Hand(to));
    let client = gateway.upgraded(over_websocket(None)).await;
    let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    let server = handed.recv().await.unwrap();
    let mut server = WebSocketStream::from_raw_socket(server, Role::Server, None).await;
    for (index, note) in ["plain", CANARY].into_iter().enumerate() {
        let sent = Message::Text(event(&format!("web-{index}"), note).into());
        futures_util::SinkExt::send(&mut server, sent).await.unwrap();
        let Some(Ok(Message::Text(heard))) = client.next().await else { panic!("no event") };
        let heard: Value = serde_json::from_str(&heard).unwrap();
        assert_eq!(heard["object"]["metadata"]["name"], format!("web-{index}"));
        let shown = heard["object"]["metadata"]["annotations"]["note"].as_str().unwrap();
        assert_eq!(shown == "plain", index == 0, "{shown}");
        assert!(!shown.contains(CANARY), "{shown}");
    }
    gateway.put_in_force(NONE);
    let Some(Ok(Message::Text(last))) = client.next().await else { panic!("no last event") };
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!(
        (last["type"].as_str(), last["object"]["code"].as_u64()),
        (Some("ERROR"), Some(401)),
        "{last}"
    );
    assert!(matches!(client.next().await, Some(Ok(Message::Close(_)))));
    gateway.wait_for_log("aborted: watch pods").await;
    assert!(!gateway.log().contains(CANARY));
}

/// A watch over WebSocket, with these subprotocols.
fn over_websocket(protocols: Option<&str>) -> Request<Full<bytes::Bytes>> {
    let mut request = watch();
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    if let Some(protocols) = protocols {
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
    }
    request
}

#[tokio::test]
async fn a_browsers_watch_hears_of_the_subprotocol_that_it_offers_beside_its_token() {
    use base64::Engine as _;
    let gateway = Gateway::start(ALLOW).await;
    gateway.server.script(PODS, Script::Socket { after: 0, messages: Vec::new() });
    let encoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(TOKEN);
    let token = format!("base64url.bearer.authorization.k8s.io.{encoded}");
    for (offered, status, told) in [
        (format!("{token}, base64.binary.k8s.io"), 101, Some("base64.binary.k8s.io")),
        (token.clone(), 101, None),
        (format!("{token}, a.example, b.example"), 400, None),
    ] {
        let mut request = over_websocket(Some(&offered));
        request.headers_mut().remove("authorization");
        let response = gateway.ask(request).await;
        assert_eq!(response.status(), status, "{offered}");
        let protocol = response.headers().get("sec-websocket-protocol");
        assert_eq!(protocol.map(|value| value.to_str().unwrap()), told, "{offered}");
    }
    let asked = gateway.server.asked();
    let offered: Vec<_> = asked.iter().map(|asked| asked.headers.get("sec-websocket-protocol")).collect();
    assert_eq!(offered, [Some(&"base64.binary.k8s.io".parse().unwrap()), None]);
}

#[tokio::test]
async fn a_gateway_that_drains_ends_watches_and_leaves_their_clients_to_start_another() {
    let drain = tokio_util::sync::CancellationToken::new();
    let draining = drain.clone();
    let gateway = Gateway::start_with(PLAIN, |options| options.drain = draining).await;
    let first = event("web", "plain");
    gateway.server.script(PODS, Script::Endless("application/json", first.clone().into()));
    let (heard, is_whole) = all(&gateway, || drain.cancel()).await;
    assert_eq!(String::from_utf8(heard).unwrap(), first);
    assert!(is_whole);
}

#[tokio::test]
async fn a_client_certificate_is_the_gateways_credential() {
    for is_member in [true, false] {
        let certificates = Certificates::new();
        let server = Server::start_with(certificates.server_of_members()).await;
        let tls = if is_member { certificates.member() } else { certificates.client() };
        let gateway = Gateway::before(certificates, server, PLAIN, |options| {
            options.credential = Credential::Certificate;
            options.tls = Arc::new(tls);
        })
        .await;
        gateway.server.script(PODS, Script::Answer(200, "application/json", b"{}".to_vec()));
        let (status, answer) = gateway.json(get(PODS)).await;
        assert_eq!(status, if is_member { 200 } else { 502 }, "{answer}");
        let asked = gateway.server.asked();
        assert_eq!(asked.len(), usize::from(is_member));
        for asked in asked {
            assert_eq!(asked.headers["impersonate-user"], "bot");
            assert!(!asked.headers.contains_key("authorization"), "{:?}", asked.headers);
            assert!(!format!("{:?}", asked.headers).contains(TOKEN));
        }
    }
}
