//! Errors with what caused them.

use std::error::Error;
use std::fmt;

/// An error with its causes in one line, for where it is handled.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// The same as a text.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    Chain(error).to_string()
}
