//! Reading on behind what is damaged: one bit that flipped in one record must not hide all the others.

use crate::output::{INCOMPLETE, warn};
use proxy_audit::source::{RecordStream, Source, SourceError, Wanted};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::process::ExitCode;

/// Most places that are kept; whoever damaged a log can make as many as it has bytes.
const MAX_KEPT: usize = 1_000;

/// Most places that are named on standard error.
const MAX_NAMED: usize = 5;

/// A source without what is damaged in it. For whoever looks at what is there; what proves or hands over something reads
/// the source itself, and stops.
#[derive(Debug)]
pub(crate) struct Salvaged {
    inner: Box<dyn Source>,
    /// What was left out, once, however often it was read.
    left_out: RefCell<BTreeSet<String>>,
}

impl Salvaged {
    pub(crate) fn new(inner: Box<dyn Source>) -> Self {
        Self { inner, left_out: RefCell::default() }
    }

    /// What was left out so far, and why.
    pub(crate) fn left_out(&self) -> Vec<String> {
        self.left_out.borrow().iter().cloned().collect()
    }

    /// Says what was left out. Gives the exit code of a command that showed what it was asked for.
    pub(crate) fn conclude(&self) -> ExitCode {
        let left_out = self.left_out.borrow();
        if left_out.is_empty() {
            return ExitCode::SUCCESS;
        }
        left_out.iter().take(MAX_NAMED).for_each(|place| warn(&format!("left out: {place}")));
        let more = match left_out.len().saturating_sub(MAX_NAMED) {
            0 => String::new(),
            more => format!("{more} more places are left out; "),
        };
        warn(&format!("{more}what is damaged is not in this answer: portcullis verify names the records"));
        ExitCode::from(INCOMPLETE)
    }

    fn leave_out(&self, error: SourceError) {
        let mut left_out = self.left_out.borrow_mut();
        if left_out.len() < MAX_KEPT {
            left_out.insert(format!("{:#}", anyhow::Error::from(error)));
        }
    }
}

impl Source for Salvaged {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn records(&self, wanted: &Wanted) -> Result<RecordStream<'_>, SourceError> {
        Ok(Box::new(self.inner.records(wanted)?.filter_map(|record| match record {
            Err(error) if error.is_damage() => {
                self.leave_out(error);
                None
            }
            record => Some(record),
        })))
    }
}
