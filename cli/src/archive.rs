//! Logs in an object store, as `--from` names them.

use crate::output::warn;
use anyhow::Context as _;
use proxy_audit::archive::{Location, mirror};
use std::path::Path;
use tempfile::TempDir;

/// The archive, when it is the URL of one.
pub(crate) fn location(from: &Path) -> anyhow::Result<Option<Location>> {
    match from.to_str().filter(|text| Location::is_one(text)) {
        Some(url) => Location::parse(url).map(Some).context("--from"),
        None => Ok(None),
    }
}

/// Fetches its logs, or the one of this origin, to a directory that is gone when it is dropped. Says what of them is not
/// there any more.
pub(crate) fn fetch(location: &Location, only: Option<&str>) -> anyhow::Result<TempDir> {
    let directory = tempfile::tempdir().context("make a directory for what is fetched")?;
    let lacking = mirror(location, only, directory.path()).with_context(|| format!("fetch {location}"))?;
    for lacking in &lacking {
        warn(&lacking.to_string());
    }
    Ok(directory)
}
