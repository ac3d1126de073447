//! Asking the index. The answers are those of `proxy_audit::query` over the logs themselves.
//!
//! Conditions on texts become sets of row identifiers first, by reading the small tables; then the smallest set drives
//! the search, each of its members through an index that has the time behind it.

use crate::index::Index;
use jiff::Timestamp;
use proxy_audit::query::{
    Approval, ApprovalRow, Command, CommandRow, Filter, Found, Order, Query, SessionSummary, Sort,
};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use std::collections::HashMap;

/// A set of at most so many members is searched member by member.
const MEMBERS: usize = 256;

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
        let mut keys = Vec::new();
        let by_time = query.order.by == Sort::Time && query.limit.is_some();
        let driver = sets.smallest().filter(|set| by_time && set.members.len() <= MEMBERS);
        match driver {
            Some(driver) => {
                for member in &driver.members {
                    let first = Condition::equal(driver.column, *member);
                    keys.extend(self.command_keys(query, &sets, Some(&(driver.column, first)))?);
                }
            }
            None => keys = self.command_keys(query, &sets, None)?,
        }
        if driver.is_some() {
            keys.sort_unstable_by(
                |one, other| {
                    if query.order.descending { other.cmp(one) } else { one.cmp(other) }
                },
            );
        }
        let more = query.limit.is_some_and(|limit| keys.len() > limit);
        keys.truncate(query.limit.unwrap_or(usize::MAX));
        Ok(Found { rows: self.command_rows(&keys)?, more })
    }

    /// Time, session and sequence of the first commands in the order, one more than the limit.
    fn command_keys(
        &self,
        query: &Query,
        sets: &Sets,
        driver: Option<&(&str, Condition)>,
    ) -> anyhow::Result<Vec<(i64, i64, i64)>> {
        let mut conditions = times("c.time", &query.filter);
        let leading = driver.map(|(column, _)| *column);
        conditions.extend(driver.map(|(_, condition)| condition.clone()));
        for set in sets.0.iter().filter(|set| Some(set.column) != leading) {
            conditions.push(set.as_condition());
        }
        if let Some(prefix) = &query.filter.session {
            conditions.push(Condition::starts_with(prefix));
        }
        let (condition, values) = joined(&conditions);
        let sql = format!(
            "SELECT c.time, c.session, c.sequence FROM commands c WHERE {condition} ORDER BY {} LIMIT {}",
            command_order(query.order),
            limit(query)
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let keys = statement
            .query_map(params_from_iter(values), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(keys.collect::<Result<_, _>>()?)
    }

    fn command_rows(&self, keys: &[(i64, i64, i64)]) -> anyhow::Result<Vec<CommandRow>> {
        let sql = format!("SELECT {COMMAND} FROM commands c WHERE c.session = ?1 AND c.sequence = ?2");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut sessions: HashMap<i64, SessionSummary> = HashMap::new();
        let mut rows = Vec::new();
        for (_, session, sequence) in keys {
            let summary = match sessions.get(session) {
                Some(summary) => summary.clone(),
                None => sessions.entry(*session).or_insert(self.session(*session)?).clone(),
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
        let mut conditions: Vec<Condition> =
            sets.0.iter().filter(|set| set.column == "who").map(Set::of_session).collect();
        if let Some(since) = filter.since {
            conditions.push(Condition::new("coalesce(s.ended, s.last) >= ?", vec![ceiling(since).into()]));
        }
        if let Some(until) = filter.until {
            conditions.push(Condition::new("s.start < ?", vec![ceiling(until).into()]));
        }
        if let Some(prefix) = &filter.session {
            conditions.push(Condition::new(
                "substr(s.session, 1, length(?)) = ?",
                vec![prefix.clone().into(), prefix.clone().into()],
            ));
        }
        if filter.asks_of_commands() {
            let of_commands: Vec<Condition> =
                sets.0.iter().filter(|set| set.column != "who").map(Set::as_condition).collect();
            let (condition, values) = joined(&of_commands);
            let condition = format!("s.id IN (SELECT c.session FROM commands c WHERE {condition})");
            conditions.push(Condition::new(condition, values));
        }
        let (condition, values) = joined(&conditions);
        let sql = format!(
            "SELECT {SESSION} FROM sessions s WHERE {condition} ORDER BY {} LIMIT {}",
            session_order(query.order),
            limit(query)
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map(params_from_iter(values), |row| Ok(session(row)))?;
        Ok(found(rows.map(|row| row?).collect::<anyhow::Result<Vec<_>>>()?, query))
    }

    /// The steps of approvals that fit.
    pub(crate) fn approvals(&self, query: &Query) -> anyhow::Result<Found<ApprovalRow>> {
        let nothing = Found { rows: Vec::new(), more: false };
        if query.filter.detector.is_some() {
            return Ok(nothing);
        }
        let Some(sets) = self.sets(&query.filter)? else { return Ok(nothing) };
        let mut conditions = times("c.time", &query.filter);
        conditions.extend(sets.0.iter().map(Set::as_condition));
        if let Some(prefix) = &query.filter.session {
            conditions.push(Condition::starts_with(prefix));
        }
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
                time: Timestamp::from_microsecond(row.get(3)?)?,
                name: row.get(5)?,
                verdict: text(row, 4)?,
                approvers: serde_json::from_str(&text(row, 6)?)?,
            };
            read.push(ApprovalRow {
                session: self.session(row.get(0)?)?,
                sequence: row.get::<_, i64>(1)?.cast_unsigned(),
                command: row.get(2)?,
                rule: text(row, 7)?,
                text: text(row, 8)?,
                approval,
            });
        }
        Ok(found(read, query))
    }

    /// What the filter asks for, as sets of identifiers; `None` when one of them is empty.
    fn sets(&self, filter: &Filter) -> anyhow::Result<Option<Sets>> {
        let mut sets = Vec::new();
        let of_who = Filter { session: None, ..filter.clone() };
        if filter.identity.is_some()
            || filter.group.is_some()
            || filter.resource.is_some()
            || !filter.claims.is_empty()
        {
            sets.push(self.set("who", "SELECT id, data FROM who", |data| {
                serde_json::from_str(data).is_ok_and(|who| of_who.admits_who(&who))
            })?);
        }
        if let Some(verdict) = &filter.verdict {
            sets.push(self.set("verdict", "SELECT id, text FROM names", |name| name == verdict)?);
        }
        if filter.rule.is_some() {
            let of_rule = Filter { rule: filter.rule.clone(), ..Filter::default() };
            sets.push(self.set("rule", "SELECT id, text FROM names", |rule| {
                of_rule.admits_command(&Command { rule: rule.to_owned(), ..Command::default() })
            })?);
        }
        if let Some(wanted) = &filter.text {
            sets.push(self.text_set(wanted)?);
        }
        if filter.detector.is_some() {
            let of_mask = Filter { detector: filter.detector.clone(), ..Filter::default() };
            sets.push(self.set("masked", "SELECT id, text FROM masks", |masked| {
                let masked = serde_json::from_str(masked).unwrap_or_default();
                of_mask.admits_command(&Command { masked, ..Command::default() })
            })?);
        }
        Ok(sets.iter().all(|set| !set.members.is_empty()).then_some(Sets(sets)))
    }

    fn set(&self, column: &'static str, sql: &str, fits: impl Fn(&str) -> bool) -> anyhow::Result<Set> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut members = Vec::new();
        while let Some(row) = rows.next()? {
            if fits(row.get_ref(1)?.as_str()?) {
                members.push(row.get(0)?);
            }
        }
        Ok(Set { column, members })
    }

    /// The texts that hold this one. Only ASCII letters are compared without regard to case by `SQLite`; any other
    /// text is compared as the filter itself does.
    fn text_set(&self, wanted: &str) -> anyhow::Result<Set> {
        if !wanted.is_ascii() {
            let lower = wanted.to_lowercase();
            return self
                .set("text", "SELECT id, text FROM texts", |text| text.to_lowercase().contains(&lower));
        }
        let pattern: String = wanted
            .chars()
            .flat_map(|c| ['%', '_', '\\'].contains(&c).then_some('\\').into_iter().chain([c]))
            .collect();
        let mut statement =
            self.connection.prepare_cached("SELECT id FROM texts WHERE text LIKE ?1 ESCAPE '\\'")?;
        let members = statement.query_map([format!("%{pattern}%")], |row| row.get(0))?;
        Ok(Set { column: "text", members: members.collect::<Result<_, _>>()? })
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

/// Row identifiers that a column must have.
struct Set {
    column: &'static str,
    members: Vec<i64>,
}

struct Sets(Vec<Set>);

impl Sets {
    fn smallest(&self) -> Option<&Set> {
        self.0.iter().min_by_key(|set| set.members.len())
    }
}

impl Set {
    fn as_condition(&self) -> Condition {
        Condition::new(
            format!("+c.{} IN (SELECT value FROM json_each(?))", self.column),
            vec![self.json().into()],
        )
    }

    fn of_session(&self) -> Condition {
        Condition::new("s.who IN (SELECT value FROM json_each(?))", vec![self.json().into()])
    }

    fn json(&self) -> String {
        let members: Vec<String> = self.members.iter().map(i64::to_string).collect();
        format!("[{}]", members.join(","))
    }
}

#[derive(Clone)]
struct Condition {
    sql: String,
    values: Vec<Value>,
}

impl Condition {
    fn new(sql: impl Into<String>, values: Vec<Value>) -> Self {
        Self { sql: sql.into(), values }
    }

    fn equal(column: &str, member: i64) -> Self {
        Self::new(format!("c.{column} = ?"), vec![member.into()])
    }

    fn starts_with(prefix: &str) -> Self {
        Self::new(
            "c.session IN (SELECT id FROM sessions WHERE substr(session, 1, length(?)) = ?)",
            vec![prefix.to_owned().into(), prefix.to_owned().into()],
        )
    }
}

fn joined(conditions: &[Condition]) -> (String, Vec<Value>) {
    let sql: Vec<&str> = conditions.iter().map(|condition| condition.sql.as_str()).collect();
    let sql = if sql.is_empty() { "1".to_owned() } else { sql.join(" AND ") };
    (sql, conditions.iter().flat_map(|condition| condition.values.clone()).collect())
}

fn times(column: &str, filter: &Filter) -> Vec<Condition> {
    let since = filter.since.map(|since| (">=", since));
    let until = filter.until.map(|until| ("<", until));
    let condition = |(sign, time)| Condition::new(format!("{column} {sign} ?"), vec![ceiling(time).into()]);
    since.into_iter().chain(until).map(condition).collect()
}

/// The first microsecond that is not before this time.
fn ceiling(time: Timestamp) -> i64 {
    let whole = time.as_microsecond();
    whole.saturating_add(i64::from(time.as_nanosecond() > i128::from(whole) * 1_000))
}

fn limit(query: &Query) -> i64 {
    query.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1)
}

fn found<T>(mut rows: Vec<T>, query: &Query) -> Found<T> {
    let more = query.limit.is_some_and(|limit| rows.len() > limit);
    rows.truncate(query.limit.unwrap_or(usize::MAX));
    Found { rows, more }
}

const fn direction(order: Order) -> &'static str {
    if order.descending { "DESC" } else { "ASC" }
}

/// `path` of the session's JSON of the row's `who`.
fn of_who(table: &str, path: &str) -> String {
    format!("(SELECT data ->> '$.{path}' FROM who WHERE id = {table}.who)")
}

fn name(column: &str) -> String {
    format!("(SELECT text FROM names WHERE id = c.{column})")
}

fn command_order(order: Order) -> String {
    let direction = direction(order);
    let by = match order.by {
        Sort::User => of_who("c", "user_name"),
        Sort::Resource => format!("{} {direction}, {}", of_who("c", "namespace"), of_who("c", "resource")),
        Sort::Verdict => name("verdict"),
        Sort::Rule => name("rule"),
        Sort::Duration => "c.duration".to_owned(),
        Sort::Rows => "c.rows".to_owned(),
        Sort::Masked => "(SELECT json_array_length(text) FROM masks WHERE id = c.masked)".to_owned(),
        Sort::Time | Sort::Commands | Sort::Denied | Sort::Held => return format!("c.time {direction}"),
    };
    format!("{by} {direction}, c.time {direction}")
}

fn approval_order(order: Order) -> String {
    let direction = direction(order);
    let by = match order.by {
        Sort::User => of_who("c", "user_name"),
        Sort::Resource => format!("{} {direction}, {}", of_who("c", "namespace"), of_who("c", "resource")),
        Sort::Verdict => name("verdict"),
        Sort::Rule => name("rule"),
        Sort::Time
        | Sort::Duration
        | Sort::Rows
        | Sort::Commands
        | Sort::Denied
        | Sort::Held
        | Sort::Masked => return format!("c.time {direction}, c.sequence {direction}"),
    };
    format!("{by} {direction}, c.time {direction}")
}

fn session_order(order: Order) -> String {
    let direction = direction(order);
    let by = match order.by {
        Sort::User => of_who("s", "user_name"),
        Sort::Resource => format!("{} {direction}, {}", of_who("s", "namespace"), of_who("s", "resource")),
        Sort::Duration => "s.last - s.start".to_owned(),
        Sort::Commands => "s.statements".to_owned(),
        Sort::Denied => "s.denied".to_owned(),
        Sort::Held => "s.held".to_owned(),
        Sort::Masked => "s.masked".to_owned(),
        Sort::Time | Sort::Verdict | Sort::Rule | Sort::Rows => {
            return format!("s.start {direction}, s.session {direction}");
        }
    };
    format!("{by} {direction}, s.start {direction}")
}

fn command(row: &Row<'_>) -> anyhow::Result<Command> {
    let masked: Option<String> = row.get(13)?;
    Ok(Command {
        number: row.get(1)?,
        sequence: row.get::<_, i64>(2)?.cast_unsigned(),
        time: Timestamp::from_microsecond(row.get(3)?)?,
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
    let time = |column| anyhow::Ok(Timestamp::from_microsecond(row.get(column)?)?);
    let count = |column| anyhow::Ok(row.get::<_, i64>(column)?.cast_unsigned());
    let mut session: SessionSummary = serde_json::from_str(&text(row, 2)?)?;
    session.id = row.get(1)?;
    session.start = time(3)?;
    session.last = time(4)?;
    session.end = row.get::<_, Option<i64>>(5)?.map(Timestamp::from_microsecond).transpose()?;
    session.reason = row.get(6)?;
    session.statements = count(7)?;
    session.allowed = count(8)?;
    session.denied = count(9)?;
    session.held = count(10)?;
    session.masked = count(11)?;
    Ok(session)
}

fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(row.get::<_, Option<String>>(column)?.unwrap_or_default())
}
