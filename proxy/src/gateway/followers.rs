//! What follows a Resource's log while it is written: copies, the archive, witnesses, retention. No command waits for any of them.

use super::LAST_WORDS;
use super::archives::Archives;
use super::copies::Copies;
use super::retention::Retaining;
use super::witnesses::Witnesses;
use crate::config::ResourceKey;
use crate::gateway::Shared;
use proxy_audit::Spool;
use proxy_audit::retention::Policy;
use tokio::sync::watch;

/// The followers of one Resource's logs. Dropping it stops them; they go on from where they were at the next start.
#[derive(Debug, Default)]
pub(super) struct Followers {
    copies: Copies,
    archives: Archives,
    witnesses: Witnesses,
    /// Held, not read: dropping it ends it.
    _retaining: Retaining,
}

impl Followers {
    /// Starts all that are configured.
    ///
    /// # Errors
    /// One of them cannot be used, in words for the operator.
    pub(super) fn start(
        shared: &Shared,
        key: &ResourceKey,
        spool: &Spool,
        retention: watch::Receiver<Option<Policy>>,
    ) -> Result<Self, String> {
        let copies = shared.export.as_ref().map(|to| Copies::start(to, key, spool, &shared.process));
        let archives = shared.archive.as_ref().map(|to| Archives::start(to, key, spool, &shared.process));
        Ok(Self {
            copies: copies.transpose()?.unwrap_or_default(),
            archives: archives.transpose()?.unwrap_or_default(),
            witnesses: Witnesses::start(&shared.witnesses, key, spool, &shared.process)?,
            _retaining: Retaining::start(shared, key, spool, retention),
        })
    }

    /// Gives them a moment for the log's end. The spool must be closed.
    pub(super) async fn finish(self) {
        tokio::join!(self.copies.finish(LAST_WORDS), self.witnesses.finish(LAST_WORDS));
        // Last: what witnesses said of the end is archived too.
        self.archives.finish(LAST_WORDS).await;
    }
}
