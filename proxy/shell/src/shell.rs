//! A shell that runs one line after another: what is known of it behind each.
//!
//! A line means what the lines before it made of its words. What they can have changed is carried on where that is
//! certain (the directory, values of variables, functions, files that were written), and is not believed any more where
//! it is not; behind a line of which nobody can tell what it did to the shell itself, nothing is known.

use super::masked;
use super::variables::Variables;
use super::walk::{Place, Walk};
use proxy_policy::Command;
use std::collections::BTreeSet;

/// So many files are told apart that lines of one shell have written.
const WRITTEN_MAX: usize = 4_096;

/// What is known of a shell.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) variables: Variables,
    /// Variables that have one of their values.
    pub(super) set: BTreeSet<String>,
    pub(super) place: Place,
    /// Files that its lines have written.
    pub(super) written: BTreeSet<String>,
    /// Why nothing is known.
    pub(super) lost: Option<String>,
    /// The shell reads its lines from where they could reach.
    pub(super) lines: bool,
}

impl State {
    /// The state behind a walk, and the place if the line ends well.
    pub(super) fn behind(before: &Self, walk: &Walk) -> Self {
        let why = walk.found.why.as_ref().filter(|_| walk.found.shell);
        let why = why.map(|why| masked::masked(&why.0, &walk.found.secrets));
        let many = walk.written.len() > WRITTEN_MAX;
        Self {
            variables: walk.seen.clone(),
            set: walk.set.clone(),
            place: walk.place.clone(),
            written: if many { BTreeSet::new() } else { walk.written.clone() },
            lost: before
                .lost
                .clone()
                .or(why)
                .or_else(|| many.then(|| "it has written many files".to_owned())),
            lines: before.lines,
        }
    }
}

/// A shell whose lines are analysed one by one.
///
/// A line that was refused has changed nothing: only one that runs is handed to [`Shell::ran`].
#[derive(Clone, Debug)]
pub struct Shell {
    state: State,
}

/// What a line makes of its shell if it runs.
#[derive(Debug)]
pub struct After {
    state: State,
    /// Where the shell is if the line ends with status 0.
    reached: Option<Place>,
}

impl Default for Shell {
    fn default() -> Self {
        Self { state: State { lines: true, ..State::default() } }
    }
}

impl Shell {
    /// A shell that has just started, for a login.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the next line means for the login `role` on the host `host`, and what it makes of the shell.
    ///
    /// Total, and as quick, as [`analyze`](super::analyze) is.
    pub fn line(&self, line: &[u8], role: &str, host: &str) -> (Command, After) {
        let (command, (state, reached)) = super::read(line, (role, host), &self.state);
        (command, After { state, reached })
    }

    /// The line has run, and ended with this status; without one it was interrupted, or nobody knows.
    pub fn ran(&mut self, after: After, status: Option<u32>) {
        let After { mut state, reached } = after;
        if status == Some(0) {
            if let Some(place) = reached {
                state.place = place;
            }
        } else {
            // it may have ended before it set what it sets
            state.set.retain(|name| self.state.set.contains(name));
        }
        self.state = state;
    }
}
