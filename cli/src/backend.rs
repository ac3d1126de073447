//! Backends that `--from` names by a URL.

use anyhow::{Context as _, anyhow};
use proxy_audit::source::{ClickHouseSource, Source};
use std::path::Path;

/// The backend, when it is the URL of one.
pub(crate) fn open(from: &Path) -> anyhow::Result<Option<Box<dyn Source>>> {
    let Some(url) = from.to_str().filter(|text| text.starts_with("clickhouse://")) else { return Ok(None) };
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let login =
        variable("CLICKHOUSE_USER").map(|user| (user, variable("CLICKHOUSE_PASSWORD").unwrap_or_default()));
    let source = ClickHouseSource::new(url, login).map_err(|why| anyhow!(why)).context("--from")?;
    Ok(Some(Box::new(source)))
}
