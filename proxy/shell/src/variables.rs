//! Which values a variable of the command line can have.
//!
//! A variable that only ever gets literal values is one of those values wherever it is certain that it was given one.
//! Everything else that sets variables (`read`, `declare`, arithmetic, `${x:=…}`) makes their values open.

use super::argument::{Arg, Sort};
use std::collections::{BTreeMap, BTreeSet};

/// So many values of one variable are told apart.
const VALUES_MAX: usize = 16;

/// So many variables are told apart: a shell goes on setting them for as long as it runs.
const VARIABLES_MAX: usize = 1_024;

/// So many functions are told apart.
const FUNCTIONS_MAX: usize = 256;

/// Values of all variables that a command line sets, wherever it does.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Variables {
    known: BTreeMap<String, Vec<Arg>>,
    open: BTreeSet<String>,
    /// Nothing is known of any variable, or the shell splits words by other rules.
    lost: bool,
    /// Some variable is an array, or may be one.
    arrays: bool,
    /// Names of functions that it defines.
    functions: BTreeSet<String>,
    /// Something that is not analysed, or runs at any time, may have defined functions and changed the directory.
    unsure: bool,
}

impl Variables {
    /// One more value that `name` can get. Several arguments, or an open one, are no value.
    pub(super) fn assign(&mut self, name: &str, value: Option<Arg>) {
        if self.lost {
            return;
        }
        match value {
            Some(value) if value.sort != Sort::Open && !self.open.contains(name) && !is_own(name) => {
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
        self.bound(name);
    }

    /// `name` can get any value.
    pub(super) fn open(&mut self, name: &str) {
        if self.lost {
            return;
        }
        self.known.remove(name);
        self.open.insert(name.to_owned());
        self.bound(name);
    }

    fn bound(&mut self, name: &str) {
        if name == "IFS" || self.known.len() + self.open.len() > VARIABLES_MAX {
            self.lose();
        }
    }

    /// Any variable can have any value.
    pub(super) fn lose(&mut self) {
        self.lost = true;
        self.known.clear();
        self.open.clear();
    }

    /// Some variable is an array, of which a declaration evaluates the value.
    pub(super) fn array(&mut self) {
        self.arrays = true;
    }

    /// Some variable may be an array.
    pub(super) fn has_arrays(&self) -> bool {
        self.lost || self.arrays
    }

    /// The text defines a function of this name.
    pub(super) fn define(&mut self, name: &str) {
        if self.functions.len() <= FUNCTIONS_MAX {
            self.functions.insert(name.to_owned());
        }
    }

    /// Something runs in this shell, now or at any time, of which nobody knows what it does there.
    pub(super) fn doubt(&mut self) {
        self.unsure = true;
    }

    /// A program's name may stand for a function.
    pub(super) fn has_functions(&self) -> bool {
        self.unsure || !self.functions.is_empty()
    }

    /// The text defines a function of this name.
    pub(super) fn is_function(&self, name: &str) -> bool {
        self.functions.contains(name) || self.functions.len() > FUNCTIONS_MAX
    }

    /// The directory may change between any two commands.
    pub(super) fn may_move(&self) -> bool {
        self.unsure
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

/// Variables that a shell changes by itself: none keeps the value that a command line gives it.
fn is_own(name: &str) -> bool {
    name.starts_with("BASH")
        || matches!(
            name,
            "_" | "REPLY"
                | "OPTARG"
                | "OPTIND"
                | "OPTERR"
                | "PWD"
                | "OLDPWD"
                | "MAPFILE"
                | "COPROC"
                | "COPROC_PID"
                | "PIPESTATUS"
                | "FUNCNAME"
                | "RANDOM"
                | "SRANDOM"
                | "SECONDS"
                | "LINENO"
                | "HISTCMD"
                | "DIRSTACK"
                | "GROUPS"
                | "UID"
                | "EUID"
                | "PPID"
                | "SHLVL"
                | "EPOCHSECONDS"
                | "EPOCHREALTIME"
                | "COLUMNS"
                | "LINES"
        )
}

/// Variables that every shell sets itself, whatever its environment says, to one word that is no option and never
/// empty. `$USER` and `$HOSTNAME` are none of them: clients may send variables, `env -i` takes them away, and some
/// shells know them not at all; and `/srv/$USER` without its end is all of `/srv`.
pub(super) fn is_shaped(name: &str) -> bool {
    matches!(name, "PWD" | "?" | "#" | "$" | "!" | "PPID" | "LINENO")
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
