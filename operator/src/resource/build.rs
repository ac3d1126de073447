//! Step 3: the objects of a gateway. Pure: the same Resource and settings give the same bytes.
//!
//! Objects are JSON, because that is what is compared with what is there and what is sent.

mod access;
mod deployment;
mod impersonation;
mod network;
mod service;

use super::validate::{Certificate, ValidatedResource};
use crate::args::Settings;
use crate::names;
use serde_json::{Value, json};

/// The objects of a gateway, in the order in which they are applied. The certificate is another matter: it is random.
pub fn build(resource: &ValidatedResource, settings: &Settings, authority: &str) -> Vec<Value> {
    let mut objects = access::build(resource);
    if settings.grants_impersonation_in(&resource.namespace) {
        objects.extend(impersonation::build(resource));
    }
    if resource.certificate == Certificate::Own {
        objects.push(object(
            resource,
            ("v1", "ConfigMap"),
            &names::authority(&resource.name),
            json!({"data": {"ca.crt": authority}}),
        ));
    }
    if let Some(headers) = settings.otlp.as_ref().and_then(|otlp| otlp.headers.as_ref()) {
        objects.push(object(
            resource,
            ("v1", "Secret"),
            &names::otlp(&resource.name),
            json!({"type": "Opaque", "stringData": {"headers": headers}}),
        ));
    }
    if let Certificate::CertManager(issuer) = &resource.certificate {
        objects.push(object(
            resource,
            ("cert-manager.io/v1", "Certificate"),
            &names::certificate(&resource.name),
            json!({"spec": {
                "secretName": names::certificate(&resource.name),
                "dnsNames": resource.dns_names(),
                "usages": ["digital signature", "server auth"],
                "issuerRef": {"group": "cert-manager.io", "kind": issuer.kind, "name": issuer.name},
            }}),
        ));
    }
    objects.push(service::service(resource));
    objects.push(network::build(resource, settings));
    objects.push(service::disruption_budget(resource));
    objects.push(deployment::build(resource, settings));
    objects
}

/// An object that belongs to the Resource: `rest` is everything beside its metadata.
fn object(resource: &ValidatedResource, (version, kind): (&str, &str), name: &str, rest: Value) -> Value {
    let mut object = json!({
        "apiVersion": version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": resource.namespace,
            "labels": names::labels(&resource.name),
            "ownerReferences": [resource.owner],
        },
    });
    if let (Some(object), Value::Object(rest)) = (object.as_object_mut(), rest) {
        object.extend(rest);
    }
    object
}
