//! The cluster in which the gateway runs, as its pod is told of it.
//!
//! <https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/>

use crate::config::{KubernetesCredential, KubernetesServer};
use proxy_core::secret::Secret;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::path::{Path, PathBuf};

/// Where the kubelet mounts the pod's account.
const DIRECTORY: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The API server, and where the pod's token is renewed.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) server: KubernetesServer,
    pub(super) token_file: PathBuf,
}

/// The API server of the pod's own cluster.
///
/// # Errors
/// This is no pod, or it has no account mounted; in words for the operator.
pub(super) fn server() -> Result<Own, String> {
    let told = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (Some(host), Some(port)) = (told("KUBERNETES_SERVICE_HOST"), told("KUBERNETES_SERVICE_PORT")) else {
        return Err("expected a kubeconfigRef: this gateway does not run in a cluster".to_owned());
    };
    at(&host, &port, Path::new(DIRECTORY))
}

fn at(host: &str, port: &str, directory: &Path) -> Result<Own, String> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let authorities = CertificateDer::pem_file_iter(directory.join("ca.crt"))
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("read the cluster's authority: {error}"))?;
    let server = KubernetesServer {
        url: format!("https://{host}:{port}"),
        authorities: Some(authorities),
        server_name: None,
        // read from its file for each request
        credential: KubernetesCredential::Token(Secret::new(String::new())),
    };
    Ok(Own { server, token_file: directory.join("token") })
}

#[cfg(test)]
mod tests {
    use super::at;

    #[test]
    fn a_pod_reaches_its_own_api_server() {
        let directory = tempfile::tempdir().unwrap();
        assert!(at("10.0.0.1", "443", directory.path()).is_err(), "no authority is mounted");
        let key = rcgen::generate_simple_self_signed(["kubernetes".to_owned()]).unwrap();
        std::fs::write(directory.path().join("ca.crt"), key.cert.pem()).unwrap();
        assert_eq!(at("10.0.0.1", "443", directory.path()).unwrap().server.url, "https://10.0.0.1:443");
        let own = at("fd00::1", "6443", directory.path()).unwrap();
        assert_eq!(own.server.url, "https://[fd00::1]:6443");
        assert_eq!(own.server.authorities.unwrap().len(), 1);
    }
}
