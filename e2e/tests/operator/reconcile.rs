//! Resources become gateways, and every mistake is said.

use super::stage::{ORDERS, Stage, world};
use e2e::operator::Operator;
use e2e::process::wait_until;

#[test]
fn a_resource_becomes_a_gateway_stays_one_and_goes_whole() {
    let Some(mut stage) = Stage::set() else { return };
    stage.server.apply(ORDERS).unwrap();
    stage.wait_for("resource.portcullis.dev/orders", "Ready", "True ScaledToZero");
    stage.wait_for("policy.portcullis.dev/agents", "Programmed", "True NoReplicas");
    stage.wait_for("resource.portcullis.dev/orders", "ApproverBinding", "True Proven");
    stage.operator.rest().unwrap();
    let world_then = world(&stage.server).unwrap();
    let names = world_then.as_array().unwrap().len();
    assert!(names >= 12, "made {names} objects");

    // Another operator finds everything as it should be, and writes nothing.
    let next = Operator::launch(stage.server.kubeconfig(), &[]).unwrap();
    let before = stage.server.client().get(&["deployments/orders-gateway", "--namespace=shop"]).unwrap();
    let code = std::mem::replace(&mut stage.operator, next).stop().unwrap();
    assert_eq!(code, Some(0), "told to stop, it gives the lease back");
    wait_until("the next operator has reconciled", || {
        let metrics = stage.operator.metrics().ok()?;
        metrics.keys().any(|name| name.contains("reconcile_total") && name.contains("Resource")).then_some(())
    })
    .unwrap();
    stage.operator.rest().unwrap();
    assert_eq!(stage.operator.writes().unwrap(), 0, "{:?}", stage.operator.metrics());
    let after = stage.server.client().get(&["deployments/orders-gateway", "--namespace=shop"]).unwrap();
    assert_eq!(before["metadata"]["uid"], after["metadata"]["uid"]);

    drift_is_mended(&stage);
    stage.operator.rest().unwrap();
    assert_eq!(world(&stage.server).unwrap(), world_then);

    // Gone with everything it owned, but for what records need.
    stage
        .server
        .kubectl(&["delete", "resource.portcullis.dev/orders", "--namespace=shop", "--timeout=60s"])
        .unwrap();
    wait_until("everything is gone", || {
        let kinds =
            "all,serviceaccounts,roles,rolebindings,networkpolicies,poddisruptionbudgets,configmaps,secrets";
        let names = stage.server.kubectl(&["get", kinds, "--namespace=shop", "--output=name"]).ok()?;
        (!names.contains("gateway")).then_some(())
    })
    .unwrap();
    stage.server.kubectl(&["get", "secret/portcullis-tenant-key", "--namespace=shop"]).unwrap();
}

fn drift_is_mended(stage: &Stage) {
    let (server, namespace) = (&stage.server, "--namespace=shop");
    server.kubectl(&["delete", "service/orders-gateway", namespace]).unwrap();
    server.kubectl(&["scale", "deployment/orders-gateway", "--replicas=3", namespace]).unwrap();
    server
        .kubectl(&["patch", "role/orders-gateway", namespace, "--type=merge", "--patch", r#"{"rules":[]}"#])
        .unwrap();
    wait_until("what was changed is as it was", || {
        server.kubectl(&["get", "service/orders-gateway", namespace]).ok()?;
        let deployment = server.client().get(&["deployment/orders-gateway", namespace]).ok()?;
        let role = server.client().get(&["role/orders-gateway", namespace]).ok()?;
        (deployment["spec"]["replicas"] == 0 && role["rules"].as_array()?.len() == 5).then_some(())
    })
    .unwrap();
}

#[test]
fn mistakes_are_located_and_leave_what_runs() {
    let Some(stage) = Stage::set() else { return };
    stage.server.apply(ORDERS).unwrap();
    stage.wait_for("resource.portcullis.dev/orders", "Ready", "True ScaledToZero");
    let before = stage.server.client().get(&["deployments/orders-gateway", "--namespace=shop"]).unwrap();

    // A Secret that is not there, and then is.
    let more = r#"{"spec":{"postgresql":{"roles":[{"name":"app","credentialsRef":{"name":"nowhere"}}]}}}"#;
    stage
        .server
        .kubectl(&[
            "patch",
            "resource.portcullis.dev/orders",
            "--namespace=shop",
            "--type=merge",
            "--patch",
            more,
        ])
        .unwrap();
    stage.wait_for("resource.portcullis.dev/orders", "ResolvedRefs", "False RefNotFound");
    let message = stage.message("resource.portcullis.dev/orders", "ResolvedRefs");
    assert!(
        message.contains("spec.postgresql.roles[0].credentialsRef: there is no Secret nowhere"),
        "{message}"
    );
    assert_eq!(
        stage.condition("resource.portcullis.dev/orders", "Stalled").as_deref(),
        Some("True RefNotFound")
    );
    let after = stage.server.client().get(&["deployments/orders-gateway", "--namespace=shop"]).unwrap();
    assert_eq!(
        before["metadata"]["generation"], after["metadata"]["generation"],
        "what runs is left as it is"
    );
    stage
        .server
        .kubectl(&["create", "secret", "generic", "nowhere", "--namespace=shop", "--from-literal=username=a"])
        .unwrap();
    stage.wait_for("resource.portcullis.dev/orders", "ResolvedRefs", "True ResolvedRefs");

    // An expression that does not compile, beside a Policy that does.
    stage.server.apply(&policy("broken", "orders", "identity.nope ===")).unwrap();
    stage.wait_for("policy.portcullis.dev/broken", "Accepted", "False Invalid");
    let message = stage.message("policy.portcullis.dev/broken", "Accepted");
    assert!(message.contains("spec.rules[0].when: 1:17"), "{message}");
    stage.wait_for("policy.portcullis.dev/agents", "Ready", "True Programmed");

    // A target that is not there, and then is.
    stage.server.apply(&policy("early", "later", "true")).unwrap();
    stage.wait_for("policy.portcullis.dev/early", "ResolvedRefs", "False TargetNotFound");
    stage.server.apply(&ORDERS.replace("name: orders,", "name: later,")).unwrap();
    stage.wait_for("policy.portcullis.dev/early", "Ready", "True Programmed");

    // Somebody's Service has the name already.
    let taken = "apiVersion: v1\nkind: Service\nmetadata: {name: taken-gateway, namespace: shop}\nspec: {ports: [{port: 1}]}";
    stage.server.apply(taken).unwrap();
    stage.server.apply(&ORDERS.replace("name: orders,", "name: taken,")).unwrap();
    stage.wait_for("resource.portcullis.dev/taken", "Programmed", "False NameTaken");
    let message = stage.message("resource.portcullis.dev/taken", "Programmed");
    assert!(message.contains("Service taken-gateway exists already"), "{message}");
}

fn policy(name: &str, target: &str, when: &str) -> String {
    format!(
        "apiVersion: portcullis.dev/v1alpha1\nkind: Policy\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  \
         targetRefs: [{{name: {target}}}]\n  rules:\n  - {{name: reads, action: Allow, postgresql: {{effects: [Select]}}, when: \"{when}\"}}\n"
    )
}

#[test]
fn what_the_schema_refuses_is_explained_by_the_api_server() {
    let Some(server) = super::stage::server() else { return };
    for (what, from, to, expected) in [
        (
            "a name too long for a Service",
            "name: orders,",
            "name: orders.of.the.shop,",
            "metadata.name: expected a DNS label",
        ),
        (
            "no protocol",
            "  postgresql:\n    host: orders-primary.shop.svc\n    roles: [{name: readonly, credentialsRef: {name: orders-readonly}}]\n",
            "",
            "exactly one of postgresql, ssh and kubernetes must be set",
        ),
        (
            "two protocols",
            "  authentication:",
            "  kubernetes: {}\n  authentication:",
            "exactly one of postgresql, ssh and kubernetes must be set",
        ),
        (
            "no issuer",
            "[{issuer: \"https://idp.example.com\", audiences: [orders.shop]}]",
            "[]",
            "should have at least 1 items",
        ),
        (
            "two certificates",
            "{replicas: 0}",
            "{tls: {secretRef: {name: a}, issuerRef: {name: b}}}",
            "set either secretRef or issuerRef",
        ),
        ("a port out of bounds", "{replicas: 0}", "{service: {port: 70000}}", "spec.gateway.service.port"),
        (
            "an approval without a hold",
            "{effects: [Select]}}",
            "{effects: [Select]}, approval: {}}",
            "approval is only for action Hold",
        ),
        ("no target", "  targetRefs: [{name: orders}]\n", "", "set either targetRefs or resourceSelector"),
    ] {
        let manifest = ORDERS.replace(from, to);
        assert_ne!(manifest, ORDERS, "{what}");
        let error = format!("{:#}", server.apply(&manifest).unwrap_err());
        assert!(error.contains(expected), "{what}: {error}");
    }
    server.apply(ORDERS).unwrap();
}
