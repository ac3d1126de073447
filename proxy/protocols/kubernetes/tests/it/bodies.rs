//! Bodies that do not come: how long they are waited for, and how many at once.

use crate::gateway::{Gateway, request};
use crate::server::Script;
use crate::streams::ALLOW;
use bytes::Bytes;
use futures_util::future::select_all;
use futures_util::{StreamExt as _, stream};
use http::Response;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proxy_kubernetes::options::Limits;
use std::convert::Infallible;
use std::time::Duration;
use tokio::task::JoinHandle;

const PATH: &str = "/api/v1/namespaces/shop/configmaps";
type Body = StreamBody<stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

/// A body that begins, and ends or does not.
fn body(text: &'static str, ends: bool) -> Body {
    let first = stream::once(async move { Ok(Frame::data(Bytes::from_static(text.as_bytes()))) });
    StreamBody::new(if ends { first.boxed() } else { first.chain(stream::pending()).boxed() })
}

async fn client(gateway: &Gateway) -> http2::SendRequest<Body> {
    let io = TokioIo::new(gateway.dial(&[b"h2"]).await);
    let (client, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(async move { connection.await.unwrap_or_default() });
    client
}

async fn post(client: &http2::SendRequest<Body>, body: Body) -> (Response<Incoming>, String) {
    let target = format!("https://localhost{PATH}");
    let request = request("POST", &target).header("content-type", "application/json").body(body).unwrap();
    let mut response = client.clone().send_request(request).await.unwrap();
    let said = response.body_mut().collect().await.unwrap().to_bytes();
    (response, String::from_utf8(said.to_vec()).unwrap())
}

const CREATED: &str = r#"{"kind":"ConfigMap","apiVersion":"v1"}"#;

/// Bodies are waited for so long; a connection has room for two.
async fn gateway(request_body: Duration) -> Gateway {
    let gateway = Gateway::start_with(ALLOW, |options| {
        options.limits =
            Limits { request_bytes: 1000, connection_bytes: 2500, request_body, ..options.limits };
    })
    .await;
    gateway.server.script(PATH, Script::Answer(201, "application/json", CREATED.into()));
    gateway
}

fn whole() -> Body {
    body(r#"{"metadata":{"name":"a"}}"#, true)
}

/// Requests whose bodies do not end.
fn unfinished(
    client: &http2::SendRequest<Body>,
    count: usize,
) -> Vec<JoinHandle<(Response<Incoming>, String)>> {
    let start =
        |client: http2::SendRequest<Body>| tokio::spawn(async move { post(&client, body("{", false)).await });
    (0..count).map(|_| start(client.clone())).collect()
}

fn assert_refused((refused, said): &(Response<Incoming>, String)) {
    assert_eq!(refused.status(), 429, "{said}");
    assert_eq!(refused.headers()["retry-after"], "1");
}

#[tokio::test]
async fn bodies_that_do_not_come_pin_no_more_than_the_budget_of_their_connection() {
    let gateway = gateway(Duration::from_mins(10)).await;
    let shared = client(&gateway).await;
    // whichever comes last finds no room; the others are waited for
    let (refused, _, waiting) = select_all(unfinished(&shared, 3)).await;
    assert_refused(&refused.unwrap());
    assert_refused(&post(&shared, whole()).await);
    // another connection has room of its own
    assert_eq!(post(&client(&gateway).await, whole()).await.0.status(), 201);
    for request in waiting {
        assert!(!request.is_finished());
        request.abort();
    }
}

#[tokio::test]
async fn bodies_that_do_not_come_are_not_waited_for_long() {
    let gateway = gateway(Duration::from_secs(1)).await;
    let shared = client(&gateway).await;
    for request in unfinished(&shared, 2) {
        assert_eq!(request.await.unwrap().0.status(), 408);
    }
    for _ in 0..5 {
        assert_eq!(post(&shared, whole()).await.0.status(), 201, "there is room again");
    }
}
