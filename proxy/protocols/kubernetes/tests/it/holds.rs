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

const RULES: &str = r#"
rules:
- name: evictions
  action: Hold
  approval: {timeoutSeconds: 900, onDisconnect: Claimable}
  kubernetes: {verbs: [delete], resources: [deployments, pods]}
- name: writes
  action: Hold
  approval: {timeoutSeconds: 900}
  kubernetes: {verbs: [patch], apiGroups: ["*"], resources: [secrets, widgets]}
- {name: rest, action: Allow, kubernetes: {}}
"#;
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

fn yes() -> Outcome {
    Outcome::Approved { approvers: vec!["ann (sre): fine".to_owned()] }
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
    answer.send(Some(yes())).unwrap();
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

#[tokio::test]
async fn what_one_connection_sends_at_once_is_one_question_that_lists_it_and_nothing_else_runs_by_it() {
    let gateway = started().await;
    let pod = |name: &str| format!("{PODS}/{name}");
    for name in ["a", "b", "c", "d", "e"] {
        let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}).to_string();
        gateway.server.script(&pod(name), Script::Answer(200, "application/json", gone.into()));
    }
    let (client, driving) = gateway.multiplexed().await;
    let with = |name: &str, invocation: &str| {
        let mut request = delete(&pod(name));
        request.headers_mut().insert("kubectl-session", invocation.parse().unwrap());
        request
    };
    let (answer, of_another) = (gateway.approvals.next(), gateway.approvals.next());
    let burst: Vec<_> = ["a", "b", "c"].iter().map(|name| send(&client, with(name, "one"))).collect();
    let other = send(&client, with("d", "two"));
    wait_for_questions(&gateway, 2).await;
    let late = send(&client, with("e", "one"));
    let of_the_late = gateway.approvals.next();
    wait_for_questions(&gateway, 3).await;

    let questions = gateway.approvals.questions.lock().unwrap().clone();
    let mut sizes: Vec<_> = questions.iter().map(|question| question.members.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [0, 0, 3]);
    let whole = questions.iter().find(|question| question.members.len() == 3).unwrap();
    for name in ["a", "b", "c"] {
        assert!(whole.text.contains(&format!("DELETE {}", pod(name))), "{}", whole.text);
    }
    assert!(!whole.text.contains(&pod("d")) && !whole.text.contains(&pod("e")));
    assert_eq!(whole.estimate.as_deref().unwrap().matches("would delete it").count(), 3);
    assert!(gateway.server.asked().is_empty(), "something ran");
    assert_eq!(gateway.server.tried().len(), 5);

    // the order in which the two questions of the beginning came is not known
    let is_first = questions[0].members.len() == 3;
    let (answer, of_another) = if is_first { (answer, of_another) } else { (of_another, answer) };
    answer.send(Some(yes())).unwrap();
    for member in burst {
        assert_eq!(member.await.unwrap().status(), 200);
    }
    assert_eq!(gateway.server.asked().len(), 3);
    assert!(!other.is_finished() && !late.is_finished());
    of_another.send(Some(Outcome::Denied { approver: "ann (sre)".to_owned() })).unwrap();
    of_the_late.send(Some(Outcome::Denied { approver: "ann (sre)".to_owned() })).unwrap();
    assert_eq!(
        (other.await.unwrap().status(), late.await.unwrap().status()),
        (403.try_into().unwrap(), 403.try_into().unwrap())
    );
    assert_eq!(gateway.server.asked().len(), 3);
    drop(client);
    driving.await.unwrap();
}

async fn wait_for_questions(gateway: &Gateway, count: usize) {
    for _ in 0..500 {
        if gateway.approvals.questions.lock().unwrap().len() >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never asked {count} times");
}

/// A merge patch of an object that is held, and what the approver is told.
async fn estimate(gateway: &Gateway, path: &str, changes: &serde_json::Value) -> String {
    let _answer = gateway.approvals.next();
    let request = request("PATCH", path).header("content-type", "application/merge-patch+json");
    let request = request.body(Full::from(changes.to_string())).unwrap();
    let mut client = gateway.connect().await;
    let before = gateway.approvals.questions.lock().unwrap().len();
    let waiting = tokio::spawn(async move { client.send_request(request).await });
    wait_for_questions(gateway, before + 1).await;
    waiting.abort();
    gateway.approvals.questions.lock().unwrap().last().unwrap().estimate.clone().unwrap()
}

#[tokio::test]
async fn approvers_are_told_what_would_change_without_what_is_masked() {
    let gateway = started().await;
    let path = "/api/v1/namespaces/shop/secrets/db";
    let secret = |data: serde_json::Value, label: &str| {
        let metadata = json!({"name": "db", "namespace": "shop", "labels": {"tier": label}});
        let secret = json!({"kind": "Secret", "apiVersion": "v1", "metadata": metadata, "data": data});
        Script::Answer(200, "application/json", secret.to_string().into())
    };
    gateway.server.script(path, secret(json!({"password": "b2xkLWNhbmFyeQ=="}), "a"));
    gateway.server.script(
        &format!("{path}?dryRun=All"),
        secret(json!({"password": "bmV3LWNhbmFyeQ==", "more": "bW9yZS1jYW5hcnk="}), "b"),
    );
    let changes = json!({"data": {"password": "bmV3LWNhbmFyeQ==", "more": "bW9yZS1jYW5hcnk="}});
    let told = estimate(&gateway, path, &changes).await;
    for part in [
        "would change:",
        "data.password: changed, ",
        "data.more: new, ",
        r#"metadata.labels.tier: "a" → "b""#,
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    gateway.wait_for_log("requested").await;
    let on_record = gateway.log();
    assert!(on_record.contains("metadata.labels.tier"), "it is not on record");
    for canary in ["b2xkLWNhbmFyeQ==", "bmV3LWNhbmFyeQ==", "bW9yZS1jYW5hcnk="] {
        assert!(!told.contains(canary) && !on_record.contains(canary), "{canary}: {told}");
    }
    let tried = gateway.server.tried();
    assert_eq!(tried.len(), 1);
    assert_eq!(tried[0].headers["impersonate-user"], "bot");
}

#[tokio::test]
async fn approvers_are_told_why_something_would_fail_or_was_not_tried() {
    let gateway = started().await;
    let path = "/api/v1/namespaces/shop/secrets/db";
    let gone = json!({"kind": "Status", "apiVersion": "v1", "code": 409, "message": "it is immutable"});
    gateway.server.script(
        &format!("{path}?dryRun=All"),
        Script::Answer(409, "application/json", gone.to_string().into()),
    );
    let told = estimate(&gateway, path, &json!({})).await;
    assert!(told.starts_with("the API server would refuse it: 409"), "{told}");

    // another server behind the API server may not know what a dry run is
    let widget = "/apis/example.com/v1/namespaces/shop/widgets/w";
    let told = estimate(&gateway, widget, &json!({})).await;
    assert!(told.starts_with("not tried: whether the API server itself serves example.com"), "{told}");
    let service = "/apis/apiregistration.k8s.io/v1/apiservices/v1.example.com";
    let served_by = |service: serde_json::Value| {
        let object = json!({"kind": "APIService", "spec": {"service": service}}).to_string();
        Script::Answer(200, "application/json", object.into())
    };
    gateway.server.script(service, served_by(json!({"name": "x", "namespace": "y"})));
    let told = estimate(&gateway, widget, &json!({})).await;
    assert!(told.starts_with("not tried: another server serves this API"), "{told}");
    assert_eq!(gateway.server.tried().len(), 1);
    gateway.server.script(service, served_by(json!(null)));
    let made =
        json!({"kind": "Widget", "apiVersion": "example.com/v1", "metadata": {"name": "w"}}).to_string();
    gateway
        .server
        .script(&format!("{widget}?dryRun=All"), Script::Answer(201, "application/json", made.into()));
    let told = estimate(&gateway, widget, &json!({})).await;
    assert_eq!(told, "would create it: there is none now");
}

const EXEC: &str = "/api/v1/namespaces/shop/pods/web/exec";

/// An exec over a WebSocket, or over SPDY.
fn exec(websocket: bool) -> Request<Full<Bytes>> {
    let target = format!("{EXEC}?command=ls&stdout=true");
    let headers: &[(&'static str, &str)] = if websocket {
        &[
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", "v5.channel.k8s.io"),
        ]
    } else {
        &[("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", "v4.channel.k8s.io")]
    };
    let method = if websocket { "GET" } else { "POST" };
    let mut request = request(method, &target).body(Full::default()).unwrap();
    request.headers_mut().insert("connection", "Upgrade".parse().unwrap());
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

#[tokio::test]
async fn who_asks_again_over_spdy_says_so_and_waits_no_second_time() {
    const RULES: &str = "rules: [{name: programs, action: Hold, kubernetes: {resources: [pods/exec]}}]";
    let patience = Duration::from_secs(4);
    let gateway = Gateway::start_with(RULES, |options| options.limits.hold_wait = patience).await;
    let mut took = Vec::new();
    for is_websocket in [true, false, false] {
        let _nobody_answers = gateway.approvals.next();
        let began = std::time::Instant::now();
        let (status, answer) = gateway.json(exec(is_websocket)).await;
        assert_eq!((status, answer["reason"].as_str()), (403, Some("Forbidden")), "{answer}");
        assert!(
            answer["message"].as_str().unwrap().contains("repeat the command once it is approved"),
            "{answer}"
        );
        took.push(began.elapsed() < patience);
    }
    // the third comes from somebody who knows SPDY alone
    assert_eq!(took, [false, true, false]);
    let questions = gateway.approvals.questions.lock().unwrap().clone();
    let second: Vec<_> = questions.iter().map(|question| question.is_second_try).collect();
    assert_eq!(second, [false, true, true]);
    assert!(questions.iter().all(|question| question.effect_digest == questions[0].effect_digest));
}

#[tokio::test]
async fn an_approval_that_is_being_consumed_when_the_wait_of_a_burst_is_over_lets_all_of_it_run() {
    let gateway = Gateway::start_with(RULES, |_| {}).await;
    let pods: Vec<_> = ["a", "b", "c"].iter().map(|name| format!("{PODS}/{name}")).collect();
    for pod in &pods {
        let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}).to_string();
        gateway.server.script(pod, Script::Answer(200, "application/json", gone.into()));
    }
    // longer than a client waits here
    *gateway.approvals.claim.lock().unwrap() = Duration::from_secs(1);
    gateway.approvals.next().send(Some(yes())).unwrap();
    let (client, _driving) = gateway.multiplexed().await;
    let burst: Vec<_> = pods.iter().map(|pod| send(&client, delete(pod))).collect();
    for held in burst {
        assert_eq!(held.await.unwrap().status(), 200);
    }
    assert_eq!(gateway.server.asked().len(), pods.len(), "each runs once");
    assert_eq!(gateway.approvals.questions.lock().unwrap().len(), 1);
}
