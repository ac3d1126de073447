//! A cluster that this program asks. Which one, and as whom: the options and the order that kubectl has.

use anyhow::{Context as _, anyhow, ensure};
use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(30);

/// A cluster, and a namespace of it.
pub(crate) struct Cluster {
    /// What asks.
    pub(crate) runtime: Runtime,
    /// To ask with.
    pub(crate) client: Client,
    /// The API server's address, for error messages.
    pub(crate) server: String,
    /// The namespace that is meant.
    pub(crate) namespace: String,
}

impl Cluster {
    /// Finds the cluster that is meant. Nothing is asked of it yet.
    ///
    /// # Errors
    /// Nothing says which one is meant, or it cannot be used.
    pub(crate) fn connect(arguments: &KubernetesArguments) -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().context("start the runtime")?;
        let config = runtime.block_on(arguments.config())?;
        let (server, namespace) = (config.cluster_url.to_string(), config.default_namespace.clone());
        // The client starts a task of its own.
        let client = {
            let _inside = runtime.enter();
            Client::try_from(config).with_context(|| format!("prepare to ask the API server at {server}"))?
        };
        Ok(Self { runtime, client, server, namespace })
    }
}

/// Whether an object can have this name. A name becomes part of an address.
pub(crate) fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty() && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    name.split('.').all(label)
}

/// The cause of all causes: those above repeat it.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// Names of the arguments below.
pub(crate) const OPTIONS: [&str; 5] =
    ["kubeconfig", "context", "namespace", "impersonated", "impersonated_groups"];

/// How to reach the cluster, as kubectl is told.
#[derive(Args, Debug)]
pub(crate) struct KubernetesArguments {
    /// Kubeconfig. Omitted: `KUBECONFIG`, else `~/.kube/config`, else the pod's own service account.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig. Omitted: its current one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Namespace. Omitted: the context's.
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// Act as this user; takes the right to impersonate it.
    #[arg(long = "as", value_name = "USER")]
    impersonated: Option<String>,
    /// Act as a member of this group; may be given several times.
    #[arg(long = "as-group", value_name = "GROUP", requires = "impersonated")]
    impersonated_groups: Vec<String>,
}

impl KubernetesArguments {
    /// Whether the command line speaks of a cluster.
    pub(crate) const fn are_given(&self) -> bool {
        self.kubeconfig.is_some()
            || self.context.is_some()
            || self.namespace.is_some()
            || self.impersonated.is_some()
    }

    /// How to reach the cluster.
    async fn config(&self) -> anyhow::Result<Config> {
        let mut config = match self.of_kubeconfig().await {
            Ok(config) => config,
            Err(error) if self.kubeconfig.is_none() && self.context.is_none() && is_missing(&error) => {
                Config::incluster().or(Err(nowhere(&error)))?
            }
            Err(error) => return Err(error).context("read the kubeconfig"),
        };
        direct(&mut config)?;
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(ANSWER);
        config.reset_reader_on_write = true;
        if let Some(namespace) = &self.namespace {
            ensure!(
                is_name(namespace) && !namespace.contains('.'),
                "no namespace can be called {namespace:?}"
            );
            config.default_namespace.clone_from(namespace);
        }
        if let Some(user) = &self.impersonated {
            config.auth_info.impersonate = Some(user.clone());
            config.auth_info.impersonate_groups = Some(self.impersonated_groups.clone());
        }
        Ok(config)
    }

    async fn of_kubeconfig(&self) -> Result<Config, KubeconfigError> {
        let kubeconfig = match &self.kubeconfig {
            Some(file) => Kubeconfig::read_from(file)?,
            None => Kubeconfig::read()?,
        };
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        Config::from_custom_kubeconfig(kubeconfig, &options).await
    }
}

/// Leaves the proxy out where `NO_PROXY` says so, and complains about one that is needed.
fn direct(config: &mut Config) -> anyhow::Result<()> {
    let host = config.cluster_url.host().unwrap_or_default();
    let exceptions = ["NO_PROXY", "no_proxy"].into_iter().filter_map(|name| std::env::var(name).ok());
    let excepted = is_loopback(host) || exceptions.into_iter().any(|hosts| excepts(&hosts, host));
    ensure!(
        config.proxy_url.is_none() || excepted,
        "a proxy leads to {host} (HTTPS_PROXY, or proxy-url in the kubeconfig), and this program cannot go through one: \
         name the host in NO_PROXY if it can be reached directly, or decide with kubectl patch"
    );
    config.proxy_url = None;
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Whether a list as of `NO_PROXY` names the host or a domain that it is in. Ranges of addresses are not understood.
fn excepts(hosts: &str, host: &str) -> bool {
    hosts.split(',').map(|name| name.trim().trim_start_matches('.')).filter(|name| !name.is_empty()).any(
        |name| {
            name == "*" || host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        },
    )
}

/// Whether there is no kubeconfig, rather than a wrong one.
fn is_missing(error: &KubeconfigError) -> bool {
    if let KubeconfigError::ReadConfig(error, _) = error {
        return error.kind() == ErrorKind::NotFound;
    }
    matches!(error, KubeconfigError::FindPath | KubeconfigError::CurrentContextNotSet)
}

fn nowhere(error: &KubeconfigError) -> anyhow::Error {
    anyhow!(
        "which cluster is meant? Give --kubeconfig FILE and --context NAME, or set KUBECONFIG ({error}). For approval \
         requests of a gateway without Kubernetes: give --state DIR, or set PORTCULLIS_STATE"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_left_out_for_hosts_and_domains_that_are_named() {
        for (hosts, host, expected) in [
            ("", "api.example", false),
            ("*", "api.example", true),
            ("internal, .api.example", "eu.api.example", true),
            ("api.example", "api.example", true),
            ("api.example", "evil-api.example", false),
            ("10.0.0.1", "10.0.0.1", true),
        ] {
            assert_eq!(excepts(hosts, host), expected, "{hosts:?} {host}");
        }
        assert!(is_name("orders-k3x9qf") && is_name("orders.eu-1"));
        for name in ["", ".", "..", "../pods", "a/b", "a?b", "A", "a..b", "%2e"] {
            assert!(!is_name(name), "{name}");
        }
        assert!(is_loopback("127.0.0.1") && is_loopback("[::1]") && is_loopback("localhost"));
        assert!(!is_loopback("10.0.0.1") && !is_loopback("localhost.example"));
    }

    #[test]
    fn a_proxy_that_is_needed_is_complained_about() {
        let mut config = Config::new("https://api.example:6443".parse().unwrap());
        direct(&mut config).unwrap();
        config.proxy_url = Some("http://proxy.example:3128".parse().unwrap());
        assert!(direct(&mut config).unwrap_err().to_string().contains("NO_PROXY"));
        config.cluster_url = "https://127.0.0.1:6443".parse().unwrap();
        direct(&mut config).unwrap();
        assert_eq!(config.proxy_url, None);
    }
}
