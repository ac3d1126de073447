//! What an analysis has found so far.

use super::argument::{Arg, Sort};
use super::effect;
use proxy_policy::{Access, Arguments, Detail, Program, Touch};
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
    pub(super) reach: Reach,
}

/// How far it reaches.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Reach {
    One,
    /// If it is a directory, what is below it gets other names.
    Directory,
    /// All that is below it.
    Tree,
}

impl FileEffect {
    pub(super) const READ: Self = Self::new(effect::READ, Access::Read);
    pub(super) const LIST: Self = Self::new(effect::LIST, Access::Read);
    pub(super) const WRITE: Self = Self::new(effect::WRITE, Access::Write);
    pub(super) const REMOVE: Self = Self::new(effect::REMOVE, Access::Write);
    pub(super) const RENAME: Self = Self::new(effect::RENAME, Access::Write);
    pub(super) const ATTRIBUTES: Self = Self::new(effect::ATTRIBUTES, Access::Write);

    const fn new(effect: &'static str, access: Access) -> Self {
        Self { effect, access, unbounded: false, reach: Reach::One }
    }

    /// The same without bounds, for a whole tree, if `whole`.
    pub(super) fn whole(self, whole: bool) -> Self {
        Self { unbounded: self.unbounded || whole, ..self.below(whole) }
    }

    /// The same for a whole device, which nothing is below, if `whole`.
    pub(super) fn device(self, whole: bool) -> Self {
        Self { unbounded: self.unbounded || whole, ..self }
    }

    /// The same for what may be a directory whose files get other names, if `renamed`.
    pub(super) fn directory(self, renamed: bool) -> Self {
        if renamed { Self { reach: self.reach.max(Reach::Directory), ..self } } else { self }
    }

    /// The same for all that is below a directory as well, if `below`.
    pub(super) fn below(self, below: bool) -> Self {
        if below { Self { reach: Reach::Tree, ..self } } else { self }
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

    /// A program is run with these arguments. Whether that changes something is told by [`Found::changes`] alone.
    pub(super) fn program(&mut self, program: &Arc<Program>, args: &[Arg], changes: bool) {
        self.changes |= changes;
        let access = if changes { Access::Write } else { Access::Read };
        let patterns: Vec<usize> =
            args.iter().enumerate().filter(|(_, arg)| arg.is_pattern()).map(|(at, _)| at).collect();
        self.touch(Touch {
            effect: effect::EXECUTE,
            object: "program",
            name: program.word.clone(),
            access,
            unbounded: false,
            detail: if patterns.is_empty() {
                Detail::Program(Arc::clone(program))
            } else {
                let arguments = Arguments { patterns, files: Vec::new() };
                Detail::Given(Arc::clone(program), Arc::new(arguments))
            },
        });
    }

    /// Nobody knows what the program, which was told last, does to the files that its arguments may name.
    pub(super) fn given(&mut self, program: &Arc<Program>, files: Vec<String>) {
        if files.is_empty() {
            return;
        }
        let own = |touch: &&mut Touch| {
            touch.effect == effect::EXECUTE && touch.detail.program() == Some(&**program)
        };
        let Some(touch) = self.touches.iter_mut().rev().find(own) else { return };
        let mut arguments = match &touch.detail {
            Detail::Given(_, arguments) => Arguments::clone(arguments),
            Detail::None | Detail::Program(_) | Detail::Request(_) => Arguments::default(),
        };
        // the same program may have run elsewhere
        arguments
            .files
            .extend(files.into_iter().filter(|file| !arguments.files.contains(file)).collect::<Vec<_>>());
        touch.detail = Detail::Given(Arc::clone(program), Arc::new(arguments));
    }

    /// Something is done to a file, or to all that the name of this sort stands for: by a program, or by the shell
    /// itself.
    pub(super) fn file(&mut self, done: FileEffect, (name, sort): (String, Sort), by: Option<&Arc<Program>>) {
        self.changes |= done.access == Access::Write;
        self.touch(Touch {
            effect: done.effect,
            object: match sort {
                _ if done.reach == Reach::Tree => "tree",
                _ if done.reach == Reach::Directory => "directory",
                Sort::Names | Sort::AnyNames | Sort::Tree | Sort::Shaped => "files",
                Sort::Exact | Sort::Open => "file",
            },
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
