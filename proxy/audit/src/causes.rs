//! Errors with what caused them.

use std::error::Error;
use std::fmt;

/// An error with its causes in one line, for where it is handled. What an error of another library has told of its cause
/// already is not told again.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = self.0.to_string();
        let mut source = self.0.source();
        while let Some(error) = source {
            let cause = error.to_string();
            if !told.contains(&cause) {
                told.extend([": ", &cause]);
            }
            source = error.source();
        }
        f.write_str(&told)
    }
}

/// The same as a text.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    Chain(error).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<dyn Error>>,
    }

    fn link(text: &'static str, source: impl Error + 'static) -> Link {
        Link { text, source: Some(Box::new(source)) }
    }

    #[test]
    fn every_cause_is_told_once() {
        let refused = || io::Error::other("refused");
        let plain = link("write", link("connect", refused()));
        assert_eq!(Chain(&plain).to_string(), "write: connect: refused");
        let telling = link("write: connect (refused), 3 tries", link("connect (refused)", refused()));
        assert_eq!(Chain(&telling).to_string(), "write: connect (refused), 3 tries");
        let half = link("write: connect", link("connect", refused()));
        assert_eq!(Chain(&half).to_string(), "write: connect: refused");
        assert_eq!(Chain(&Link { text: "alone", source: None }).to_string(), "alone");
    }
}
