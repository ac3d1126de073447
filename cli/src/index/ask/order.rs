//! In which order, as SQL, and as the groups of rows in which it can be walked.

use crate::index::Index;
use proxy_audit::query::{Order, Sort};
use std::collections::BTreeMap;

/// Of a name that is something else, there is no row to find.
const NAMES: &str = "SELECT id, text, '' FROM names";

/// How commands come in an order without all of them being looked at.
pub(super) enum Walk {
    /// Through an index that has this order.
    Index(&'static str),
    /// Group after group, each by time: rows whose column has one of these values, and last or first those that have
    /// none.
    Groups { column: &'static str, groups: Vec<Group> },
}

/// Values of a column that are the same to an order; of what is masked, also none.
pub(super) enum Group {
    Members(Vec<i64>),
    Null,
}

impl Index {
    pub(super) fn walk(&self, order: Order) -> anyhow::Result<Walk> {
        let grouped = |column, sql: &str| {
            anyhow::Ok(Walk::Groups { column, groups: self.groups(sql, order.descending)? })
        };
        match order.by {
            Sort::Time | Sort::Commands | Sort::Denied | Sort::Held => Ok(Walk::Index("commands_time")),
            Sort::Duration => Ok(Walk::Index("commands_duration")),
            Sort::Rows => Ok(Walk::Index("commands_rows")),
            Sort::User => grouped("who", "SELECT id, data ->> '$.user_name', data ->> '$.user' FROM who"),
            Sort::Resource => {
                grouped("who", "SELECT id, data ->> '$.namespace', data ->> '$.resource' FROM who")
            }
            Sort::Verdict => grouped("verdict", NAMES),
            Sort::Rule => grouped("rule", NAMES),
            Sort::Masked => {
                let sql = "SELECT id, printf('%08d', json_array_length(text)), '' FROM masks";
                let mut groups = self.groups(sql, order.descending)?;
                let none = if order.descending { groups.len() } else { 0 };
                groups.insert(none, Group::Null);
                Ok(Walk::Groups { column: "masked", groups })
            }
        }
    }

    /// Rows of identifier and two texts, as groups with the same texts, in the order of these.
    fn groups(&self, sql: &str, descending: bool) -> anyhow::Result<Vec<Group>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| Ok(((row.get(1)?, row.get(2)?), row.get(0)?)))?;
        let mut groups: BTreeMap<(String, String), Vec<i64>> = BTreeMap::new();
        for row in rows {
            let (texts, member) = row?;
            groups.entry(texts).or_default().push(member);
        }
        let groups = groups.into_values().map(Group::Members);
        Ok(if descending { groups.rev().collect() } else { groups.collect() })
    }
}

pub(super) const fn direction(order: Order) -> &'static str {
    if order.descending { "DESC" } else { "ASC" }
}

/// `path` of the session's JSON of the row's `who`.
fn of_who(table: &str, path: &str) -> String {
    format!("(SELECT data ->> '$.{path}' FROM who WHERE id = {table}.who)")
}

fn user(table: &str, direction: &str) -> String {
    format!("{} {direction}, {}", of_who(table, "user_name"), of_who(table, "user"))
}

fn resource(table: &str, direction: &str) -> String {
    format!("{} {direction}, {}", of_who(table, "namespace"), of_who(table, "resource"))
}

fn name(column: &str) -> String {
    format!("(SELECT text FROM names WHERE id = c.{column})")
}

pub(super) fn command_order(order: Order) -> String {
    let direction = direction(order);
    let by = match order.by {
        Sort::User => user("c", direction),
        Sort::Resource => resource("c", direction),
        Sort::Verdict => name("verdict"),
        Sort::Rule => name("rule"),
        Sort::Duration => "c.duration".to_owned(),
        Sort::Rows => "c.rows".to_owned(),
        Sort::Masked => "(SELECT json_array_length(text) FROM masks WHERE id = c.masked)".to_owned(),
        Sort::Time | Sort::Commands | Sort::Denied | Sort::Held => return format!("c.time {direction}"),
    };
    format!("{by} {direction}, c.time {direction}")
}

pub(super) fn approval_order(order: Order) -> String {
    let direction = direction(order);
    let by = match order.by {
        Sort::User => user("c", direction),
        Sort::Resource => resource("c", direction),
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

pub(super) fn session_order(order: Order) -> String {
    let direction = direction(order);
    let by = match order.by {
        Sort::User => user("s", direction),
        Sort::Resource => resource("s", direction),
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
