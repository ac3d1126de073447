//! What a search says.

use crate::output::{Document, Output, judged, printable};
use crate::scan::files::Unread;
use crate::scan::search::Place;
use serde::Serialize;
use std::collections::BTreeSet;

/// Most findings that are listed; all are counted.
const MAX_FINDINGS: usize = 1_000;

/// What the search proves.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// Nothing was found in all that anybody can read.
    Ok,
    /// Something was found.
    Found,
    /// Nothing was found, and not everything was searched.
    Incomplete,
}

impl Outcome {
    pub(super) const fn exit_code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Found => 1,
            Self::Incomplete => 2,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Found => "FOUND",
            Self::Incomplete => "INCOMPLETE",
        }
    }
}

/// Something that was found.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    /// `value canaries.txt:3`, or `detector Jwt`.
    what: String,
    /// In which form.
    form: String,
    #[serde(flatten)]
    place: Place,
}

/// What was searched, for what, and what was found.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    pub(super) source: String,
    pub(super) records: u64,
    pub(super) files: usize,
    pub(super) bytes: u64,
    pub(super) values: usize,
    pub(super) forms: &'static str,
    pub(super) detectors: Vec<String>,
    /// SHA-256 over version, detectors and forms: two searches with the same are comparable.
    pub(super) ruleset: String,
    /// Parts of results that are encrypted and were not searched.
    pub(super) sealed: u64,
    /// Parts of results that nobody can read any more.
    pub(super) erased: u64,
    /// Results that were not searched across the records they were cut into.
    pub(super) given_up: u64,
    /// What is at or below a path that was given, or damaged on record, and cannot be searched.
    pub(super) not_searched: Vec<Unread>,
    pub(super) found: u64,
    pub(super) findings: Vec<Finding>,
}

impl Answer {
    /// Counts a finding that its record or its file did not have yet.
    pub(super) fn take(
        &mut self,
        seen: &mut BTreeSet<(String, String)>,
        what: String,
        form: &str,
        place: Place,
    ) {
        if seen.insert((what.clone(), form.to_owned())) {
            self.found += 1;
            if self.findings.len() < MAX_FINDINGS {
                self.findings.push(Finding { what, form: form.to_owned(), place });
            }
        }
    }

    /// Says what all that was counted comes to.
    pub(super) fn conclude(&mut self) {
        let all = self.sealed == 0 && self.given_up == 0 && self.not_searched.is_empty();
        self.outcome = match self.found {
            0 if all => Outcome::Ok,
            0 => Outcome::Incomplete,
            _ => Outcome::Found,
        };
    }

    pub(super) fn print(&self, output: &mut Output) -> anyhow::Result<()> {
        if output.format() == Document::Json {
            return output.json(self);
        }
        output.line(&format!("searched   {}", printable(&self.source)))?;
        let files = match self.files {
            0 => String::new(),
            files => format!(", and {files} files"),
        };
        output.line(&format!(
            "records    {}   {} bytes, and results across records{files}",
            self.records, self.bytes
        ))?;
        self.print_unread(output)?;
        output.line(&format!("values     {}   each {}", self.values, self.forms))?;
        output.line(&format!("detectors  {}", self.detectors.join(", ")))?;
        output.line(&format!("ruleset    sha256:{}", self.ruleset))?;
        for finding in &self.findings {
            let place = match &finding.place {
                Place::Record { log, sequence, session, part } => {
                    let session = session.as_deref().unwrap_or("no session");
                    format!("seq {sequence} of {log}, {session}, {part}")
                }
                Place::File { file, offset } => format!("{file} at byte {offset}"),
            };
            output.line(&printable(&format!("FOUND      {} {} in {place}", finding.what, finding.form)))?;
        }
        let more = self.found - self.findings.len() as u64;
        if more > 0 {
            output.line(&format!("and {more} more"))?;
        }
        let sealed = match self.sealed {
            0 => String::new(),
            sealed => format!(", {sealed} parts of results not searched"),
        };
        let given_up = match self.given_up {
            0 => String::new(),
            results => format!(", {results} results not followed"),
        };
        let unread = match self.not_searched.len() {
            0 => String::new(),
            places => format!(", {places} places not searched"),
        };
        output.line(&format!(
            "RESULT     {}   {} findings{sealed}{given_up}{unread}",
            judged(self.outcome.word()),
            self.found
        ))
    }

    fn print_unread(&self, output: &mut Output) -> anyhow::Result<()> {
        if self.sealed > 0 {
            output.line(&format!(
                "NOT READ   {} parts of results, encrypted for the auditors: --identity FILE searches them, in a spool, an archive or evidence; copies do not have them",
                self.sealed
            ))?;
        }
        if self.given_up > 0 {
            output.line(&format!(
                "NOT READ   {} results as a whole: too many were open at once, or what records them is damaged",
                self.given_up
            ))?;
        }
        for unread in &self.not_searched {
            output.line(&printable(&format!("NOT READ   {}: {}", unread.path, unread.why)))?;
        }
        if self.erased > 0 {
            output.line(&format!(
                "erased     {} parts of results: the key of their session is gone, so nobody can read them, nor search them",
                self.erased
            ))?;
        }
        Ok(())
    }
}
