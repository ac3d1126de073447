//! What is known of a database, as people write it or as a server says it.
//!
//! Written by hand, a mapping of relations to their columns:
//!
//! ```yaml
//! public.users: [id, name, email]
//! ```
//!
//! Asked of a server, one row of the analyser's own queries per line, as JSON.

use anyhow::Context as _;
use proxy_postgres::catalogue::{Catalogue, Relation, Row};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Relations and their columns, written by hand.
pub(super) type Relations = BTreeMap<String, Vec<String>>;

/// A catalogue in place, or the file it is in.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Source {
    File(PathBuf),
    Relations(Relations),
}

/// Builds a catalogue; without a source, one that knows only what every server has.
pub(super) fn build(source: Option<&Source>, beside: &Path) -> anyhow::Result<Catalogue> {
    match source {
        None => Ok(Catalogue::builtin()),
        Some(Source::Relations(relations)) => Ok(by_hand(relations)),
        Some(Source::File(file)) => read(&beside.join(file)),
    }
}

/// Reads a catalogue file of either form.
pub(super) fn read(file: &Path) -> anyhow::Result<Catalogue> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let rows = text.lines().filter(|line| !line.trim().is_empty());
    if text.trim_start().starts_with('{') {
        return Catalogue::build(rows).with_context(|| format!("read {}", file.display()));
    }
    let relations: Relations =
        serde_yaml_ng::from_str(&text).with_context(|| format!("read {}", file.display()))?;
    Ok(by_hand(&relations))
}

fn by_hand(relations: &Relations) -> Catalogue {
    let rows = relations.iter().map(|(name, columns)| {
        let (schema, name) = name.split_once('.').unwrap_or(("public", name));
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        Row::Relation(Box::new(Relation::simple(schema, name, &columns)))
    });
    Catalogue::from_rows(rows)
}
