//! Recorded backend frames of PostgreSQL, shown as psql shows an answer.
//!
//! Message formats: <https://www.postgresql.org/docs/current/protocol-message-formats.html>. The frames come from a
//! record: they are parsed as carefully as if an enemy had written them.

mod descriptions;
mod report;

pub(crate) use descriptions::Descriptions;

use crate::output::{inline, printable};
use crate::replay::cell::{CellType, escaped};
use crate::replay::renderer::{Part, Renderer};
use crate::replay::table::{Head, Table};
use descriptions::Column;
use proxy_audit::replay::Refusal;
use report::report;

/// What one command's frames have said so far.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    /// `database=> `
    prompt: String,
    /// Bytes of a frame that is not yet whole.
    pending: Vec<u8>,
    columns: Option<Vec<Column>>,
    rows: Vec<Vec<String>>,
    /// It copies to the client.
    copies: bool,
    /// The command's text, and what was told of it and others before.
    text: String,
    descriptions: Descriptions,
}

impl Transcript {
    /// An empty one; the prompt is psql's for this database.
    pub(crate) fn new(database: &str, descriptions: Descriptions) -> Self {
        Self { prompt: format!("{}=> ", inline(database)), descriptions, ..Self::default() }
    }
}

impl Renderer for Transcript {
    fn begin(&mut self, text: &str) -> (String, String) {
        self.pending.clear();
        (self.columns, self.copies) = (None, false);
        self.rows.clear();
        text.clone_into(&mut self.text);
        let text = printable(text.trim_end());
        let end = if text.ends_with(';') { "" } else { ";" };
        (self.prompt.clone(), format!("{text}{end}"))
    }

    fn feed(&mut self, frames: &[u8]) -> Vec<Part> {
        self.pending.extend_from_slice(frames);
        let pending = std::mem::take(&mut self.pending);
        let mut rest = pending.as_slice();
        let mut parts = Vec::new();
        loop {
            match split_frame(rest) {
                Split::Frame { tag, body, after } => {
                    rest = after;
                    self.message(tag, body, &mut parts);
                }
                Split::More => break,
                Split::Garbage => {
                    parts.push(Part::Text("(unreadable frames)\n".to_owned()));
                    rest = &[];
                    break;
                }
            }
        }
        self.pending = rest.to_vec();
        parts
    }

    fn refused(&self, refusal: &Refusal) -> String {
        let by = match refusal.rule.split_once('/') {
            Some((policy, rule)) => format!("policy {policy}, rule {rule}"),
            None => format!("built-in rule {}", refusal.rule),
        };
        let lines = [("ERROR", &refusal.message), ("DETAIL", &by), ("HINT", &refusal.hint)];
        let said = lines.iter().filter(|(_, text)| !text.is_empty());
        said.map(|(what, text)| [what, ":  ", &printable(text), "\n"].concat()).collect()
    }

    /// Rows whose end was not recorded.
    fn finish(&mut self) -> Vec<Part> {
        self.pending.clear();
        if self.rows.is_empty() { Vec::new() } else { vec![Part::Table(self.table())] }
    }
}

impl Transcript {
    fn message(&mut self, tag: u8, body: &[u8], parts: &mut Vec<Part>) {
        match tag {
            b'T' => {
                self.columns = row_description(body);
                if let Some(columns) = &self.columns {
                    self.descriptions.add(&self.text, columns);
                }
            }
            b'D' => {
                self.recall(Fields(body).u16());
                let row = self.row(body);
                self.rows.push(row);
            }
            b'C' => self.complete(&cstring(body), parts),
            b'E' | b'N' => parts.push(Part::Text(report(body, &self.text))),
            b'A' => parts.push(Part::Text(notification(body))),
            b'd' => parts.push(Part::Text(printable(&String::from_utf8_lossy(body)))),
            b'H' => self.copies = true,
            b's' => parts.push(Part::Table(self.table())),
            _ => {}
        }
    }

    /// Of a statement that was described before, the columns are those of then; of rows, if these have as many.
    fn recall(&mut self, count: Option<u16>) {
        if self.columns.is_none() && self.rows.is_empty() {
            let told = self.descriptions.find(&self.text);
            self.columns =
                told.filter(|columns| count.is_none_or(|count| columns.len() == usize::from(count)));
        }
    }

    fn row(&self, body: &[u8]) -> Vec<String> {
        let mut fields = Fields(body);
        let count = fields.u16().unwrap_or_default();
        let mut row = Vec::new();
        for number in 0..usize::from(count) {
            let Some(length) = fields.u32() else { break };
            let kind = self.columns.as_ref().and_then(|columns| columns.get(number));
            let kind = kind.map_or_else(CellType::default, |(_, kind)| *kind);
            row.push(match usize::try_from(length) {
                // -1: null.
                _ if length == u32::MAX => String::new(),
                Ok(length) => match fields.take(length) {
                    Some(value) => kind.show(value),
                    None => break,
                },
                Err(_) => break,
            });
        }
        row
    }

    /// psql prints the tag, but not of a command that shows rows and changes nothing, and not behind what was copied.
    fn complete(&mut self, tag: &str, parts: &mut Vec<Part>) {
        self.recall(None);
        let shows_rows = self.columns.is_some() || !self.rows.is_empty();
        if shows_rows {
            parts.push(Part::Table(self.table()));
        }
        let changes = ["INSERT", "UPDATE", "DELETE", "MERGE"].iter().any(|word| tag.starts_with(word));
        let copied = std::mem::take(&mut self.copies) && tag.starts_with("COPY");
        if (!shows_rows || changes) && !copied {
            parts.push(Part::Text(format!("{}\n", printable(tag))));
        }
    }

    fn table(&mut self) -> Table {
        let rows = std::mem::take(&mut self.rows);
        let count = rows.iter().map(Vec::len).max().unwrap_or_default();
        let heads: Vec<Head> = match self.columns.take() {
            Some(columns) => columns
                .into_iter()
                .map(|(name, kind)| Head { name: escaped(&name), right: kind.is_number() })
                .collect(),
            // Described to the client where the record does not reach, or not at all.
            None => {
                (1..=count).map(|number| Head { name: format!("column{number}"), right: false }).collect()
            }
        };
        Table { heads, rows }
    }
}

enum Split<'a> {
    Frame { tag: u8, body: &'a [u8], after: &'a [u8] },
    More,
    Garbage,
}

fn split_frame(bytes: &[u8]) -> Split<'_> {
    let Some((&tag, rest)) = bytes.split_first() else { return Split::More };
    let Some((length, rest)) = rest.split_first_chunk::<4>() else { return Split::More };
    let Some(length) = u32::from_be_bytes(*length).checked_sub(4) else { return Split::Garbage };
    match usize::try_from(length).ok().filter(|length| *length <= LARGEST_FRAME) {
        Some(length) => match rest.split_at_checked(length) {
            Some((body, after)) => Split::Frame { tag, body, after },
            None => Split::More,
        },
        None => Split::Garbage,
    }
}

/// PostgreSQL's own limit of a message.
const LARGEST_FRAME: usize = 0x3fff_ffff;

/// Fields of a message, front to back.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn cstring(&mut self) -> Option<String> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = String::from_utf8_lossy(self.take(end)?).into_owned();
        self.take(1)?;
        Some(text)
    }
}

fn cstring(body: &[u8]) -> String {
    Fields(body).cstring().unwrap_or_default()
}

fn row_description(body: &[u8]) -> Option<Vec<Column>> {
    let mut fields = Fields(body);
    let count = fields.u16()?;
    let mut columns = Vec::new();
    for _ in 0..count {
        let name = fields.cstring()?;
        fields.take(6)?; // table, attribute number
        let oid = fields.u32()?;
        fields.take(6)?; // type size, type modifier
        columns.push((name, CellType { oid, binary: fields.u16()? == 1 }));
    }
    Some(columns)
}

fn notification(body: &[u8]) -> String {
    let mut fields = Fields(body);
    let process = fields.u32().unwrap_or_default();
    let channel = printable(&fields.cstring().unwrap_or_default());
    let payload = printable(&fields.cstring().unwrap_or_default());
    let payload = if payload.is_empty() { payload } else { format!(" with payload \"{payload}\"") };
    format!(
        "Asynchronous notification \"{channel}\"{payload} received from server process with PID {process}.\n"
    )
}

#[cfg(test)]
mod tests;
