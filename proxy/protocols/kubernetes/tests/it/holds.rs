//! Held requests beside others of their connection.

use crate::gateway::{Gateway, get, request};
use crate::server::Script;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use proxy_core::approval::Outcome;
use serde_json::json;
use std::time::Duration;

const RULES: &str = "
rules:
- name: evictions
  action: Hold
  approval: {timeoutSeconds: 900, onDisconnect: Claimable}
  kubernetes: {verbs: [delete], resources: [deployments, pods]}
- {name: rest, action: Allow, kubernetes: {}}
";
const PODS: &str = "/api/v1/namespaces/shop/pods";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/web";

async fn started() -> Gateway {
    let adjust = |options: &mut proxy_kubernetes::options::Options| {
        options.limits.hold_wait = Duration::from_mins(1);
    };
    let gateway = Gateway::start_with(RULES, adjust).await;
    let done = json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}).to_string();
    gateway.server.script(DEPLOYMENT, Script::Answer(200, "application/json", done.into()));
    let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []}).to_string();
    gateway.server.script(PODS, Script::Answer(200, "application/json", list.into()));
    gateway
}

/// Sends without waiting for the answer.
fn send(
    client: &SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> tokio::task::JoinHandle<Response<Incoming>> {
    let mut client = client.clone();
    tokio::spawn(async move { client.send_request(request).await.unwrap() })
}

fn target(path: &str) -> String {
    format!("https://localhost{path}")
}

fn delete(path: &str) -> Request<Full<Bytes>> {
    request("DELETE", &target(path)).body(Full::default()).unwrap()
}

fn yes() -> Option<Outcome> {
    Some(Outcome::Approved { approvers: vec!["ann (sre): fine".to_owned()] })
}

#[tokio::test]
async fn while_people_are_asked_about_one_request_others_of_its_connection_go_on() {
    let gateway = started().await;
    let (client, driving) = gateway.multiplexed().await;
    let answer = gateway.approvals.next();
    gateway.approvals.is_slow.send_replace(true);
    let held = send(&client, delete(DEPLOYMENT));
    gateway.wait_for_log("hold: delete deployments").await;
    // the approval store takes its time: nobody else waits for it
    for _ in 0..5 {
        assert_eq!(send(&client, get(&target(PODS))).await.unwrap().status(), 200);
    }
    gateway.approvals.is_slow.send_replace(false);
    gateway.wait_for_log("requested").await;
    // nor for whoever decides
    for _ in 0..5 {
        assert_eq!(send(&client, get(&target(PODS))).await.unwrap().status(), 200);
    }
    assert!(!held.is_finished());
    answer.send(yes()).unwrap();
    assert_eq!(held.await.unwrap().status(), 200);
    drop(client);
    driving.await.unwrap();
    gateway.wait_for_log("session ended").await;

    // opening the session is the first command
    let of = |number: i64| {
        let all = gateway.records();
        let own = all.iter().filter(|record| record.int("portcullis.command") == Some(number));
        own.map(|record| record.name().to_owned()).collect::<Vec<_>>()
    };
    let approval = "portcullis.approval";
    assert_eq!(of(2), ["portcullis.statement", approval, approval, "portcullis.result"]);
    for number in 3..=12 {
        assert_eq!(of(number), ["portcullis.statement", "portcullis.result"], "command {number}");
    }
    assert_eq!(of(13), [""; 0]);
    let records = gateway.records();
    let statements: Vec<_> = records
        .iter()
        .filter(|record| record.name() == "portcullis.statement")
        .map(|record| record.int("portcullis.command").unwrap())
        .collect();
    assert_eq!(statements, (1..=12).collect::<Vec<_>>(), "out of order");
}
