//! Problems are located, complete, and never show a secret.

use super::{Config, Problems, ResourceKey, Snapshot, Upstream, load};
use rcgen::{CertificateParams, KeyPair};

const RESOURCE: &str = "
apiVersion: portcullis.dev/v1alpha1
kind: Resource
metadata: {name: orders, namespace: shop}
spec:
  postgresql:
    host: db.example.com
    tls: {caRef: {name: orders-ca, key: ca.crt}}
    roles: [{name: readonly, credentialsRef: {name: orders-readonly}}]
  authentication:
    issuers: [{issuer: https://idp.example.com, audiences: [orders]}]
  gateway: {service: {port: 6432}, tls: {secretRef: {name: orders-tls}}}
";
const POLICY: &str = "
apiVersion: portcullis.dev/v1alpha1
kind: Policy
metadata: {name: agents, namespace: shop}
spec:
  targetRefs: [{name: orders}]
  rules: [{name: reads, action: Allow, postgresql: {effects: [Select, Connect]}}]
";
const LOGIN: &str = "
apiVersion: v1
kind: Secret
metadata: {name: orders-readonly, namespace: shop}
stringData: {username: ro, password: hunter2-canary}
";

fn secrets() -> String {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
    let indented = |text: &str| text.replace('\n', "\n    ");
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: orders-tls, namespace: shop}}\nstringData:\n  tls.crt: |\n    \
         {certificate}\n  tls.key: |\n    {key}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: orders-ca, \
         namespace: shop}}\ndata:\n  ca.crt: |\n    {certificate}\n",
        certificate = indented(&certificate),
        key = indented(&key.serialize_pem()),
    )
}

fn read(files: &[(&str, &str)]) -> Result<Config, Problems> {
    let mut files: Vec<_> =
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    files.push(("secrets.yaml".to_owned(), secrets()));
    load(&Snapshot { files })
}

fn problems(files: &[(&str, &str)]) -> String {
    let text = read(files).unwrap_err().to_string();
    assert!(!text.contains("canary"), "a secret in: {text}");
    text
}

#[test]
fn a_whole_configuration_resolves() {
    let config = read(&[("orders.yaml", &format!("{RESOURCE}---{POLICY}")), ("login.yaml", LOGIN)]).unwrap();
    let key = ResourceKey { namespace: "shop".to_owned(), name: "orders".to_owned() };
    let orders = &config.resources[&key];
    assert_eq!((orders.port, orders.max_sessions, orders.drain.as_secs()), (6432, 5000, 300));
    assert_eq!(orders.recording.max_result_bytes, 10 << 20);
    let Upstream::Postgresql(upstream) = &orders.upstream else { panic!("no PostgreSQL") };
    assert_eq!((upstream.host.as_str(), upstream.port), ("db.example.com", 5432));
    assert_eq!(upstream.roles["readonly"].password.expose(), "hunter2-canary");
    assert!(!format!("{config:?}").contains("canary"), "Debug shows no secret");
    assert!(config.warnings.is_empty());
}

#[test]
fn a_retention_is_a_preset_or_days() {
    let resource = |retention: &str| {
        RESOURCE.replace("spec:\n", &format!("spec:\n  recording: {{retention: {retention}}}\n"))
    };
    let kept = |retention: &str| {
        let files = [("orders.yaml", resource(retention)), ("login.yaml", LOGIN.to_owned())];
        read(&files.each_ref().map(|(name, text)| (*name, text.as_str()))).map(|mut config| {
            config
                .resources
                .pop_first()
                .unwrap()
                .1
                .retention
                .map(|policy| (policy.keep_days, policy.at_hand_days))
        })
    };
    assert_eq!(kept("null").unwrap(), None);
    assert_eq!(kept("pci").unwrap(), Some((366, 92)));
    assert_eq!(kept("90d").unwrap(), Some((90, 30)));
    for wrong in ["forever", "90", "0d", "10000d"] {
        let said = kept(wrong).unwrap_err().to_string();
        assert!(said.contains("orders.yaml") && said.contains("spec.recording.retention"), "{said}");
    }
}

#[test]
fn a_recipient_is_a_whole_key() {
    let key = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let resource = |keys: &str| {
        RESOURCE
            .replace("spec:\n", &format!("spec:\n  recording: {{encryption: {{recipients: [{keys}]}}}}\n"))
    };
    let read = |keys: &str| read(&[("orders.yaml", &resource(keys)), ("login.yaml", LOGIN)]);
    let config = read(key).unwrap();
    assert!(config.resources.values().all(|resource| resource.auditors.is_some()));
    // The last letters are a checksum.
    let mistyped = key.replace("8p", "8q");
    let said = read(&format!("{key}, {mistyped}")).unwrap_err().to_string();
    assert!(
        said.contains("orders.yaml") && said.contains("spec.recording.encryption.recipients[1]"),
        "{said}"
    );
    for wrong in ["", "age1short", "AGE-SECRET-KEY-1CANARYCANARY"] {
        assert!(
            read(wrong).unwrap_err().to_string().contains("spec.recording.encryption.recipients"),
            "{wrong}"
        );
    }
}

#[test]
fn every_missing_reference_is_named_with_its_place() {
    let text = problems(&[("orders.yaml", &RESOURCE.replace("orders-ca", "nowhere-ca"))]);
    assert_eq!(
        text,
        "orders.yaml:1 (document 1): Resource orders: spec.postgresql.roles[0].credentialsRef.name: expected a Secret \
         orders-readonly in namespace shop, found none\norders.yaml:1 (document 1): Resource orders: \
         spec.postgresql.tls.caRef: expected a ConfigMap nowhere-ca in namespace shop, found none"
    );
}

#[test]
fn problems_of_several_files_come_at_once() {
    let text = problems(&[
        ("a.yaml", RESOURCE),
        ("b.yaml", "kind: ["),
        ("c.yaml", &POLICY.replace("action: Allow", "action: Permit")),
    ]);
    for file in ["a.yaml:", "b.yaml:", "c.yaml:"] {
        assert!(text.contains(file), "{file} in {text}");
    }
}

#[test]
fn a_policy_that_does_not_compile_is_located() {
    let policy = POLICY.replace("name: reads,", "name: reads, when: 'identity.nope(',");
    let text = problems(&[("orders.yaml", RESOURCE), ("login.yaml", LOGIN), ("policy.yaml", &policy)]);
    assert!(text.starts_with("policy.yaml:1 (document 1): Policy agents: spec.rules[0].when: "), "{text}");
}

#[test]
fn references_stay_in_their_namespace() {
    let login = LOGIN.replace("namespace: shop", "namespace: other");
    let text = problems(&[("orders.yaml", RESOURCE), ("login.yaml", &login)]);
    assert!(text.contains("expected a Secret orders-readonly in namespace shop, found none"), "{text}");
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let other = secrets().replace("orders-tls", "other-tls").replace("orders-ca", "other-ca");
    let from = secrets();
    let key = from.split("tls.key: |").nth(1).unwrap().split("\n---\n").next().unwrap();
    let (head, tail) = other.split_once("tls.key: |").unwrap();
    let mixed = format!(
        "{head}tls.key: |{key}\n---{}",
        tail.split_once("\n---\n").map(|(_, rest)| format!("\n{rest}")).unwrap()
    );
    let resource = RESOURCE.replace("orders-tls", "other-tls");
    let text = problems(&[("mixed.yaml", &mixed), ("orders.yaml", &resource), ("login.yaml", LOGIN)]);
    assert!(text.contains("Secret other-tls: data.tls.key: expected the key of tls.crt"), "{text}");
    assert!(!text.contains("BEGIN"), "{text}");
}

#[test]
fn two_resources_do_not_share_a_port() {
    let second = RESOURCE.replace("name: orders,", "name: invoices,");
    let text = problems(&[("a.yaml", RESOURCE), ("b.yaml", &second), ("login.yaml", LOGIN)]);
    assert!(text.contains("spec.gateway.service.port: expected a port of its own"), "{text}");
}

#[test]
fn a_gateway_without_certificate_is_refused() {
    let resource = RESOURCE.replace(", tls: {secretRef: {name: orders-tls}}", "");
    let text = problems(&[("orders.yaml", &resource), ("login.yaml", LOGIN)]);
    assert!(text.contains("spec.gateway.tls: expected a secretRef"), "{text}");
}

#[test]
fn a_policy_for_nothing_is_a_warning() {
    let policy = POLICY.replace("[{name: orders}]", "[{name: orderz}]");
    let config = read(&[("orders.yaml", RESOURCE), ("login.yaml", LOGIN), ("policy.yaml", &policy)]).unwrap();
    assert_eq!(
        config.warnings.first().unwrap().to_string(),
        "policy.yaml:1 (document 1): Policy agents: spec.targetRefs[0].name: there is no Resource shop/orderz: the \
         policy binds nothing there"
    );
}

#[test]
fn an_empty_directory_is_no_problem_but_listens_for_nothing() {
    assert!(load(&Snapshot::default()).unwrap().resources.is_empty());
}

#[test]
fn a_held_request_waits_for_less_than_a_minute_unless_the_resource_says_otherwise() {
    const CLUSTER: &str = "
apiVersion: v1
kind: Secret
metadata: {name: cluster, namespace: shop}
stringData:
  kubeconfig: |
    current-context: own
    clusters: [{name: own, cluster: {server: 'https://cluster.example.com'}}]
    users: [{name: own, user: {token: hunter2-canary}}]
    contexts: [{name: own, context: {cluster: own, user: own}}]
---
apiVersion: portcullis.dev/v1alpha1
kind: Resource
metadata: {name: cluster, namespace: shop}
spec:
  kubernetes: {kubeconfigRef: {name: cluster}TELLS}
  authentication: {issuers: [{issuer: 'https://idp.example.com', audiences: [cluster]}]}
  gateway: {tls: {secretRef: {name: orders-tls}}}
";
    let wait = |tells: &str| {
        let config = read(&[("cluster.yaml", &CLUSTER.replace("TELLS", tells))]).unwrap();
        let Some(Upstream::Kubernetes(upstream)) =
            config.resources.into_values().next().map(|resource| resource.upstream)
        else {
            panic!("no cluster")
        };
        upstream.hold_wait.as_secs()
    };
    assert_eq!((wait(""), wait(", holdSeconds: 5"), wait(", holdSeconds: 86400")), (50, 5, 86_400));
    for wrong in ["4", "0", "-1", "86401"] {
        let text =
            problems(&[("cluster.yaml", &CLUSTER.replace("TELLS", &format!(", holdSeconds: {wrong}")))]);
        assert!(text.contains("spec.kubernetes.holdSeconds: must be from 5 to 86400"), "{text}");
    }
}
