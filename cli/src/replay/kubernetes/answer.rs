//! An answer of an API server as kubectl prints it: tables, what was done, errors, logs and events.

use super::request::Request;
use crate::output::printable;
use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

/// An answer, as its head announces it.
#[derive(Debug)]
pub(super) struct Answer {
    form: Form,
    /// Of a watch: the columns were shown.
    titled: bool,
    /// Status line, for answers that say nothing else.
    status: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    /// One object or list.
    Json,
    /// The same, as typed clients ask for it.
    Protobuf,
    /// One event a line.
    Events,
    /// Anything else: logs, YAML, metrics.
    Text,
}

impl Answer {
    /// From `HTTP/1.1 200 OK`, the content type, an empty line.
    pub(super) fn of(head: &str, request: &Request) -> Self {
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).unwrap_or_default();
        let content_type = lines.find_map(|line| line.strip_prefix("content-type: ")).unwrap_or_default();
        let form = match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json" if request.is_watch() && status.starts_with('2') => Form::Events,
            "application/json" => Form::Json,
            "application/vnd.kubernetes.protobuf" if !request.is_watch() => Form::Protobuf,
            _ => Form::Text,
        };
        Self { form, titled: false, status: printable(status) }
    }

    /// Whether what came so far can be shown before the rest is there.
    pub(super) fn comes_in_lines(&self) -> bool {
        !matches!(self.form, Form::Json | Form::Protobuf)
    }

    /// Some whole lines.
    pub(super) fn lines(&mut self, text: &str) -> String {
        if self.form == Form::Events {
            text.lines().map(|line| self.event(line)).collect()
        } else {
            lines_of(text)
        }
    }

    /// All of it. What was cut off cannot be read, and is shown as it is.
    pub(super) fn whole(&self, body: &[u8], request: &Request) -> String {
        if body.trim_ascii().is_empty() {
            return format!("{}\n", self.status);
        }
        let value = match self.form {
            Form::Protobuf => proxy_kubernetes::json_of_protobuf(body),
            Form::Json | Form::Events | Form::Text => serde_json::from_slice(body).ok(),
        };
        match value {
            Some(value) => object(&value, request),
            None if self.form == Form::Protobuf => format!("({} bytes of protobuf)\n", body.len()),
            None => lines_of(&String::from_utf8_lossy(body)),
        }
    }

    fn event(&mut self, line: &str) -> String {
        let Ok(event) = serde_json::from_str::<Value>(line) else { return lines_of(line) };
        let (kind, of) = (word(&event, "/type"), event.get("object").unwrap_or(&Value::Null));
        if kind == "BOOKMARK" {
            return String::new();
        }
        if kind == "ERROR" || of.get("kind").and_then(Value::as_str) == Some("Status") {
            return error(of);
        }
        if let Some((heads, rows)) = table(of) {
            let title = !std::mem::replace(&mut self.titled, true) && !heads.is_empty();
            let heads = if title { [vec!["EVENT".to_owned()], heads].concat() } else { Vec::new() };
            let rows = rows.into_iter().map(|row| [vec![kind.clone()], row].concat()).collect();
            return aligned(&heads, rows);
        }
        format!("{kind}   {}\n", named(of, None))
    }
}

/// Text, without what a terminal would obey.
pub(super) fn lines_of(text: &str) -> String {
    text.lines().flat_map(|line| [printable(line.trim_end_matches('\r')), "\n".to_owned()]).collect()
}

/// An object, a list or a table.
fn object(value: &Value, request: &Request) -> String {
    let kind = word(value, "/kind");
    if kind == "Status" {
        return status(value, request);
    }
    if let Some((heads, rows)) = table(value) {
        if rows.is_empty() {
            return "No resources found\n".to_owned();
        }
        return aligned(&heads, rows);
    }
    if kind.starts_with("API") && (kind.ends_with("List") || kind.ends_with("Versions") || kind == "APIGroup")
    {
        return format!("({kind})\n");
    }
    if let Some(items) = value.get("items").and_then(Value::as_array) {
        return list(items);
    }
    if request.changes() && value.pointer("/metadata/name").is_some() {
        return format!(
            "{} {}\n",
            named(value, request.target().map(|target| target.resource.as_str())),
            request.done()
        );
    }
    yaml(value)
}

/// What kubectl prints of an error, and of something that is gone.
fn status(value: &Value, request: &Request) -> String {
    if word(value, "/status") != "Success" {
        return error(value);
    }
    let kind = word(value, "/details/kind");
    let name = value.pointer("/details/name").and_then(Value::as_str);
    let name = name.or_else(|| request.target().and_then(|target| target.name.as_deref()));
    match name {
        Some(name) => format!("{kind} \"{}\" {}\n", printable(name), request.done()),
        None => "Success\n".to_owned(),
    }
}

fn error(value: &Value) -> String {
    error_line(&word(value, "/reason"), &word(value, "/message"))
}

/// What kubectl says of an error (`StandardErrorMessage` of its `cmd/util`).
pub(super) fn error_line(reason: &str, message: &str) -> String {
    match reason {
        "" => format!("Error from server: {message}\n"),
        "Unauthorized" => format!("error: You must be logged in to the server ({message})\n"),
        _ => format!("Error from server ({reason}): {message}\n"),
    }
}

/// `deployment.apps/web`.
fn named(value: &Value, resource: Option<&str>) -> String {
    let kind = value.get("kind").and_then(Value::as_str).map(str::to_lowercase);
    let kind = kind.or_else(|| resource.map(str::to_owned)).unwrap_or_default();
    let version = word(value, "/apiVersion");
    let group = version.split_once('/').map(|(group, _)| format!(".{group}")).unwrap_or_default();
    format!("{}{group}/{}", printable(&kind), word(value, "/metadata/name"))
}

/// Objects that did not come as a table: their names and ages are in each of them.
fn list(items: &[Value]) -> String {
    if items.is_empty() {
        return "No resources found\n".to_owned();
    }
    let heads = ["NAMESPACE", "NAME", "CREATED"].map(str::to_owned);
    let rows = items.iter().map(|item| {
        ["/metadata/namespace", "/metadata/name", "/metadata/creationTimestamp"]
            .map(|path| word(item, path))
            .to_vec()
    });
    let rows: Vec<Vec<String>> = rows.collect();
    // of objects that have none the column says nothing
    if rows.iter().all(|row| row.first().is_none_or(String::is_empty)) {
        let rows = rows.into_iter().map(|row| row.into_iter().skip(1).collect()).collect();
        return aligned(heads.get(1..).unwrap_or_default(), rows);
    }
    aligned(&heads, rows)
}

/// Heads and rows of a Table, without the columns that kubectl shows in its wide form only.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables>
fn table(value: &Value) -> Option<(Vec<String>, Vec<Vec<String>>)> {
    if value.get("kind").and_then(Value::as_str) != Some("Table") {
        return None;
    }
    let definitions = value.get("columnDefinitions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let narrow = |at: usize| {
        let priority = definitions.get(at).and_then(|definition| definition.get("priority"));
        priority.and_then(Value::as_i64).unwrap_or_default() == 0
    };
    let heads = definitions.iter().enumerate().filter(|(at, _)| narrow(*at));
    let heads = heads.map(|(_, definition)| word(definition, "/name").to_uppercase()).collect();
    let rows = value.get("rows").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let cells = |row: &Value| -> Vec<String> {
        let cells = row.get("cells").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let cells = cells.iter().enumerate().filter(|(at, _)| narrow(*at));
        cells.map(|(_, cell)| text_of(cell)).collect()
    };
    Some((heads, rows.iter().map(cells).collect()))
}

/// Columns three spaces apart, as kubectl prints them.
fn aligned(heads: &[String], rows: Vec<Vec<String>>) -> String {
    let lines: Vec<Vec<String>> =
        (!heads.is_empty()).then(|| heads.to_vec()).into_iter().chain(rows).collect();
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width =
        |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.width()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let mut out = String::new();
    for line in &lines {
        let mut text = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            text.push_str(cell);
            text.push_str(&" ".repeat(width.saturating_sub(cell.width()) + GAP));
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

const GAP: usize = 3;

/// A single object, as `--output=yaml` shows it, without what the server notes for itself.
fn yaml(value: &Value) -> String {
    let mut value = value.clone();
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    serde_yaml_ng::to_string(&value).map(|text| lines_of(&text)).unwrap_or_default()
}

fn word(value: &Value, path: &str) -> String {
    value.pointer(path).map(text_of).unwrap_or_default()
}

/// A value in one line.
fn text_of(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    crate::output::inline(&text)
}
