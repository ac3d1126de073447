//! The audit log of a Resource: a new one per start of the gateway, and after a Resource was deleted.

use crate::config::ResourceKey;
use crate::state::State;
use proxy_audit::note::certificate::certifier;
use proxy_audit::spool::is_retired;
use proxy_audit::{Spool, SpoolOptions};
use proxy_core::gate::Chain;
use std::path::Path;

/// How logs are kept.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// First part of a log's origin.
    pub cluster: String,
    /// Bytes after which a segment is closed.
    pub segment_bytes: u64,
    /// Bytes that one log may take.
    pub max_bytes: u64,
}

/// Opens this process's log of a Resource.
///
/// # Errors
/// It cannot be used, in words for the operator.
pub(super) async fn open(options: &LogOptions, state: &State, key: &ResourceKey) -> Result<Spool, String> {
    // The first part of every origin names whose the logs are.
    let certifier = certifier(state.tenant_key().expose(), &options.cluster)
        .map_err(|error| format!("certify audit log: {error}"))?;
    let inventory = state.audit();
    let mut options = spool(options, state, key);
    let resource = key.to_string();
    let opened = tokio::task::spawn_blocking(move || {
        // the log holds what agents did: for the owner only
        if let Some(parent) = options.directory.parent() {
            private(parent).map_err(|error| format!("create {}: {error}", parent.display()))?;
        }
        recover_predecessors(&mut options, &resource)?;
        let opened = Spool::open(&options)
            .map_err(|error| format!("open audit log {}: {}", options.directory.display(), Chain(&error)))?;
        // Before its first session: a log that vanishes afterwards is missed.
        proxy_audit::inventory::enter(&inventory, &options.directory, &certifier)
            .map_err(|error| format!("enter audit log into the inventory: {}", Chain(&error)))?;
        Ok(opened)
    });
    let (spool, recovery) =
        opened.await.map_err(|error| format!("open audit log: {error}")).and_then(|opened| opened)?;
    if recovery.records > 0 {
        tracing::warn!(
            resource = %key, records = recovery.records, torn_bytes = recovery.torn_bytes,
            open_sessions = recovery.open_sessions.len(), "audit log recovered"
        );
    }
    Ok(spool)
}

/// Closes what a crash of an earlier start left open. A log that cannot be repaired stays as it is: it is evidence,
/// and this start writes its own.
fn recover_predecessors(options: &mut SpoolOptions, resource: &str) -> Result<(), String> {
    let recovered = proxy_audit::spool::recover_predecessors(options)
        .map_err(|error| format!("read earlier audit logs of {resource}: {error}"))?;
    for earlier in recovered {
        let log = earlier.directory.display();
        match earlier.outcome {
            Ok(recovery) => tracing::warn!(
                resource, %log, records = recovery.records, torn_bytes = recovery.torn_bytes,
                open_sessions = recovery.open_sessions.len(), "audit log of an earlier start recovered"
            ),
            Err(error) => tracing::error!(
                resource, %log, error = %Chain(&error), "audit log of an earlier start cannot be recovered"
            ),
        }
    }
    Ok(())
}

fn spool(options: &LogOptions, state: &State, key: &ResourceKey) -> SpoolOptions {
    let logs = state.logs(key);
    let (mut instance, mut number) = (state.instance().to_owned(), 1_u32);
    // A Resource that was deleted and comes again finds this start's log closed for good.
    while is_retired(&logs.join(&instance)) {
        number += 1;
        instance = format!("{}-{number}", state.instance());
    }
    let directory = logs.join(&instance);
    let origin = format!("{}/{}/{}/{instance}", options.cluster, key.namespace, key.name);
    SpoolOptions {
        segment_bytes: options.segment_bytes,
        max_bytes: options.max_bytes,
        ..SpoolOptions::new(directory, origin)
    }
}

fn private(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}
