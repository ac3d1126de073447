//! Where the audit logs are, and where else records may be.

use anyhow::{Context as _, bail};
use clap::Args;
use proxy_audit::evidence::Bundle;
use proxy_audit::source::{ArchiveSource, OtlpSource, Part, Source, SpoolSource};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

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

    /// Where they are looked for.
    pub(crate) fn directory(&self) -> &Path {
        &self.spool
    }
}

/// Where to read records.
#[derive(Args, Debug)]
pub(crate) struct SourceArguments {
    #[command(flatten)]
    pub(crate) logs: LogArguments,
    /// Read this instead of a spool: files as an OpenTelemetry Collector's file exporter writes them (JSON), or one
    /// evidence bundle, which is seen from its first bytes; an archive that gateways deliver their logs to:
    /// `s3://BUCKET[/PREFIX]`, `gs://BUCKET[/PREFIX]`, `az://CONTAINER[/PREFIX]` or `file:///DIRECTORY`, with the
    /// credentials that the store's own tools take from the environment (AWS_*, GOOGLE_*, AZURE_*); the table that a
    /// Collector's clickhouse exporter fills: `clickhouse://HOST[:8123]/DATABASE[/TABLE][?secure=true]`, with
    /// `CLICKHOUSE_USER` and `CLICKHOUSE_PASSWORD`; or a Loki that a Collector's otlphttp exporter writes to:
    /// `loki://HOST[:3100][/PREFIX][?secure=true][&service=NAME][&days=400][&limit=1000]`, with the variables of logcli
    /// (`LOKI_USERNAME`, `LOKI_PASSWORD`, `LOKI_BEARER_TOKEN_FILE` and the others).
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) from: Vec<PathBuf>,
}

impl SourceArguments {
    /// The source.
    pub(crate) fn open(&self) -> anyhow::Result<Box<dyn Source>> {
        if self.from.is_empty() {
            return Ok(Box::new(SpoolSource::new(self.logs.directories()?)));
        }
        if let [one] = self.from.as_slice()
            && let Some(backend) = crate::backend::open(one)?
        {
            return Ok(backend);
        }
        if let [one] = self.from.as_slice()
            && let Some(location) = crate::archive::location(one)?
        {
            return Ok(Box::new(ArchiveSource::new(location)));
        }
        let kinds = self.from.iter().map(|path| Kind::of(path)).collect::<anyhow::Result<Vec<_>>>()?;
        match kinds.as_slice() {
            [Kind::Directory] => {
                let logs = self.from.first().map(|path| proxy_audit::read::logs(path)).transpose()?;
                let logs = logs.filter(|logs| !logs.is_empty()).context("no audit log in or below --from")?;
                Ok(Box::new(SpoolSource::new(logs)))
            }
            [Kind::Bundle] => match self.from.first() {
                Some(path) => Ok(Box::new(Bundle::open(path)?)),
                None => bail!("--from takes a file"),
            },
            kinds if kinds.iter().all(|kind| *kind == Kind::Otlp) => {
                Ok(Box::new(OtlpSource::new(self.from.iter().cloned().map(Part::whole).collect())))
            }
            _ => bail!("--from takes one directory, one archive, one evidence bundle, or files of OTLP JSON"),
        }
    }
}

/// What a path holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// Logs.
    Directory,
    /// OTLP JSON, a request a line.
    Otlp,
    /// An evidence bundle: a tar archive.
    Bundle,
    /// Logs in an object store.
    Archive,
}

impl Kind {
    /// Looks at the first bytes.
    pub(crate) fn of(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        if path.is_dir() {
            return Ok(Self::Directory);
        }
        if crate::archive::location(path)?.is_some() {
            return Ok(Self::Archive);
        }
        if crate::backend::open(path)?.is_some() {
            bail!("nothing is proved by a backend: take a log, an archive, files of OTLP JSON, or evidence");
        }
        let mut head = Vec::new();
        let file = File::open(path).with_context(|| format!("open {shown}"))?;
        file.take(512).read_to_end(&mut head).with_context(|| format!("read {shown}"))?;
        // POSIX ustar: the magic is at byte 257.
        if head.get(257..262) == Some(b"ustar") {
            return Ok(Self::Bundle);
        }
        match head.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{') => Ok(Self::Otlp),
            Some(_) | None => bail!("{shown} is neither a directory, nor OTLP JSON, nor an evidence bundle"),
        }
    }
}
