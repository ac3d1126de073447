//! Backends that `--from` names by a URL, with what they ask of their clients: from the environment, under the names
//! that their own tools have for it.

use anyhow::{Context as _, anyhow};
use proxy_audit::source::{ClickHouseSource, LokiAccess, LokiSource, Source};
use std::path::Path;

/// The backend, when it is the URL of one.
pub(crate) fn open(from: &Path) -> anyhow::Result<Option<Box<dyn Source>>> {
    let Some(url) = from.to_str() else { return Ok(None) };
    if url.starts_with("clickhouse://") {
        let login = login("CLICKHOUSE_USER", "CLICKHOUSE_PASSWORD");
        let source = ClickHouseSource::new(url, login).map_err(|why| anyhow!(why)).context("--from")?;
        return Ok(Some(Box::new(source)));
    }
    if url.starts_with("loki://") {
        let source = LokiSource::new(url, loki_access()?).map_err(|why| anyhow!(why)).context("--from")?;
        return Ok(Some(Box::new(source)));
    }
    Ok(None)
}

/// As `logcli` takes it.
fn loki_access() -> anyhow::Result<LokiAccess> {
    let bearer = match variable("LOKI_BEARER_TOKEN_FILE") {
        Some(path) => {
            let token = std::fs::read_to_string(&path);
            Some(token.with_context(|| format!("read {path} (LOKI_BEARER_TOKEN_FILE)"))?.trim().to_owned())
        }
        None => variable("LOKI_BEARER_TOKEN"),
    };
    let ca_pem = match variable("LOKI_CA_CERT_PATH") {
        Some(path) => Some(std::fs::read(&path).with_context(|| format!("read {path} (LOKI_CA_CERT_PATH)"))?),
        None => None,
    };
    Ok(LokiAccess {
        login: login("LOKI_USERNAME", "LOKI_PASSWORD"),
        bearer,
        tenant: variable("LOKI_ORG_ID"),
        ca_pem,
    })
}

fn login(user: &str, password: &str) -> Option<(String, String)> {
    variable(user).map(|user| (user, variable(password).unwrap_or_default()))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
