//! As much of `LogQL` as label filters are: `{a="x"} | b="y" or c=~"z.*" | d!=""`.

use std::collections::BTreeMap;

/// A selector and stages; each is conditions of which one must hold.
#[derive(Debug)]
pub(super) struct Query(Vec<Vec<Condition>>);

#[derive(Debug)]
struct Condition {
    label: String,
    operator: Operator,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operator {
    Is,
    IsNot,
    Matches,
}

impl Query {
    /// `None` for what is no such query.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (selector, mut rest) = condition(text.strip_prefix('{')?)?;
        rest = rest.strip_prefix('}')?;
        let mut stages = vec![vec![selector]];
        while !rest.is_empty() {
            let (first, after) = condition(rest.strip_prefix(" | ")?)?;
            let mut stage = vec![first];
            rest = after;
            while let Some(more) = rest.strip_prefix(" or ") {
                let (next, after) = condition(more)?;
                stage.push(next);
                rest = after;
            }
            stages.push(stage);
        }
        Some(Self(stages))
    }

    /// Whether an entry with these labels fits. A label that is not there is empty.
    pub(super) fn fits(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|stage| {
            stage.iter().any(|condition| {
                let value = labels.get(&condition.label).map(String::as_str).unwrap_or_default();
                match condition.operator {
                    Operator::Is => value == condition.value,
                    Operator::IsNot => value != condition.value,
                    Operator::Matches => matches(&condition.value, value),
                }
            })
        })
    }
}

fn condition(text: &str) -> Option<(Condition, &str)> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    let (label, rest) = text.split_at(end);
    let (operator, rest) = [("!=", Operator::IsNot), ("=~", Operator::Matches), ("=", Operator::Is)]
        .into_iter()
        .find_map(|(sign, operator)| Some((operator, rest.strip_prefix(sign)?)))?;
    let (value, rest) = string(rest)?;
    Some((Condition { label: label.to_owned(), operator, value }, rest))
}

/// A string of Go, with the escapes that are needed.
fn string(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text.strip_prefix('"')?;
    loop {
        let c = rest.chars().next()?;
        rest = rest.split_at(c.len_utf8()).1;
        match c {
            '"' => return Some((value, rest)),
            '\\' => {
                let escaped = rest.chars().next().filter(|c| matches!(c, '"' | '\\'))?;
                value.push(escaped);
                rest = rest.split_at(1).1;
            }
            c if c.is_control() => return None,
            c => value.push(c),
        }
    }
}

/// A regular expression of texts with `.*` at an end, and `|` between.
fn matches(expression: &str, value: &str) -> bool {
    let (mut alternatives, mut last) = (Vec::new(), String::new());
    let mut characters = expression.chars();
    while let Some(c) = characters.next() {
        match c {
            '|' => alternatives.push(std::mem::take(&mut last)),
            // Stands for `.*`: no identifier has it.
            '.' if characters.next() == Some('*') => last.push('\0'),
            '\\' => last.extend(characters.next()),
            c => last.push(c),
        }
    }
    alternatives.push(last);
    alternatives.iter().any(|alternative| {
        if let Some(start) = alternative.strip_suffix('\0') {
            value.starts_with(start)
        } else if let Some(end) = alternative.strip_prefix('\0') {
            value.ends_with(end)
        } else {
            value == alternative
        }
    })
}
