//! The stanza of a Resource's spec that says what is protected.

mod kubernetes;
mod ssh;

use super::references::Lookup;
use crate::config::{Credential, PostgresqlUpstream, Upstream};
use crds::v1alpha1::{PostgresqlRole, PostgresqlTarget, ResourceSpec};
use proxy_core::secret::Secret;
use std::collections::BTreeMap;

/// The server behind the gateway.
pub(super) fn upstream(spec: &ResourceSpec, lookup: &mut Lookup<'_>) -> Option<Upstream> {
    match (&spec.postgresql, &spec.ssh, &spec.kubernetes) {
        (Some(target), None, None) => postgresql(target, lookup).map(Upstream::Postgresql),
        (None, Some(target), None) => ssh::upstream(target, lookup).map(Upstream::Ssh),
        (None, None, Some(target)) => kubernetes::upstream(target, lookup).map(Upstream::Kubernetes),
        _ => {
            lookup.problem("spec", "expected exactly one protocol stanza: postgresql, ssh or kubernetes");
            None
        }
    }
}

fn postgresql(target: &PostgresqlTarget, lookup: &mut Lookup<'_>) -> Option<PostgresqlUpstream> {
    if target.host.is_empty() {
        lookup.problem("spec.postgresql.host", "expected a DNS name or address");
    }
    let port = lookup.number("spec.postgresql.port", target.port).filter(|port| *port != 0);
    if port.is_none() {
        lookup.problem("spec.postgresql.port", "expected a port from 1 to 65535");
    }
    if target.roles.is_empty() {
        lookup.problem("spec.postgresql.roles", "expected at least one role");
    }
    let mut roles = BTreeMap::new();
    for (index, role) in target.roles.iter().enumerate() {
        if let Some(credential) = credential(index, role, lookup)
            && roles.insert(role.name.clone(), credential).is_some()
        {
            lookup.problem(format!("spec.postgresql.roles[{index}].name"), "expected each role once");
        }
    }
    let authorities = match &target.tls.ca_ref {
        None => None,
        Some(reference) => {
            let path = "spec.postgresql.tls.caRef";
            let (place, text) = lookup.key(path, reference)?;
            match super::super::pem::authorities(text) {
                Ok(authorities) => Some(authorities),
                Err(message) => {
                    lookup.problem_in(place, format!("data.{}", reference.key), message);
                    None
                }
            }
        }
    };
    Some(PostgresqlUpstream {
        host: target.host.clone(),
        port: port?,
        tls: target.tls.mode,
        authorities,
        roles,
    })
}

fn credential(index: usize, role: &PostgresqlRole, lookup: &mut Lookup<'_>) -> Option<Credential> {
    let path = format!("spec.postgresql.roles[{index}].credentialsRef.name");
    let secret = lookup.secret(&path, &role.credentials_ref.name)?;
    let username = lookup.secret_key(&path, secret, "username");
    let password = lookup.secret_key(&path, secret, "password");
    Some(Credential { username: username?.to_owned(), password: Secret::new(password?.to_owned()) })
}
