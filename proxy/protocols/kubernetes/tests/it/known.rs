//! Requests whose meaning the API server is asked for before they are judged.

use crate::gateway::{Gateway, request};
use crate::server::Script;
use http_body_util::Full;
use serde_json::{Value, json};

const WIDGET: &str = "/apis/example.com/v1/namespaces/shop/widgets/w";
const SERVICE: &str = "/apis/apiregistration.k8s.io/v1/apiservices/v1.example.com";
const CSR: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests/x";

fn scripted(gateway: &Gateway, path: &str, object: &Value) {
    gateway.server.script(path, Script::Answer(200, "application/json", object.to_string().into()));
}

async fn asked(gateway: &Gateway, method: &str, target: &str, body: &Value) -> (u16, String) {
    let content_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = request(method, target).header("content-type", content_type);
    let (status, answer) = gateway.json(request.body(Full::from(body.to_string())).unwrap()).await;
    (status, answer["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_dry_run_is_believed_only_of_what_the_api_server_itself_serves() {
    const RULES: &str =
        "rules: [{name: tries, action: Allow, kubernetes: {resources: [widgets, pods], dryRun: true}}]";
    let gateway = Gateway::start(RULES).await;
    let tried = format!("{WIDGET}?dryRun=All");
    let widget = json!({"kind": "Widget", "apiVersion": "example.com/v1", "metadata": {"name": "w"}});
    scripted(&gateway, WIDGET, &widget);
    let pod = "/api/v1/namespaces/shop/pods/w";
    scripted(&gateway, pod, &json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "w"}}));
    // nobody says who serves it
    assert_eq!(asked(&gateway, "PATCH", &tried, &json!({})).await.0, 403);
    for (service, status) in [(json!({"name": "x", "namespace": "y"}), 403), (Value::Null, 200)] {
        scripted(&gateway, SERVICE, &json!({"kind": "APIService", "spec": {"service": service}}));
        assert_eq!(asked(&gateway, "PATCH", &tried, &json!({})).await.0, status, "{service}");
    }
    let looks = gateway.server.asked();
    assert_eq!((looks.len(), gateway.server.tried().len()), (3, 1));
    assert!(looks.iter().all(|look| look.headers["impersonate-user"] == "bot"));
    assert!(
        looks.iter().all(|look| !look.headers.contains_key("impersonate-extra-portcullis.dev%2fcommand"))
    );
    // of the API server's own, and of what is no dry run, it is not asked
    assert_eq!(asked(&gateway, "PATCH", &format!("{pod}?dryRun=All"), &json!({})).await.0, 200);
    assert_eq!(asked(&gateway, "PATCH", WIDGET, &json!({})).await.0, 403);
    assert_eq!((gateway.server.asked().len(), gateway.server.tried().len()), (3, 2));
}

#[tokio::test]
async fn approving_takes_an_allow_of_the_signer_that_the_stored_request_names() {
    const RULES: &str = r#"
rules:
- {name: approvals, action: Allow, kubernetes: {verbs: [get, update], resources: [certificatesigningrequests, certificatesigningrequests/approval]}}
- {name: ours, action: Allow, kubernetes: {verbs: [approve], resources: [signers], names: ["example.com/*"]}}
"#;
    let gateway = Gateway::start(RULES).await;
    let approval = format!("{CSR}/approval");
    let stored = |uid: &str, signer: &str| {
        json!({"kind": "CertificateSigningRequest", "apiVersion": "certificates.k8s.io/v1",
            "metadata": {"name": "x", "uid": uid}, "spec": {"signerName": signer}})
    };
    scripted(&gateway, &approval, &stored("u1", "example.com/a"));
    let approve = async |sent: &Value| asked(&gateway, "PUT", &approval, sent).await;
    // the agent may not look
    let (status, told) = approve(&stored("u1", "example.com/a")).await;
    assert_eq!(status, 403);
    assert!(told.contains("whose signer that is cannot be told"), "{told}");
    scripted(&gateway, CSR, &stored("u1", "example.com/a"));
    assert_eq!(approve(&stored("u1", "example.com/a")).await.0, 200);
    // what the body says of the signer counts for nothing
    assert_eq!(approve(&stored("u1", "kubernetes.io/kube-apiserver-client")).await.0, 200);
    // another one may have its name by then
    assert_eq!(approve(&stored("u2", "example.com/a")).await.0, 403);
    assert_eq!(approve(&json!({"metadata": {"name": "x"}})).await.0, 403);
    scripted(&gateway, CSR, &stored("u1", "kubernetes.io/kube-apiserver-client"));
    let (status, told) = approve(&stored("u1", "example.com/a")).await;
    assert_eq!(status, 403);
    assert!(told.contains("signers.certificates.k8s.io/kubernetes.io/kube-apiserver-client"), "{told}");
}

#[tokio::test]
async fn where_a_resource_stands_is_asked_of_the_api_server_and_else_it_may_be_anywhere() {
    const RULES: &str = "
rules:
- {name: bank, action: Deny, kubernetes: {namespaces: [bank]}}
- {name: reads, action: Allow, kubernetes: {verbs: [get, list, watch]}}
";
    const DISCOVERY: &str = "/apis/example.com/v1";
    let gateway = Gateway::start(RULES).await;
    let list = |kind: &str, version: &str| json!({"kind": kind, "apiVersion": version, "items": []});
    let (issuers, nodes) = ("/apis/example.com/v1/issuers", "/api/v1/nodes");
    scripted(&gateway, issuers, &list("IssuerList", "example.com/v1"));
    scripted(&gateway, nodes, &list("NodeList", "v1"));
    scripted(&gateway, "/api/v1/configmaps", &list("ConfigMapList", "v1"));
    let get = async |target: &str| gateway.json(crate::gateway::get(target)).await.0;
    // nobody says where they stand
    assert_eq!(get(issuers).await, 403);
    for (namespaced, status) in [(true, 403), (false, 200)] {
        let resources = json!([{"name": "issuers", "namespaced": namespaced, "kind": "Issuer"}]);
        scripted(&gateway, DISCOVERY, &json!({"kind": "APIResourceList", "resources": resources}));
        assert_eq!(get(issuers).await, status, "{namespaced}");
    }
    // of its own the API server is not asked
    let asked = gateway.server.asked().len();
    assert_eq!((get(nodes).await, get("/api/v1/configmaps").await), (200, 403));
    assert_eq!(gateway.server.asked().len(), asked + 1);
}
