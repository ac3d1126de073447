//! What the command line and the environment say.

use clap::{Parser, ValueEnum};
use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Reconciles Resources into gateways, and gives Policies and ApprovalRequests their status.
///
/// Of several replicas one works, the others wait for its lease. Ends after SIGTERM or SIGINT, giving the lease back;
/// gateways go on without it, but no approval counts while none runs.
#[derive(Clone, Parser)]
#[command(name = "portcullis-operator", version, after_help = EXIT_CODES)]
pub struct Args {
    /// Namespace of the operator itself: its lease, its certificate authority, and what proves the admission policy.
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE")]
    pub namespace: String,

    /// Namespaces whose objects are reconciled. Omitted: all.
    #[arg(long, value_name = "NAMESPACE", env = "PORTCULLIS_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespace: Vec<String>,

    /// Let gateways act as their agents in this cluster, where a Resource is about it: look after a `ClusterRole` and a
    /// binding for each. The operator can grant no more than it may do itself.
    #[arg(long)]
    pub grant_impersonation: bool,

    /// Namespaces whose Resources get that. Whoever may start a pod there can act as whoever the gateway can. Omitted:
    /// none, and what was granted is taken back.
    #[arg(long, value_name = "NAMESPACE", requires = "grant_impersonation")]
    pub impersonation_namespace: Vec<String>,

    /// Image of the gateway's pods.
    #[arg(long, value_name = "IMAGE", env = "PORTCULLIS_PROXY_IMAGE")]
    pub proxy_image: String,

    /// When nodes pull that image.
    #[arg(
        long,
        value_name = "POLICY",
        value_enum,
        default_value_t = PullPolicy::IfNotPresent,
        env = "PORTCULLIS_PROXY_IMAGE_PULL_POLICY"
    )]
    pub proxy_image_pull_policy: PullPolicy,

    /// First part of an audit log's origin: names the cluster in records and checkpoints.
    #[arg(long, value_name = "NAME", default_value = "kubernetes", env = "PORTCULLIS_CLUSTER")]
    pub cluster: String,

    /// Witness that cosigns checkpoints of the gateways' audit logs, `VKEY URL`. May be given again, or several with
    /// commas between. Omitted: nobody outside knows what the logs are.
    #[arg(long, value_name = "VKEY URL", env = "PORTCULLIS_WITNESS", value_delimiter = ',', value_parser = witness)]
    pub witness: Vec<String>,

    /// OpenTelemetry Collector that gateways send a copy of their audit logs to: grpc://, grpcs://, http:// or
    /// https://. Omitted: no copy is sent.
    #[arg(long, value_name = "URL", env = "PORTCULLIS_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,

    /// Protocol of an http:// or https:// endpoint: `grpc` or `http/protobuf`. Omitted: `http/protobuf`.
    #[arg(long, value_name = "PROTOCOL", env = "PORTCULLIS_OTLP_PROTOCOL")]
    pub otlp_protocol: Option<String>,

    /// Headers of export requests, `name=value,name=value`. Values are secrets: better given in the environment.
    #[arg(long, value_name = "HEADERS", env = "PORTCULLIS_OTLP_HEADERS", hide_env_values = true)]
    pub otlp_headers: Option<String>,

    /// Object store that gateways deliver their audit logs to, as they are: `s3://BUCKET[/PREFIX]`,
    /// `gs://BUCKET[/PREFIX]` or `az://CONTAINER[/PREFIX]`. Omitted: the logs stay on the gateways' volumes.
    #[arg(long, value_name = "URL", env = "PORTCULLIS_ARCHIVE", value_parser = archive_url)]
    pub archive: Option<String>,

    /// Secret in the namespace of each Resource whose keys become environment variables of its gateway: the archive's
    /// credentials (AWS_*, GOOGLE_*, AZURE_*). Omitted: what the nodes or the pods' identity give.
    #[arg(long, value_name = "NAME", env = "PORTCULLIS_ARCHIVE_SECRET")]
    pub archive_secret: Option<String>,

    /// TCP port of the archive, which gateways are let reach.
    #[arg(long, value_name = "PORT", default_value_t = 443, env = "PORTCULLIS_ARCHIVE_PORT")]
    pub archive_port: u16,

    /// Days for which objects of an s3:// archive are locked when they are written. Omitted: the bucket's own default.
    #[arg(long, value_name = "DAYS", requires = "archive", env = "PORTCULLIS_ARCHIVE_LOCK_DAYS")]
    pub archive_lock_days: Option<u32>,

    /// Address and port of /healthz, /readyz and /metrics, in plain HTTP.
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "0.0.0.0:8080",
        env = "PORTCULLIS_ADMIN_LISTEN"
    )]
    pub admin_listen: SocketAddr,

    /// Wait for the lease before working. `false` is for a single operator that nobody else competes with.
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        action = clap::ArgAction::Set,
        env = "PORTCULLIS_LEADER_ELECT"
    )]
    pub leader_elect: bool,

    /// Seconds for which an ApprovalRequest is kept after its end. The audit log keeps it for good.
    #[arg(long, value_name = "SECONDS", default_value_t = 604_800, env = "PORTCULLIS_RETENTION_SECONDS")]
    pub retention: u64,

    /// Form of the log on standard error.
    #[arg(long, value_name = "FORM", value_enum, default_value_t = LogFormat::Text, env = "PORTCULLIS_LOG_FORMAT")]
    pub log_format: LogFormat,

    /// What is logged: `info`, `debug`, or directives such as `info,operator=debug`.
    #[arg(long, value_name = "FILTER", default_value = "info", env = "RUST_LOG")]
    pub log: String,
}

impl fmt::Debug for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The headers are secrets.
        f.debug_struct("Args").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Args {
    /// What gateways are made of.
    pub fn settings(&self) -> Settings {
        let otlp = self.otlp_endpoint.clone().filter(|endpoint| !endpoint.is_empty());
        Settings {
            namespace: self.namespace.clone(),
            cluster: self.cluster.clone(),
            image: self.proxy_image.clone(),
            witnesses: self.witness.clone(),
            pull_policy: self.proxy_image_pull_policy,
            otlp: otlp.map(|endpoint| Otlp {
                endpoint,
                protocol: self.otlp_protocol.clone().filter(|protocol| !protocol.is_empty()),
                headers: self.otlp_headers.clone().filter(|headers| !headers.is_empty()),
            }),
            archive: self.archive.clone().filter(|url| !url.is_empty()).map(|url| Archive {
                url,
                secret: self.archive_secret.clone().filter(|name| !name.is_empty()),
                port: self.archive_port,
                lock_days: self.archive_lock_days,
            }),
            retention: Duration::from_secs(self.retention),
            impersonation: self
                .grant_impersonation
                .then(|| self.impersonation_namespace.iter().cloned().collect()),
        }
    }
}

/// A witness as a gateway takes it; whether the key is one, the gateway says.
fn witness(text: &str) -> Result<String, String> {
    let url = text.trim().split_once(char::is_whitespace).map(|(_, url)| url.trim());
    let is_url = |url: &str| ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
    match url {
        Some(url) if is_url(url) => Ok(text.trim().to_owned()),
        Some(_) | None => Err("expected a witness's key and URL: \"VKEY URL\"".to_owned()),
    }
}

/// An archive's address; what is in it besides, the gateway judges. Quotes nothing: it may be a credential.
fn archive_url(text: &str) -> Result<String, String> {
    let known = ["s3://", "gs://", "az://"].iter().any(|scheme| text.starts_with(scheme));
    if text.is_empty() || (known && !text.contains(['@', '?', ' '])) {
        return Ok(text.to_owned());
    }
    Err("expected s3://BUCKET[/PREFIX], gs://BUCKET[/PREFIX] or az://CONTAINER[/PREFIX]".to_owned())
}

/// What all gateways of an operator share.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The operator's own namespace.
    pub namespace: String,
    /// First part of audit logs' origins.
    pub cluster: String,
    /// Image of the gateway.
    pub image: String,
    /// When nodes pull it.
    pub pull_policy: PullPolicy,
    /// Who witnesses their logs, each as `VKEY URL`.
    pub witnesses: Vec<String>,
    /// Where gateways send copies of their logs, if anywhere.
    pub otlp: Option<Otlp>,
    /// Where gateways deliver their logs as they are, if anywhere.
    pub archive: Option<Archive>,
    /// How long an ApprovalRequest is kept after its end.
    pub retention: Duration,
    /// Namespaces in which gateways are let act as their agents in this cluster; `None`: that is not the operator's
    /// business.
    pub impersonation: Option<BTreeSet<String>>,
}

impl Settings {
    /// Whether gateways of this namespace are let act as their agents in this cluster.
    pub fn grants_impersonation_in(&self, namespace: &str) -> bool {
        self.impersonation.as_ref().is_some_and(|namespaces| namespaces.contains(namespace))
    }
}

/// Export of audit logs.
#[derive(Clone)]
pub struct Otlp {
    /// URL of the Collector.
    pub endpoint: String,
    /// Protocol, where the URL does not say it.
    pub protocol: Option<String>,
    /// Headers of requests: secret.
    pub headers: Option<String>,
}

/// An object store for audit logs.
#[derive(Clone, Debug)]
pub struct Archive {
    /// Its URL.
    pub url: String,
    /// Secret with its credentials, in the namespace of each Resource.
    pub secret: Option<String>,
    /// Port at which it is reached.
    pub port: u16,
    /// Days for which its objects are locked.
    pub lock_days: Option<u32>,
}

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Otlp").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// When nodes pull an image, in Kubernetes' own words.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum PullPolicy {
    /// At every start.
    #[value(name = "Always")]
    Always,
    /// When the node does not have it.
    #[value(name = "IfNotPresent")]
    IfNotPresent,
    /// Not at all.
    #[value(name = "Never")]
    Never,
}

impl PullPolicy {
    /// As in a container's `imagePullPolicy`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// Forms of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// One line per event, for people.
    Text,
    /// One JSON object per line.
    Json,
}

const EXIT_CODES: &str = "Exit status: 0 after being told to stop, 1 when something failed or the lease was lost, \
2 when the arguments cannot be used.";
