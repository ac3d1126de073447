//! Each Resource with all that it refers to. References stay within the namespace of the object that holds them.

mod references;
mod target;

use super::objects::{Located, Objects};
use super::{Config, IssuerConfig, Problem, ResourceConfig, ResourceKey, quantity};
use crds::v1alpha1::{
    Durability, Policy, ProtectedResource, ResourceSpec, ResultRecording, TransferRecording,
};
use proxy_audit::chunks::{RecipientError, Recipients};
use proxy_audit::retention::Policy as Retention;
use proxy_core::session::Recording;
use proxy_policy::{PolicySet, ResourceFacts};
use references::Lookup;
use rustls::sign::CertifiedKey;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Resolves every Resource.
///
/// # Errors
/// Every problem found.
pub(crate) fn resolve(objects: &Objects) -> Result<Config, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut config = Config::default();
    for resource in &objects.resources {
        match one(resource, objects) {
            Ok(resolved) => {
                config.resources.insert(resource.key(), resolved);
            }
            Err(more) => problems.extend(more),
        }
    }
    problems.extend(shared_ports(&config.resources));
    config.warnings = warnings(objects);
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

fn one(resource: &Located<ProtectedResource>, objects: &Objects) -> Result<ResourceConfig, Vec<Problem>> {
    let spec = &resource.object.spec;
    let mut lookup = Lookup::new(resource, objects);
    let certificate = certificate(spec, &mut lookup);
    let issuers = issuers(spec, &mut lookup);
    let upstream = target::upstream(spec, &mut lookup);
    let recording = recording(spec, &mut lookup);
    let retention = retention(spec, &mut lookup);
    let auditors = auditors(spec, &mut lookup);
    let port = lookup.number("spec.gateway.service.port", spec.gateway_port());
    let max_sessions = lookup.number("spec.gateway.maxSessions", spec.gateway.max_sessions);
    let drain_seconds = lookup.number("spec.gateway.drainSeconds", spec.gateway.drain_seconds);
    let mut problems = lookup.into_problems();
    let policies = match policies(resource, objects) {
        Ok(policies) => Some(policies),
        Err(more) => {
            problems.extend(more);
            None
        }
    };
    match (certificate, upstream, recording, policies, port, max_sessions, drain_seconds) {
        (
            Some(certificate),
            Some(upstream),
            Some(recording),
            Some(policies),
            Some(port),
            Some(max_sessions),
            Some(drain_seconds),
        ) if problems.is_empty() => Ok(ResourceConfig {
            place: resource.place.clone(),
            port,
            max_sessions,
            drain: Duration::from_secs(drain_seconds),
            certificate,
            issuers,
            upstream,
            recording,
            retention,
            auditors,
            policies,
        }),
        _ => Err(problems),
    }
}

/// Outer `None`: a problem was noted; inner: the protocol has keys of its own.
#[expect(clippy::option_option, reason = "absent and not usable are two things")]
fn certificate(spec: &ResourceSpec, lookup: &mut Lookup<'_>) -> Option<Option<Arc<CertifiedKey>>> {
    if spec.ssh.is_some() {
        return Some(None);
    }
    let Some(reference) = spec.gateway.tls.as_ref().and_then(|tls| tls.secret_ref.as_ref()) else {
        lookup.problem(
            "spec.gateway.tls",
            "expected a secretRef to the gateway's certificate: clients send tokens, so TLS is required",
        );
        return None;
    };
    let path = "spec.gateway.tls.secretRef.name";
    let secret = lookup.secret(path, &reference.name)?;
    let chain = lookup.secret_key(path, secret, "tls.crt");
    let key = lookup.secret_key(path, secret, "tls.key");
    match super::pem::certified_key(chain?, key?) {
        Ok(certified) => Some(Some(certified)),
        Err((key, message)) => {
            lookup.problem_in(&secret.place, format!("data.{key}"), message);
            None
        }
    }
}

fn issuers(spec: &ResourceSpec, lookup: &mut Lookup<'_>) -> Vec<IssuerConfig> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    if spec.authentication.issuers.is_empty() {
        lookup.problem("spec.authentication.issuers", "expected at least one issuer");
    }
    for (index, issuer) in spec.authentication.issuers.iter().enumerate() {
        let path = format!("spec.authentication.issuers[{index}]");
        if !trustworthy(&issuer.issuer) {
            lookup.problem(
                format!("{path}.issuer"),
                "expected an https URL, or http on loopback (localhost, 127.0.0.1, [::1])",
            );
        }
        if !seen.insert(&issuer.issuer) {
            lookup.problem(format!("{path}.issuer"), "expected each issuer once");
        }
        if issuer.audiences.is_empty() || issuer.audiences.iter().any(String::is_empty) {
            lookup.problem(format!("{path}.audiences"), "expected at least one audience, none of them empty");
        }
        let authorities = issuer.ca_ref.as_ref().and_then(|reference| {
            let path = format!("{path}.caRef");
            let (place, text) = lookup.key(&path, reference)?;
            if let Err(message) = super::pem::authorities(text) {
                lookup.problem_in(place, format!("data.{}", reference.key), message);
                return None;
            }
            Some(text.to_owned())
        });
        found.push(IssuerConfig {
            issuer: issuer.issuer.clone(),
            audiences: issuer.audiences.clone(),
            username_claim: issuer.claims.username.clone(),
            groups_claim: issuer.claims.groups.clone(),
            authorities,
            introduction: None,
        });
    }
    found
}

/// Keys that arrive over plain HTTP from another host can be anybody's.
fn trustworthy(issuer: &str) -> bool {
    let Some(rest) = issuer.strip_prefix("http://") else {
        return issuer.strip_prefix("https://").is_some_and(|rest| !rest.is_empty());
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, port)| {
        // the last colon of `[::1]` is no port's
        if port.bytes().all(|byte| byte.is_ascii_digit()) { host } else { authority }
    });
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

fn recording(spec: &ResourceSpec, lookup: &mut Lookup<'_>) -> Option<Recording> {
    let Some(max_result_bytes) = quantity::bytes(&spec.recording.max_result_bytes) else {
        lookup.problem("spec.recording.maxResultBytes", "expected a quantity of bytes such as 10Mi");
        return None;
    };
    Some(Recording {
        results: spec.recording.results == ResultRecording::Full,
        max_result_bytes,
        contents: spec.recording.transfers == TransferRecording::Contents,
        durability: match spec.recording.durability {
            Durability::Auto => proxy_core::session::Durability::Auto,
            Durability::Synced => proxy_core::session::Durability::Synced,
        },
    })
}

/// `None` also after a problem was noted.
fn retention(spec: &ResourceSpec, lookup: &mut Lookup<'_>) -> Option<Retention> {
    let parsed = spec.recording.retention.as_deref()?.parse();
    parsed.map_err(|message: String| lookup.problem("spec.recording.retention", message)).ok()
}

/// `None` also after a problem was noted.
fn auditors(spec: &ResourceSpec, lookup: &mut Lookup<'_>) -> Option<Recipients> {
    let keys = &spec.recording.encryption.as_ref()?.recipients;
    match Recipients::parse(keys.iter().map(String::as_str)) {
        Ok(recipients) => Some(recipients),
        Err(error) => {
            let path = match error {
                RecipientError::Malformed { index } => {
                    format!("spec.recording.encryption.recipients[{index}]")
                }
                RecipientError::None => "spec.recording.encryption.recipients".to_owned(),
            };
            lookup.problem(path, error.to_string());
            None
        }
    }
}

fn policies(
    resource: &Located<ProtectedResource>,
    objects: &Objects,
) -> Result<Arc<PolicySet>, Vec<Problem>> {
    let neighbours: Vec<&Located<Policy>> =
        objects.policies.iter().filter(|policy| policy.namespace == resource.namespace).collect();
    let specs: Vec<Policy> = neighbours.iter().map(|policy| policy.object.clone()).collect();
    let compiled = proxy_policy::compile(&facts(resource), &specs).map_err(|problems| {
        let located = problems.into_iter().map(|problem| {
            let place = neighbours.iter().find(|policy| policy.name == problem.policy);
            let place = place.map_or_else(|| resource.place.clone(), |policy| policy.place.clone());
            place.problem(problem.path, problem.message)
        });
        located.collect::<Vec<_>>()
    })?;
    Ok(Arc::new(compiled))
}

fn facts(resource: &Located<ProtectedResource>) -> ResourceFacts {
    ResourceFacts { namespace: resource.namespace.clone(), ..ResourceFacts::of(&resource.object) }
}

fn shared_ports(resources: &BTreeMap<ResourceKey, ResourceConfig>) -> Vec<Problem> {
    let mut owners: BTreeMap<u16, &ResourceKey> = BTreeMap::new();
    let mut problems = Vec::new();
    for (key, resource) in resources.iter().filter(|(_, resource)| resource.port != 0) {
        if let Some(owner) = owners.insert(resource.port, key) {
            problems.push(resource.place.problem(
                "spec.gateway.service.port",
                format!("expected a port of its own: {owner} listens on {} as well", resource.port),
            ));
        }
    }
    problems
}

/// A Policy that names no Resource does no harm and may only be early; but nobody should believe that it binds.
fn warnings(objects: &Objects) -> Vec<Problem> {
    let known: BTreeSet<ResourceKey> = objects.resources.iter().map(Located::key).collect();
    let mut warnings = Vec::new();
    for policy in &objects.policies {
        for (index, target) in policy.object.spec.target_refs.iter().enumerate() {
            let key = ResourceKey { namespace: policy.namespace.clone(), name: target.name.clone() };
            if !known.contains(&key) {
                warnings.push(policy.place.problem(
                    format!("spec.targetRefs[{index}].name"),
                    format!("there is no Resource {key}: the policy binds nothing there"),
                ));
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::trustworthy;

    #[test]
    fn plain_http_is_for_loopback_only() {
        for (issuer, expected) in [
            ("https://idp.example.com", true),
            ("https://", false),
            ("http://127.0.0.1:8080", true),
            ("http://localhost/realms/x", true),
            ("http://[::1]", true),
            ("http://[::1]:80/x", true),
            ("http://idp.example.com", false),
            ("http://localhost.example.com", false),
            ("http://127.0.0.1@example.com", false),
            ("ftp://localhost", false),
            ("", false),
        ] {
            assert_eq!(trustworthy(issuer), expected, "{issuer}");
        }
    }
}
