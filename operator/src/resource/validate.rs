//! Step 2: a Resource that can be built, or why not. Pure.

mod impersonation;

pub use impersonation::{Impersonation, Names};

use super::dereference::{Dereferenced, Mention, MountKind, mentioned};
use crate::names;
use crds::v1alpha1::{IssuerRef, ProtectedResource, ResourceSpec, ServiceType, SpoolVolume};
use crds::validation::Validate as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource as _;
use std::collections::BTreeSet;

/// Everything that building needs; nothing of it can be wrong any more.
#[derive(Clone, Debug)]
pub struct ValidatedResource {
    /// Name of the Resource.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
    /// Makes an object the Resource's.
    pub owner: OwnerReference,
    /// Name of the protocol, of the Service's port.
    pub protocol: &'static str,
    /// TCP port of the gateway.
    pub port: u16,
    /// Kind of Service.
    pub service: ServiceType,
    /// How many pods.
    pub replicas: i32,
    /// Seconds that sessions may go on after the gateway was told to stop.
    pub drain_seconds: i64,
    /// Where the audit log is.
    pub spool: SpoolVolume,
    /// Whose certificate the gateway has.
    pub certificate: Certificate,
    /// What is mounted into the pods, without its certificate.
    pub mounts: BTreeSet<(MountKind, String)>,
    /// TCP ports that gateways connect to, beside DNS and the API server.
    pub egress: BTreeSet<u16>,
    /// As whom the gateway has to act in the cluster in which it runs; `None`: it acts in no such way there.
    pub impersonation: Option<Impersonation>,
    /// The Secret with the kubeconfig of another cluster in which the gateway acts.
    pub elsewhere: Option<String>,
}

/// Where a gateway's certificate comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Certificate {
    /// A Secret that somebody else looks after.
    Referenced(String),
    /// cert-manager issues it.
    CertManager(IssuerRef),
    /// The operator's authority issues it.
    Own,
    /// None: the operator makes keys for SSH, once.
    SshKeys,
}

/// Why a Resource cannot be built. What runs stays as it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Invalid {
    /// The spec is wrong: path and message of each problem.
    Spec(Vec<String>),
    /// It names what is not there.
    References(Vec<Mention>),
}

/// Checks a Resource.
///
/// # Errors
/// What is wrong.
pub fn validate(given: &Dereferenced) -> Result<ValidatedResource, Invalid> {
    let resource = &*given.resource;
    let mut problems: Vec<String> = resource
        .validate()
        .into_iter()
        .map(|problem| format!("{}: {}", problem.path, problem.message))
        .collect();
    let gateway = &resource.spec.gateway;
    let port = u16::try_from(resource.spec.gateway_port()).ok().filter(|port| *port > 0);
    if port.is_none() {
        problems.push("spec.gateway.service.port: expected a port from 1 to 65535".to_owned());
    }
    let egress = egress(resource);
    let (Some(port), Some(owner)) =
        (port.filter(|_| problems.is_empty()), resource.controller_owner_ref(&()))
    else {
        return Err(Invalid::Spec(problems));
    };
    if !given.missing.is_empty() {
        return Err(Invalid::References(given.missing.clone()));
    }
    Ok(ValidatedResource {
        name: resource.metadata.name.clone().unwrap_or_default(),
        namespace: resource.metadata.namespace.clone().unwrap_or_default(),
        uid: owner.uid.clone(),
        owner,
        protocol: resource.spec.protocol(),
        port,
        service: gateway.service.type_,
        replicas: gateway.replicas,
        drain_seconds: i64::from(gateway.drain_seconds),
        spool: gateway.spool.clone().unwrap_or_default(),
        certificate: certificate(&resource.spec),
        mounts: mounts(resource),
        egress,
        impersonation: Impersonation::of(given),
        elsewhere: elsewhere(given),
    })
}

fn elsewhere(given: &Dereferenced) -> Option<String> {
    let target = given.resource.spec.kubernetes.as_ref()?;
    target.kubeconfig_ref.as_ref().map(|kubeconfig| kubeconfig.name.clone())
}

fn certificate(spec: &ResourceSpec) -> Certificate {
    if let Some(target) = &spec.ssh {
        let referenced = target.keys_ref.as_ref().map(|keys| Certificate::Referenced(keys.name.clone()));
        return referenced.unwrap_or(Certificate::SshKeys);
    }
    let Some(tls) = &spec.gateway.tls else { return Certificate::Own };
    match (&tls.secret_ref, &tls.issuer_ref) {
        (Some(secret), _) => Certificate::Referenced(secret.name.clone()),
        (None, Some(issuer)) => Certificate::CertManager(issuer.clone()),
        (None, None) => Certificate::Own,
    }
}

fn mounts(resource: &ProtectedResource) -> BTreeSet<(MountKind, String)> {
    let all = mentioned(&resource.spec).into_iter();
    all.filter_map(|mention| Some((mention.kind?, mention.name))).collect()
}

fn egress(resource: &ProtectedResource) -> BTreeSet<u16> {
    let spec = &resource.spec;
    let postgresql = spec.postgresql.iter().map(|target| target.port);
    let ssh = spec.ssh.iter().flat_map(|target| &target.hosts).map(|host| host.port);
    let upstream = postgresql.chain(ssh).filter_map(|port| u16::try_from(port).ok());
    let issuers = spec.authentication.issuers.iter().map(|issuer| port_of(&issuer.issuer));
    upstream.chain(issuers).collect()
}

/// The port of a URL.
pub(super) fn port_of(url: &str) -> u16 {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let default = match scheme {
        "http" => 80,
        "grpc" | "grpcs" => 4317,
        _ => 443,
    };
    authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(default)
}

impl ValidatedResource {
    /// Name of the gateway's objects.
    pub fn gateway(&self) -> String {
        names::gateway(&self.name)
    }

    /// Secret with what the gateway proves itself by: its certificate, or its keys for SSH.
    pub fn certificate_secret(&self) -> String {
        match &self.certificate {
            Certificate::Referenced(name) => name.clone(),
            Certificate::CertManager(_) | Certificate::Own => names::certificate(&self.name),
            Certificate::SshKeys => names::ssh_keys(&self.name),
        }
    }

    /// DNS names of the Service; `localhost` is for `kubectl port-forward`.
    pub fn dns_names(&self) -> Vec<String> {
        let (gateway, namespace) = (self.gateway(), &self.namespace);
        vec![
            format!("{gateway}.{namespace}.svc"),
            format!("{gateway}.{namespace}.svc.cluster.local"),
            format!("{gateway}.{namespace}"),
            gateway,
            "localhost".to_owned(),
        ]
    }

    /// Where clients reach the gateway.
    pub fn endpoint(&self) -> String {
        format!("{}.{}.svc:{}", self.gateway(), self.namespace, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::port_of;

    #[test]
    fn a_port_is_the_one_of_the_url() {
        for (url, port) in [
            ("https://idp.example.com", 443),
            ("https://idp.example.com:8443/realms/x", 8443),
            ("http://127.0.0.1:8080", 8080),
            ("http://[::1]/x", 80),
            ("grpc://otel.monitoring", 4317),
            ("grpc://otel.monitoring:4318", 4318),
        ] {
            assert_eq!(port_of(url), port, "{url}");
        }
    }
}
