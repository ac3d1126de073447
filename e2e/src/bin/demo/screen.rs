//! What the visitor sees: what is done, what came of it, and whether that is what was expected.

use anstream::AutoStream;
use anyhow::Result;
use owo_colors::OwoColorize as _;
use std::io::{self, StdoutLock, Write as _};

/// Standard output and the checks so far. Colours are dropped when it is no terminal or `NO_COLOR` is set.
pub(crate) struct Screen {
    stream: AutoStream<StdoutLock<'static>>,
    step: String,
    checks: Vec<Check>,
}

/// One expectation.
struct Check {
    /// The step that it is of.
    step: String,
    what: String,
    /// What was found instead.
    differs: Option<String>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self { stream: AutoStream::auto(io::stdout().lock()), step: String::new(), checks: Vec::new() }
    }

    /// Begins a step.
    pub(crate) fn title(&mut self, text: &str) -> Result<()> {
        text.clone_into(&mut self.step);
        writeln!(self.stream, "\n{}", text.bold())?;
        Ok(())
    }

    /// A line of explanation.
    pub(crate) fn say(&mut self, text: &str) -> Result<()> {
        writeln!(self.stream, "{text}")?;
        Ok(())
    }

    /// A command as a person would type it.
    pub(crate) fn typed(&mut self, text: &str) -> Result<()> {
        writeln!(self.stream, "\n  {} {}", "$".dimmed(), text.cyan())?;
        Ok(())
    }

    /// What a command printed.
    pub(crate) fn printed(&mut self, text: &str) -> Result<()> {
        for line in text.trim_end().lines() {
            writeln!(self.stream, "    {line}")?;
        }
        Ok(())
    }

    /// Two texts are the same.
    pub(crate) fn same(&mut self, what: &str, found: &str, expected: &str) -> Result<()> {
        let differs = (found != expected).then(|| format!("expected {expected:?}, found {found:?}"));
        self.check(what, differs)
    }

    /// A text has each of some parts.
    pub(crate) fn has(&mut self, what: &str, text: &str, parts: &[&str]) -> Result<()> {
        let missing: Vec<&str> = parts.iter().filter(|part| !text.contains(**part)).copied().collect();
        let differs =
            (!missing.is_empty()).then(|| format!("{missing:?} not found in:\n{}", text.trim_end()));
        self.check(what, differs)
    }

    /// A text has none of some parts.
    pub(crate) fn lacks(&mut self, what: &str, text: &str, parts: &[&str]) -> Result<()> {
        let there: Vec<&str> = parts.iter().filter(|part| text.contains(**part)).copied().collect();
        let differs = (!there.is_empty()).then(|| format!("{there:?} found in:\n{}", text.trim_end()));
        self.check(what, differs)
    }

    fn check(&mut self, what: &str, differs: Option<String>) -> Result<()> {
        let check = Check { step: self.step.clone(), what: what.to_owned(), differs };
        writeln!(self.stream, "  {}", check.line())?;
        for line in check.differs.iter().flat_map(|text| text.lines()) {
            writeln!(self.stream, "      {}", line.red())?;
        }
        self.checks.push(check);
        Ok(())
    }

    /// Lists the steps, with the checks that differ; whether all passed.
    pub(crate) fn summary(&mut self) -> Result<bool> {
        self.title("Summary")?;
        for step in self.checks.chunk_by(|one, other| one.step == other.step) {
            let Some(Check { step: title, .. }) = step.first() else { continue };
            let differing: Vec<&Check> = step.iter().filter(|check| check.differs.is_some()).collect();
            let mark = if differing.is_empty() { "✓".green().to_string() } else { "✗".red().to_string() };
            let counted = format!("{} of {}", step.len() - differing.len(), step.len());
            writeln!(self.stream, "  {mark} {} {title}", counted.dimmed())?;
            for check in differing {
                writeln!(self.stream, "      {}", check.line())?;
            }
        }
        let all = self.checks.len();
        let passed = self.checks.iter().filter(|check| check.differs.is_none()).count();
        let sentence = format!("{passed} of {all} checks passed");
        if passed == all {
            writeln!(self.stream, "\n{}", sentence.green().bold())?;
        } else {
            writeln!(self.stream, "\n{}", sentence.red().bold())?;
        }
        Ok(passed == all)
    }
}

impl Check {
    fn line(&self) -> String {
        match self.differs {
            None => format!("{} {}", "✓".green(), self.what),
            Some(_) => format!("{} {}", "✗".red().bold(), self.what.red()),
        }
    }
}

/// Writes what went wrong to standard error.
pub(crate) fn complain(text: &str) {
    let written = writeln!(anstream::stderr().lock(), "{} {text}", "error:".red().bold());
    // There is nowhere left to say that standard error is gone.
    drop(written);
}

/// Whether whoever read our output went away, as `head` does.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
