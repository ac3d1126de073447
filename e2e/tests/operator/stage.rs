//! A namespace with a Resource and a Policy, and an operator that reconciles them.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::cluster::ApiServer;
use e2e::operator::{self, Operator};
use e2e::process::wait_until;
use serde_json::{Value, json};

/// An API server and an operator.
pub(super) struct Stage {
    pub(super) server: ApiServer,
    pub(super) operator: Operator,
}

/// The Resource `orders` and its Policy `agents`; no pods.
pub(super) const ORDERS: &str = r#"
apiVersion: v1
kind: Secret
metadata: {name: orders-readonly, namespace: shop}
stringData: {username: reader, password: hunter2-of-the-database}
---
apiVersion: portcullis.dev/v1alpha1
kind: Resource
metadata: {name: orders, namespace: shop}
spec:
  postgresql:
    host: orders-primary.shop.svc
    roles: [{name: readonly, credentialsRef: {name: orders-readonly}}]
  authentication:
    issuers: [{issuer: "https://idp.example.com", audiences: [orders.shop]}]
  gateway: {replicas: 0}
---
apiVersion: portcullis.dev/v1alpha1
kind: Policy
metadata: {name: agents, namespace: shop}
spec:
  targetRefs: [{name: orders}]
  rules:
  - {name: reads, action: Allow, postgresql: {effects: [Select]}}
"#;

impl Stage {
    /// `None` where no API server can be had.
    pub(super) fn set() -> Option<Self> {
        let server = server()?;
        let operator = Operator::start(server.kubeconfig(), &[]).unwrap();
        Some(Self { server, operator })
    }

    /// A condition as `status reason`.
    pub(super) fn condition(&self, object: &str, kind: &str) -> Option<String> {
        let object = self.server.client().get(&[object, "--namespace=shop"]).ok()?;
        let conditions = object["status"]["conditions"].as_array()?.clone();
        let found = conditions.into_iter().find(|condition| condition["type"] == kind)?;
        Some(format!("{} {}", found["status"].as_str()?, found["reason"].as_str()?))
    }

    pub(super) fn wait_for(&self, object: &str, kind: &str, expected: &str) {
        let mut last = None;
        let waited = wait_until(&format!("{object} {kind}={expected}"), || {
            last = self.condition(object, kind);
            (last.as_deref() == Some(expected)).then_some(())
        });
        assert!(waited.is_ok(), "{object}: {kind} is {last:?}, expected {expected}");
    }

    /// The message of a condition.
    pub(super) fn message(&self, object: &str, kind: &str) -> String {
        let object = self.server.client().get(&[object, "--namespace=shop"]).unwrap();
        let conditions = object["status"]["conditions"].as_array().unwrap();
        let found = conditions.iter().find(|condition| condition["type"] == kind).unwrap();
        found["message"].as_str().unwrap().to_owned()
    }
}

impl Stage {
    /// Searches all objects but Secrets, Events among them, and the operator's log and metrics, for what is secret in
    /// any Secret.
    fn search(&mut self) -> Result<()> {
        let kinds = "events,configmaps,serviceaccounts,roles,services,networkpolicies,deployments,\
                     resources.portcullis.dev,policies.portcullis.dev,approvalrequests.portcullis.dev";
        let mut texts = Vec::new();
        for kind in kinds.split(',') {
            texts.push((kind, self.server.kubectl(&["get", kind, "--all-namespaces", "--output=yaml"])?));
        }
        texts.push(("log", self.operator.process().log()));
        texts.push(("metrics", format!("{:?}", self.operator.metrics()?)));
        let secrets = secrets(&self.server.client().get(&["secrets", "--all-namespaces"])?);
        e2e::leaks::search_texts(&texts, &secrets)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !std::thread::panicking()
            && let Err(leak) = self.search()
        {
            panic!("{leak:#}");
        }
    }
}

/// What is secret in these Secrets: each line of a text, and what is no text as its object has it. The end of a key in
/// PEM is its public half.
fn secrets(list: &Value) -> Vec<String> {
    let objects = list["items"].as_array().into_iter().flatten();
    let data = objects.filter_map(|object| object["data"].as_object()).flatten();
    let public = ["ca.crt", "tls.crt", "username", "namespace"];
    let secret = data.filter(|(key, _)| !public.contains(&key.as_str()));
    let values = secret.filter_map(|(_, value)| value.as_str());
    let lines = values.flat_map(|value| {
        let decoded = STANDARD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let text = decoded.unwrap_or_else(|| value.to_owned());
        let of_key = if text.starts_with("-----BEGIN") { 1..3 } else { 0..usize::MAX };
        let lines = text.lines().enumerate().filter(|(at, _)| of_key.contains(at));
        lines.map(|(_, line)| line.to_owned()).collect::<Vec<_>>()
    });
    // what is short is found anywhere
    lines.filter(|line| line.len() >= 16).collect()
}

/// An API server with everything but the operator, and the namespace `shop`.
pub(super) fn server() -> Option<ApiServer> {
    if !ApiServer::is_possible() {
        return None;
    }
    let server = ApiServer::start_with_controllers().unwrap();
    operator::install(&server).unwrap();
    server.kubectl(&["create", "namespace", "shop"]).unwrap();
    Some(server)
}

/// What the operator made in a namespace and what it says of ours, without what differs from run to run.
pub(super) fn world(server: &ApiServer) -> Result<Value> {
    let kinds = "serviceaccounts,roles,rolebindings,configmaps,secrets,services,networkpolicies,\
                 poddisruptionbudgets,deployments,resources.portcullis.dev,policies.portcullis.dev";
    let list = server.client().get(&[kinds, "--namespace=shop"])?;
    let mut objects: Vec<Value> = list["items"].as_array().cloned().unwrap_or_default();
    objects.iter_mut().for_each(steady);
    objects.sort_by_key(|object| (object["kind"].to_string(), object["metadata"]["name"].to_string()));
    Ok(Value::Array(objects))
}

/// Takes out of an object what is another one each time.
fn steady(object: &mut Value) {
    let secret = object["kind"] == "Secret";
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"] {
            metadata.remove(field);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations
                .retain(|name, _| !name.starts_with("portcullis.dev/") && !name.starts_with("deployment"));
        }
        for owner in metadata.get_mut("ownerReferences").and_then(Value::as_array_mut).into_iter().flatten() {
            owner["uid"] = json!("");
        }
    }
    if secret {
        // random, but there
        for value in object["data"].as_object_mut().into_iter().flat_map(|data| data.values_mut()) {
            *value = json!(value.as_str().is_some_and(|value| !value.is_empty()));
        }
    }
    if object["metadata"]["name"].as_str().is_some_and(|name| name.ends_with("-gateway-ca")) {
        object["data"] = json!(object["data"]["ca.crt"].is_string());
    }
    for field in ["clusterIP", "clusterIPs"] {
        if let Some(spec) = object["spec"].as_object_mut() {
            spec.remove(field);
        }
    }
    if object["apiVersion"] != "portcullis.dev/v1alpha1" {
        // the controllers' business, and behind
        object["status"] = Value::Null;
    }
    for condition in object["status"]["conditions"].as_array_mut().into_iter().flatten() {
        condition["lastTransitionTime"] = json!("");
    }
}
