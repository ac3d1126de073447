//! The tables. Texts that repeat are kept once, under a keyed digest; times are nanoseconds since 1970, as
//! records have them.

use rusqlite::{Connection, params};

/// Version of the tables: an index of another one is emptied.
const VERSION: i64 = 2;

const TABLES: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
-- first: sequence of its first record when it was read last; retention removes the oldest
CREATE TABLE logs (
    id INTEGER PRIMARY KEY, directory TEXT NOT NULL UNIQUE, position TEXT NOT NULL, first INTEGER NOT NULL);
-- masked texts of commands
CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
-- rules, operations, outcomes and what else has few values
CREATE TABLE names (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
-- what was masked: a JSON list
CREATE TABLE masks (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
-- identity and resource of sessions; data is the JSON of a session without its counts
CREATE TABLE who (id INTEGER PRIMARY KEY, data TEXT NOT NULL);
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, log INTEGER NOT NULL, session TEXT NOT NULL, who INTEGER NOT NULL,
    start INTEGER NOT NULL, last INTEGER NOT NULL, ended INTEGER, reason INTEGER,
    statements INTEGER NOT NULL, allowed INTEGER NOT NULL, denied INTEGER NOT NULL, held INTEGER NOT NULL,
    masked INTEGER NOT NULL, first_sequence INTEGER NOT NULL, last_sequence INTEGER NOT NULL,
    UNIQUE (session, log));
CREATE TABLE commands (
    session INTEGER NOT NULL, number INTEGER NOT NULL, sequence INTEGER NOT NULL, log INTEGER NOT NULL,
    who INTEGER NOT NULL, time INTEGER NOT NULL,
    verdict INTEGER, rule INTEGER, operation INTEGER, text INTEGER, outcome INTEGER, status INTEGER,
    rows INTEGER, bytes INTEGER, duration INTEGER, masked INTEGER,
    PRIMARY KEY (session, sequence)) WITHOUT ROWID;
CREATE TABLE approvals (
    log INTEGER NOT NULL, sequence INTEGER NOT NULL, session INTEGER NOT NULL, who INTEGER NOT NULL,
    number INTEGER NOT NULL, time INTEGER NOT NULL, verdict INTEGER, name TEXT, approvers TEXT,
    rule INTEGER, text INTEGER, PRIMARY KEY (log, sequence)) WITHOUT ROWID;
";

/// Made once the tables are filled for the first time: that is faster than to keep them while they are. `ask` names
/// those of the commands by their column.
const INDEXES: &str = "
CREATE INDEX IF NOT EXISTS commands_time ON commands (time);
CREATE INDEX IF NOT EXISTS commands_who ON commands (who, time);
CREATE INDEX IF NOT EXISTS commands_verdict ON commands (verdict, time);
CREATE INDEX IF NOT EXISTS commands_rule ON commands (rule, time);
CREATE INDEX IF NOT EXISTS commands_text ON commands (text, time);
CREATE INDEX IF NOT EXISTS commands_masked ON commands (masked, time) WHERE masked IS NOT NULL;
CREATE INDEX IF NOT EXISTS commands_duration ON commands (duration, time);
CREATE INDEX IF NOT EXISTS commands_rows ON commands (rows, time);
DROP INDEX IF EXISTS commands_log;
CREATE INDEX IF NOT EXISTS sessions_log ON sessions (log);
CREATE INDEX IF NOT EXISTS sessions_start ON sessions (start, session);
";

/// Makes the tables where they are missing, or are those of another version.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -131072; PRAGMA mmap_size = 1073741824; PRAGMA secure_delete = ON;",
    )?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version == VERSION {
        return Ok(());
    }
    let drop = ["meta", "logs", "texts", "names", "masks", "who", "sessions", "commands", "approvals"]
        .map(|table| format!("DROP TABLE IF EXISTS {table};"))
        .concat();
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; {drop} {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"
    ))?;
    let key: [u8; 16] = rand::random();
    connection.execute("INSERT INTO meta VALUES ('digest', ?1)", params![key.as_slice()])?;
    Ok(())
}

/// After each filling: what is there already is left as it is.
pub(super) fn finish(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(INDEXES)
}

/// Drops all that is known of a log.
pub(super) fn forget(connection: &Connection, directory: &str) -> rusqlite::Result<()> {
    let log = "(SELECT id FROM logs WHERE directory = ?1)";
    for statement in [
        format!("DELETE FROM commands WHERE session IN (SELECT id FROM sessions WHERE log = {log})"),
        format!("DELETE FROM approvals WHERE log = {log}"),
        format!("DELETE FROM sessions WHERE log = {log}"),
    ] {
        connection.execute(&statement, [directory])?;
    }
    connection.execute("DELETE FROM logs WHERE directory = ?1", [directory])?;
    Ok(())
}

/// Drops texts that nothing has any more: what was removed from the logs is not kept here. Needs the indexes.
pub(super) fn sweep(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "DELETE FROM texts WHERE NOT EXISTS (SELECT 1 FROM commands c WHERE c.text = texts.id)
             AND id NOT IN (SELECT text FROM approvals WHERE text IS NOT NULL);
         DELETE FROM masks WHERE NOT EXISTS (SELECT 1 FROM commands c WHERE c.masked = masks.id);
         DELETE FROM who WHERE id NOT IN (SELECT who FROM sessions);",
    )
}
