//! What an analysis has found so far.

use super::effect;
use proxy_policy::{Access, Detail, Program, Touch};
use std::sync::Arc;

/// So many touches are told apart; more are not known.
const TOUCHES_MAX: usize = 512;

/// Why something cannot be told, in words that a policy author can act on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Why(pub(super) String);

impl Why {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// Touches, the first reason for doubt, and what must not be shown.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) touches: Vec<Touch>,
    pub(super) why: Option<Why>,
    /// What the shell makes of later words may have changed in a way that is not known.
    pub(super) shell: bool,
    pub(super) changes: bool,
    /// Values that may be secrets, as they are written or as they are meant.
    pub(super) secrets: Vec<String>,
}

/// What is done to a file or a tree.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct FileEffect {
    pub(super) effect: &'static str,
    pub(super) access: Access,
    pub(super) unbounded: bool,
}

impl FileEffect {
    pub(super) const READ: Self = Self { effect: effect::READ, access: Access::Read, unbounded: false };
    pub(super) const LIST: Self = Self { effect: effect::LIST, access: Access::Read, unbounded: false };
    pub(super) const WRITE: Self = Self { effect: effect::WRITE, access: Access::Write, unbounded: false };
    pub(super) const REMOVE: Self = Self { effect: effect::REMOVE, access: Access::Write, unbounded: false };
    pub(super) const RENAME: Self = Self { effect: effect::RENAME, access: Access::Write, unbounded: false };
    pub(super) const ATTRIBUTES: Self =
        Self { effect: effect::ATTRIBUTES, access: Access::Write, unbounded: false };

    /// The same for a whole tree or device if `whole`.
    pub(super) fn whole(self, whole: bool) -> Self {
        Self { unbounded: self.unbounded || whole, ..self }
    }
}

impl Found {
    /// Something cannot be told that may change the shell itself; the first reason stays.
    pub(super) fn doubt(&mut self, why: Why) {
        self.shell = true;
        self.doubt_program(why);
    }

    /// It cannot be told what a program does: not to the shell, whose variables, functions and directory are its own.
    pub(super) fn doubt_program(&mut self, why: Why) {
        self.changes = true;
        self.why.get_or_insert(why);
    }

    /// A program is run. Whether that changes something is told by [`Found::changes`] alone.
    pub(super) fn program(&mut self, program: &Arc<Program>, changes: bool) {
        self.changes |= changes;
        let access = if changes { Access::Write } else { Access::Read };
        self.touch(Touch {
            effect: effect::EXECUTE,
            object: "program",
            name: program.word.clone(),
            access,
            unbounded: false,
            detail: Detail::Program(Arc::clone(program)),
        });
    }

    /// Something is done to a file: by a program, or by the shell itself.
    pub(super) fn file(&mut self, done: FileEffect, name: String, by: Option<&Arc<Program>>) {
        self.changes |= done.access == Access::Write;
        self.touch(Touch {
            effect: done.effect,
            object: "file",
            name,
            access: done.access,
            unbounded: done.unbounded,
            detail: by.map_or(Detail::None, |program| Detail::Program(Arc::clone(program))),
        });
    }

    fn touch(&mut self, touch: Touch) {
        if self.touches.contains(&touch) {
            return;
        }
        if self.touches.len() >= TOUCHES_MAX {
            self.doubt(Why::new(format!("it does more than {TOUCHES_MAX} things")));
        } else {
            self.touches.push(touch);
        }
    }
}
