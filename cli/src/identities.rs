//! Results that are encrypted for auditors, and the keys to them.

use crate::logs::{Kind, SourceArguments};
use crate::salvage::Salvaged;
use anyhow::bail;
use clap::Args;
use proxy_audit::chunks::Identities;
use proxy_audit::evidence::Bundle;
use proxy_audit::source::{RecordStream, Source, SourceError, SpoolSource, UnsealedSource, Wanted};
use proxy_audit::verify::own_key;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tempfile::TempDir;

/// Who asks.
#[derive(Args, Debug)]
pub(crate) struct IdentityArguments {
    /// File with an auditor's private key, as `age-keygen` writes it: opens results that are encrypted for auditors. May
    /// be given again.
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_IDENTITY")]
    identity: Vec<PathBuf>,
}

impl IdentityArguments {
    /// The keys.
    pub(crate) fn read(&self) -> anyhow::Result<Identities> {
        Ok(Identities::read(&self.identity)?)
    }

    /// Opens a source with the results that there are keys for, and says where encrypted results lie that nobody opened. A
    /// bundle may bring its own keys.
    pub(crate) fn open_with_chunks(&self, arguments: &SourceArguments) -> anyhow::Result<Opened> {
        let (source, chunks) = open(arguments, self.read()?)?;
        Ok(Opened { source: Salvaged::new(source), chunks })
    }
}

/// An open source.
pub(crate) struct Opened {
    pub(crate) source: Salvaged,
    /// Directories with encrypted results, by the origins of the logs; of copies, and of an archive that was not fetched,
    /// there are none.
    pub(crate) chunks: Chunks,
}

/// Directories with encrypted results, by the origins of the logs.
type Chunks = BTreeMap<String, PathBuf>;

fn open(arguments: &SourceArguments, identities: Identities) -> anyhow::Result<(Box<dyn Source>, Chunks)> {
    let kind = match arguments.from.as_slice() {
        [] => return of_logs(arguments.logs.directories()?, identities),
        [one] if crate::backend::open(one)?.is_none() => Some(Kind::of(one)?),
        _ => None,
    };
    match (kind, arguments.from.first()) {
        (Some(Kind::Directory), Some(path)) => of_logs(proxy_audit::read::logs(path)?, identities),
        (Some(Kind::Bundle), Some(path)) => of_bundle(Bundle::open(path)?, identities),
        (Some(Kind::Archive), Some(url)) if !identities.is_empty() => {
            let Some(location) = crate::archive::location(url)? else { bail!("--from: expected an archive") };
            let fetched = crate::archive::fetch(&location, None)?;
            let (source, chunks) = of_logs(proxy_audit::read::logs(fetched.path())?, identities)?;
            Ok((Box::new(Fetched { inner: source, _folder: fetched }), chunks))
        }
        (_, _) if identities.is_empty() => Ok((arguments.open()?, BTreeMap::new())),
        (_, _) => {
            bail!("--identity: there are no encrypted results here; a spool, an archive or evidence has them")
        }
    }
}

fn of_logs(logs: Vec<PathBuf>, identities: Identities) -> anyhow::Result<(Box<dyn Source>, Chunks)> {
    let mut chunks = BTreeMap::new();
    for log in &logs {
        match own_key(log) {
            Ok(Some(key)) => drop(chunks.insert(key.name().to_owned(), log.clone())),
            Ok(None) => {}
            // Without identities nothing is looked for there.
            Err(_) if identities.is_empty() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let inner = Box::new(SpoolSource::new(logs));
    let source: Box<dyn Source> = if identities.is_empty() {
        inner
    } else {
        Box::new(UnsealedSource::new(inner, chunks.clone(), identities))
    };
    Ok((source, chunks))
}

/// Also without an identity: whoever handed it over may have put the sessions' keys into it.
fn of_bundle(bundle: Bundle, identities: Identities) -> anyhow::Result<(Box<dyn Source>, Chunks)> {
    let folder = tempfile::tempdir()?;
    let (mut open, mut chunks) = (BTreeMap::new(), BTreeMap::new());
    let given = !identities.is_empty();
    for (number, log) in bundle.manifest().logs.iter().enumerate() {
        let directory = folder.path().join(number.to_string());
        if bundle.unpack_chunks(log, &directory)? || given {
            open.insert(log.origin.clone(), directory.clone());
        }
        chunks.insert(log.origin.clone(), directory);
    }
    let inner = Box::new(UnsealedSource::new(Box::new(bundle), open, identities));
    Ok((Box::new(Fetched { inner, _folder: folder }), chunks))
}

/// A source of files that are gone with it.
#[derive(Debug)]
struct Fetched {
    inner: Box<dyn Source>,
    _folder: TempDir,
}

impl Source for Fetched {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn records(&self, wanted: &Wanted) -> Result<RecordStream<'_>, SourceError> {
        self.inner.records(wanted)
    }
}
