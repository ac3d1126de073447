//! The `kubernetes` stanza of a Resource.

use super::super::references::Lookup;
use crate::config::pem;
use crate::config::{KubernetesCluster, KubernetesCredential, KubernetesServer, KubernetesUpstream};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crds::v1alpha1::{KubeconfigRef, KubernetesTarget};
use kube::config::{AuthInfo, Cluster, Kubeconfig};
use proxy_core::secret::Secret;
use std::time::Duration;

pub(super) fn upstream(target: &KubernetesTarget, lookup: &mut Lookup<'_>) -> Option<KubernetesUpstream> {
    let cluster = match &target.kubeconfig_ref {
        None => KubernetesCluster::Own,
        Some(reference) => KubernetesCluster::Other(other(reference, lookup)?),
    };
    // shorter than claiming an approval takes, none would ever be claimed
    let hold_seconds = target.hold_seconds;
    if !(5..=86_400).contains(&hold_seconds) {
        lookup.problem("spec.kubernetes.holdSeconds", "must be from 5 to 86400");
        return None;
    }
    let hold_seconds: u64 = lookup.number("spec.kubernetes.holdSeconds", hold_seconds)?;
    Some(KubernetesUpstream {
        cluster,
        username_prefix: target.username_prefix.clone().unwrap_or_default(),
        groups_prefix: target.groups_prefix.clone().unwrap_or_default(),
        groups: target.groups.as_ref().map(|groups| groups.iter().cloned().collect()),
        hold_wait: Duration::from_secs(hold_seconds),
    })
}

/// The current context of a kubeconfig. Everything has to be inside it: the gateway runs no plugin and opens no file
/// that an author names.
fn other(reference: &KubeconfigRef, lookup: &mut Lookup<'_>) -> Option<KubernetesServer> {
    let path = "spec.kubernetes.kubeconfigRef.name";
    let secret = lookup.secret(path, &reference.name)?;
    let text = lookup.secret_key(path, secret, &reference.key)?;
    match server(text) {
        Ok(server) => Some(server),
        Err(message) => {
            lookup.problem_in(&secret.place, format!("data.{}", reference.key), message);
            None
        }
    }
}

/// Messages never hold anything of the text but names.
fn server(text: &str) -> Result<KubernetesServer, String> {
    let config = Kubeconfig::from_yaml(text).or(Err("expected a kubeconfig in YAML".to_owned()))?;
    let wanted = config.current_context.as_deref().unwrap_or_default();
    let context = config.contexts.iter().find(|context| context.name == wanted);
    let context = context.and_then(|context| context.context.as_ref());
    let context = context.ok_or("expected current-context to name one of its contexts")?;
    let cluster = config.clusters.iter().find(|cluster| cluster.name == context.cluster);
    let cluster = cluster.and_then(|cluster| cluster.cluster.as_ref());
    let cluster = cluster.ok_or("expected the context's cluster to be there")?;
    let user = config.auth_infos.iter().find(|user| Some(&user.name) == context.user.as_ref());
    let user = user.and_then(|user| user.auth_info.as_ref());
    let user = user.ok_or("expected the context's user to be there")?;
    Ok(KubernetesServer {
        url: url(cluster)?,
        authorities: authorities(cluster)?,
        server_name: cluster.tls_server_name.clone(),
        credential: credential(user)?,
    })
}

fn url(cluster: &Cluster) -> Result<String, String> {
    if cluster.insecure_skip_tls_verify == Some(true) {
        return Err("insecure-skip-tls-verify: expected certificate-authority-data instead".to_owned());
    }
    if cluster.certificate_authority.is_some() {
        return Err("certificate-authority names a file: expected certificate-authority-data".to_owned());
    }
    let url = cluster.server.clone().unwrap_or_default();
    if url.starts_with("https://") { Ok(url) } else { Err("server: expected an https URL".to_owned()) }
}

fn authorities(cluster: &Cluster) -> Result<Option<Vec<rustls::pki_types::CertificateDer<'static>>>, String> {
    let Some(data) = &cluster.certificate_authority_data else { return Ok(None) };
    pem::authorities(&decoded("certificate-authority-data", data)?).map(Some)
}

fn credential(user: &AuthInfo) -> Result<KubernetesCredential, String> {
    use secrecy::ExposeSecret as _;
    let outside = [
        ("exec", user.exec.is_some()),
        ("auth-provider", user.auth_provider.is_some()),
        ("tokenFile", user.token_file.is_some()),
        ("client-certificate", user.client_certificate.is_some()),
        ("client-key", user.client_key.is_some()),
    ];
    if let Some((field, _)) = outside.into_iter().find(|(_, set)| *set) {
        return Err(format!("{field}: expected token, or client-certificate-data and client-key-data"));
    }
    if let Some(token) = &user.token {
        return Ok(KubernetesCredential::Token(Secret::new(token.expose_secret().to_owned())));
    }
    let (Some(chain), Some(key)) = (&user.client_certificate_data, &user.client_key_data) else {
        return Err("expected token, or client-certificate-data and client-key-data".to_owned());
    };
    let chain = decoded("client-certificate-data", chain)?;
    let key = decoded("client-key-data", key.expose_secret())?;
    let certified = pem::certified_key(&chain, &key);
    let certified = certified.map_err(|(_, message)| format!("client-certificate-data: {message}"))?;
    Ok(KubernetesCredential::Certificate(certified))
}

fn decoded(field: &str, data: &str) -> Result<String, String> {
    let bytes = STANDARD.decode(data.trim()).or(Err(format!("{field}: expected base64")))?;
    String::from_utf8(bytes).or(Err(format!("{field}: expected PEM in base64")))
}
