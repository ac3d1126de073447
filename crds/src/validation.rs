//! What a valid object must fulfil besides its types.
//!
//! In a cluster the API server checks the schema. Standalone nobody does, so the same schema is walked here: bounds are
//! written once, on the fields, and cannot differ between the two. Rules that span fields are beside it, by hand.

mod bounds;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use kube::CustomResourceExt;
use serde::Serialize;
use std::sync::OnceLock;

use crate::v1alpha1::{
    ApprovalRequest, Issuer, Policy, PolicySpec, ProtectedResource, ResourceSpec, ResultRecording,
    TransferRecording,
};

/// One thing wrong with an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Path in the object: `spec.postgresql.port`.
    pub path: String,
    /// What is wrong and what was expected. Never holds a value of a Secret.
    pub message: String,
}

impl Problem {
    fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// Checks an object against its schema and the rules across its fields.
pub trait Validate {
    /// Everything that is wrong; empty for a valid object.
    fn validate(&self) -> Vec<Problem>;
}

impl Validate for ProtectedResource {
    fn validate(&self) -> Vec<Problem> {
        static SCHEMA: OnceLock<Option<JSONSchemaProps>> = OnceLock::new();
        let mut problems = check_schema(&SCHEMA, self);
        let spec = &self.spec;
        let set = [spec.postgresql.is_some(), spec.ssh.is_some(), spec.kubernetes.is_some()];
        if set.into_iter().filter(|set| *set).count() != 1 {
            problems.push(Problem::new("spec", "exactly one of postgresql, ssh and kubernetes must be set"));
        }
        check_hosts(spec, &mut problems);
        let recording = &spec.recording;
        if recording.transfers == TransferRecording::Contents
            && recording.results == ResultRecording::Metadata
        {
            problems.push(Problem::new("spec.recording", "transfers: Contents needs results: Full"));
        }
        check_issuers(&self.spec.authentication.issuers, &mut problems);
        problems
    }
}

impl Validate for Policy {
    fn validate(&self) -> Vec<Problem> {
        static SCHEMA: OnceLock<Option<JSONSchemaProps>> = OnceLock::new();
        let mut problems = check_schema(&SCHEMA, self);
        check_programs(&self.spec, &mut problems);
        let message = match (self.spec.target_refs.is_empty(), &self.spec.resource_selector) {
            (true, None) => "set either targetRefs or resourceSelector; both are missing",
            (false, Some(_)) => "set either targetRefs or resourceSelector, not both",
            (true, Some(_)) | (false, None) => return problems,
        };
        problems.push(Problem::new("spec", message));
        problems
    }
}

impl Validate for ApprovalRequest {
    fn validate(&self) -> Vec<Problem> {
        static SCHEMA: OnceLock<Option<JSONSchemaProps>> = OnceLock::new();
        let mut problems = check_schema(&SCHEMA, self);
        if self.spec.expires_at.parse::<jiff::Timestamp>().is_err() {
            problems
                .push(Problem::new("spec.expiresAt", "must be a time like 2026-01-31T12:00:00Z (RFC 3339)"));
        }
        problems
    }
}

fn check_hosts(spec: &ResourceSpec, problems: &mut Vec<Problem>) {
    for (index, host) in spec.ssh.iter().flat_map(|target| &target.hosts).enumerate() {
        if host.host_keys.is_empty() != host.host_keys_ref.is_some() {
            problems
                .push(Problem::new(format!("spec.ssh.hosts[{index}]"), "set either hostKeys or hostKeysRef"));
        }
    }
}

fn check_programs(spec: &PolicySpec, problems: &mut Vec<Problem>) {
    for (index, rule) in spec.rules.iter().enumerate() {
        let set = [rule.postgresql.is_some(), rule.ssh.is_some(), rule.kubernetes.is_some()];
        if set.into_iter().filter(|set| *set).count() > 1 {
            let message = "set at most one of postgresql, ssh and kubernetes";
            problems.push(Problem::new(format!("spec.rules[{index}]"), message));
        }
        let ssh = rule.ssh.iter().map(|stanza| ("ssh", &stanza.commands));
        let kubernetes = rule.kubernetes.iter().map(|stanza| ("kubernetes", &stanza.commands));
        for (stanza, commands) in ssh.chain(kubernetes) {
            for (position, command) in commands.iter().enumerate() {
                let path = format!("spec.rules[{index}].{stanza}.commands[{position}]");
                if command.argv.is_empty() != command.name.is_some() {
                    problems.push(Problem::new(path, "set either name or argv"));
                } else if !command.argv.is_empty() && !command.args.is_empty() {
                    problems.push(Problem::new(path, "args goes with name; argv is whole"));
                }
            }
        }
    }
}

fn check_issuers(issuers: &[Issuer], problems: &mut Vec<Problem>) {
    for (index, issuer) in issuers.iter().enumerate() {
        let path = format!("spec.authentication.issuers[{index}].issuer");
        if !is_secure(&issuer.issuer) {
            problems.push(Problem::new(&path, "must be an https URL; http is only for loopback addresses"));
        }
    }
}

/// Whether keys fetched from this issuer can be trusted: over TLS, or without leaving the machine.
fn is_secure(issuer: &str) -> bool {
    if let Some(rest) = issuer.strip_prefix("https://") {
        return !rest.is_empty() && !rest.starts_with('/');
    }
    let Some(rest) = issuer.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // `http://localhost@evil.example` would go to evil.example.
    if authority.contains('@') {
        return false;
    }
    if let Some(rest) = authority.strip_prefix("[::1]") {
        return rest.is_empty() || rest.starts_with(':');
    }
    let host = authority.split(':').next().unwrap_or_default();
    host == "localhost" || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

fn check_schema<K>(schema: &'static OnceLock<Option<JSONSchemaProps>>, object: &K) -> Vec<Problem>
where
    K: CustomResourceExt + Serialize + kube::Resource,
{
    let mut problems = Vec::new();
    if let Some(problem) = check_name(object.meta().name.as_deref().unwrap_or_default()) {
        problems.push(problem);
    }
    let schema = schema.get_or_init(|| K::crd().spec.versions.into_iter().next()?.schema?.open_api_v3_schema);
    match (schema, serde_json::to_value(object)) {
        (Some(schema), Ok(value)) => bounds::check(schema, &value, &mut problems),
        // Neither can happen to a kind of this crate; unchecked must not mean valid.
        (None, _) | (_, Err(_)) => problems.push(Problem::new("", "cannot be checked against its schema")),
    }
    problems
}

/// Names of Kubernetes objects are DNS subdomains.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names>
pub(crate) fn check_name(name: &str) -> Option<Problem> {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let label = |label: &str| {
        label.bytes().next().is_some_and(alphanumeric)
            && label.bytes().last().is_some_and(alphanumeric)
            && label.bytes().all(|byte| alphanumeric(byte) || byte == b'-')
    };
    let message = if name.is_empty() {
        "must be set"
    } else if name.len() > 253 || !name.split('.').all(label) {
        "must be at most 253 lower-case letters, digits, `-` and `.`, with a letter or digit at each end"
    } else {
        return None;
    };
    Some(Problem::new("metadata.name", message))
}

#[cfg(test)]
mod tests;
