//! Which values a variable of the command line can have.
//!
//! A variable that only ever gets literal values is one of those values wherever it is certain that it was given one.
//! Everything else that sets variables (`read`, `declare`, arithmetic, `${x:=…}`) makes their values open.

use super::argument::{Arg, Sort};
use std::collections::{BTreeMap, BTreeSet};

/// So many values of one variable are told apart.
const VALUES_MAX: usize = 16;

/// Values of all variables that a command line sets, wherever it does.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Variables {
    known: BTreeMap<String, Vec<Arg>>,
    open: BTreeSet<String>,
    /// Nothing is known of any variable, or the shell splits words by other rules.
    lost: bool,
    /// A function may stand for any program whose output would have a known shape.
    functions: bool,
}

impl Variables {
    /// One more value that `name` can get. Several arguments, or an open one, are no value.
    pub(super) fn assign(&mut self, name: &str, value: Option<Arg>) {
        match value {
            Some(value) if value.sort != Sort::Open && !self.open.contains(name) => {
                let values = self.known.entry(name.to_owned()).or_default();
                if !values.contains(&value) {
                    values.push(value);
                }
                if values.len() > VALUES_MAX {
                    self.open(name);
                }
            }
            Some(_) | None => self.open(name),
        }
        if name == "IFS" {
            self.lose();
        }
    }

    /// `name` can get any value.
    pub(super) fn open(&mut self, name: &str) {
        self.known.remove(name);
        self.open.insert(name.to_owned());
        if name == "IFS" {
            self.lose();
        }
    }

    /// Any variable can have any value.
    pub(super) fn lose(&mut self) {
        self.lost = true;
    }

    /// The text defines a function.
    pub(super) fn define(&mut self) {
        self.functions = true;
    }

    /// A program's name may stand for a function.
    pub(super) fn has_functions(&self) -> bool {
        self.functions
    }

    /// The values that `name` can have, provided that it has one of those that the command line gives it.
    pub(super) fn values(&self, name: &str) -> Option<&[Arg]> {
        if self.lost { None } else { self.known.get(name).map(Vec::as_slice) }
    }

    /// The command line sets it somewhere.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.lost || self.known.contains_key(name) || self.open.contains(name)
    }
}

/// Variables that the system sets for every login, to one word that is no option.
pub(super) fn is_shaped(name: &str) -> bool {
    matches!(name, "USER" | "LOGNAME" | "HOSTNAME" | "HOSTTYPE" | "OSTYPE" | "MACHTYPE" | "PWD")
        || is_number(name)
}

/// Variables that are numbers whatever happens.
pub(super) fn is_number(name: &str) -> bool {
    matches!(
        name,
        "?" | "#"
            | "$"
            | "!"
            | "UID"
            | "EUID"
            | "PPID"
            | "RANDOM"
            | "SRANDOM"
            | "SECONDS"
            | "LINENO"
            | "EPOCHSECONDS"
            | "BASHPID"
    )
}
