//! One file to its documents.

use super::{ManifestError, Origin, whole};
use serde_json::Value;

/// Most parser events that aliases may stand for in one document: some hundreds of lines.
const MAX_REPLAYED_EVENTS: usize = 10_000;

/// One document of a file, not yet parsed.
pub(super) struct Document<'a> {
    pub(super) origin: Origin,
    text: &'a str,
}

/// Splits at lines that begin with `---`, which YAML forbids inside any node
/// (<https://yaml.org/spec/1.2.2/#rule-c-forbidden>). One broken document so leaves the others readable, and every one
/// has its line. Documents that hold only comments are left out, but counted.
pub(super) fn split<'a>(file: &str, text: &'a str) -> Vec<Document<'a>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    let (mut start, mut start_line, mut position) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if is_marker(line) && position > start {
            documents.push((start_line, text.get(start..position).unwrap_or_default()));
            (start, start_line) = (position, index + 1);
        }
        position += line.len();
    }
    documents.push((start_line, text.get(start..).unwrap_or_default()));
    let has_content = |text: &str| {
        text.lines().any(|line| {
            let line = line.trim();
            !(line.is_empty() || line.starts_with('#') || line == "---" || line == "...")
        })
    };
    // What stands before the first marker is only a document if there is something in it.
    let counted = documents.iter().filter(|(_, text)| has_content(text) || is_marker(text));
    counted
        .enumerate()
        .filter(|(_, (_, text))| has_content(text))
        .map(|(index, (line, text))| Document {
            origin: Origin { file: file.to_owned(), document: index + 1, line: *line },
            text,
        })
        .collect()
}

fn is_marker(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

impl Document<'_> {
    /// The document as JSON.
    ///
    /// # Errors
    /// Where the YAML is broken, without quoting it: it may be a Secret.
    pub(super) fn parse(&self) -> Result<Value, Box<ManifestError>> {
        let options = serde_saphyr::options! {
            with_snippet: false,
            alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED_EVENTS },
        };
        serde_saphyr::from_str_with_options::<Value>(self.text, options).map_err(|error| {
            let mut origin = self.origin.clone();
            let mut column = String::new();
            if let Some(location) = error.location() {
                let offset = usize::try_from(location.line()).unwrap_or(1).saturating_sub(1);
                origin.line = origin.line.saturating_add(offset);
                column = format!(" at column {}", location.column());
            }
            let message = error.without_snippet().to_string();
            // The parser counts lines from the beginning of the document; ours is in the origin.
            let message = message.lines().next().unwrap_or_default();
            let message = message.split_once(" at line ").map_or(message, |(message, _)| message);
            Box::new(whole(origin, format!("is no valid YAML{column}: {message}")))
        })
    }
}
