//! `portcullis witness`: a witness that cosigns checkpoints of audit logs, and what it says of them.
//!
//! <https://c2sp.org/tlog-witness@v1.0.0>: `POST add-checkpoint`. Beside it `POST add-log`, by which a log whose key is
//! certified becomes known, `GET logs?nonce=…`, a signed statement on all logs, and `GET key`, `GET healthz`.

mod server;

use crate::output::{Document, Output, printable, utc};
use crate::verify::read_key;
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use proxy_audit::note::certificate::certifier;
use proxy_audit::note::cosignature::WitnessKey;
use proxy_audit::witness::{Statement, Witness, WitnessAddress, WitnessOptions, fetch_statement};
use serde::Serialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::runtime::{Builder, Runtime};

/// Run a witness of audit logs, or ask one what it saw
///
/// A witness remembers how much it saw of every log and cosigns only what goes on from there. Run it where the
/// administrators of the gateways cannot reach its state: then a log that was cut, rolled back, written anew or deleted
/// is found, which the log alone cannot show.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  portcullis witness serve --state /var/lib/witness --name witness.example.com --certifier certifier.vkey
  portcullis witness logs \"$(cat witness.vkey) https://witness.example.com\"
  portcullis witness certifier --tenant-key /var/lib/portcullis/tenant.key --cluster standalone")]
pub(crate) enum Command {
    Serve(ServeArguments),
    Logs(LogsArguments),
    Certifier(CertifierArguments),
}

/// Run the witness until it is interrupted
///
/// It speaks plain HTTP: everything that it takes and gives is signed. Put TLS in front of it where the network may not
/// see which logs there are.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis witness serve --state witness --name witness.local --certifier state/audit/certifier.vkey
  portcullis witness serve --state witness --name witness.local --log gw-1.vkey --listen 0.0.0.0:7380")]
pub(crate) struct ServeArguments {
    /// Directory of its key and of what it saw; made if missing. Keep it for the witness's life: one that forgot lets
    /// every log be rolled back once.
    #[arg(long, value_name = "DIR", env = "PORTCULLIS_WITNESS_STATE")]
    state: PathBuf,
    /// Its name, best a host name or URL without scheme. It is part of its key.
    #[arg(long, value_name = "NAME", env = "PORTCULLIS_WITNESS_NAME")]
    name: String,
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7380", env = "PORTCULLIS_WITNESS_LISTEN")]
    listen: SocketAddr,
    /// Key that certifies logs, or a file with it: a gateway's state has it as audit/certifier.vkey. Logs with its
    /// certificate become known by themselves. May be given again.
    #[arg(long, value_name = "VKEY", env = "PORTCULLIS_WITNESS_CERTIFIER", value_delimiter = ',')]
    certifier: Vec<String>,
    /// Key of one log, or a file with it. May be given again.
    #[arg(long, value_name = "VKEY", env = "PORTCULLIS_WITNESS_LOG", value_delimiter = ',')]
    log: Vec<String>,
}

/// Show what a witness saw of every log; `--file` keeps its signed word for `verify --witnessed`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis witness logs \"$(cat witness.vkey) http://127.0.0.1:7380\"
  portcullis witness logs \"$(cat witness.vkey) http://127.0.0.1:7380\" --file witnessed.note")]
pub(crate) struct LogsArguments {
    /// The witness: its key and its URL, in one argument.
    #[arg(value_name = "VKEY URL")]
    witness: WitnessAddress,
    /// File for the signed statement.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Print the public key that certifies the logs of a tenant's gateways, for a witness
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis witness certifier --tenant-key /var/lib/portcullis/tenant.key
  kubectl get secret portcullis-tenant-key -o jsonpath='{.data.key}' | base64 -d > tenant.key
  portcullis witness certifier --tenant-key tenant.key --cluster kubernetes")]
pub(crate) struct CertifierArguments {
    /// The tenant key: 32 bytes.
    #[arg(long, value_name = "FILE")]
    tenant_key: PathBuf,
    /// First part of the logs' origins: --cluster of the gateways, clusterName of the chart.
    #[arg(long, value_name = "NAME", default_value = "standalone", env = "PORTCULLIS_CLUSTER")]
    cluster: String,
}

/// A log as a witness knows it.
#[derive(Debug, Serialize)]
struct Row {
    log: String,
    key: String,
    records: u64,
    root: String,
    cosigned: Option<Timestamp>,
}

pub(crate) fn run(command: &Command, output: &mut Output) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(arguments) => serve(arguments, output)?,
        Command::Logs(arguments) => logs(arguments, output)?,
        Command::Certifier(arguments) => print_certifier(arguments, output)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn serve(arguments: &ServeArguments, output: &mut Output) -> anyhow::Result<()> {
    let keys = |keys: &[String]| keys.iter().map(|key| read_key(key)).collect::<anyhow::Result<Vec<_>>>();
    let (certifiers, logs) = (keys(&arguments.certifier)?, keys(&arguments.log)?);
    if certifiers.is_empty() && logs.is_empty() {
        bail!("a witness that knows no log: give it a --certifier or a --log");
    }
    let witness = Witness::open(&arguments.state, &arguments.name, certifiers, &logs)?;
    runtime()?.block_on(server::run(witness, arguments.listen, output))
}

fn logs(arguments: &LogsArguments, output: &mut Output) -> anyhow::Result<()> {
    let (note, statement) = ask(&arguments.witness)?;
    if let Some(file) = &arguments.file {
        std::fs::write(file, note).with_context(|| format!("write {}", file.display()))?;
    }
    let rows: Vec<Row> = statement.logs.iter().map(row).collect();
    match output.format() {
        Document::Json => output.json(&rows),
        Document::Table => {
            let cells = rows.iter().map(|row| {
                let cosigned = row.cosigned.map_or_else(|| "never".to_owned(), utc);
                vec![printable(&row.log), row.key.clone(), row.records.to_string(), cosigned]
            });
            output.table(&["LOG", "KEY", "RECORDS", "COSIGNED"], cells.collect())
        }
    }
}

fn row(log: &proxy_audit::witness::Witnessed) -> Row {
    let time = (log.size > 0).then(|| i64::try_from(log.time).ok()).flatten();
    Row {
        log: log.key.name().to_owned(),
        key: log.key.fingerprint(),
        records: log.size,
        root: const_hex::encode(log.root),
        cosigned: time.and_then(|time| Timestamp::from_second(time).ok()),
    }
}

/// A witness's word on all logs, as of now.
pub(crate) fn ask(witness: &WitnessAddress) -> anyhow::Result<(String, Statement)> {
    let options = WitnessOptions::new(vec![witness.clone()]);
    Ok(runtime()?.block_on(fetch_statement(witness, &options))?)
}

/// A witness's key, or a file with it.
pub(crate) fn read_witness_key(key: &str) -> anyhow::Result<WitnessKey> {
    if let Ok(key) = WitnessKey::parse(key) {
        return Ok(key);
    }
    let text =
        std::fs::read_to_string(Path::new(key)).with_context(|| format!("read key of a witness {key}"))?;
    WitnessKey::parse(&text).with_context(|| format!("read key of a witness {key}"))
}

fn print_certifier(arguments: &CertifierArguments, output: &mut Output) -> anyhow::Result<()> {
    let shown = arguments.tenant_key.display();
    let key = std::fs::read(&arguments.tenant_key).with_context(|| format!("read {shown}"))?;
    let key = <[u8; 32]>::try_from(key);
    let Ok(key) = key else { bail!("{shown} is not a tenant key of 32 bytes") };
    output.line(&certifier(&key, &arguments.cluster).context("--cluster")?.public().to_string())
}

fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("start the runtime")
}

#[cfg(test)]
mod tests;
