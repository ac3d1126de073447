//! The `ssh` stanza of a Resource.

use super::super::references::Lookup;
use crate::config::{SshHostConfig, SshLogin, SshRoleConfig, SshUpstream};
use crds::v1alpha1::{SshHost, SshRole, SshTarget};
use proxy_core::secret::Secret;
use std::collections::BTreeMap;

/// Key of a Secret: a private key in OpenSSH's format (`kubernetes.io/ssh-auth` calls it so too).
const PRIVATE_KEY: &str = "ssh-privatekey";

pub(super) fn upstream(target: &SshTarget, lookup: &mut Lookup<'_>) -> Option<SshUpstream> {
    let mut hosts = Vec::new();
    for (index, host) in target.hosts.iter().enumerate() {
        if hosts.iter().any(|other: &SshHostConfig| other.name == host.name) {
            lookup.problem(format!("spec.ssh.hosts[{index}].name"), "expected each host once");
        }
        hosts.extend(host_config(index, host, lookup));
    }
    let mut roles = BTreeMap::new();
    for (index, role) in target.roles.iter().enumerate() {
        if let Some(login) = role_config(index, role, lookup)
            && roles.insert(role.name.clone(), login).is_some()
        {
            lookup.problem(format!("spec.ssh.roles[{index}].name"), "expected each role once");
        }
    }
    if target.hosts.is_empty() {
        lookup.problem("spec.ssh.hosts", "expected at least one host");
    }
    if target.roles.is_empty() {
        lookup.problem("spec.ssh.roles", "expected at least one role");
    }
    let path = "spec.ssh.keysRef.name";
    let Some(reference) = &target.keys_ref else {
        lookup.problem("spec.ssh.keysRef", "expected a Secret with the gateway's own key, ssh-hostkey");
        return None;
    };
    let secret = lookup.secret(path, &reference.name)?;
    let host_key = lookup.secret_key(path, secret, "ssh-hostkey")?.to_owned();
    let authority = secret.object.get("ssh-ca").map(|key| Secret::new(key.expose().clone()));
    Some(SshUpstream { hosts, roles, host_key: Secret::new(host_key), authority })
}

fn host_config(index: usize, host: &SshHost, lookup: &mut Lookup<'_>) -> Option<SshHostConfig> {
    let path = format!("spec.ssh.hosts[{index}]");
    let port: Option<u16> = lookup.number(&format!("{path}.port"), host.port).filter(|port| *port != 0);
    if port.is_none() {
        lookup.problem(format!("{path}.port"), "expected a port from 1 to 65535");
    }
    let keys = match &host.host_keys_ref {
        None => host.host_keys.clone(),
        Some(reference) => {
            let (_, text) = lookup.key(&format!("{path}.hostKeysRef"), reference)?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            lines.map(str::to_owned).collect()
        }
    };
    if keys.is_empty() {
        lookup.problem(format!("{path}.hostKeys"), "expected at least one public key of the host");
    }
    Some(SshHostConfig { name: host.name.clone(), host: host.host.clone(), port: port?, keys })
}

fn role_config(index: usize, role: &SshRole, lookup: &mut Lookup<'_>) -> Option<SshRoleConfig> {
    let path = format!("spec.ssh.roles[{index}].credentialsRef.name");
    let secret = lookup.secret(&path, &role.credentials_ref.name)?;
    let username = lookup.secret_key(&path, secret, "username")?.to_owned();
    if secret.object.contains_key(PRIVATE_KEY) {
        let key = Secret::new(lookup.secret_key(&path, secret, PRIVATE_KEY)?.to_owned());
        let certificate = secret.object.get("ssh-certificate").map(|text| text.expose().clone());
        return Some(SshRoleConfig { username, login: SshLogin::Key { key, certificate } });
    }
    if !secret.object.contains_key("password") {
        let message = format!("expected Secret {} to have the key {PRIVATE_KEY} or password", secret.name);
        lookup.problem(path, message);
        return None;
    }
    let password = lookup.secret_key(&path, secret, "password")?.to_owned();
    Some(SshRoleConfig { username, login: SshLogin::Password(Secret::new(password)) })
}
