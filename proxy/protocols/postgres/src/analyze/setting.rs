//! `SET`, `RESET`, `set_config`, `SHOW`.

use super::StatementKind;
use super::effect;
use super::names;
use super::scope::{OutColumn, Rowset, opaque};
use super::state::StateChange;
use super::statement::Facts;
use super::walk::Walk;
use pg_query::NodeEnum;
use pg_query::protobuf::{AExprKind, SelectStmt, VariableSetKind, VariableSetStmt};
use proxy_policy::Provenance;

impl Walk<'_> {
    pub(super) fn set_statement(&mut self, set: &VariableSetStmt) -> Facts {
        let values: Vec<String> = set.args.iter().filter_map(names::constant_text).collect();
        let name = set.name.to_ascii_lowercase();
        match set.kind() {
            VariableSetKind::VarSetMulti => {
                // SET TRANSACTION, SET SESSION CHARACTERISTICS.
                self.write(effect::TRANSACTION, "transaction", "");
                return Facts::of(StatementKind::Utility, "SET TRANSACTION");
            }
            VariableSetKind::VarResetAll => {
                self.write(effect::SET, "setting", "*");
                self.change(StateChange::SearchPath { path: None, local: false });
                let kind = StatementKind::Set { name: "*".to_owned(), value: None, local: false };
                return Facts::of(kind, "RESET");
            }
            VariableSetKind::VarSetDefault | VariableSetKind::VarReset => {
                self.set_values(&name, None, set.is_local);
                let kind = StatementKind::Set { name, value: None, local: set.is_local };
                return Facts::of(kind, "RESET");
            }
            VariableSetKind::VarSetCurrent => {
                // The value is the present one, and may last longer than that does.
                let present = match name.as_str() {
                    "search_path" => self.state.search_path.clone(),
                    "role" | "session_authorization" => vec![self.state.role.clone()],
                    _ => Vec::new(),
                };
                if present.is_empty() {
                    self.write(effect::SET, "setting", &name);
                } else {
                    self.set_values(&name, Some(&present), set.is_local);
                }
            }
            VariableSetKind::Undefined | VariableSetKind::VarSetValue => {
                self.set_values(&name, Some(&values), set.is_local);
            }
        }
        let kind = StatementKind::Set { name, value: Some(values.join(", ")), local: set.is_local };
        Facts::of(kind, "SET")
    }

    /// One setting given as one text, as `set_config` has it.
    pub(super) fn set_setting(&mut self, name: &str, value: Option<&str>, local: bool) {
        let name = name.to_ascii_lowercase();
        let values =
            value.map(|value| if name == "search_path" { list(value) } else { vec![value.to_owned()] });
        self.set_values(&name, values.as_deref(), local);
    }

    fn set_values(&mut self, name: &str, values: Option<&[String]>, local: bool) {
        let first = values.and_then(<[String]>::first).map(String::as_str);
        match name {
            "role" | "session_authorization" => {
                self.write(effect::SET, "setting", "role");
                let role = first.filter(|role| {
                    !role.eq_ignore_ascii_case("none") && !role.eq_ignore_ascii_case("default")
                });
                self.change(StateChange::Role { role: role.map(str::to_owned), local });
                return;
            }
            "search_path" => {
                let path = values.map(|values| values.iter().map(|one| names::cut(one).to_owned()).collect());
                self.change(StateChange::SearchPath { path, local });
            }
            "client_encoding" | "names" if !first.is_none_or(is_utf8) => {
                self.give_up("client_encoding other than UTF8: the server would read the text differently");
            }
            "standard_conforming_strings" if first.is_some_and(|value| switch(value) != Some(true)) => {
                self.give_up("standard_conforming_strings off: the server would read the text differently");
            }
            _ => {}
        }
        self.write(effect::SET, "setting", name);
    }

    pub(super) fn show_setting(&mut self, name: &str) -> Facts {
        self.read(effect::TRANSACTION, "setting", &name.to_ascii_lowercase());
        let from = if name.contains('.') { opaque() } else { Provenance::default() };
        let names: &[&str] =
            if name.eq_ignore_ascii_case("all") { &["name", "setting", "description"] } else { &[name] };
        let columns =
            names.iter().map(|name| OutColumn { name: (*name).to_owned(), from: from.clone() }).collect();
        Facts::rows(StatementKind::Query, "SHOW", Rowset { columns, ..Rowset::default() })
    }
}

/// `… FROM pg_settings WHERE name = 'literal'`: which setting it is about, as `pg_dump` asks for those that an older server
/// may not have.
pub(super) fn one_setting(select: &SelectStmt) -> Option<String> {
    let [from] = select.from_clause.as_slice() else { return None };
    let Some(NodeEnum::RangeVar(table)) = from.node.as_ref() else { return None };
    let own = table.relname == "pg_settings" && matches!(table.schemaname.as_str(), "" | "pg_catalog");
    let condition = select.where_clause.as_deref()?.node.as_ref()?;
    let NodeEnum::AExpr(condition) = condition else { return None };
    let equals = condition.kind() == AExprKind::AexprOp
        && names::strings(&condition.name) == ["="]
        && matches!(condition.lexpr.as_deref()?.node.as_ref()?, NodeEnum::ColumnRef(column)
            if names::strings(&column.fields) == ["name"]);
    let setting = names::constant_string(condition.rexpr.as_deref()?)?;
    (own && equals).then(|| setting.to_owned())
}

fn is_utf8(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    matches!(plain.to_ascii_lowercase().as_str(), "utf8" | "unicode")
}

/// A switch as the server reads it (`parse_bool` in `bool.c`): whole words, or the beginning of one that no other has.
pub(super) fn switch(value: &str) -> Option<bool> {
    const WORDS: [(&str, usize, bool); 8] = [
        ("true", 1, true),
        ("yes", 1, true),
        ("on", 2, true),
        ("1", 1, true),
        ("false", 1, false),
        ("no", 1, false),
        ("off", 2, false),
        ("0", 1, false),
    ];
    let value = value.to_ascii_lowercase();
    let meant = WORDS.iter().find(|(word, least, _)| value.len() >= *least && word.starts_with(&value));
    meant.map(|(_, _, on)| *on)
}

/// A comma-separated list of identifiers, quoted ones unquoted.
pub(super) fn list(text: &str) -> Vec<String> {
    parts(text, ',')
}

/// Identifiers between separators, quoted ones unquoted, as the server keeps them.
pub(super) fn parts(text: &str, separator: char) -> Vec<String> {
    let mut entries = Vec::new();
    let (mut entry, mut quoted, mut was_quoted) = (String::new(), false, false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                entry.push('"');
            }
            '"' => (quoted, was_quoted) = (!quoted, true),
            _ if character == separator && !quoted => {
                entries.push(std::mem::take(&mut entry));
                was_quoted = false;
            }
            _ if !quoted && character.is_whitespace() => {}
            _ if quoted || was_quoted => entry.push(character),
            // in UTF-8 PostgreSQL folds these alone
            _ => entry.push(character.to_ascii_lowercase()),
        }
    }
    entries.push(entry);
    entries.retain(|entry| !entry.is_empty());
    entries.into_iter().map(|entry| names::cut(&entry).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::switch;

    #[test]
    fn switches_are_read_as_the_server_reads_them() {
        for on in ["t", "TRUE", "tru", "y", "Yes", "on", "1"] {
            assert_eq!(switch(on), Some(true), "{on}");
        }
        for off in ["f", "false", "N", "no", "of", "OFF", "0"] {
            assert_eq!(switch(off), Some(false), "{off}");
        }
        for neither in ["", "o", "onn", "truely", "2", "10", " on", "null"] {
            assert_eq!(switch(neither), None, "{neither}");
        }
    }
}
