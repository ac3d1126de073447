//! What programs do with their arguments, as far as the gateway knows them.
//!
//! Three kinds of knowledge: programs that run other programs (their command lines are analysed in turn), programs that
//! read a language of their own (`sed` and `awk` are checked, other code is unknown), and programs that change files.
//! Of every other program only its name and arguments are told, which is what rules match.

mod builtins;
mod clients;
mod containers;
mod copies;
mod files;
pub(super) mod find;
mod git;
mod given;
mod interpreters;
mod options;
mod readers;
mod removers;
mod scripts;
mod shells;
mod wrappers;
mod writers;

use super::argument::{Arg, Sort};
use super::found::Why;
use super::walk::{Input, Walk};
use proxy_policy::Program;
use std::sync::Arc;

/// A program with its arguments and what it reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub(super) program: &'a Arc<Program>,
    pub(super) args: &'a [Arg],
    pub(super) input: &'a Input,
}

impl Call<'_> {
    fn name(&self) -> &str {
        self.program.name()
    }

    /// The value of the argument at `at`, if it is known.
    fn value(&self, at: usize) -> Option<&str> {
        self.args.get(at).and_then(Arg::value)
    }

    fn doubt(&self, walk: &mut Walk, why: &str) {
        let why = Why::new(format!("`{}` {why}", self.name()));
        if builtins::changes_the_shell(self.name()) || walk.known.is_function(&self.program.word) {
            walk.found.doubt(why);
        } else {
            walk.found.doubt_program(why);
        }
    }

    /// Its options may be such as run programs.
    fn doubt_options(&self, walk: &mut Walk) {
        match self.args.iter().find(|arg| arg.may_be_option()) {
            Some(arg) => self.doubt(walk, &arg.unclear()),
            None => self.doubt(walk, "may be told to run programs, or has an option that is not literal"),
        }
    }

    /// An argument that may be anything makes the rest unknown, and an option must be one for certain.
    fn demands_options(&self, walk: &mut Walk) {
        if self.demands_literals(walk)
            && let Some(arg) = self.args.iter().find(|arg| arg.may_hold_option())
        {
            self.doubt(walk, &format!("has the option `{}`, which is not literal", arg.text));
        }
    }

    /// An argument that may be anything makes the rest unknown.
    fn demands_literals(&self, walk: &mut Walk) -> bool {
        let open = self.args.iter().find(|arg| arg.sort == Sort::Open);
        if let Some(arg) = open {
            self.doubt(walk, &arg.unclear());
        }
        open.is_none()
    }
}

/// Records what a program does.
pub(super) fn run(walk: &mut Walk, call: &Call<'_>) {
    let trusted = !call.program.word.contains('/') || readers::is_system_path(&call.program.word);
    let changes = !(trusted && readers::only_reads(call.name()));
    walk.found.program(call.program, call.args, changes);
    let rooms: [fn(&mut Walk, &Call<'_>) -> bool; 10] = [
        builtins::run,
        wrappers::run,
        shells::run,
        find::run,
        scripts::run,
        copies::run,
        files::run,
        removers::run,
        writers::run,
        git::run,
    ];
    let in_part: [fn(&mut Walk, &Call<'_>) -> bool; 3] = [interpreters::run, containers::run, clients::run];
    let whole = rooms.iter().any(|room| room(walk, call)) || readers::run(walk, call);
    let known = whole || in_part.iter().any(|room| room(walk, call));
    let elsewhere = call.name() == "git" && git::reads_any_file(call);
    if (!whole || elsewhere) && !readers::only_tells(call.name()) {
        let files = given::files(walk, call);
        walk.found.given(call.program, files);
    }
    if walk.known.is_function(&call.program.word) {
        // what its body does was told where it is defined; here it may have changed the directory
        walk.place.enter(&Arg::open(""));
        if known {
            call.doubt(walk, "is the name of a function here, and of a program that does something else");
        }
    }
    if !known {
        call.demands_literals(walk);
    }
}
