//! What is no longer on disk leaves the index: logs that are gone, and what retention removed from the beginning of one.

use crate::index::write::Writer;
use crate::index::{Known, schema, signed};
use proxy_audit::event::key;
use proxy_audit::read::records;
use proxy_audit::segment::Segment;
use rusqlite::{Connection, TransactionBehavior, params};
use std::collections::HashSet;
use std::path::Path;

/// Drops the logs whose directories are not there. One that is there and is not asked about is of another spool.
/// Whether there was one.
pub(super) fn forget_gone(connection: &Connection, asked: &[String]) -> anyhow::Result<bool> {
    let mut statement = connection.prepare("SELECT directory FROM logs")?;
    let directories = statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    let gone = |directory: &&String| !asked.contains(directory) && !Path::new(directory).is_dir();
    let mut any = false;
    for directory in directories.iter().filter(gone) {
        schema::forget(connection, directory)?;
        any = true;
    }
    Ok(any)
}

/// Drops what is of records before the first one that is left of a log. Whether there was something.
///
/// A session of which some records are left is read again, so that it is counted as who reads the log counts it.
pub(super) fn cut(
    connection: &mut Connection,
    key: &[u8],
    log: &Path,
    directory: &str,
) -> anyhow::Result<bool> {
    let Some(first) = Segment::list(log)?.first().map(|segment| segment.first) else { return Ok(false) };
    let first = signed(first)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let Some(Known { id, position }) = Known::find(&transaction, directory)? else { return Ok(false) };
    let changed =
        transaction.execute("UPDATE logs SET first = ?1 WHERE id = ?2 AND first < ?1", params![first, id])?;
    if changed == 0 {
        return Ok(false);
    }
    let begun = "SELECT id FROM sessions WHERE log = ?1 AND first_sequence < ?2";
    let left = {
        let mut statement = transaction.prepare(
            "SELECT session, last_sequence FROM sessions
             WHERE log = ?1 AND first_sequence < ?2 AND last_sequence >= ?2",
        )?;
        let left = statement.query_map([id, first], |row| Ok((row.get(0)?, row.get(1)?)))?;
        left.collect::<Result<Vec<(String, i64)>, _>>()?
    };
    transaction.execute(&format!("DELETE FROM commands WHERE session IN ({begun})"), [id, first])?;
    transaction
        .execute(&format!("DELETE FROM approvals WHERE log = ?1 AND session IN ({begun})"), [id, first])?;
    transaction.execute("DELETE FROM sessions WHERE log = ?1 AND first_sequence < ?2", [id, first])?;
    if let Some(last) = left.iter().map(|(_, last)| *last).max() {
        let sessions: HashSet<&str> = left.iter().map(|(session, _)| session.as_str()).collect();
        let mut writer = Writer::new(&transaction, key, id);
        for record in records(log)? {
            let record = record?;
            if record.sequence() >= position.next || signed(record.sequence())? > last {
                break;
            }
            if record.text(key::SESSION_ID).is_some_and(|session| sessions.contains(session)) {
                writer.add(&record)?;
            }
        }
        writer.finish()?;
    }
    transaction.commit()?;
    Ok(true)
}

/// The logs with these directories, where the index has others as well.
pub(super) fn selected(connection: &Connection, asked: &[String]) -> anyhow::Result<Option<Vec<i64>>> {
    let mut statement = connection.prepare("SELECT id, directory FROM logs")?;
    let all = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let all = all.collect::<Result<Vec<(i64, String)>, _>>()?;
    let chosen: Vec<i64> =
        all.iter().filter(|(_, directory)| asked.contains(directory)).map(|(id, _)| *id).collect();
    Ok((chosen.len() < all.len()).then_some(chosen))
}
