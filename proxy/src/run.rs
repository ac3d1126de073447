//! The life of the process: load, listen, take changes over, drain.

use crate::admin::{self, Status};
use crate::args::Args;
use crate::config::{self, Config, Problems, Snapshot};
use crate::gateway::{Gateway, LogOptions, Shared};
use crate::metrics::{OutcomeLabels, ProcessMetrics};
use crate::reload::{self, Watcher};
use crate::serve::Admission;
use crate::state::{State, StateError};
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use proxy_core::metrics::Metrics;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Why the gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration has problems; they are the message, one a line.
    #[error("configuration {directory} cannot be used:\n{problems}")]
    Config {
        /// The directory.
        directory: String,
        /// All problems.
        problems: Problems,
    },
    /// The state directory cannot be used.
    #[error("open state directory")]
    State(#[source] StateError),
    /// The admin endpoint cannot listen.
    #[error("listen on {address} for the admin endpoint")]
    Admin {
        /// Where.
        address: SocketAddr,
        /// Because of.
        #[source]
        source: std::io::Error,
    },
    /// Approval requests cannot be kept.
    #[error("open approval requests")]
    Approvals(#[source] proxy_core::approval::ApprovalError),
    /// Copies of the audit log cannot be sent as the arguments say.
    #[error("--otlp-endpoint, --otlp-headers: {0}")]
    Export(String),
    /// Signals cannot be received, so the gateway could not be told to stop.
    #[error("receive signals")]
    Signals(#[source] std::io::Error),
}

/// Runs the gateway until it was told to stop and has drained.
///
/// Not cancel safe: sessions would be cut off.
///
/// # Errors
/// It could not start. Once it runs, it keeps the last good configuration.
pub async fn run(args: Args) -> Result<(), RunError> {
    let mut signals = Signals::new().map_err(RunError::Signals)?;
    let cannot_be_used =
        |problems| RunError::Config { directory: args.config.display().to_string(), problems };
    let snapshot = reload::look(args.config.clone()).await.map_err(cannot_be_used)?;
    let config = config::load(&snapshot).map_err(cannot_be_used)?;
    let mut watcher = Watcher::new(&args.config, snapshot.clone());

    let mut process = Process::start(&args).await?;
    process.take_over(&snapshot, Ok(config)).await.map_err(cannot_be_used)?;
    loop {
        tokio::select! {
            () = signals.stop() => break,
            look = watcher.change() => process.change(look).await,
        }
    }
    process.drain(signals).await;
    Ok(())
}

struct Process {
    gateway: Gateway,
    metrics: ProcessMetrics,
    status: watch::Sender<Status>,
    admin_stop: CancellationToken,
    admin: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Process {
    async fn start(args: &Args) -> Result<Self, RunError> {
        let state = State::open(&args.state).map_err(RunError::State)?;
        let metrics = Metrics::default();
        let process = ProcessMetrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        process.register(&mut registry);

        let (status, seen) = watch::channel(Status::default());
        let admin_stop = CancellationToken::new();
        let admin = admin(args.admin_listen, registry, seen, admin_stop.clone()).await?;
        let export = args.export().map_err(RunError::Export)?;
        let approvals = crate::control::approvals(state.approvals()).map_err(RunError::Approvals)?;
        let log = LogOptions {
            cluster: args.cluster.clone(),
            segment_bytes: args.spool_segment_bytes,
            max_bytes: args.spool_max_bytes,
        };
        tracing::info!(instance = state.instance(), state = %args.state.display(), "starting");
        let gateway = Gateway::new(Shared {
            state,
            listen_address: args.listen_address,
            log,
            export,
            approvals,
            metrics,
            process: process.clone(),
            admission: Admission::new(args.max_unauthenticated_per_address),
        });
        Ok(Self { gateway, metrics: process, status, admin_stop, admin })
    }

    /// Takes a configuration over, or says why not.
    async fn take_over(
        &mut self,
        snapshot: &Snapshot,
        config: Result<Config, Problems>,
    ) -> Result<(), Problems> {
        let outcome = match config {
            Ok(mut config) => {
                let warnings = std::mem::take(&mut config.warnings);
                self.gateway.apply(config).await.map(|()| warnings)
            }
            Err(problems) => Err(problems),
        };
        let now = Timestamp::now();
        match outcome {
            Ok(warnings) => {
                for warning in &warnings {
                    tracing::warn!(%warning, "configuration");
                }
                self.metrics.last_reload_successful.set(1);
                self.metrics.last_reload_success_seconds.set(now.as_second());
                self.metrics.reloads.get_or_create(&OutcomeLabels { outcome: "ok" }).inc();
                let listening = self.gateway.listening();
                self.status.send_modify(|status| {
                    status.ready = true;
                    status.loaded_at = Some(now.to_string());
                    status.digest = snapshot.digest();
                    status.problems.clear();
                    status.warnings = warnings.iter().map(ToString::to_string).collect();
                    status.resources = listening;
                });
                Ok(())
            }
            Err(problems) => {
                self.metrics.last_reload_successful.set(0);
                self.metrics.reloads.get_or_create(&OutcomeLabels { outcome: "failed" }).inc();
                self.status.send_modify(|status| {
                    status.problems = problems.0.iter().map(ToString::to_string).collect();
                });
                Err(problems)
            }
        }
    }

    /// A change that cannot be used changes nothing but what is said of it.
    async fn change(&mut self, look: reload::Look) {
        let (snapshot, config) = match look {
            Ok(snapshot) => {
                let config = config::load(&snapshot);
                (snapshot, config)
            }
            Err(problems) => (Snapshot::default(), Err(problems)),
        };
        match self.take_over(&snapshot, config).await {
            Ok(()) => tracing::info!(digest = snapshot.digest(), "configuration taken over"),
            Err(problems) => {
                for problem in &problems.0 {
                    tracing::error!(%problem, "configuration cannot be used: the last good one stays in force");
                }
            }
        }
    }

    async fn drain(mut self, mut signals: Signals) {
        tracing::info!("told to stop: draining; a second signal ends at once");
        self.status.send_modify(|status| status.draining = true);
        let hurry = CancellationToken::new();
        let hurried = async {
            signals.stop().await;
            tracing::warn!("told to stop again: ending sessions");
            hurry.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = self.gateway.drain(hurry.clone()) => {}
            () = hurried => {}
        }
        tracing::info!(in_time = !hurry.is_cancelled(), "drained");
        self.admin_stop.cancel();
        self.admin.abort_handle().abort();
    }
}

async fn admin(
    address: SocketAddr,
    registry: Registry,
    status: watch::Receiver<Status>,
    stop: CancellationToken,
) -> Result<tokio::task::JoinHandle<std::io::Result<()>>, RunError> {
    let failed = |source| RunError::Admin { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    tracing::info!(%address, "admin endpoint listening");
    Ok(tokio::spawn(admin::serve(listener, Arc::new(registry), status, stop)))
}

/// SIGTERM and SIGINT: both ask for the same.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next of them. Cancel safe.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
