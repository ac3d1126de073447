//! When a session has to be looked at.

use jiff::Timestamp;
use std::time::Duration;
use tokio::sync::watch;

/// How often a session looks at the wall clock, which may be set meanwhile.
const LONGEST_NAP: Duration = Duration::from_secs(30);
/// A session that is over but busy is not looked at more often than this.
const SHORTEST_NAP: Duration = Duration::from_millis(10);

/// When a session has to be looked at.
#[derive(Debug)]
pub struct Watch {
    pub(super) expires_at: Timestamp,
    pub(super) changes: watch::Receiver<u64>,
}

impl Watch {
    /// Waits until the policies have changed, the token expires, or the wall clock is worth a look.
    ///
    /// Cancel safe.
    pub async fn due(&mut self) {
        let left = self.expires_at.duration_since(Timestamp::now());
        let left = Duration::try_from(left).unwrap_or(Duration::ZERO).clamp(SHORTEST_NAP, LONGEST_NAP);
        tokio::select! {
            () = tokio::time::sleep(left) => {}
            changed = self.changes.changed() => {
                if changed.is_err() {
                    // Nothing more will come: the session ends as soon as it looks.
                    tokio::time::sleep(SHORTEST_NAP).await;
                }
            }
        }
    }
}
