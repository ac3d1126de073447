//! An index of audit logs in one `SQLite` file, so that a question over millions of records is answered in less than a
//! second. Derived from the logs and from nothing else: it can be removed at any time, and it proves nothing.
//!
//! [`Index::refresh`] reads what came to the logs since the last time: one writer at a time, others wait. A log that
//! is not chained to what was indexed of it is indexed anew. One file may serve several spools: each question is
//! answered from the logs that it is about. What is no longer on disk leaves the index too.
//! `schema` is the tables, `write` fills them, `retain` empties them, `ask` asks.

mod ask;
mod retain;
mod schema;
mod write;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use proxy_audit::read::{Position, records, records_from};
use proxy_audit::segment::Segment;
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
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
    /// The logs that are asked about, where the index has others as well.
    logs: Option<Vec<i64>>,
}

/// A log, as far as it is indexed.
struct Known {
    id: i64,
    position: Position,
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
        Ok(Self { connection, key, logs: None })
    }

    /// Reads what is new in these logs, and forgets what is not there any more. Questions are about these from now on.
    pub(crate) fn refresh(&mut self, logs: &[PathBuf]) -> anyhow::Result<()> {
        let mut directories = Vec::new();
        for log in logs {
            let directory = std::path::absolute(log)?;
            directories.push(directory.to_str().context("the path is not UTF-8")?.to_owned());
        }
        let mut removed = retain::forget_gone(&self.connection, &directories)?;
        for (log, directory) in logs.iter().zip(&directories) {
            let context = || format!("index {}", log.display());
            removed |= retain::cut(&mut self.connection, &self.key, log, directory).with_context(context)?;
            while self.batch(log, directory, &mut removed).with_context(context)? {}
        }
        schema::finish(&self.connection)?;
        if removed {
            schema::sweep(&self.connection)?;
        }
        self.logs = retain::selected(&self.connection, &directories)?;
        Ok(())
    }

    /// Reads one transaction's worth of a log; whether there may be more.
    fn batch(&mut self, log: &Path, directory: &str, removed: &mut bool) -> anyhow::Result<bool> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let known = Known::find(&transaction, directory)?;
        let position = known.as_ref().map(|known| &known.position);
        if position.is_some_and(|position| !position.is_within(log)) {
            return forget(transaction, directory, removed);
        }
        let mut read = match position {
            Some(position) => records_from(log, position)?,
            None => records(log)?,
        };
        let id = match &known {
            Some(known) => known.id,
            None => begin(&transaction, log, directory)?,
        };
        let mut writer = Writer::new(&transaction, &self.key, id);
        let mut count = 0;
        for record in read.by_ref() {
            // Bytes of another log are no frames, or not the next of this one's.
            let another = count == 0
                && position
                    .is_some_and(|position| !record.as_ref().is_ok_and(|record| position.continues(record)));
            if another {
                drop(writer);
                return forget(transaction, directory, removed);
            }
            let record = record.context("an index leaves nothing out: ask without --index")?;
            writer.add(&record)?;
            count += 1;
            if count == BATCH_RECORDS {
                break;
            }
        }
        if let Some(position) = read.position().filter(|_| count > 0) {
            writer.finish()?;
            let position = serde_json::to_string(&position)?;
            transaction.execute("UPDATE logs SET position = ?1 WHERE id = ?2", params![position, id])?;
            transaction.commit()?;
        }
        Ok(count == BATCH_RECORDS)
    }
}

impl Known {
    fn find(connection: &Connection, directory: &str) -> anyhow::Result<Option<Self>> {
        let known: Option<(i64, String)> = connection
            .query_row("SELECT id, position FROM logs WHERE directory = ?1", [directory], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let Some((id, position)) = known else { return Ok(None) };
        Ok(Some(Self { id, position: serde_json::from_str(&position)? }))
    }
}

/// Begins a log.
fn begin(connection: &Connection, log: &Path, directory: &str) -> anyhow::Result<i64> {
    let first = Segment::list(log)?.first().map_or(0, |segment| segment.first);
    connection.execute(
        "INSERT INTO logs (directory, position, first) VALUES (?1, '', ?2)",
        params![directory, signed(first)?],
    )?;
    Ok(connection.last_insert_rowid())
}

/// It is another log than the one that was read: it is read from its beginning.
fn forget(transaction: Transaction<'_>, directory: &str, removed: &mut bool) -> anyhow::Result<bool> {
    schema::forget(&transaction, directory)?;
    transaction.commit()?;
    *removed = true;
    Ok(true)
}

/// A number that `SQLite` can keep.
fn signed(number: u64) -> anyhow::Result<i64> {
    match i64::try_from(number) {
        Ok(number) => Ok(number),
        Err(_) => bail!("{number} is larger than an index can hold"),
    }
}

/// A time that `SQLite` can keep, to the nanosecond. One after the year 2262 is kept as the last one before.
fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(if time < Timestamp::UNIX_EPOCH {
        i64::MIN
    } else {
        i64::MAX
    })
}

#[cfg(test)]
mod tests;
