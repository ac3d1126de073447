//! Whether logs have room. Where one has none, every command of its Resource is refused, so new sessions should go where
//! there is room, if anywhere. Nobody has to send a command for that to be known, nor for its end.

use super::Live;
use crate::config::ResourceKey;
use crate::metrics::{ProcessMetrics, ResourceLabels};
use proxy_audit::{Spool, SpoolError};
use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::Duration;
use tokio::sync::watch;

/// Why nothing can be recorded, for the Resources of which nothing can.
pub type Shortages = BTreeMap<ResourceKey, String>;

/// Looks for as long as the Resource is there: from time to time, when a record was refused, and often until it has room
/// again.
///
/// Cancel safe.
pub(super) async fn watch(live: Weak<Live>, known: watch::Sender<Shortages>, metrics: ProcessMetrics) {
    let mut last: Option<ResourceKey> = None;
    loop {
        let Some((key, spool)) = live.upgrade().map(|live| (live.key().clone(), live.spool().clone())) else {
            // what is not there any more refuses nothing
            known.send_if_modified(|known| last.is_some_and(|key| known.remove(&key).is_some()));
            return;
        };
        last = Some(key.clone());
        let tried = tried(spool.clone()).await;
        let resource = ResourceLabels { resource: key.to_string() };
        metrics.audit_room.get_or_create(&resource).set(i64::from(tried.is_ok()));
        let has_room = tried.is_ok();
        known.send_if_modified(|known| tell(known, key, tried.err()));
        if has_room {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = spool.refused_for_room() => {}
            }
        } else {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

async fn tried(spool: Spool) -> Result<(), String> {
    let tried = tokio::task::spawn_blocking(move || spool.try_room()).await;
    match tried {
        Ok(Err(error @ (SpoolError::DiskFull | SpoolError::Full { .. }))) => Err(error.to_string()),
        Ok(Err(error)) => Err(proxy_core::gate::Chain(&error).to_string()),
        Ok(Ok(())) => Ok(()),
        Err(error) => Err(format!("look for room: {error}")),
    }
}

/// Whether that is new.
fn tell(known: &mut Shortages, key: ResourceKey, why: Option<String>) -> bool {
    let before = known.get(&key);
    if before == why.as_ref() {
        return false;
    }
    if let Some(why) = why {
        tracing::error!(resource = %key, why, "nothing can be recorded: every command is refused");
        known.insert(key, why);
    } else {
        tracing::info!(resource = %key, "there is room for records again");
        known.remove(&key);
    }
    true
}

/// What is said of why new sessions should not come.
pub fn obstacle(shortages: &Shortages) -> Option<String> {
    let (key, why) = shortages.first_key_value()?;
    Some(format!("nothing can be recorded of {key}, so every command is refused: {why}"))
}

/// Where nobody sends a command, it does not matter for so long.
const EVERY: Duration = Duration::from_secs(10);
/// Somebody may have made room.
const AGAIN: Duration = Duration::from_secs(1);
