//! The service account of the gateway's own pod, and what it is shown to beside the API server's own interface: the
//! cluster as an issuer of tokens, which publishes its keys to those it knows only.
//!
//! Its token goes nowhere but to the API server. So the name is one that the cluster's own DNS answers, and the
//! certificate is checked with the cluster's own authority, whatever the Resource says.

use crate::config::IssuerConfig;
use proxy_core::authn::Introduction;
use std::path::{Path, PathBuf};

/// Where the kubelet mounts it.
const DIRECTORY: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Names of the API server in every cluster of the default domain.
const HOSTS: [&str; 2] = ["kubernetes.default.svc", "kubernetes.default.svc.cluster.local"];
/// Where an API server publishes its keys. Its discovery document names an address of its own choice before it.
const KEYS_PATH: &str = "/openid/v1/jwks";

/// A mounted service account.
#[derive(Debug)]
pub(super) struct Account {
    directory: PathBuf,
}

impl Default for Account {
    fn default() -> Self {
        Self { directory: PathBuf::from(DIRECTORY) }
    }
}

impl Account {
    /// Has the gateway identify itself to this issuer, if it is the cluster. Nothing changes outside a pod, or if the
    /// Resource names another authority than the cluster's.
    pub(super) fn introduce(&self, issuer: &mut IssuerConfig) {
        if !is_cluster(&issuer.issuer) {
            return;
        }
        let Some(authority) = read(&self.directory.join("ca.crt")) else { return };
        if issuer.authorities.as_ref().is_some_and(|named| named.trim() != authority.trim()) {
            return;
        }
        issuer.authorities = Some(authority);
        issuer.introduction =
            Some(Introduction { token_file: self.directory.join("token"), keys_path: KEYS_PATH });
    }
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn is_cluster(issuer: &str) -> bool {
    let rest = issuer.strip_prefix("https://").map(|rest| rest.trim_end_matches('/'));
    rest.is_some_and(|host| HOSTS.contains(&host.strip_suffix(":443").unwrap_or(host)))
}

#[cfg(test)]
mod tests {
    use super::Account;
    use crate::config::IssuerConfig;

    fn introduced(issuer: &str, authorities: Option<&str>) -> IssuerConfig {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.crt"), "the cluster's\n").unwrap();
        let mut config = IssuerConfig {
            issuer: issuer.to_owned(),
            audiences: Vec::new(),
            username_claim: "sub".to_owned(),
            groups_claim: "groups".to_owned(),
            authorities: authorities.map(str::to_owned),
            introduction: None,
        };
        Account { directory: directory.path().to_owned() }.introduce(&mut config);
        config
    }

    #[test]
    fn the_pods_token_is_for_the_cluster_alone_under_the_clusters_authority() {
        for issuer in [
            "https://kubernetes.default.svc",
            "https://kubernetes.default.svc/",
            "https://kubernetes.default.svc:443",
            "https://kubernetes.default.svc.cluster.local",
        ] {
            for authorities in [None, Some("the cluster's")] {
                let config = introduced(issuer, authorities);
                assert!(config.introduction.is_some(), "{issuer} {authorities:?}");
                assert_eq!(config.authorities.as_deref().map(str::trim), Some("the cluster's"));
            }
            let config = introduced(issuer, Some("somebody's"));
            assert!(config.introduction.is_none() && config.authorities.as_deref() == Some("somebody's"));
        }
        for issuer in [
            "https://kubernetes.default.svc.evil.example",
            "https://kubernetes.default.svc@evil.example",
            "https://kubernetes.default.svc:6443",
            "https://kubernetes.default.svc/realm",
            "http://kubernetes.default.svc",
            "https://idp.example.com",
        ] {
            let config = introduced(issuer, None);
            assert!(config.introduction.is_none() && config.authorities.is_none(), "{issuer}");
        }
    }
}
