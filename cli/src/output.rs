//! Printing: tables for people, JSON for programs, colour only where somebody sees it.

use anstream::{AutoStream, stream::IsTerminal as _};
use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use owo_colors::{AnsiColors, OwoColorize as _};
use serde::Serialize;
use std::io::{self, StdoutLock, Write};

/// Exit code of a command that could not do its work, where 1 is no answer of its own.
pub(crate) const FAILURE: u8 = 1;

/// The same of one whose answer is its exit code: it has none.
pub(crate) const NO_ANSWER: u8 = 3;

/// Exit code of an answer that lacks something: what was damaged, or could not be searched.
pub(crate) const INCOMPLETE: u8 = 2;

/// Exit code of a command line that makes no sense: that of sysexits.h, which is no answer of any command.
pub(crate) const USAGE: u8 = 64;

/// What is wrong with a command line, where its grammar alone cannot tell.
#[derive(Debug)]
pub(crate) struct Usage(String);

impl Usage {
    pub(crate) fn error(problem: impl Into<String>) -> anyhow::Error {
        Self(problem.into()).into()
    }
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// How to print.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Format {
    /// A table to read.
    Table,
    /// JSON to process.
    Json,
    /// Of lists: comma-separated values (RFC 4180), for spreadsheets.
    Csv,
    /// Of lists: a JSON object a line.
    Ndjson,
}

/// How to print what is not a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Document {
    /// Text to read.
    Table,
    /// JSON to process.
    Json,
}

/// Standard output. Colours are dropped when it is no terminal or `NO_COLOR` is set.
pub(crate) struct Output {
    format: Format,
    stream: AutoStream<StdoutLock<'static>>,
    terminal: bool,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        let stdout = io::stdout().lock();
        let terminal = stdout.is_terminal();
        Self { format, stream: AutoStream::auto(stdout), terminal }
    }

    /// How to print a list.
    pub(crate) fn form(&self) -> Format {
        self.format
    }

    /// How to print what is not a list.
    pub(crate) fn format(&self) -> Document {
        if self.format == Format::Table { Document::Table } else { Document::Json }
    }

    /// Bytes as they are, escape sequences and all.
    #[expect(
        clippy::unused_self,
        reason = "whoever writes holds the output; its lock lets the same thread in"
    )]
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut stdout = io::stdout();
        stdout.write_all(bytes)?;
        stdout.flush()?;
        Ok(())
    }

    /// A value as JSON in one line.
    pub(crate) fn json_line(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        writeln!(self.stream, "{}", escaped(&serde_json::to_string(value)?))?;
        Ok(())
    }

    /// Rows as comma-separated values (RFC 4180): these fields of their JSON form, under their names, which also come
    /// where there are no rows.
    pub(crate) fn csv<T: Serialize>(&mut self, names: &[&str], rows: &[T]) -> anyhow::Result<()> {
        write!(self.stream, "{}\r\n", names.join(","))?;
        for row in rows {
            let row = serde_json::to_value(row)?;
            let cells: Vec<String> =
                names.iter().map(|name| row.get(name).map(csv_cell).unwrap_or_default()).collect();
            write!(self.stream, "{}\r\n", cells.join(","))?;
        }
        Ok(())
    }

    /// One line of text; may hold colours.
    pub(crate) fn line(&mut self, text: &str) -> anyhow::Result<()> {
        writeln!(self.stream, "{text}")?;
        Ok(())
    }

    /// A value as indented JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        writeln!(self.stream, "{}", escaped(&serde_json::to_string_pretty(value)?))?;
        Ok(())
    }

    /// A table without lines, as kubectl prints one: the header in capitals. On a terminal it is fitted to the width.
    pub(crate) fn table(&mut self, header: &[&str], rows: Vec<Vec<String>>) -> anyhow::Result<()> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(header.to_vec());
        if self.terminal {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        table.add_rows(rows);
        for line in table.lines() {
            writeln!(self.stream, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// JSON of the same value that is safe on a terminal: what JSON itself lets through unescaped are controls from `DEL` on
/// and what reorders text, and these stand in strings only.
fn escaped(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        if (c.is_control() && c != '\n') || reorders(c) {
            safe.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            safe.push(c);
        }
    }
    safe
}

fn csv_cell(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => csv_text(text),
        serde_json::Value::Bool(_) | serde_json::Value::Number(_) => value.to_string(),
        serde_json::Value::Array(_) | serde_json::Value::Object(_) => csv_text(&value.to_string()),
    }
}

/// A text of a record is whatever an agent sent: one that a spreadsheet would take for a formula gets an apostrophe
/// before it (<https://owasp.org/www-community/attacks/CSV_Injection>), and it may be shown on a terminal all the same.
fn csv_text(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = printable(text);
    let text = if formula { format!("'{text}") } else { text };
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// A verdict or outcome in its colour.
pub(crate) fn judged(word: &str) -> String {
    let color = match word {
        "allow" | "ok" | "OK" | "approved" => AnsiColors::Green,
        "deny" | "error" | "refused" | "denied" | "TAMPERED" => AnsiColors::Red,
        "hold" | "requested" | "expired" | "withdrawn" | "left" | "aborted" | "INCOMPLETE" => {
            AnsiColors::Yellow
        }
        _ => return word.to_owned(),
    };
    word.color(color).to_string()
}

/// A time in UTC, to the second: wherever somebody reads it, it is the one that others read, and what `--since` takes.
pub(crate) fn utc(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// Text from a record, safe to print: control characters could move the cursor or recolour the screen, and those that
/// reorder text could show another one.
pub(crate) fn printable(text: &str) -> String {
    let harmful = |c: char| (c.is_control() && c != '\n' && c != '\t') || reorders(c);
    text.chars().map(|c| if harmful(c) { '\u{fffd}' } else { c }).collect()
}

/// As [`printable`], and in one line: what somebody else wrote must not look like a line of ours.
pub(crate) fn inline(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || reorders(c) { '\u{fffd}' } else { c }).collect()
}

/// Overrides, embeddings and isolates of the bidirectional algorithm (Unicode Standard Annex 9).
const fn reorders(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Writes an error and its causes to standard error.
pub(crate) fn complain(error: &anyhow::Error) {
    let mut stderr = anstream::stderr().lock();
    let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
    let written = writeln!(stderr, "{} {}", "error:".red().bold(), printable(&chain.join(": ")));
    // There is nowhere left to say that standard error is gone.
    drop(written);
}

/// Writes a warning to standard error.
pub(crate) fn warn(text: &str) {
    let written = writeln!(anstream::stderr().lock(), "{} {}", "warning:".yellow().bold(), printable(text));
    // There is nowhere left to say that standard error is gone.
    drop(written);
}

/// Whether whoever read our output went away, as `head` does.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_holds_the_same_and_nothing_that_a_terminal_obeys() {
        let value = json!({"a\u{9b}": "\u{7f}\u{202e}\u{1b}[2J\nü漢"});
        let text = escaped(&serde_json::to_string_pretty(&value).unwrap());
        assert!(text.chars().all(|c| c == '\n' || !(c.is_control() || reorders(c))), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn times_say_their_zone() {
        assert_eq!(utc("2026-11-30T09:15:02.9+01:00".parse().unwrap()), "2026-11-30 08:15:02Z");
    }

    #[test]
    fn cells_are_quoted_and_formulas_disarmed() {
        assert_eq!(csv_cell(&json!("a,b \"c\"\nd")), "\"a,b \"\"c\"\"\nd\"");
        assert_eq!(csv_cell(&json!("=HYPERLINK(1)")), "'=HYPERLINK(1)");
        assert_eq!(csv_cell(&json!("\u{1b}[2Ja\rb")), "\u{fffd}[2Ja\u{fffd}b");
        assert_eq!(csv_cell(&json!(-7)), "-7");
        assert_eq!(csv_cell(&json!(null)), "");
        assert_eq!(csv_cell(&json!(["x", "y"])), "\"[\"\"x\"\",\"\"y\"\"]\"");
    }
}
