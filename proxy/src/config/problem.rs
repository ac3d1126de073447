//! Why a configuration cannot be used, located so that a person finds the line.

use crds::manifest::{ManifestError, Origin};
use std::fmt;

/// Where an object stands: `orders.yaml:14 (document 2): Resource orders`, or `Resource shop/orders` in a cluster.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// Name of the file within the directory; empty in a cluster.
    pub file: String,
    /// Line on which the document begins, from 1; 0 for the file itself.
    pub line: usize,
    /// Number of the document in the file, from 1; 0 for the file itself.
    pub document: usize,
    /// `Kind name`, in a cluster `Kind namespace/name`; empty where it is not known.
    pub object: String,
}

impl Place {
    /// A whole file, or the directory.
    pub fn file(name: &str) -> Self {
        Self { file: name.to_owned(), line: 0, document: 0, object: String::new() }
    }

    /// A document of a file.
    pub fn document(origin: &Origin, kind: &str, name: &str) -> Self {
        Self {
            file: origin.file.clone(),
            line: origin.line,
            document: origin.document,
            object: format!("{kind} {name}").trim().to_owned(),
        }
    }

    /// An object of a cluster: `Resource shop/orders`.
    pub fn object(kind: &str, namespace: &str, name: &str) -> Self {
        Self { object: format!("{kind} {namespace}/{name}"), ..Self::file("") }
    }

    /// A problem here.
    pub fn problem(&self, path: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { place: self.clone(), path: path.into(), message: message.into() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{} (document {})", self.line, self.document)?;
        }
        if !self.object.is_empty() {
            let before = if self.file.is_empty() { "" } else { ": " };
            write!(f, "{before}{}", self.object)?;
        }
        Ok(())
    }
}

/// One reason why a configuration cannot be used. Never shows a secret's value.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Problem {
    /// The object.
    pub place: Place,
    /// Path in the object: `spec.rules[2].when`; empty for the object as a whole.
    pub path: String,
    /// What was expected, and what is there.
    pub message: String,
}

impl From<ManifestError> for Problem {
    fn from(error: ManifestError) -> Self {
        Place::document(&error.origin, &error.kind, &error.name).problem(error.path, error.message)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place)?;
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// All reasons why a configuration cannot be used: at least one, sorted, each once.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Sorts, and drops repetitions: a policy of two resources has its problems once.
    pub fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort();
        problems.dedup();
        Self(problems)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
