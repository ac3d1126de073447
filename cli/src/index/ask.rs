//! Asking the index. The answers are those of `proxy_audit::query` over the logs themselves.
//!
//! Conditions on texts become sets of row identifiers first, by reading the small tables. A set with few commands
//! drives the search: each of its commands is found through an index, and the first in the order are taken. Where all
//! sets are large, or there is none, commands are walked in their order until enough of them fit.

mod order;
mod sets;

use crate::index::{Index, nanoseconds};
use jiff::Timestamp;
use order::{Group, Walk, approval_order, command_order, direction, session_order};
use proxy_audit::query::{Approval, ApprovalRow, Command, CommandRow, Found, Order, Query, SessionSummary};
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use sets::{Condition, Driver, Set, Sets, joined, times};
use std::collections::HashMap;
use std::sync::Arc;

/// A set of at most so many members is walked member by member.
const MEMBERS: usize = 256;

/// Time, session and sequence of a command.
type Key = (i64, i64, i64);

/// Commands whose column has one of these values.
#[derive(Clone, Copy)]
struct Merged<'a> {
    column: &'a str,
    members: &'a [i64],
}

const COMMAND: &str = "c.session, c.number, c.sequence, c.time,
    (SELECT text FROM names WHERE id = c.verdict), (SELECT text FROM names WHERE id = c.rule),
    (SELECT text FROM names WHERE id = c.operation), (SELECT text FROM texts WHERE id = c.text),
    (SELECT text FROM names WHERE id = c.outcome), (SELECT text FROM names WHERE id = c.status),
    c.rows, c.bytes, c.duration, (SELECT text FROM masks WHERE id = c.masked)";

const SESSION: &str = "s.id, s.session, (SELECT data FROM who WHERE id = s.who), s.start, s.last, s.ended,
    (SELECT text FROM names WHERE id = s.reason), s.statements, s.allowed, s.denied, s.held, s.masked";

impl Index {
    /// The commands that fit.
    pub(crate) fn commands(&self, query: &Query) -> anyhow::Result<Found<CommandRow>> {
        let Some(sets) = self.sets(&query.filter)? else {
            return Ok(Found { rows: Vec::new(), more: false });
        };
        let driver = self.driver(&sets)?;
        let mut keys = match (driver, query.limit) {
            (Some(driver), _) if driver.small => self.search(query, &sets, Some(driver.set))?,
            (_, None) => self.search(query, &sets, None)?,
            (driver, Some(limit)) => self.walked(query, &sets, driver, limit + 1)?,
        };
        let more = query.limit.is_some_and(|limit| keys.len() > limit);
        keys.truncate(query.limit.unwrap_or(usize::MAX));
        Ok(Found { rows: self.command_rows(&keys)?, more })
    }

    /// The first commands in the order, one more than the limit, of all in a set.
    fn search(&self, query: &Query, sets: &Sets, driver: Option<&Set>) -> anyhow::Result<Vec<Key>> {
        let mut conditions = times("c.time", &query.filter);
        conditions.extend(self.of_logs("c"));
        conditions.extend(driver.map(Set::as_search));
        conditions.extend(tests(sets, driver.map(|set| set.column)));
        let index = driver.map(Set::index).unwrap_or_default();
        self.keys(&index, &conditions, &command_order(query.order), limit(query))
    }

    /// The same, of commands that come in their order.
    fn walked(
        &self,
        query: &Query,
        sets: &Sets,
        driver: Option<Driver<'_>>,
        wanted: usize,
    ) -> anyhow::Result<Vec<Key>> {
        let mut conditions = times("c.time", &query.filter);
        conditions.extend(self.of_logs("c"));
        let (column, groups) = match (self.walk(query.order)?, driver) {
            (Walk::Index("commands_time"), Some(Driver { set, .. }))
                if set.members.len() <= MEMBERS && set.column != "session" =>
            {
                (set.column, vec![Group::Members(set.members.clone())])
            }
            (Walk::Index(index), _) => {
                conditions.extend(tests(sets, None));
                let index = format!("INDEXED BY {index}");
                return self.keys(&index, &conditions, &command_order(query.order), limit(query));
            }
            (Walk::Groups { column, groups }, _) => (column, groups),
        };
        conditions.extend(tests(sets, Some(column)));
        let own = sets.0.iter().find(|set| set.column == column);
        let mut keys = Vec::new();
        for group in groups {
            let left = wanted - keys.len();
            match group {
                Group::Members(mut members) => {
                    members.retain(|member| own.is_none_or(|set| set.members.contains(member)));
                    let of = Merged { column, members: &members };
                    keys.extend(self.merged(of, &conditions, query.order, left)?);
                }
                Group::Null if own.is_some() => {}
                Group::Null => {
                    let mut conditions = conditions.clone();
                    conditions.push(Condition::new(format!("c.{column} IS NULL"), Vec::new()));
                    let order = format!("c.time {}", direction(query.order));
                    let left = i64::try_from(left)?;
                    keys.extend(self.keys("INDEXED BY commands_time", &conditions, &order, left)?);
                }
            }
            if keys.len() >= wanted {
                break;
            }
        }
        Ok(keys)
    }

    /// The first commands by time whose column has one of these values: each through the index that has its commands
    /// by time, and none further than what the others gave.
    fn merged(
        &self,
        Merged { column, members }: Merged<'_>,
        conditions: &[Condition],
        order: Order,
        wanted: usize,
    ) -> anyhow::Result<Vec<Key>> {
        let index = format!("INDEXED BY commands_{column}");
        let by_time = format!("c.time {}", direction(order));
        let sign = if order.descending { ">=" } else { "<=" };
        let mut keys: Vec<Key> = Vec::new();
        for member in members {
            let mut all = vec![Condition::new(format!("c.{column} = ?"), vec![(*member).into()])];
            all.extend_from_slice(conditions);
            if let Some((last, ..)) = keys.last().filter(|_| keys.len() >= wanted) {
                all.push(Condition::new(format!("c.time {sign} ?"), vec![(*last).into()]));
            }
            keys.extend(self.keys(&index, &all, &by_time, i64::try_from(wanted)?)?);
            keys.sort_unstable_by(
                |one, other| if order.descending { other.cmp(one) } else { one.cmp(other) },
            );
            keys.truncate(wanted);
        }
        Ok(keys)
    }

    fn keys(
        &self,
        index: &str,
        conditions: &[Condition],
        order: &str,
        limit: i64,
    ) -> anyhow::Result<Vec<Key>> {
        let (condition, values) = joined(conditions);
        let sql = format!(
            "SELECT c.time, c.session, c.sequence FROM commands c {index} WHERE {condition}
             ORDER BY {order} LIMIT {limit}"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let keys = statement
            .query_map(params_from_iter(values), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(keys.collect::<Result<_, _>>()?)
    }

    fn command_rows(&self, keys: &[Key]) -> anyhow::Result<Vec<CommandRow>> {
        let sql = format!("SELECT {COMMAND} FROM commands c WHERE c.session = ?1 AND c.sequence = ?2");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut sessions: HashMap<i64, Arc<SessionSummary>> = HashMap::new();
        let mut rows = Vec::new();
        for (_, session, sequence) in keys {
            let summary = match sessions.get(session) {
                Some(summary) => Arc::clone(summary),
                None => Arc::clone(sessions.entry(*session).or_insert(Arc::new(self.session(*session)?))),
            };
            let command = statement.query_row(params![session, sequence], |row| Ok(command(row)))??;
            rows.push(CommandRow { session: summary, command });
        }
        Ok(rows)
    }

    fn session(&self, id: i64) -> anyhow::Result<SessionSummary> {
        let sql = format!("SELECT {SESSION} FROM sessions s WHERE s.id = ?1");
        self.connection.prepare_cached(&sql)?.query_row([id], |row| Ok(session(row)))?
    }

    /// The sessions that fit.
    pub(crate) fn sessions(&self, query: &Query) -> anyhow::Result<Found<SessionSummary>> {
        let filter = &query.filter;
        let Some(sets) = self.sets(filter)? else { return Ok(Found { rows: Vec::new(), more: false }) };
        let mut conditions: Vec<Condition> = sets.0.iter().filter_map(Set::of_session).collect();
        conditions.extend(self.of_logs("s"));
        if let Some(since) = filter.since {
            conditions
                .push(Condition::new("coalesce(s.ended, s.last) >= ?", vec![nanoseconds(since).into()]));
        }
        if let Some(until) = filter.until {
            conditions.push(Condition::new("s.start < ?", vec![nanoseconds(until).into()]));
        }
        if filter.asks_of_commands() {
            conditions.push(self.with_command(query, sets)?);
        }
        let (condition, values) = joined(&conditions);
        // Identifiers first: what a session shows is read of those alone that are shown.
        let sql = format!(
            "SELECT s.id FROM sessions s WHERE {condition} ORDER BY {} LIMIT {}",
            session_order(query.order),
            limit(query)
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let ids = statement.query_map(params_from_iter(values), |row| row.get::<_, i64>(0))?;
        let ids = found(ids.collect::<Result<Vec<_>, _>>()?, query);
        let rows = ids.rows.into_iter().map(|id| self.session(id)).collect::<anyhow::Result<_>>()?;
        Ok(Found { rows, more: ids.more })
    }

    /// That a session has a command that fits.
    fn with_command(&self, query: &Query, mut sets: Sets) -> anyhow::Result<Condition> {
        sets.0.retain(|set| set.of_session().is_none());
        let driver = self.driver(&sets)?;
        // Sessions that come in their order are asked one by one, until enough fit.
        let one_by_one = query.limit.is_some() && session_order(query.order).starts_with("s.start");
        if let Some(Driver { set, .. }) = driver.filter(|driver| driver.small || !one_by_one) {
            let mut conditions = vec![set.as_search()];
            conditions.extend(tests(&sets, Some(set.column)));
            let (condition, values) = joined(&conditions);
            let index = set.index();
            let sql = format!("s.id IN (SELECT c.session FROM commands c {index} WHERE {condition})");
            return Ok(Condition::new(sql, values));
        }
        let (condition, values) = joined(&tests(&sets, None));
        let sql = format!("EXISTS (SELECT 1 FROM commands c WHERE c.session = s.id AND {condition})");
        Ok(Condition::new(sql, values))
    }

    /// The steps of approvals that fit.
    pub(crate) fn approvals(&self, query: &Query) -> anyhow::Result<Found<ApprovalRow>> {
        let nothing = Found { rows: Vec::new(), more: false };
        if query.filter.detector.is_some() {
            return Ok(nothing);
        }
        let Some(sets) = self.sets(&query.filter)? else { return Ok(nothing) };
        let mut conditions = times("c.time", &query.filter);
        conditions.extend(self.of_logs("c"));
        conditions.extend(tests(&sets, None));
        let (condition, values) = joined(&conditions);
        let sql = format!(
            "SELECT c.session, c.sequence, c.number, c.time, (SELECT text FROM names WHERE id = c.verdict),
             c.name, c.approvers, (SELECT text FROM names WHERE id = c.rule),
             (SELECT text FROM texts WHERE id = c.text)
             FROM approvals c WHERE {condition} ORDER BY {} LIMIT {}",
            approval_order(query.order),
            limit(query)
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        let mut read = Vec::new();
        while let Some(row) = rows.next()? {
            let approval = Approval {
                time: time(row.get(3)?)?,
                name: row.get(5)?,
                verdict: text(row, 4)?,
                approvers: serde_json::from_str(&text(row, 6)?)?,
            };
            read.push(ApprovalRow {
                session: Arc::new(self.session(row.get(0)?)?),
                sequence: row.get::<_, i64>(1)?.cast_unsigned(),
                command: row.get(2)?,
                rule: text(row, 7)?,
                text: text(row, 8)?,
                approval,
            });
        }
        Ok(found(read, query))
    }
}

/// A session that is in the tables, by its identifier.
pub(super) fn summary(
    connection: &Connection,
    log: i64,
    id: &str,
) -> anyhow::Result<Option<(i64, SessionSummary)>> {
    let sql = format!("SELECT {SESSION} FROM sessions s WHERE s.session = ?1 AND s.log = ?2");
    let found = connection
        .prepare_cached(&sql)?
        .query_row(params![id, log], |row| Ok((row.get(0)?, session(row))))
        .optional()?;
    found.map(|(id, session)| Ok((id, session?))).transpose()
}

/// Commands of a session whose result is not on record yet.
pub(super) fn open_commands(connection: &Connection, session: i64) -> anyhow::Result<Vec<Command>> {
    let sql = format!(
        "SELECT {COMMAND} FROM commands c WHERE c.session = ?1 AND c.outcome IS NULL ORDER BY c.sequence"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([session], |row| Ok(command(row)))?;
    rows.map(|row| row?).collect()
}

/// Tests of all sets but those of one column.
fn tests(sets: &Sets, but: Option<&str>) -> Vec<Condition> {
    sets.0.iter().filter(|set| Some(set.column) != but).map(Set::as_test).collect()
}

fn limit(query: &Query) -> i64 {
    query.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1)
}

fn found<T>(mut rows: Vec<T>, query: &Query) -> Found<T> {
    let more = query.limit.is_some_and(|limit| rows.len() > limit);
    rows.truncate(query.limit.unwrap_or(usize::MAX));
    Found { rows, more }
}

fn command(row: &Row<'_>) -> anyhow::Result<Command> {
    let masked: Option<String> = row.get(13)?;
    Ok(Command {
        number: row.get(1)?,
        sequence: row.get::<_, i64>(2)?.cast_unsigned(),
        time: time(row.get(3)?)?,
        verdict: text(row, 4)?,
        rule: text(row, 5)?,
        operation: text(row, 6)?,
        text: text(row, 7)?,
        outcome: row.get(8)?,
        status_code: row.get(9)?,
        rows: row.get(10)?,
        bytes: row.get(11)?,
        duration_us: row.get(12)?,
        masked: masked.map(|masked| serde_json::from_str(&masked)).transpose()?.unwrap_or_default(),
        ..Command::default()
    })
}

fn session(row: &Row<'_>) -> anyhow::Result<SessionSummary> {
    let count = |column| anyhow::Ok(row.get::<_, i64>(column)?.cast_unsigned());
    let mut session: SessionSummary = serde_json::from_str(&text(row, 2)?)?;
    session.id = row.get(1)?;
    session.start = time(row.get(3)?)?;
    session.last = time(row.get(4)?)?;
    session.end = row.get::<_, Option<i64>>(5)?.map(time).transpose()?;
    session.reason = row.get(6)?;
    session.statements = count(7)?;
    session.allowed = count(8)?;
    session.denied = count(9)?;
    session.held = count(10)?;
    session.masked = count(11)?;
    Ok(session)
}

/// A time as the tables have it.
fn time(nanoseconds: i64) -> Result<Timestamp, jiff::Error> {
    Timestamp::from_nanosecond(nanoseconds.into())
}

fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(row.get::<_, Option<String>>(column)?.unwrap_or_default())
}
