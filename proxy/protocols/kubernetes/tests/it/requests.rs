//! Requests and answers: who they are sent as, what is refused, what waits, what ends.

use crate::gateway::{Gateway, OWN_TOKEN, TOKEN, get, request};
use crate::server::Script;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use proxy_audit::event::key;
use proxy_audit::record::Record;
use proxy_core::approval::{Outcome, Question};
use serde_json::json;
use std::collections::HashSet;

const RULES: &str = "
rules:
- {name: no-nodes, action: Deny, message: Ask the platform team., kubernetes: {verbs: [delete], resources: [nodes]}}
- name: deployments
  action: Hold
  approval: {timeoutSeconds: 900}
  kubernetes: {verbs: [delete], resources: [deployments]}
- {name: rest, action: Allow, kubernetes: {}}
";
const PODS: &str = "/api/v1/namespaces/shop/pods";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/web";

fn pods(gateway: &Gateway) {
    let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []});
    gateway.server.script(PODS, Script::Answer(200, "application/json", list.to_string().into()));
}

#[tokio::test]
async fn a_request_goes_upstream_as_the_agent_and_without_its_token() {
    let gateway = Gateway::start(RULES).await;
    pods(&gateway);
    let (status, list) = gateway.json(get(PODS)).await;
    assert_eq!((status, &list["kind"]), (200, &json!("PodList")));
    let asked = gateway.server.asked();
    let headers = &asked[0].headers;
    assert_eq!(headers["authorization"], format!("Bearer {OWN_TOKEN}"));
    assert_eq!(headers["impersonate-user"], "bot");
    assert_eq!(headers["impersonate-group"], "agents");
    assert_eq!(headers["impersonate-uid"], "bot");
    assert!(headers.contains_key("impersonate-extra-portcullis.dev%2fsession"));
    assert!(!format!("{asked:?}").contains(TOKEN));
    gateway.wait_for_log("ok: list pods").await;
    assert!(!gateway.log().contains(TOKEN));
}

#[tokio::test]
async fn sessions_of_two_threads_share_no_connection_to_the_api_server() {
    let gateway = Gateway::start(RULES).await;
    pods(&gateway);
    let other = gateway.on_another_thread();
    let mut used = [HashSet::new(), HashSet::new()];
    for turn in 0..20 {
        let which = turn % 2;
        // on a connection of its own each time, so that nothing but threads tells them apart
        let mut client = if which == 0 { gateway.connect().await } else { gateway.connect_on(other).await };
        let response = client.send_request(get(PODS)).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.unwrap();
        used[which].insert(gateway.server.asked().last().unwrap().from);
    }
    assert!(used[0].is_disjoint(&used[1]), "{used:?}");
    // and each thread uses its own again
    assert!(used.iter().all(|own| own.len() < 10), "{used:?}");
}

#[tokio::test]
async fn a_refused_request_never_reaches_the_api_server() {
    let gateway = Gateway::start(RULES).await;
    let (status, refusal) =
        gateway.json(request("DELETE", "/api/v1/nodes/a").body(Full::default()).unwrap()).await;
    assert_eq!((status, &refusal["reason"], &refusal["kind"]), (403, &json!("Forbidden"), &json!("Status")));
    assert!(refusal["message"].as_str().unwrap().contains("Ask the platform team."), "{refusal}");
    assert!(gateway.server.asked().is_empty());
    // a backend finds it by what it is about
    let records = gateway.records();
    let about = |record: &Record| record.text(key::K8S_RESOURCE) == Some("nodes");
    let of_nodes = records.iter().find(|record| about(record)).unwrap();
    assert_eq!((of_nodes.text(key::K8S_VERB), of_nodes.text(key::K8S_NAME)), (Some("delete"), Some("a")));
}

#[tokio::test]
async fn without_a_token_or_with_somebody_elses_name_nothing_begins() {
    let gateway = Gateway::start(RULES).await;
    pods(&gateway);
    let mut nobody = get(PODS);
    nobody.headers_mut().remove("authorization");
    assert_eq!(gateway.json(nobody).await.0, 401);
    let mut wrong = get(PODS);
    wrong.headers_mut().insert("authorization", "Bearer other".parse().unwrap());
    assert_eq!(gateway.json(wrong).await.0, 401);
    for (name, value) in [("impersonate-user", "admin"), ("x-remote-user", "admin")] {
        let mut other = get(PODS);
        other.headers_mut().insert(name, value.parse().unwrap());
        assert_eq!(gateway.json(other).await.0, 403, "{name}");
    }
    assert!(gateway.server.asked().is_empty());
}

#[tokio::test]
async fn a_held_request_is_told_to_come_back_and_runs_once_it_is_approved() {
    let gateway = Gateway::start(RULES).await;
    let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Success"});
    gateway.server.script(DEPLOYMENT, Script::Answer(200, "application/json", gone.to_string().into()));
    let delete = || request("DELETE", DEPLOYMENT).body(Full::<Bytes>::default()).unwrap();

    let _nobody_answers = gateway.approvals.next();
    let response = gateway.ask(delete()).await;
    // of a conflict, `kubectl apply --force` deletes the object
    assert_eq!(response.status(), 403);
    assert_eq!(response.headers()["retry-after"], "5");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let status: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status["reason"], "Forbidden");
    let message = status["message"].as_str().unwrap();
    assert!(
        message.contains("cluster-1") && message.contains("repeat the command once it is approved"),
        "{message}"
    );
    let details =
        json!({"causes": [{"reason": "PortcullisApproval", "message": "cluster-1"}], "retryAfterSeconds": 5});
    assert_eq!(status["details"], details);
    assert!(gateway.server.asked().is_empty());
    gateway.wait_for_log("approval cluster-1 left").await;
    let ended = || (*gateway.approvals.left.lock().unwrap(), *gateway.approvals.withdrawn.lock().unwrap());
    assert_eq!(ended(), (1, 0), "what the client was told to repeat is no longer open");
    assert!(gateway.approvals.questions.lock().unwrap().iter().all(Question::is_claimable));

    let answer = gateway.approvals.next();
    answer.send(Some(Outcome::Approved { approvers: vec!["ann (sre): fine".to_owned()] })).unwrap();
    assert_eq!(gateway.json(delete()).await.0, 200);
    assert_eq!(gateway.server.asked().len(), 1);
}

#[tokio::test]
async fn an_approval_that_is_being_consumed_when_the_wait_is_over_is_waited_for() {
    let gateway = Gateway::start(RULES).await;
    let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Success"});
    gateway.server.script(DEPLOYMENT, Script::Answer(200, "application/json", gone.to_string().into()));
    // longer than a client waits here
    *gateway.approvals.claim.lock().unwrap() = std::time::Duration::from_secs(1);
    let yes = Outcome::Approved { approvers: vec!["ann (sre): fine".to_owned()] };
    gateway.approvals.next().send(Some(yes)).unwrap();
    let delete = request("DELETE", DEPLOYMENT).body(Full::<Bytes>::default()).unwrap();
    assert_eq!(gateway.json(delete).await.0, 200);
}

#[tokio::test]
async fn what_expired_is_not_to_be_repeated_by_a_program() {
    let gateway = Gateway::start(RULES).await;
    gateway.approvals.next().send(Some(Outcome::Expired)).unwrap();
    let response = gateway.ask(request("DELETE", DEPLOYMENT).body(Full::default()).unwrap()).await;
    assert_eq!(response.status(), 403);
    assert!(!response.headers().contains_key("retry-after"), "it would ask people again and again");
}

#[tokio::test]
async fn a_client_that_goes_away_withdraws_what_it_waited_for() {
    let gateway = Gateway::start_with(RULES, |options| {
        options.limits.hold_wait = std::time::Duration::from_mins(1);
    })
    .await;
    let _nobody_answers = gateway.approvals.next();
    let mut client = gateway.connect().await;
    let delete = request("DELETE", DEPLOYMENT).body(Full::default()).unwrap();
    let waiting = tokio::spawn(async move { client.send_request(delete).await });
    gateway.wait_for_log("requested").await;
    waiting.abort();
    gateway.wait_for_log("withdrawn").await;
    assert_eq!(*gateway.approvals.withdrawn.lock().unwrap(), 1);
    assert!(gateway.server.asked().is_empty());
}

#[tokio::test]
async fn requests_of_one_http_2_connection_share_a_session() {
    let gateway = Gateway::start(RULES).await;
    pods(&gateway);
    let (client, driving) = gateway.multiplexed().await;
    let target = format!("https://localhost{PODS}");
    let answers = futures_util::future::join_all((0..20).map(|_| {
        let mut client = client.clone();
        let request = get(&target);
        async move { client.send_request(request).await.unwrap().status() }
    }));
    assert!(answers.await.into_iter().all(|status| status == 200));
    drop(client);
    driving.await.unwrap();
    gateway.wait_for_log("session ended").await;
    let sessions: std::collections::BTreeSet<_> = gateway
        .server
        .asked()
        .iter()
        .map(|asked| {
            asked.headers["impersonate-extra-portcullis.dev%2fsession"].clone().to_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(sessions.len(), 1);
}

#[tokio::test]
async fn an_identity_that_loses_access_is_told_so_and_a_body_goes_on_as_it_was_judged() {
    let gateway = Gateway::start(RULES).await;
    let made = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}});
    let path = "/api/v1/namespaces/shop/configmaps";
    gateway.server.script(path, Script::Answer(201, "application/json", made.to_string().into()));
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    let create = || {
        let request = request("POST", path).header("content-type", "application/yaml");
        request.body(Full::from(Bytes::from(yaml))).unwrap()
    };
    assert_eq!(gateway.json(create()).await.0, 201);
    let sent: serde_json::Value = serde_json::from_slice(&gateway.server.asked()[0].body).unwrap();
    assert_eq!(sent, made);

    let mut client = gateway.connect().await;
    assert_eq!(client.send_request(create()).await.unwrap().status(), 201);
    gateway.put_in_force("rules: [{name: nobody, action: Deny, kubernetes: {}}]");
    let refused = client.send_request(create()).await.unwrap().status().as_u16();
    assert!(matches!(refused, 401 | 403), "{refused}");
    assert_eq!(gateway.server.asked().len(), 2);
}

#[tokio::test]
async fn protobuf_goes_on_as_the_json_that_it_means() {
    let gateway = Gateway::start(RULES).await;
    let path = "/api/v1/namespaces/shop/configmaps";
    gateway.server.script(path, Script::Answer(201, "application/json", "{}".into()));
    let field = |number: u8, content: &[u8]| {
        [&[number << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
    };
    let create = |raw: &[u8]| {
        let meta = [field(1, b"v1"), field(2, b"ConfigMap")].concat();
        let body = [b"k8s\0".to_vec(), field(1, &meta), field(2, raw), field(3, b""), field(4, b"")].concat();
        let request = request("POST", path).header("content-type", "application/vnd.kubernetes.protobuf");
        request.body(Full::from(Bytes::from(body))).unwrap()
    };
    let data = field(2, &[field(1, b"a"), field(2, b"b")].concat());
    let raw = [field(1, &field(1, b"web")), data].concat();
    assert_eq!(gateway.json(create(&raw)).await.0, 201);
    let asked = gateway.server.asked();
    let sent: serde_json::Value = serde_json::from_slice(&asked[0].body).unwrap();
    let meant =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"a": "b"}});
    assert_eq!((sent, asked[0].headers["content-type"].as_bytes()), (meant, &b"application/json"[..]));

    let (status, refusal) = gateway.json(create(&field(15, b"new"))).await;
    assert_eq!(status, 415);
    assert!(refusal["message"].as_str().unwrap().contains("field 15 of core/v1.ConfigMap"), "{refusal}");
    assert_eq!(gateway.server.asked().len(), 1);
}

#[tokio::test]
async fn what_is_refused_before_it_is_decided_is_on_record() {
    let gateway = Gateway::start(RULES).await;
    for (target, message) in [
        ("/api/v1//pods", "GET /api/v1//pods"),
        ("/api/v1/namespaces/shop%2Fpods", "GET …"),
        ("/api/v1/pods?watch=1&watch=0", "GET /api/v1/pods"),
    ] {
        assert_eq!(gateway.json(get(target)).await.0, 400, "{target}");
        gateway.wait_for_log(&format!("refused before it was decided: {message}")).await;
    }
    let mut other = get("/api/v1/pods");
    other.headers_mut().insert("impersonate-user", "admin".parse().unwrap());
    assert_eq!(gateway.json(other).await.0, 403);
    gateway.wait_for_log("impersonation is not allowed").await;
    assert!(gateway.server.asked().is_empty());
    assert!(!gateway.log().contains("shop%2Fpods"));
}

#[test]
fn the_example_is_a_policy_that_compiles() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../examples/kubernetes-api/agents.yaml");
    let policy = serde_yaml_ng::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let facts = proxy_policy::ResourceFacts {
        namespace: "shop".to_owned(),
        name: "cluster".to_owned(),
        protocol: "kubernetes".to_owned(),
        ..proxy_policy::ResourceFacts::default()
    };
    proxy_policy::compile(&facts, &[policy]).unwrap();
}

#[tokio::test]
async fn a_session_ends_when_its_token_expires() {
    let gateway = Gateway::start(RULES).await;
    pods(&gateway);
    let mut client = gateway.connect().await;
    let short = || {
        let mut request = get(PODS);
        request.headers_mut().insert("authorization", format!("Bearer {TOKEN}-1").parse().unwrap());
        request
    };
    assert_eq!(client.send_request(short()).await.unwrap().status(), 200);
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    assert_eq!(client.send_request(short()).await.unwrap().status(), 401);
}
