//! Commands about objects: no pod need run for them.

use super::Ignores::{Errors, Order};
use super::{RULES, Sides, Step, step};
use crate::scene::Scene;

const MANIFEST: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: applied, labels: {app: conformance}}
data: {colour: red, size: '3'}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: applied, labels: {app: conformance}}
spec:
  replicas: 0
  selector: {matchLabels: {app: applied}}
  template:
    metadata: {labels: {app: applied}}
    spec: {containers: [{name: main, image: example.test/a:1, env: [{name: COLOUR, value: red}]}]}
";

const CHANGED: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: applied, labels: {app: conformance}}
data: {colour: blue}
";

/// An event that no controller has a hand in: when those tell of what is, is up to them.
const EVENT: &str = "
apiVersion: v1
kind: Event
metadata: {name: told}
involvedObject: {apiVersion: v1, kind: ConfigMap, name: told-of, namespace: '{n}'}
type: Normal
reason: Told
message: by a test
count: 3
firstTimestamp: '2024-01-02T03:04:05Z'
lastTimestamp: '2024-01-02T03:04:05Z'
";

/// Everything that `kubectl create` makes of its arguments; typed clients send most of it as protobuf.
const CREATES: &[Step<'_>] = &[
    step(&["create", "deployment", "web", "--image=example.test/a:1", "--replicas=0", "--port=8080"]),
    step(&["create", "configmap", "plain", "--from-literal=a=b", "--from-literal=c=d e"]),
    step(&["create", "secret", "generic", "hidden", "--from-literal=password=Hq7vvKz81x"]),
    step(&["create", "job", "once", "--image=example.test/a:1", "--", "sh", "-c", "exit 0"]),
    step(&["create", "cronjob", "often", "--image=example.test/a:1", "--schedule=0 0 1 1 *"]),
    step(&["create", "job", "now", "--from=cronjob/often"]),
    step(&["create", "-f", "-"]).input(EVENT),
    step(&["create", "serviceaccount", "robot"]),
    step(&["create", "role", "reader", "--verb=get,list", "--resource=pods,deployments.apps"]),
    step(&["create", "rolebinding", "reader", "--role=reader", "--serviceaccount={n}:robot"]),
    step(&["create", "clusterrole", "{n}", "--verb=get", "--resource=nodes", "--non-resource-url=/healthz"]),
    step(&["create", "clusterrolebinding", "{n}", "--clusterrole={n}", "--user=somebody"]),
    step(&["create", "quota", "few", "--hard=pods=100,configmaps=100"]),
    step(&["create", "poddisruptionbudget", "one", "--selector=app=web", "--min-available=50%"]),
    step(&["create", "priorityclass", "{n}", "--value=100", "--description=for tests"]),
    step(&["create", "service", "clusterip", "inside", "--tcp=8080:8080"]),
    step(&["create", "service", "nodeport", "outside", "--tcp=8080"]).ignoring(Errors),
    step(&["create", "service", "externalname", "named", "--external-name=example.test"]),
    step(&["create", "ingress", "door", "--rule=example.test/*=inside:8080"]),
    step(&["create", "configmap", "plain", "--from-literal=a=b"]),
    step(&["create", "deployment", "no/name", "--image=a"]),
    step(&["create", "deployment", "dry", "--image=a", "--dry-run=server", "-o", "yaml"]),
    step(&["create", "deployment", "dry", "--image=a", "--dry-run=client", "-o", "json"]),
];

const READS: &[Step<'_>] = &[
    step(&["get", "deployments"]),
    step(&["get", "deployment", "web", "-o", "wide"]),
    step(&["get", "deployment", "web", "-o", "yaml"]),
    step(&["get", "deployment", "web", "-o", "json"]),
    // managers are in the order of the second in which they wrote
    step(&["get", "deployment", "web", "-o", "yaml", "--show-managed-fields"]).ignoring(Order),
    step(&["get", "deployment,configmap", "-o", "name"]),
    step(&["get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[*].image}"]),
    step(&["get", "configmaps", "-o", "custom-columns=NAME:.metadata.name,A:.data.a"]),
    step(&["get", "configmaps", "-o", "go-template={{range .items}}{{.metadata.name}} {{end}}"]),
    step(&["get", "configmaps", "--show-labels", "-L", "app", "--sort-by=.metadata.name"]),
    step(&["get", "all"]).ignoring(Order),
    step(&["get", "secrets"]),
    step(&["get", "clusterrole", "{n}", "-o", "yaml"]),
    step(&["get", "pods", "nobody"]),
    step(&["get", "nothings"]),
    step(&["get", "pods", "--field-selector=status.phase=Running"]),
    step(&["get", "pods", "--field-selector=spec.nothing=1"]),
    step(&["get", "configmaps", "--chunk-size=1", "-o", "name"]),
    step(&["get", "--raw", "/api/v1/namespaces/{n}/configmaps/plain"]),
    step(&["get", "--raw", "/healthz"]),
    step(&["get", "--raw", "/version"]),
    step(&["get", "--raw", "/apis/apps/v1/namespaces/{n}/deployments/web/scale"]),
    step(&["get", "--raw", "/nowhere"]),
    step(&["describe", "deployment", "web"]),
    step(&["describe", "configmap", "plain"]),
    step(&["describe", "quota,role,rolebinding,serviceaccount,pdb,ingress"]).ignoring(Order),
    step(&["describe", "cronjob", "often"]),
    step(&["explain", "deployment.spec.strategy"]),
    step(&["explain", "pod.spec.containers", "--recursive"]),
    step(&["api-resources", "-o", "wide"]),
    step(&["api-resources", "--api-group=apps", "-o", "name"]),
    step(&["api-versions"]),
    step(&["cluster-info", "dump", "--namespaces={n}", "-o", "name"]),
    step(&["version", "-o", "yaml"]),
    step(&["auth", "can-i", "create", "deployments"]),
    step(&["auth", "can-i", "get", "pods", "--subresource=log"]),
    step(&["auth", "can-i", "*", "*", "--all-namespaces"]),
    step(&["top", "pods"]),
    step(&["top", "nodes"]),
    step(&["events", "--for=configmap/told-of"]),
];

const CHANGES: &[Step<'_>] = &[
    step(&["diff", "-f", "-"]).input(MANIFEST).ignoring(Errors),
    step(&["apply", "-f", "-"]).input(MANIFEST),
    step(&["apply", "-f", "-"]).input(MANIFEST),
    step(&["diff", "-f", "-"]).input(MANIFEST),
    step(&["apply", "-f", "-"]).input(CHANGED),
    step(&["get", "configmap", "applied", "-o", "yaml"]),
    step(&["apply", "view-last-applied", "configmap/applied"]),
    step(&["apply", "set-last-applied", "-f", "-"]).input(CHANGED),
    step(&["apply", "--server-side", "-f", "-"]).input(CHANGED),
    step(&["apply", "--server-side", "--field-manager=other", "-f", "-"]).input(MANIFEST),
    step(&["apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-"]).input(MANIFEST),
    step(&["apply", "--prune", "-l", "app=conformance", "-f", "-"]).input(CHANGED).ignoring(Errors),
    step(&["apply", "-f", "-", "--dry-run=server", "-o", "yaml"]).input(MANIFEST),
    step(&["replace", "-f", "-"]).input(CHANGED),
    step(&["edit", "configmap", "plain"]).editor("sed -i s/d[[:space:]]e/edited/"),
    step(&["edit", "configmap", "plain"]).editor("true"),
    step(&["get", "configmap", "plain", "-o", "jsonpath={.data}"]),
    step(&["patch", "deployment", "web", "-p", r#"{"spec":{"template":{"spec":{"containers":[{"name":"a","tty":true}]}}}}"#]),
    step(&["patch", "deployment", "web", "--type=merge", "-p", r#"{"metadata":{"annotations":{"x":"1","y":null}}}"#]),
    step(&["patch", "deployment", "web", "--type=json", "-p", r#"[{"op":"add","path":"/metadata/labels/b","value":"c"}]"#]),
    step(&["patch", "deployment", "web", "--type=json", "-p", r#"[{"op":"test","path":"/spec/replicas","value":9}]"#]),
    step(&["patch", "deployment", "web", "--subresource=scale", "--type=merge", "-p", r#"{"spec":{"replicas":0}}"#]),
    // not JSON: the gateway refuses it before the API server could
    step(&["patch", "deployment", "web", "-p", "{\"spec\":"]).ignoring(Errors),
    step(&["label", "deployment", "web", "tier=front", "b-"]),
    step(&["label", "configmaps", "--all", "all=yes"]),
    step(&["annotate", "deployment", "web", "note=a b", "--overwrite"]),
    step(&["set", "image", "deployment/web", "a=example.test/a:2"]),
    step(&["set", "env", "deployment/web", "COLOUR=red", "--from=configmap/plain", "--keys=a"]),
    step(&["set", "env", "deployment/web", "--list"]),
    step(&["set", "resources", "deployment/web", "--limits=cpu=100m,memory=64Mi"]),
    step(&["set", "serviceaccount", "deployment/web", "robot"]),
    step(&["set", "selector", "service/inside", "app=web"]),
    step(&["set", "subject", "rolebinding/reader", "--user=ann"]),
    step(&["expose", "deployment", "web", "--name=exposed", "--port=8080"]),
    step(&["autoscale", "deployment", "web", "--min=1", "--max=3", "--cpu-percent=50"]).ignoring(Errors),
    step(&["delete", "hpa", "web"]),
    step(&["scale", "deployment", "web", "--replicas=0", "--current-replicas=7"]),
    step(&["rollout", "pause", "deployment/web"]),
    step(&["rollout", "resume", "deployment/web"]),
    step(&["auth", "reconcile", "-f", "-"]).input(
        "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: reader}, rules: [{verbs: [get, watch], apiGroups: [''], resources: [pods]}]}",
    ),
    step(&["get", "deployment", "web", "-o", "yaml"]),
    step(&["wait", "deployment/web", "--for=condition=Nothing", "--timeout=1s"]),
    step(&["wait", "configmap/plain", "--for=jsonpath={.data.a}=b"]),
    step(&["create", "-f", "-"]).input("{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, dta: {}}"),
    step(&["create", "-f", "-"]).input("{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}, spec: {replicas: no}}"),
    step(&["delete", "configmap", "applied", "nobody"]),
    step(&["delete", "deployment", "applied", "--cascade=orphan", "--wait=false"]),
    step(&["delete", "-f", "-", "--ignore-not-found"]).input(CHANGED),
    step(&["delete", "configmaps", "-l", "all=yes"]),
    step(&["delete", "job,cronjob,ingress,pdb", "--all", "--now"]).ignoring(Order),
    step(&["delete", "clusterrole,clusterrolebinding,priorityclass", "{n}"]),
];

/// What the gateway changes by its nature: values of Secrets, and who one is and what one may do.
const DIFFERENT: &[Step<'_>] = &[
    step(&["get", "secret", "hidden", "-o", "jsonpath={.data}"]),
    step(&["describe", "secret", "hidden"]),
    step(&["auth", "whoami"]),
    step(&["auth", "can-i", "--list"]).ignoring(Order),
];

#[test]
fn kubernetes_kubectl_prints_of_objects_what_it_prints_without_the_gateway() {
    let Some(scene) = Scene::start(RULES) else { return };
    let sides = Sides::new(&scene, "objects");
    sides.compare(&[CREATES, READS, CHANGES].concat());
    sides.contrast(DIFFERENT);
    scene.portcullis(&["verify"], 0);
}
