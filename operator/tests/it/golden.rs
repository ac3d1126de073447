//! What a gateway is made of, as files to be reviewed. `UPDATE_GOLDEN=1` writes them again.

use clap::Parser as _;
use crds::manifest::{Manifests, to_yaml};
use crds::v1alpha1::ProtectedResource;
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

fn given(resource: ProtectedResource) -> Dereferenced {
    Dereferenced {
        resource: Arc::new(resource),
        missing: Vec::new(),
        policies: Vec::new(),
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
    let export = ["--otlp-endpoint=grpc://otel.monitoring:4317", "--otlp-headers=authorization=Basic%20x"];
    check("every-option", resources("all-options.yaml").remove(0), &settings(&export));
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
