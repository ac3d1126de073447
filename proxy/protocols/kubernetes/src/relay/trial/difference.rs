//! What is different between two objects, told by what may be shown of them.
//!
//! Where they differ is found in the objects as they are, so that a changed value that is masked shows as changed.

use serde_json::{Map, Value};

/// An object, or what stands at some path of it, and what may be shown of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side<'a> {
    pub(super) raw: Option<&'a Value>,
    pub(super) shown: Option<&'a Value>,
}

/// What the server or a clock writes, and what says everything again.
const INCIDENTAL: [&str; 8] = [
    "creationTimestamp",
    "generation",
    "kubectl.kubernetes.io/last-applied-configuration",
    "managedFields",
    "observedGeneration",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// One line for each place that differs, as `spec.replicas: 1 → 3`; a last one says how many are left out.
pub(super) fn lines(before: Side<'_>, after: Side<'_>) -> Vec<String> {
    let mut walk = Walk::default();
    walk.compare("", before, after, 0);
    let Walk { mut lines, left_out, .. } = walk;
    if left_out > 0 {
        lines.push(format!("… and {left_out} more changes"));
    }
    lines
}

#[derive(Debug, Default)]
struct Walk {
    lines: Vec<String>,
    characters: usize,
    left_out: usize,
}

impl<'a> Side<'a> {
    fn member(self, name: &str) -> Self {
        Self {
            raw: self.raw.and_then(|raw| raw.get(name)),
            shown: self.shown.and_then(|shown| shown.get(name)),
        }
    }

    fn element(self, at: usize) -> Self {
        Self { raw: self.raw.and_then(|raw| raw.get(at)), shown: self.shown.and_then(|shown| shown.get(at)) }
    }

    fn object(self) -> Option<&'a Map<String, Value>> {
        self.raw.and_then(Value::as_object)
    }

    fn list(self) -> Option<&'a Vec<Value>> {
        self.raw.and_then(Value::as_array)
    }

    fn text(self) -> String {
        // what no longer stands at its place was masked with what is around it
        let text = self.shown.map_or_else(|| MASKED.to_owned(), Value::to_string);
        bounded(&text, VALUE)
    }
}

impl Walk {
    fn compare(&mut self, path: &str, before: Side<'_>, after: Side<'_>, depth: usize) {
        if before.raw == after.raw {
            return;
        }
        if depth < DEPTH {
            if let (Some(old), Some(new)) = (before.object(), after.object()) {
                let added = new.keys().filter(|name| !old.contains_key(*name));
                for name in old.keys().chain(added).filter(|name| !INCIDENTAL.contains(&name.as_str())) {
                    self.compare(&member(path, name), before.member(name), after.member(name), depth + 1);
                }
                return;
            }
            if let (Some(old), Some(new)) = (before.list(), after.list())
                && let (Some(old), Some(new)) = (names(old), names(new))
            {
                self.named(path, (before, &old), (after, &new), depth);
                return;
            }
        }
        self.note(path, before, after);
    }

    /// Lists whose elements have names.
    fn named(
        &mut self,
        path: &str,
        (before, old): (Side<'_>, &[&str]),
        (after, new): (Side<'_>, &[&str]),
        depth: usize,
    ) {
        const NONE: Side<'_> = Side { raw: None, shown: None };
        let place = |name: &str, names: &[&str]| names.iter().position(|other| *other == name);
        for (at, name) in old.iter().enumerate() {
            let now = place(name, new).map_or(NONE, |at| after.element(at));
            self.compare(&format!("{path}[{name}]"), before.element(at), now, depth + 1);
        }
        for (at, name) in new.iter().enumerate().filter(|(_, name)| place(name, old).is_none()) {
            self.compare(&format!("{path}[{name}]"), NONE, after.element(at), depth + 1);
        }
    }

    fn note(&mut self, path: &str, before: Side<'_>, after: Side<'_>) {
        let path = if path.is_empty() { "the object" } else { path };
        let line = match (before.raw.is_some(), after.raw.is_some()) {
            (false, _) => format!("{path}: new, {}", after.text()),
            (true, false) => format!("{path}: gone, was {}", before.text()),
            (true, true) => {
                let (old, new) = (before.text(), after.text());
                if old == new {
                    format!("{path}: changed, {new}")
                } else {
                    format!("{path}: {old} → {new}")
                }
            }
        };
        let line = bounded(&line, LINE);
        let characters = line.chars().count().saturating_add(self.characters);
        if self.lines.len() >= LINES || characters > CHARACTERS {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        self.characters = characters;
        self.lines.push(line);
    }
}

fn member(path: &str, name: &str) -> String {
    let name: String = name
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect();
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

/// The names of the elements of a list, if each has one of its own.
fn names(list: &[Value]) -> Option<Vec<&str>> {
    let mut names: Vec<&str> = Vec::with_capacity(list.len());
    for element in list {
        let name = element.get("name").and_then(Value::as_str)?;
        if names.contains(&name) || name.chars().any(char::is_control) || names.len() >= ELEMENTS {
            return None;
        }
        names.push(name);
    }
    Some(names)
}

fn bounded(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

/// In place of what is not shown.
const MASKED: &str = "masked";
/// Deepest place that has a line of its own.
const DEPTH: usize = 40;
/// Longest list whose elements are told by name.
const ELEMENTS: usize = 200;
/// Most characters of a value.
const VALUE: usize = 120;
/// Most characters of a line.
const LINE: usize = 400;
/// Most lines.
const LINES: usize = 60;
/// Most characters of all lines.
const CHARACTERS: usize = 4_000;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[expect(clippy::needless_pass_by_value, reason = "literals read better without a borrow")]
    fn told(before: Value, after: Value) -> Vec<String> {
        lines(
            Side { raw: Some(&before), shown: Some(&before) },
            Side { raw: Some(&after), shown: Some(&after) },
        )
    }

    #[test]
    fn each_place_that_differs_has_a_line() {
        let before = json!({"metadata": {"labels": {"a": "1"}, "resourceVersion": "5", "managedFields": []},
            "spec": {"replicas": 1, "paused": true, "list": [1, 2],
                "containers": [{"name": "web", "image": "a:1"}, {"name": "old", "image": "b"}]}});
        let after = json!({"metadata": {"labels": {"a": "1", "b": "2"}, "resourceVersion": "6"},
            "spec": {"replicas": 3, "list": [1, 2, 3],
                "containers": [{"name": "new"}, {"name": "web", "image": "a:2"}]}});
        assert_eq!(
            told(before.clone(), after),
            [
                r#"metadata.labels.b: new, "2""#,
                r#"spec.containers[web].image: "a:1" → "a:2""#,
                r#"spec.containers[old]: gone, was {"image":"b","name":"old"}"#,
                r#"spec.containers[new]: new, {"name":"new"}"#,
                "spec.list: [1,2] → [1,2,3]",
                "spec.paused: gone, was true",
                "spec.replicas: 1 → 3",
            ]
        );
        assert_eq!(told(before.clone(), before), [""; 0]);
    }

    #[test]
    fn what_is_masked_shows_as_changed_and_what_is_not_shown_does_not_show() {
        let (before, after) =
            (json!({"data": {"p": "aaa", "q": {"r": 1}}}), json!({"data": {"p": "bbb", "q": {"r": 2}}}));
        let shown = json!({"data": {"p": "[MASKED:x]", "q": "[MASKED:y]"}});
        let side = |raw| Side { raw: Some(raw), shown: Some(&shown) };
        let lines = lines(side(&before), side(&after));
        assert_eq!(lines, [r#"data.p: changed, "[MASKED:x]""#, "data.q.r: changed, masked"]);
    }

    #[test]
    fn it_is_bounded_and_says_so() {
        let many = |value: usize| {
            Value::Object((0..500).map(|name| (format!("n{name}"), json!("x".repeat(value)))).collect())
        };
        let lines = told(many(1), many(1_000));
        assert!(lines.iter().map(|line| line.chars().count()).sum::<usize>() < 4_100);
        assert!(lines.last().unwrap().ends_with("more changes"), "{lines:?}");
        assert_eq!(told(json!({"a\nb": 1}), json!({"a\nb": 2})), [r"a\nb: 1 → 2"]);
    }
}
