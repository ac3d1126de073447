//! An index of audit logs in one `SQLite` file, so that a question over millions of records is answered in less than a
//! second. Derived from the logs and from nothing else: it can be removed at any time, and it proves nothing.
//!
//! [`Index::refresh`] reads what came to the logs since the last time: one writer at a time, others wait. A log that
//! is not chained to what was indexed of it is indexed anew. `schema` is the tables, `write` fills them, `ask` asks.

mod ask;
mod schema;
mod write;

use anyhow::{Context as _, bail};
use proxy_audit::read::{Position, records, records_from};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};
use std::fmt;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use write::Writer;

/// Records of one transaction while it is filled.
const BATCH_RECORDS: u64 = 200_000;

/// How long to wait for another process that fills the same index.
const WAIT: Duration = Duration::from_mins(10);

/// An index.
pub(crate) struct Index {
    connection: Connection,
    /// Key of the digests that stand for texts.
    key: Vec<u8>,
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}

impl Index {
    /// Opens the index, or makes an empty one.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        // As sensitive as the log; SQLite gives its own files the same mode.
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        drop(file.with_context(|| format!("open index {shown}"))?);
        let connection = Connection::open(path).with_context(|| format!("open index {shown}"))?;
        connection.busy_timeout(WAIT)?;
        schema::prepare(&connection).with_context(|| format!("use index {shown}"))?;
        let key =
            connection.query_row("SELECT value FROM meta WHERE key = 'digest'", [], |row| row.get(0))?;
        Ok(Self { connection, key })
    }

    /// Reads what is new in these logs.
    pub(crate) fn refresh(&mut self, logs: &[PathBuf]) -> anyhow::Result<()> {
        for log in logs {
            while self.batch(log).with_context(|| format!("index {}", log.display()))? {}
        }
        Ok(schema::finish(&self.connection)?)
    }

    /// Reads one transaction's worth of a log; whether there may be more.
    fn batch(&mut self, log: &Path) -> anyhow::Result<bool> {
        let directory = std::path::absolute(log)?;
        let directory = directory.to_str().context("the path is not UTF-8")?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let known: Option<(i64, String)> = transaction
            .query_row("SELECT id, position FROM logs WHERE directory = ?1", [directory], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let position =
            known.as_ref().map(|(_, position)| serde_json::from_str::<Position>(position)).transpose()?;
        if position.as_ref().is_some_and(|position| !position.is_within(log)) {
            schema::forget(&transaction, directory)?;
            transaction.commit()?;
            return Ok(true);
        }
        let mut read = match &position {
            Some(position) => records_from(log, position)?,
            None => records(log)?,
        };
        let mut writer = Writer::new(&transaction, &self.key, known.as_ref().map(|(id, _)| *id), directory)?;
        let mut count = 0;
        for record in read.by_ref() {
            // Bytes of another log are no frames, or not the next of this one's.
            let another = count == 0
                && position
                    .as_ref()
                    .is_some_and(|position| !record.as_ref().is_ok_and(|record| position.continues(record)));
            if another {
                drop(writer);
                schema::forget(&transaction, directory)?;
                transaction.commit()?;
                return Ok(true);
            }
            let record = record?;
            writer.add(&record)?;
            count += 1;
            if count == BATCH_RECORDS {
                break;
            }
        }
        if let Some(position) = read.position().filter(|_| count > 0) {
            writer.finish(&serde_json::to_string(&position)?)?;
            transaction.commit()?;
        }
        Ok(count == BATCH_RECORDS)
    }
}

/// A number that `SQLite` can keep.
fn signed(number: u64) -> anyhow::Result<i64> {
    match i64::try_from(number) {
        Ok(number) => Ok(number),
        Err(_) => bail!("{number} is larger than an index can hold"),
    }
}

#[cfg(test)]
mod tests;
