//! What a filter asks for, as sets of row identifiers, and as conditions.

use crate::index::{Index, nanoseconds};
use proxy_audit::query::{Command, Filter};
use rusqlite::types::Value;

/// Rows of a set are counted up to here. A set that has so many is large: to take each of its rows in hand costs more
/// than a second's part.
const LARGE: i64 = 50_000;

/// Row identifiers that a column of the commands must have.
pub(super) struct Set {
    pub(super) column: &'static str,
    pub(super) members: Vec<i64>,
}

pub(super) struct Sets(pub(super) Vec<Set>);

/// The index that drives the search in a set of few rows.
#[derive(Clone, Copy)]
pub(super) struct Driver<'a> {
    pub(super) set: &'a Set,
    /// It has less than [`LARGE`] rows.
    pub(super) small: bool,
}

impl Index {
    /// What the filter asks for, as sets of identifiers; `None` when one of them is empty.
    pub(super) fn sets(&self, filter: &Filter) -> anyhow::Result<Option<Sets>> {
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
        if let Some(prefix) = &filter.session {
            let starts = |id: &str| id.starts_with(prefix.as_str());
            sets.push(self.set("session", "SELECT id, session FROM sessions", starts)?);
        }
        Ok(sets.iter().all(|set| !set.members.is_empty()).then_some(Sets(sets)))
    }

    /// That a row of this table is of the logs that are asked about; nothing, where the index has no others.
    pub(super) fn of_logs(&self, table: &str) -> Option<Condition> {
        let logs = self.logs.as_ref()?;
        let sql = format!("+{table}.log IN (SELECT value FROM json_each(?))");
        Some(Condition::new(sql, vec![json(logs).into()]))
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

    /// The texts that hold this one, by the filter's own rule. `SQLite` finds them sooner where it can: of an ASCII text
    /// all but those with `K` (Kelvin) or `İ`, which are `k` and `i` in lower case, and with a zero, where it stops.
    fn text_set(&self, wanted: &str) -> anyhow::Result<Set> {
        let lower = wanted.to_lowercase();
        let holds = |text: &str| text.to_lowercase().contains(&lower);
        if !wanted.is_ascii() {
            return self.set("text", "SELECT id, text FROM texts", holds);
        }
        let pattern: String = wanted
            .chars()
            .flat_map(|c| ['%', '_', '\\'].contains(&c).then_some('\\').into_iter().chain([c]))
            .collect();
        let mut statement = self.connection.prepare_cached(
            "SELECT id, CASE WHEN text LIKE ?1 ESCAPE '\\' THEN NULL ELSE text END FROM texts
             WHERE text LIKE ?1 ESCAPE '\\' OR instr(text, char(0))
                OR (?2 AND (instr(text, char(8490)) OR instr(text, char(304))))",
        )?;
        let mut rows =
            statement.query(rusqlite::params![format!("%{pattern}%"), lower.contains(['k', 'i'])])?;
        let mut members = Vec::new();
        while let Some(row) = rows.next()? {
            if row.get_ref(1)?.as_str_or_null()?.is_none_or(holds) {
                members.push(row.get(0)?);
            }
        }
        Ok(Set { column: "text", members })
    }

    /// The set with the fewest commands, as far as they are counted.
    pub(super) fn driver<'a>(&self, sets: &'a Sets) -> anyhow::Result<Option<Driver<'a>>> {
        let mut best: Option<(i64, &Set)> = None;
        for set in &sets.0 {
            let count = self.count(set)?;
            let smaller =
                best.is_none_or(|(least, known)| (count, set.members.len()) < (least, known.members.len()));
            if smaller {
                best = Some((count, set));
            }
        }
        Ok(best.map(|(count, set)| Driver { set, small: count < LARGE }))
    }

    fn count(&self, set: &Set) -> anyhow::Result<i64> {
        // Nearly every text and every session has a command.
        if set.members.len() >= usize::try_from(LARGE).unwrap_or(usize::MAX) {
            return Ok(LARGE);
        }
        let condition = set.as_search();
        let sql = format!(
            "SELECT count(*) FROM (SELECT 1 FROM commands c {} WHERE {} LIMIT {LARGE})",
            set.index(),
            condition.sql
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        Ok(statement.query_row(rusqlite::params_from_iter(condition.values), |row| row.get(0))?)
    }
}

impl Set {
    /// A test of a row that was found otherwise.
    pub(super) fn as_test(&self) -> Condition {
        Condition::new(
            format!("+c.{} IN (SELECT value FROM json_each(?))", self.column),
            vec![self.json().into()],
        )
    }

    /// A search through the index of the column, which is [`Set::index`].
    pub(super) fn as_search(&self) -> Condition {
        let column = self.column;
        Condition::new(
            format!("c.{column} IN (SELECT value FROM json_each(?)) AND c.{column} IS NOT NULL"),
            vec![self.json().into()],
        )
    }

    /// Of the session, the key of the table is the index.
    pub(super) fn index(&self) -> String {
        match self.column {
            "session" => String::new(),
            column => format!("INDEXED BY commands_{column}"),
        }
    }

    pub(super) fn of_session(&self) -> Option<Condition> {
        let column = match self.column {
            "who" => "s.who",
            "session" => "s.id",
            _ => return None,
        };
        let sql = format!("{column} IN (SELECT value FROM json_each(?))");
        Some(Condition::new(sql, vec![self.json().into()]))
    }

    fn json(&self) -> String {
        json(&self.members)
    }
}

fn json(members: &[i64]) -> String {
    let members: Vec<String> = members.iter().map(i64::to_string).collect();
    format!("[{}]", members.join(","))
}

#[derive(Clone)]
pub(super) struct Condition {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Condition {
    pub(super) fn new(sql: impl Into<String>, values: Vec<Value>) -> Self {
        Self { sql: sql.into(), values }
    }
}

pub(super) fn joined(conditions: &[Condition]) -> (String, Vec<Value>) {
    let sql: Vec<&str> = conditions.iter().map(|condition| condition.sql.as_str()).collect();
    let sql = if sql.is_empty() { "1".to_owned() } else { sql.join(" AND ") };
    (sql, conditions.iter().flat_map(|condition| condition.values.clone()).collect())
}

pub(super) fn times(column: &str, filter: &Filter) -> Vec<Condition> {
    let since = filter.since.map(|since| (">=", since));
    let until = filter.until.map(|until| ("<", until));
    let condition =
        |(sign, time)| Condition::new(format!("{column} {sign} ?"), vec![nanoseconds(time).into()]);
    since.into_iter().chain(until).map(condition).collect()
}
