//! What a gateway is made of, as files to be reviewed. `UPDATE_GOLDEN=1` writes them again.

use clap::Parser as _;
use crds::manifest::{Manifests, to_yaml};
use crds::v1alpha1::ProtectedResource;
use kube::core::DeserializeGuard;
use operator::args::{Args, Settings};
use operator::resource::build::build;
use operator::resource::dereference::{Dereferenced, Mention};
use operator::resource::validate::{Invalid, validate};
use std::path::Path;
use std::sync::Arc;

fn settings(more: &[&str]) -> Settings {
    let always = ["portcullis-operator", "--namespace=portcullis-system", "--proxy-image=portcullis-proxy:1"];
    Args::parse_from(always.iter().chain(more)).settings()
}

fn resources(sample: &str) -> Vec<ProtectedResource> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/samples").join(sample);
    let text = std::fs::read_to_string(path).unwrap();
    let mut resources = Manifests::parse(sample, &text).unwrap().resources;
    for resource in &mut resources {
        resource.metadata.uid = Some(format!("uid-of-{}", resource.metadata.name.clone().unwrap()));
        resource.metadata.namespace.get_or_insert_with(|| "shop".to_owned());
    }
    resources
}

/// With the Policies of the sample that name it.
fn given(resource: ProtectedResource) -> Dereferenced {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/samples/all-options.yaml");
    let manifests = Manifests::parse("all-options.yaml", &std::fs::read_to_string(path).unwrap()).unwrap();
    let name = resource.metadata.name.clone().unwrap();
    let policies = manifests.policies.into_iter();
    let policies = policies.filter(|one| one.spec.target_refs.iter().any(|target| target.name == name));
    Dereferenced {
        resource: Arc::new(resource),
        missing: Vec::new(),
        policies: policies.map(|policy| Arc::new(DeserializeGuard(Ok(policy)))).collect(),
        pods: Vec::new(),
        mounts: String::new(),
    }
}

fn check(name: &str, resource: ProtectedResource, settings: &Settings) {
    let given = given(resource);
    let validated = validate(&given).unwrap();
    let built = build(&validated, settings, "certificate of the authority");
    let again = build(&validate(&given).unwrap(), settings, "certificate of the authority");
    assert_eq!(built, again, "{name}: building twice gives the same");
    let documents: Vec<String> = built.iter().map(|object| to_yaml(object).unwrap()).collect();
    let text = documents.join("---\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.yaml"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "{} is stale: run this test with UPDATE_GOLDEN=1", path.display());
}

#[test]
fn a_resource_with_every_default() {
    check("defaults", resources("resource.yaml").remove(0), &settings(&[]));
}

#[test]
fn a_resource_with_every_option() {
    let outside = [
        "--otlp-endpoint=grpc://otel.monitoring:4317",
        "--otlp-headers=authorization=Basic%20x",
        "--archive=s3://audit/prod",
        "--archive-secret=audit-archive",
        "--archive-port=9000",
        "--archive-lock-days=365",
        "--witness=witness.local+a0810e5c+BAJOgBZc+OPqOPzdG5aQltAYZzlrhndqSoNlPHsUfghD http://witness.security:7380",
    ];
    check("every-option", resources("all-options.yaml").remove(0), &settings(&outside));
}

#[test]
fn the_other_alternatives() {
    check("alternatives", resources("all-options.yaml").remove(1), &settings(&[]));
}

#[test]
fn hosts_over_ssh() {
    let mut resource = resources("all-options.yaml").remove(2);
    resource.spec.ssh.as_mut().unwrap().keys_ref = None;
    check("ssh", resource, &settings(&[]));
}

#[test]
fn the_cluster_itself() {
    let resource = own_cluster();
    let granting = ["--grant-impersonation", "--impersonation-namespace=shop"];
    check("kubernetes", resource.clone(), &settings(&granting));
    // a namespace that is not named gets everything else
    let given = given(resource);
    let kinds = |arguments: &[&str]| -> Vec<String> {
        let built = build(&validate(&given).unwrap(), &settings(arguments), "");
        built.iter().map(|object| object["kind"].as_str().unwrap().to_owned()).collect()
    };
    let without: Vec<String> =
        kinds(&granting).into_iter().filter(|kind| !kind.starts_with("Cluster")).collect();
    assert_eq!(without.len() + 2, kinds(&granting).len());
    assert_eq!(kinds(&["--grant-impersonation", "--impersonation-namespace=other"]), without);
    assert_eq!(kinds(&[]), without);
}

#[test]
fn another_cluster() {
    let granting = ["--grant-impersonation", "--impersonation-namespace=shop"];
    check("kubernetes-elsewhere", resources("all-options.yaml").remove(3), &settings(&granting));
}

/// A Resource about the cluster in which its gateway runs.
fn own_cluster() -> ProtectedResource {
    let mut resource = resources("all-options.yaml").remove(3);
    resource.spec.kubernetes.as_mut().unwrap().kubeconfig_ref = None;
    resource
}

#[test]
fn a_port_below_1024_needs_no_capability() {
    let mut resource = resources("resource.yaml").remove(0);
    resource.spec.gateway.service.port = Some(22);
    let validated = validate(&given(resource)).unwrap();
    let built = build(&validated, &settings(&[]), "");
    let deployment = built.iter().find(|object| object["kind"] == "Deployment").unwrap();
    let sysctls = &deployment["spec"]["template"]["spec"]["securityContext"]["sysctls"];
    assert_eq!(sysctls[0]["name"], "net.ipv4.ip_unprivileged_port_start");
}

#[test]
fn what_cannot_be_built_is_located() {
    let mut resource = resources("resource.yaml").remove(0);
    resource.spec.gateway.service.port = Some(0);
    let Err(Invalid::Spec(problems)) = validate(&given(resource.clone())) else { panic!() };
    assert_eq!(problems, ["spec.gateway.service.port: expected a port from 1 to 65535"]);
    resource.spec.gateway.service.port = Some(5432);
    let mut given = given(resource);
    given.missing =
        vec![Mention { kind: None, name: "claim".to_owned(), path: "spec.gateway.spool".to_owned() }];
    assert_eq!(validate(&given).unwrap_err(), Invalid::References(given.missing));
}
