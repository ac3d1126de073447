//! Where the audit logs are.

use anyhow::{Context as _, bail};
use clap::Args;
use std::path::PathBuf;

/// Which logs to read.
#[derive(Args, Debug)]
pub(crate) struct LogArguments {
    /// State directory of a gateway, or the directory of one log. All logs below it are read; a gateway may be
    /// writing them.
    #[arg(long, value_name = "DIR", env = "PORTCULLIS_SPOOL", default_value = "state")]
    spool: PathBuf,
}

impl LogArguments {
    /// The directories of the logs.
    pub(crate) fn directories(&self) -> anyhow::Result<Vec<PathBuf>> {
        let logs = proxy_audit::read::logs(&self.spool)
            .with_context(|| format!("find audit logs (--spool {})", self.spool.display()))?;
        if logs.is_empty() {
            bail!("no audit log in or below {} (--spool)", self.spool.display());
        }
        Ok(logs)
    }

    /// Whether a log was named, rather than a directory of logs.
    pub(crate) fn is_one_log(&self, directories: &[PathBuf]) -> bool {
        directories.contains(&self.spool)
    }
}
