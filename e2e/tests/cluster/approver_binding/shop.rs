//! A namespace with a held command, its gateway, its agent and its approvers, spoken to over HTTP with their own tokens.

use e2e::cluster::{ADMIN, ApiServer, USERS};
use e2e::operator::NAMESPACE;
use e2e::process::wait_until;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// The held command `held`, and whoever has to do with it.
pub(super) struct Shop {
    stage: &'static Stage,
    namespace: &'static str,
    /// Of everything.
    pub(super) admin: Caller,
    /// May patch requests and approve what the Policy `prod-ddl` holds; in the group dba.
    pub(super) alice: Caller,
    /// As alice.
    pub(super) carol: Caller,
    /// May patch requests, but is no approver.
    pub(super) bob: Caller,
    /// The requester's service account; may approve as alice does.
    pub(super) agent: Caller,
    /// The gateway of the Resource.
    pub(super) gateway: Caller,
    /// The gateway of another Resource.
    pub(super) other_gateway: Caller,
    /// The operator.
    pub(super) operator: Caller,
}

/// Who sends a request.
#[derive(Clone)]
pub(super) struct Caller {
    token: String,
    acting_as: Option<(String, Vec<String>)>,
}

impl Caller {
    /// As `kubectl --as --as-group` does.
    pub(super) fn acting_as(&self, user: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Self { token: self.token.clone(), acting_as: Some((user.to_owned(), groups)) }
    }
}

/// Ways to patch.
#[derive(Clone, Copy)]
pub(super) enum Patch {
    Merge,
    Json,
    /// Server-side, with this field manager.
    Apply(&'static str),
}

/// What the API server answers.
pub(super) struct Answer {
    code: u16,
    body: Value,
}

impl Answer {
    #[track_caller]
    pub(super) fn is_accepted(&self) {
        assert!((200..300).contains(&self.code), "{}", self.body);
    }

    #[track_caller]
    pub(super) fn is_refused(&self, code: u16, why: &str) {
        let message = self.body["message"].as_str().unwrap_or_default();
        assert!(
            self.code == code && message.contains(why),
            "{} instead of {code} {why}: {message}",
            self.code
        );
    }
}

/// A decision that approves.
pub(super) fn decision(approver: &str) -> Value {
    json!({"approver": approver, "verdict": "Approved"})
}

/// A patch to these decisions.
pub(super) fn decisions(decisions: impl IntoIterator<Item = Value>) -> Value {
    json!({"spec": {"decisions": decisions.into_iter().collect::<Vec<_>>()}})
}

/// A condition that is true.
pub(super) fn condition(kind: &str) -> Value {
    json!({
        "type": kind, "status": "True", "reason": "Test", "message": "by a test",
        "lastTransitionTime": "2026-11-24T12:00:00Z",
    })
}

/// Puts the definitions and the admission policy into a cluster, for an operator that is a service account.
pub(super) fn install(server: &ApiServer) {
    let operator = format!("system:serviceaccount:{NAMESPACE}:{OPERATOR}");
    e2e::operator::install_for(server, &operator).unwrap();
}

struct Stage {
    server: ApiServer,
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
    url: String,
    tokens: BTreeMap<&'static str, String>,
}

impl Stage {
    /// One API server for all tests of this file; `None` where none can be had.
    fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Stage>> = OnceLock::new();
        SHARED.get_or_init(|| ApiServer::or_skip().map(Self::set)).as_ref()
    }

    fn set(server: ApiServer) -> Self {
        install(&server);
        server.kubectl(&["create", "serviceaccount", OPERATOR, "--namespace", NAMESPACE]).unwrap();
        let config: Value =
            serde_json::from_str(&std::fs::read_to_string(server.kubeconfig()).unwrap()).unwrap();
        let cluster = &config["clusters"][0]["cluster"];
        let authority = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            cluster["certificate-authority-data"].as_str().unwrap(),
        );
        let authority = reqwest::Certificate::from_pem(&authority.unwrap()).unwrap();
        let users = config["users"].as_array().unwrap();
        let token = |user: &str| {
            let user = users.iter().find(|entry| entry["name"] == user).unwrap();
            user["user"]["token"].as_str().unwrap().to_owned()
        };
        Self {
            runtime: tokio::runtime::Runtime::new().unwrap(),
            client: reqwest::Client::builder().tls_certs_only([authority]).build().unwrap(),
            url: cluster["server"].as_str().unwrap().to_owned(),
            tokens: USERS.into_iter().map(|(user, _)| (user, token(user))).collect(),
            server,
        }
    }

    fn send(&self, caller: &Caller, method: Method, path: &str, body: Option<(&str, &Value)>) -> Answer {
        let mut request =
            self.client.request(method, format!("{}{path}", self.url)).bearer_auth(&caller.token);
        if let Some((user, groups)) = &caller.acting_as {
            request = request.header("Impersonate-User", user);
            for group in groups {
                request = request.header("Impersonate-Group", group);
            }
        }
        if let Some((kind, body)) = body {
            request = request.header("Content-Type", kind).body(body.to_string());
        }
        self.runtime.block_on(async {
            let answer = request.send().await.unwrap();
            let code = answer.status().as_u16();
            Answer { code, body: serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default() }
        })
    }

    fn user(&self, name: &str) -> Caller {
        Caller { token: self.tokens[name].clone(), acting_as: None }
    }

    fn account(&self, namespace: &str, name: &str) -> Caller {
        let token = self.server.kubectl(&["create", "token", name, "--namespace", namespace]).unwrap();
        Caller { token: token.trim().to_owned(), acting_as: None }
    }
}

impl Shop {
    /// A namespace of its own with everybody in it; `None` where no API server can be had.
    pub(super) fn open(namespace: &'static str) -> Option<Self> {
        let stage = Stage::shared()?;
        stage.server.kubectl(&["create", "namespace", namespace]).unwrap();
        stage.server.apply(&WORLD.replace("NAMESPACE", namespace)).unwrap();
        let shop = Self {
            stage,
            namespace,
            admin: stage.user(ADMIN),
            alice: stage.user("alice"),
            carol: stage.user("carol"),
            bob: stage.user("bob"),
            agent: stage.account(namespace, "agent"),
            gateway: stage.account(namespace, "orders-gateway"),
            other_gateway: stage.account(namespace, "other-gateway"),
            operator: stage.account(NAMESPACE, OPERATOR),
        };
        shop.wait_for_rights();
        shop.create(&shop.gateway, "held", &json!({})).is_accepted();
        Some(shop)
    }

    /// The authorizer and admission hear of roles and of the policy a moment later.
    fn wait_for_rights(&self) {
        for (caller, verb, resource, subresource) in [
            (&self.gateway, "create", "approvalrequests", ""),
            (&self.other_gateway, "patch", "approvalrequests", "status"),
            (&self.operator, "patch", "approvalrequests", "status"),
            (&self.operator, "create", "approvalrequests", ""),
            (&self.alice, "patch", "approvalrequests", ""),
            (&self.bob, "patch", "approvalrequests", ""),
            (&self.agent, "approve", "policies", ""),
        ] {
            let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {
                "resourceAttributes": {
                    "group": "portcullis.dev", "namespace": self.namespace, "verb": verb,
                    "resource": resource, "subresource": subresource, "name": "prod-ddl",
                },
            }});
            wait_until(&format!("{verb} {resource} is granted"), || {
                let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
                let answer = self.stage.send(caller, Method::POST, path, Some((JSON, &review)));
                (answer.body["status"]["allowed"] == true).then_some(())
            })
            .unwrap();
        }
        wait_until("the policy is enforced", || {
            let decided = json!({"decisions": [decision("nobody")]});
            (self.create_dry(&self.gateway, "probe", &decided).code == 403).then_some(())
        })
        .unwrap();
    }

    /// User name of a service account in this namespace.
    pub(super) fn account(&self, name: &str) -> String {
        format!("system:serviceaccount:{}:{name}", self.namespace)
    }

    /// Asks for approval of a command of the Resource `orders`; `change` replaces fields of the spec.
    pub(super) fn create(&self, caller: &Caller, name: &str, change: &Value) -> Answer {
        self.create_at(caller, &self.path(""), name, change)
    }

    /// As [`Shop::create`], but nothing is stored.
    pub(super) fn create_dry(&self, caller: &Caller, name: &str, change: &Value) -> Answer {
        self.create_at(caller, &format!("{}?dryRun=All", self.path("")), name, change)
    }

    fn create_at(&self, caller: &Caller, path: &str, name: &str, change: &Value) -> Answer {
        let agent = self.account("agent");
        let mut spec = json!({
            "resourceRef": {"name": "orders", "uid": "0d6b6f0e"},
            "requester": {"issuer": "https://kubernetes.default.svc", "subject": agent, "username": agent},
            "session": "s1",
            "command": {
                "protocol": "postgresql", "summary": "DELETE FROM orders", "text": "DELETE FROM orders",
                "digest": "d1", "effectDigest": "e1",
            },
            "policyRef": {"name": "prod-ddl", "generation": 1, "rule": "unbounded-writes"},
            "reviewers": [{"group": "dba", "count": 2}],
            "expiresAt": "2026-12-31T00:00:00Z",
        });
        for (field, value) in change.as_object().unwrap() {
            spec[field] = value.clone();
        }
        let mut request = identified(name);
        request["spec"] = spec;
        self.stage.send(caller, Method::POST, path, Some((JSON, &request)))
    }

    /// Patches a request.
    pub(super) fn patch(&self, caller: &Caller, name: &str, how: Patch, patch: &Value) -> Answer {
        self.patch_at(caller, name, "", (how, patch))
    }

    /// Patches its status.
    pub(super) fn patch_status(&self, caller: &Caller, name: &str, how: Patch, patch: &Value) -> Answer {
        self.patch_at(caller, name, "/status", (how, patch))
    }

    /// Merges into a request, but nothing is stored.
    pub(super) fn patch_dry(&self, caller: &Caller, name: &str, patch: &Value) -> Answer {
        self.patch_at(caller, name, "?dryRun=All", (Patch::Merge, patch))
    }

    fn patch_at(&self, caller: &Caller, name: &str, rest: &str, (how, change): (Patch, &Value)) -> Answer {
        let mut path = self.path(&format!("/{name}{rest}"));
        let mut body = change.clone();
        let kind = match how {
            Patch::Merge => "application/merge-patch+json",
            Patch::Json => "application/json-patch+json",
            Patch::Apply(manager) => {
                for (field, value) in identified(name).as_object().unwrap() {
                    body[field] = value.clone();
                }
                path.push_str("?fieldManager=");
                path.push_str(manager);
                "application/apply-patch+yaml"
            }
        };
        self.stage.send(caller, Method::PATCH, &path, Some((kind, &body)))
    }

    /// Deletes a request.
    pub(super) fn delete(&self, caller: &Caller, name: &str) -> Answer {
        self.stage.send(caller, Method::DELETE, &self.path(&format!("/{name}")), None)
    }

    /// A request as it is.
    pub(super) fn read(&self, name: &str) -> Value {
        self.stage.send(&self.admin, Method::GET, &self.path(&format!("/{name}")), None).body
    }

    /// Who decided on a request, in order.
    pub(super) fn approvers(&self, name: &str) -> Vec<String> {
        let request = self.read(name);
        let decisions = request["spec"]["decisions"].as_array().unwrap().iter();
        decisions.map(|decision| decision["approver"].as_str().unwrap().to_owned()).collect()
    }

    /// Audit events of a request that carry what was, or was to be, decided.
    pub(super) fn annotated(&self, name: &str) -> Vec<Value> {
        wait_until("the audit log to have it", || {
            let events = self.stage.server.audit().ok()?.into_iter().filter(|event| {
                event["objectRef"]["namespace"] == self.namespace
                    && event["objectRef"]["name"] == name
                    && event["annotations"]["portcullis-approver-binding/decision"].is_string()
            });
            Some(events.collect::<Vec<_>>()).filter(|events| !events.is_empty())
        })
        .unwrap()
    }

    fn path(&self, rest: &str) -> String {
        format!("/apis/portcullis.dev/v1alpha1/namespaces/{}/approvalrequests{rest}", self.namespace)
    }
}

fn identified(name: &str) -> Value {
    json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": "ApprovalRequest", "metadata": {"name": name}})
}

const JSON: &str = "application/json";
const OPERATOR: &str = "portcullis-operator";

/// Rights as the operator and the chart give them, and approvers as `examples/kubernetes` has them.
const WORLD: &str = r"
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: agent, namespace: NAMESPACE}}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: orders-gateway, namespace: NAMESPACE}}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: other-gateway, namespace: NAMESPACE}}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: Role
  metadata: {name: gateway, namespace: NAMESPACE}
  rules:
  - {apiGroups: [portcullis.dev], resources: [approvalrequests], verbs: [create, get, list, watch]}
  - {apiGroups: [portcullis.dev], resources: [approvalrequests/status], verbs: [get, patch, update]}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: gateway, namespace: NAMESPACE}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: gateway}
  subjects:
  - {kind: ServiceAccount, name: orders-gateway, namespace: NAMESPACE}
  - {kind: ServiceAccount, name: other-gateway, namespace: NAMESPACE}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: Role
  metadata: {name: operator, namespace: NAMESPACE}
  rules:
  - apiGroups: [portcullis.dev]
    resources: [approvalrequests]
    verbs: [get, list, watch, create, patch, delete]
  - {apiGroups: [portcullis.dev], resources: [approvalrequests/status], verbs: [get, patch, update]}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: operator, namespace: NAMESPACE}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: operator}
  subjects: [{kind: ServiceAccount, name: portcullis-operator, namespace: portcullis-system}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: Role
  metadata: {name: patch-requests, namespace: NAMESPACE}
  rules:
  - {apiGroups: [portcullis.dev], resources: [approvalrequests], verbs: [get, list, watch, patch]}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: patch-requests, namespace: NAMESPACE}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: patch-requests}
  subjects:
  - {apiGroup: rbac.authorization.k8s.io, kind: Group, name: dba}
  - {apiGroup: rbac.authorization.k8s.io, kind: User, name: bob}
  - {kind: ServiceAccount, name: agent, namespace: NAMESPACE}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: Role
  metadata: {name: approve, namespace: NAMESPACE}
  rules:
  - {apiGroups: [portcullis.dev], resources: [policies], resourceNames: [prod-ddl], verbs: [approve]}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: approve, namespace: NAMESPACE}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: approve}
  subjects:
  - {apiGroup: rbac.authorization.k8s.io, kind: Group, name: dba}
  - {kind: ServiceAccount, name: agent, namespace: NAMESPACE}
";
