//! What is offered when some of it cannot be used.

use super::{Assembly, Described, Running, Seen};
use crate::config::{Place, Problems, ResourceKey, Upstream};
use crate::control::Offer;
use crate::control::kubernetes::described::describe;
use crate::control::kubernetes::mounts::Mounted;
use crate::reload::Look;
use crds::v1alpha1::{Policy, ProtectedResource};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use std::sync::Arc;
use tempfile::TempDir;

/// A namespace as the API server shows it, and an assembly that looks at it.
struct Namespace {
    mounts: TempDir,
    resource: Option<Value>,
    policies: Vec<Value>,
    assembly: Assembly,
}

impl Namespace {
    fn new() -> Self {
        let mounts = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap().pem();
        let namespace = Self {
            mounts,
            resource: Some(resource(1, &["readonly"])),
            policies: vec![policy("agents", "p1", 1, "public.orders")],
            assembly: Assembly::new(&ResourceKey { namespace: "shop".to_owned(), name: "orders".to_owned() }),
        };
        namespace.mount("orders-gateway-tls", "tls.crt", &certificate);
        namespace.mount("orders-gateway-tls", "tls.key", &key.serialize_pem());
        namespace.mount("readonly", "username", "readonly");
        namespace.mount("readonly", "password", "first");
        namespace
    }

    fn mount(&self, secret: &str, key: &str, value: &str) {
        let directory = self.mounts.path().join("Secret").join(secret);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(key), value).unwrap();
    }

    fn offer(&mut self) -> Option<Offer> {
        let mounted: Look<Mounted> = Mounted::read(self.mounts.path());
        let policies = self.policies.iter().map(|policy| Arc::new(described::<Policy>(policy))).collect();
        let resource = self.resource.as_ref().map(|object| Arc::new(described::<ProtectedResource>(object)));
        self.assembly.offer(&Seen { resource, policies, mounted: &mounted })
    }

    /// Offers, and takes over what is offered.
    fn taken(&mut self) -> (Vec<String>, Running) {
        let offer = self.offer().expect("an offer");
        let outcome = offer.config.map(drop);
        let said = offer.held_back.iter().map(ToString::to_string).collect();
        (said, self.assembly.settled(outcome.as_ref().copied()))
    }

    fn generations(&mut self) -> Vec<(String, i64)> {
        let (_, running) = self.taken();
        running.policies.into_iter().map(|policy| (policy.name, policy.generation)).collect()
    }
}

fn described<K>(object: &Value) -> Described<K>
where
    K: kube::Resource<DynamicType = ()> + serde::de::DeserializeOwned + crds::validation::Validate,
{
    describe(serde_json::from_value(object.clone()).unwrap()).unwrap()
}

fn resource(generation: i64, roles: &[&str]) -> Value {
    let roles: Vec<Value> =
        roles.iter().map(|role| json!({"name": role, "credentialsRef": {"name": role}})).collect();
    json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "Resource",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "r1", "generation": generation},
        "spec": {
            "postgresql": {"host": "db", "roles": roles},
            "authentication": {"issuers": [{"issuer": "https://idp.example.com", "audiences": ["orders"]}]},
        },
        "status": {"from": "a later version"},
    })
}

fn policy(name: &str, uid: &str, generation: i64, relation: &str) -> Value {
    json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "Policy",
        "metadata": {"name": name, "namespace": "shop", "uid": uid, "generation": generation},
        "spec": {
            "targetRefs": [{"name": "orders"}],
            "rules": [{"name": "reads", "action": "Allow",
                "postgresql": {"effects": ["Select", "Connect"], "relations": [relation]}}],
        },
    })
}

/// One that does not compile.
fn broken(name: &str, uid: &str, generation: i64) -> Value {
    let mut policy = policy(name, uid, generation, "public.*");
    policy["spec"]["rules"][0]["when"] = json!("identity.nope(");
    policy
}

fn found(generation: i64) -> Vec<(String, i64)> {
    vec![("agents".to_owned(), generation)]
}

#[test]
fn a_whole_namespace_is_offered_once() {
    let mut namespace = Namespace::new();
    let offer = namespace.offer().unwrap();
    let config = offer.config.unwrap();
    let orders = config.resources.values().next().unwrap();
    let Upstream::Postgresql(upstream) = &orders.upstream else { panic!("no PostgreSQL") };
    assert_eq!(upstream.roles["readonly"].password.expose(), "first");
    assert_eq!(orders.policies.policies().collect::<Vec<_>>(), [("agents", 1)]);
    let running = namespace.assembly.settled(Ok(()));
    assert_eq!((running.resource_generation, running.problem), (1, None));
    assert_eq!((running.policies[0].uid.as_str(), running.policies[0].generation), ("p1", 1));
    assert!(namespace.offer().is_none(), "nothing changed");
    namespace.resource.as_mut().unwrap()["status"] = json!({"conditions": []});
    assert!(namespace.offer().is_none(), "a status is no change");
    namespace.mount("readonly", "password", "second");
    assert!(namespace.offer().is_some(), "a rotated Secret is one");
}

#[test]
fn a_policy_that_does_not_compile_keeps_its_last_good_generation_and_stops_no_other() {
    let mut namespace = Namespace::new();
    namespace.policies.push(policy("other", "p2", 1, "public.users"));
    namespace.taken();
    namespace.policies = vec![broken("agents", "p1", 2), policy("other", "p2", 2, "public.items")];
    let (said, running) = namespace.taken();
    let generations: Vec<_> = running.policies.iter().map(|policy| policy.generation).collect();
    assert_eq!(generations, [1, 2]);
    assert!(said[0].starts_with("Policy shop/agents: spec.rules[0].when: "), "{said:?}");
    assert_eq!(running.problem.as_deref(), Some(said[0].as_str()));
    namespace.policies[0] = policy("agents", "p1", 3, "public.items");
    let (said, running) = namespace.taken();
    assert_eq!((said.len(), running.policies[0].generation, running.problem), (0, 3, None));
}

#[test]
fn an_object_that_cannot_be_read_is_one_that_does_not_compile() {
    let mut namespace = Namespace::new();
    namespace.taken();
    let mut later = policy("agents", "p1", 2, "public.items");
    later["spec"]["fromALaterVersion"] = json!(true);
    namespace.policies[0] = later.clone();
    assert_eq!(namespace.generations(), found(1));
    later["spec"]["targetRefs"] = json!([{"name": "invoices"}]);
    later["metadata"]["name"] = json!("others");
    let mut fresh = Namespace::new();
    fresh.policies.push(later);
    assert_eq!(fresh.generations(), found(1), "one about another Resource is none of ours");
}

#[test]
fn at_the_start_a_policy_that_does_not_compile_lets_nothing_run() {
    let mut namespace = Namespace::new();
    namespace.policies[0] = broken("agents", "p1", 2);
    let (_, running) = namespace.taken();
    assert_eq!((running.resource_generation, running.policies.len()), (0, 0));
    assert!(running.problem.unwrap().contains("Policy shop/agents"));
}

#[test]
fn a_new_policy_that_never_compiled_stops_no_other_but_a_replacement_changes_nothing() {
    let mut namespace = Namespace::new();
    namespace.taken();
    namespace.policies = vec![policy("agents", "p1", 2, "public.items"), broken("new", "p2", 1)];
    let (said, running) = namespace.taken();
    assert_eq!((said.len(), running.policies.len(), running.policies[0].generation), (1, 1, 2));
    namespace.policies = vec![broken("agents", "p9", 1)];
    let (_, running) = namespace.taken();
    assert_eq!((running.policies[0].uid.as_str(), running.policies[0].generation), ("p1", 2));
    namespace.policies.clear();
    assert_eq!(namespace.generations(), [], "a policy that is gone is out of force");
}

#[test]
fn a_policy_that_is_being_deleted_stays_in_force_until_it_is_gone() {
    let mut namespace = Namespace::new();
    namespace.taken();
    namespace.policies[0]["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    namespace.policies[0]["metadata"]["generation"] = json!(2);
    assert_eq!(namespace.generations(), found(2));
}

#[test]
fn policies_go_on_while_the_resource_names_what_is_not_mounted_yet() {
    let mut namespace = Namespace::new();
    namespace.taken();
    namespace.resource = Some(resource(2, &["readonly", "app"]));
    namespace.policies[0] = policy("agents", "p1", 2, "public.items");
    let (said, running) = namespace.taken();
    assert_eq!((running.resource_generation, running.policies[0].generation), (1, 2));
    assert!(said[0].contains("expected a Secret app in namespace shop, found none"), "{said:?}");
    namespace.mount("app", "username", "app");
    namespace.mount("app", "password", "x");
    let (_, running) = namespace.taken();
    assert_eq!((running.resource_generation, running.problem), (2, None));
}

#[test]
fn policies_go_on_while_the_gateway_cannot_take_the_resource_over() {
    let mut namespace = Namespace::new();
    namespace.taken();
    namespace.resource = Some(resource(2, &["readonly"]));
    namespace.policies[0] = policy("agents", "p1", 2, "public.items");
    let offer = namespace.offer().unwrap();
    assert!(offer.config.is_ok());
    let taken = Problems(vec![Place::object("Resource", "shop", "orders").problem("", "port is taken")]);
    let running = namespace.assembly.settled(Err(&taken));
    assert_eq!((running.resource_generation, running.policies[0].generation), (1, 1));
    let (said, running) = namespace.taken();
    assert_eq!((running.resource_generation, running.policies[0].generation), (1, 2));
    assert_eq!(said, ["Resource shop/orders: port is taken"]);
    assert!(namespace.offer().is_none());
}

#[test]
fn a_resource_that_is_gone_stays_in_force_and_one_that_never_was_is_a_problem() {
    let mut namespace = Namespace::new();
    namespace.taken();
    namespace.resource = None;
    let (said, running) = namespace.taken();
    assert_eq!(running.resource_generation, 1);
    assert!(said[0].contains("expected it to exist"), "{said:?}");
    let mut fresh = Namespace::new();
    fresh.resource = None;
    assert_eq!(fresh.taken().1.resource_generation, 0);
}
