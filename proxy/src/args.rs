//! What the command line and the environment say.

use crate::config::ResourceKey;
use clap::{Parser, ValueEnum};
use proxy_audit::archive::{ArchiveOptions, Location, Lock};
use proxy_audit::export::{ExportOptions, Protocol};
use proxy_audit::witness::{WitnessAddress, WitnessOptions};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// The gate between agents and what they work on.
///
/// With --config it reads Resource, Policy, Secret and ConfigMap manifests from a directory, listens on the gateway
/// port of every Resource, and takes changes of the directory over within a second. It refuses to start on a
/// directory with problems, and lists all of them; a change with problems keeps what was in force.
///
/// With --resource it is the gateway of one Resource of a Kubernetes cluster: it watches that Resource, the Policies
/// of its namespace and the approval requests of its commands, reads what they refer to from mounted Secrets and
/// ConfigMaps, and reports what it runs in the Resource's status. It finds the API server as kubectl does: KUBECONFIG,
/// or the service account of its pod.
///
/// Ends after SIGTERM or SIGINT: no new sessions, live ones go on for the drain time of their Resource. A second
/// signal ends at once.
#[derive(Clone, Parser)]
#[command(name = "portcullis-proxy", version, after_help = EXIT_CODES)]
pub struct Args {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub source: SourceArgs,

    /// Directory for the tenant key, the audit log and, with --config, approval requests. Created, for the owner
    /// only, when missing.
    #[arg(long, value_name = "DIR", env = "PORTCULLIS_STATE")]
    pub state: PathBuf,

    /// File with the tenant key: exactly 32 random bytes, the same for all gateways of a tenant. Omitted: tenant.key
    /// in the state directory, made at the first start.
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_TENANT_KEY")]
    pub tenant_key: Option<PathBuf>,

    /// Address on which gateway ports listen; 0.0.0.0 or :: for all interfaces.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", env = "PORTCULLIS_LISTEN_ADDRESS")]
    pub listen_address: IpAddr,

    /// Address and port of /healthz, /readyz, /metrics, /configz and /resources, in plain HTTP. Port 0 takes a free
    /// one and logs it.
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:9464",
        env = "PORTCULLIS_ADMIN_LISTEN"
    )]
    pub admin_listen: SocketAddr,

    /// OpenTelemetry Collector that gets a copy of the audit log: grpc://, grpcs://, http:// or https://. Omitted: no
    /// copy is sent.
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,

    /// Protocol of an http:// or https:// endpoint. Omitted: http/protobuf; grpc:// and grpcs:// say it themselves.
    #[arg(long, value_name = "PROTOCOL", value_enum, env = "OTEL_EXPORTER_OTLP_PROTOCOL")]
    pub otlp_protocol: Option<OtlpProtocol>,

    /// Headers of export requests, `name=value,name=value`. Values are secrets: better given in the environment.
    #[arg(long, value_name = "HEADERS", env = "OTEL_EXPORTER_OTLP_HEADERS", hide_env_values = true)]
    pub otlp_headers: Option<String>,

    /// Object store that gets the audit logs as they are: `s3://BUCKET[/PREFIX]`, `gs://BUCKET[/PREFIX]`,
    /// `az://CONTAINER[/PREFIX]` or `file:///DIRECTORY`. Credentials come from the environment, as the store's own tools
    /// take them (AWS_*, GOOGLE_*, AZURE_*). Omitted: the logs stay where they are.
    #[arg(long, value_name = "URL", env = "PORTCULLIS_ARCHIVE")]
    pub archive: Option<String>,

    /// Seconds between two deliveries to the archive: what a lost volume can cost.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(1..=86_400),
        env = "PORTCULLIS_ARCHIVE_INTERVAL"
    )]
    pub archive_interval: u64,

    /// Days for which objects of an s3:// archive are locked when they are written (S3 Object Lock, compliance mode):
    /// nobody can change or remove them before. The bucket must have object lock. Omitted: the bucket's own default.
    #[arg(
        long,
        value_name = "DAYS",
        value_parser = clap::value_parser!(u32).range(1..=36_500),
        requires = "archive",
        env = "PORTCULLIS_ARCHIVE_LOCK_DAYS"
    )]
    pub archive_lock_days: Option<u32>,

    /// Witness that cosigns checkpoints of the audit logs, `VKEY URL`: its public key as `portcullis witness` prints it,
    /// and its http:// or https:// URL. May be given again, or several with commas between. Omitted: nobody outside
    /// knows what the logs are, and logs that were rolled back or deleted with all that names them are not missed.
    #[arg(long, value_name = "VKEY URL", env = "PORTCULLIS_WITNESS", value_delimiter = ',')]
    pub witness: Vec<WitnessAddress>,

    /// File with the PEM certificates that may have signed those of witnesses, beside the system's.
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_WITNESS_CA")]
    pub witness_ca: Option<PathBuf>,

    /// First part of an audit log's origin: names the installation in records and checkpoints.
    #[arg(long, value_name = "NAME", default_value = "standalone", env = "PORTCULLIS_CLUSTER")]
    pub cluster: String,

    /// Bytes that the audit log of one Resource may take; when reached, its commands are refused.
    #[arg(long, value_name = "BYTES", default_value_t = 10 << 30, env = "PORTCULLIS_SPOOL_MAX_BYTES")]
    pub spool_max_bytes: u64,

    /// Bytes after which a segment of the audit log is closed and the next one begun.
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20, env = "PORTCULLIS_SPOOL_SEGMENT_BYTES")]
    pub spool_segment_bytes: u64,

    /// Connections of one client address that may be without a session at the same time; one more is closed.
    #[arg(long, value_name = "COUNT", default_value_t = 128, env = "PORTCULLIS_MAX_UNAUTHENTICATED")]
    pub max_unauthenticated_per_address: usize,

    /// Threads that sessions run on; a session stays on one. Omitted: one for each core that the process may use.
    #[arg(long, value_name = "COUNT", env = "PORTCULLIS_SESSION_THREADS")]
    pub session_threads: Option<NonZeroUsize>,

    /// Form of the log on standard error.
    #[arg(long, value_name = "FORM", value_enum, default_value_t = LogFormat::Text, env = "PORTCULLIS_LOG_FORMAT")]
    pub log_format: LogFormat,

    /// What is logged: `info`, `debug`, or directives such as `info,proxy_postgres=debug`.
    #[arg(long, value_name = "FILTER", default_value = "info", env = "RUST_LOG")]
    pub log: String,
}

/// Where the configuration comes from: exactly one of a directory and a cluster.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
#[command(group(clap::ArgGroup::new("source").required(true).args(["config", "resource"])))]
pub struct SourceArgs {
    /// Directory of manifests (*.yaml, *.yml, not below it). Symbolic links are followed, so a mounted ConfigMap
    /// works.
    #[arg(long, value_name = "DIR", env = "PORTCULLIS_CONFIG")]
    pub config: Option<PathBuf>,

    /// The Resource of a Kubernetes cluster that this is a gateway of.
    #[arg(long, value_name = "NAMESPACE/NAME", env = "PORTCULLIS_RESOURCE", requires = "mounts", value_parser = resource_key)]
    pub resource: Option<ResourceKey>,

    /// With --resource: directory in which the Secrets and ConfigMaps that the Resource refers to are mounted, as
    /// Secret/NAME/KEY and ConfigMap/NAME/KEY.
    #[arg(long, value_name = "DIR", env = "PORTCULLIS_MOUNTS")]
    pub mounts: Option<PathBuf>,

    /// With --resource: name under which it reports in the Resource's status. Omitted: the host's name, which is a
    /// pod's.
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub pod: Option<String>,

    /// With --resource: seconds that it goes on without having been able to ask the API server for newer policies.
    /// Past them it refuses every command and is not ready, until the API server answers again. It cannot be switched
    /// off: a policy withdrawn meanwhile would be taken for good.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 600,
        value_parser = clap::value_parser!(u64).range(1..=31_536_000),
        env = "PORTCULLIS_POLICY_STALENESS_LIMIT"
    )]
    pub policy_staleness_limit: u64,
}

impl fmt::Display for SourceArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.config, &self.resource) {
            (Some(directory), _) => write!(f, "{}", directory.display()),
            (None, Some(resource)) => write!(f, "Resource {resource}"),
            (None, None) => f.write_str("nowhere"),
        }
    }
}

fn resource_key(text: &str) -> Result<ResourceKey, String> {
    let parts = text
        .split_once('/')
        .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty() && !name.contains('/'));
    let (namespace, name) = parts.ok_or("expected NAMESPACE/NAME, for example shop/orders")?;
    Ok(ResourceKey { namespace: namespace.to_owned(), name: name.to_owned() })
}

impl Args {
    /// Where copies of the audit logs go, if anywhere.
    ///
    /// # Errors
    /// What is wrong with the endpoint or the headers; quotes no value of a header.
    pub fn export(&self) -> Result<Option<ExportOptions>, String> {
        let Some(endpoint) = self.otlp_endpoint.as_deref().filter(|endpoint| !endpoint.is_empty()) else {
            return Ok(None);
        };
        let (endpoint, protocol) = match endpoint.split_once("://") {
            Some(("grpc", rest)) => (format!("http://{rest}"), Protocol::Grpc),
            Some(("grpcs", rest)) => (format!("https://{rest}"), Protocol::Grpc),
            Some(("http" | "https", _)) => {
                let protocol = match self.otlp_protocol {
                    Some(OtlpProtocol::Grpc) => Protocol::Grpc,
                    Some(OtlpProtocol::HttpProtobuf) | None => Protocol::HttpProtobuf,
                };
                (endpoint.to_owned(), protocol)
            }
            _ => return Err(format!("expected grpc://, grpcs://, http:// or https://, found {endpoint}")),
        };
        let mut options = ExportOptions::new(endpoint, protocol);
        for (index, header) in self.otlp_headers.iter().flat_map(|headers| headers.split(',')).enumerate() {
            let (name, value) = header
                .split_once('=')
                .ok_or_else(|| format!("header {}: expected name=value", index.saturating_add(1)))?;
            options.headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        Ok(Some(options))
    }

    /// Where the audit logs are delivered as they are, if anywhere.
    ///
    /// # Errors
    /// What is wrong with the address, without quoting what may be a credential; or objects should be locked where
    /// they cannot be.
    pub fn archive(&self) -> Result<Option<ArchiveOptions>, String> {
        let Some(url) = self.archive.as_deref().filter(|url| !url.is_empty()) else { return Ok(None) };
        let location = Location::parse(url).map_err(|error| error.to_string())?;
        if self.archive_lock_days.is_some() && !location.takes_lock() {
            return Err(format!(
                "with --archive-lock-days it is s3://; give {location} a retention policy of its own, which locks all objects"
            ));
        }
        let mut options = ArchiveOptions::new(location);
        options.interval = Duration::from_secs(self.archive_interval);
        options.lock = self.archive_lock_days.map(|days| Lock { days });
        Ok(Some(options))
    }

    /// Who witnesses the audit logs, if anybody. Blocks for a file.
    ///
    /// # Errors
    /// The certificates cannot be read.
    pub fn witnesses(&self) -> Result<WitnessOptions, String> {
        let mut options = WitnessOptions::new(self.witness.clone());
        if let Some(path) = &self.witness_ca {
            let pem = std::fs::read(path).map_err(|error| format!("read {}: {error}", path.display()))?;
            options.ca_pem = Some(pem);
        }
        Ok(options)
    }
}

/// Protocols of OTLP export.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum OtlpProtocol {
    /// gRPC over HTTP/2.
    Grpc,
    /// Protobuf in HTTP requests.
    #[value(name = "http/protobuf")]
    HttpProtobuf,
}

/// Forms of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// One line per event, for people.
    Text,
    /// One JSON object per line.
    Json,
}

const EXIT_CODES: &str = "Exit status: 0 after a drain, 1 when something failed while running, \
2 when the configuration or the arguments have problems.";

impl fmt::Debug for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The headers are secrets.
        f.debug_struct("Args")
            .field("source", &self.source)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(arguments: &[&str]) -> Result<Option<ExportOptions>, String> {
        let always = ["portcullis-proxy", "--config", "c", "--state", "s"];
        Args::parse_from(always.iter().chain(arguments)).export()
    }

    #[test]
    fn the_endpoint_says_its_protocol() {
        let of = |endpoint| export(&["--otlp-endpoint", endpoint]).unwrap().unwrap();
        assert_eq!(of("grpc://otel:4317").protocol, Protocol::Grpc);
        assert_eq!(of("grpc://otel:4317").endpoint, "http://otel:4317");
        assert_eq!(of("grpcs://otel:4317").endpoint, "https://otel:4317");
        assert_eq!(of("http://otel:4318").protocol, Protocol::HttpProtobuf);
        assert!(export(&[]).unwrap().is_none());
        assert!(export(&["--otlp-endpoint", "otel:4317"]).unwrap_err().contains("grpcs://"));
    }

    #[test]
    fn an_archive_is_locked_only_where_it_can_be() {
        let archive = |arguments: &[&str]| {
            let always = ["portcullis-proxy", "--config", "c", "--state", "s"];
            let args = Args::try_parse_from(always.iter().chain(arguments)).map_err(|e| e.to_string())?;
            args.archive()
        };
        assert!(archive(&[]).unwrap().is_none());
        let options = archive(&["--archive", "s3://b/p", "--archive-lock-days", "365"]).unwrap().unwrap();
        assert_eq!((options.location.as_str(), options.lock), ("s3://b/p", Some(Lock { days: 365 })));
        let refused = archive(&["--archive", "gs://b", "--archive-lock-days", "365"]).unwrap_err();
        assert!(refused.contains("retention policy"), "{refused}");
        assert!(archive(&["--archive-lock-days", "365"]).is_err(), "a lock without an archive");
        let secret = archive(&["--archive", "s3://me:hunter2@b"]).unwrap_err();
        assert!(secret.contains("environment") && !secret.contains("hunter2"), "{secret}");
    }

    #[test]
    fn exactly_one_source_is_named() {
        let parse = |arguments: &[&str]| {
            let always = ["portcullis-proxy", "--state", "s"];
            Args::try_parse_from(always.iter().chain(arguments)).map_err(|error| error.to_string())
        };
        let cluster = ["--resource", "shop/orders", "--mounts", "m"];
        let source = parse(&cluster).unwrap().source;
        assert_eq!(source.resource.unwrap().to_string(), "shop/orders");
        assert_eq!(source.policy_staleness_limit, 600);
        assert!(parse(&["--config", "c"]).is_ok());
        for (arguments, said) in [
            (&[][..], "--config <DIR>"),
            (&["--resource", "shop/orders"], "--mounts <DIR>"),
            (&[&cluster[..], &["--config", "c"]].concat(), "cannot be used with"),
            (&["--resource", "orders", "--mounts", "m"], "expected NAMESPACE/NAME"),
            (&[&cluster[..], &["--policy-staleness-limit", "0"]].concat(), "1..=31536000"),
        ] {
            let error = parse(arguments).unwrap_err();
            assert!(error.contains(said), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn headers_are_read_and_never_quoted() {
        let endpoint = ["--otlp-endpoint", "http://otel:4318", "--otlp-headers"];
        let options = export(&[&endpoint[..], &["a=1, b=2=3"]].concat()).unwrap().unwrap();
        assert_eq!(options.headers, [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2=3".to_owned())]);
        let error = export(&[&endpoint[..], &["a=1,hunter2"]].concat()).unwrap_err();
        assert!(error.contains("header 2") && !error.contains("hunter2"), "{error}");
        let args = Args::parse_from(["p", "--config", "c", "--state", "s", "--otlp-headers", "a=hunter2"]);
        assert!(!format!("{args:?}").contains("hunter2"));
    }
}
