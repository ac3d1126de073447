//! A command with its assignments, words and redirections.

use super::super::argument::{Arg, Sort};
use super::super::found::{FileEffect, Reach, Why};
use super::super::programs::{self, Call};
use super::super::word::{self, Piece};
use super::super::{expand, masked};
use super::{Dialect, Input, Place, Walk};
use crate::paths::clean;
use brush_parser::ast::{self, CommandPrefixOrSuffixItem as Item};
use proxy_policy::Program;
use std::sync::Arc;

impl Walk {
    pub(super) fn simple(&mut self, command: &ast::SimpleCommand, input: &Input) {
        let redirects = items(command).filter_map(|item| match item {
            Item::IoRedirect(redirect) => Some(redirect),
            Item::Word(_) | Item::AssignmentWord(..) | Item::ProcessSubstitution(..) => None,
        });
        if self.is_parted(redirects) {
            self.begins_anew();
            self.doubt_parted(command.suffix.as_ref().map(|suffix| suffix.0.as_slice()).unwrap_or_default());
            self.perhaps(|walk| walk.whole(command, input));
        } else {
            self.whole(command, input);
        }
    }

    /// A command that every shell takes for one.
    fn whole(&mut self, command: &ast::SimpleCommand, input: &Input) {
        let mut input = input.clone();
        let prefix = command.prefix.iter().flat_map(|prefix| &prefix.0);
        let suffix = command.suffix.iter().flat_map(|suffix| &suffix.0);
        let mut words = Vec::new();
        let mut array = false;
        // where one of them fails, nothing is set
        let redirects = prefix.clone().any(|item| matches!(item, Item::IoRedirect(_)));
        for item in prefix {
            match item {
                Item::AssignmentWord(assignment, _) => {
                    self.assignment(assignment, command.word_or_name.is_some() || redirects);
                }
                Item::IoRedirect(redirect) => self.redirect(redirect, &mut input),
                Item::ProcessSubstitution(_, shell) => self.apart(|walk| walk.list(&shell.list)),
                Item::Word(word) => words.push(self.word(&word.value)),
            }
        }
        if let Some(word) = &command.word_or_name {
            words.push(self.word(&word.value));
        }
        for item in suffix {
            match item {
                Item::IoRedirect(redirect) => self.redirect(redirect, &mut input),
                Item::ProcessSubstitution(_, shell) => {
                    self.apart(|walk| walk.list(&shell.list));
                    words.push(vec![Piece::Computed {
                        computed: word::Computed { source: "<(…)".to_owned(), ..word::Computed::default() },
                        quoted: true,
                    }]);
                }
                Item::Word(word) => words.push(self.word(&word.value)),
                Item::AssignmentWord(assignment, word) => {
                    array |= matches!(assignment.value, ast::AssignmentValue::Array(_));
                    if array {
                        self.assignment(assignment, true);
                    } else {
                        words.push(self.word(&word.value));
                    }
                }
            }
        }
        if words.is_empty() {
            return;
        }
        if array {
            self.found.doubt(Why::new("a declaration of an array"));
        }
        let is_exec = command.word_or_name.as_ref().is_some_and(|word| word.value == "exec");
        if self.dialect != Dialect::Bash && !is_exec && items(command).any(has_long_number) {
            self.found.doubt(Why::new("a descriptor above 9, which is a word of its own in other shells"));
        }
        self.splits = words.iter().flatten().any(is_split);
        let lists = self.expanded(&words);
        self.run_one_of(lists, &input);
        self.splits = false;
    }

    /// One of these is what runs: none finds what another has changed.
    fn run_one_of(&mut self, lists: Vec<Vec<Arg>>, input: &Input) {
        let (from, mut reached) = (self.place.clone(), None::<Place>);
        for list in lists {
            self.place.clone_from(&from);
            self.run(list, input);
            match &mut reached {
                Some(reached) => reached.or(&self.place),
                None => reached = Some(self.place.clone()),
            }
        }
        self.place = reached.unwrap_or(from);
    }

    fn assignment(&mut self, assignment: &ast::Assignment, for_command: bool) {
        let name = match &assignment.name {
            ast::AssignmentName::VariableName(name) => name,
            ast::AssignmentName::ArrayElementName(name, index) => {
                if !index.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') || index.is_empty() {
                    self.found.doubt(Why::new(format!("the index of `{name}[{index}]` is evaluated")));
                } else {
                    self.arithmetic_text(index);
                }
                self.seen.open(name);
                name
            }
        };
        let value = match &assignment.value {
            ast::AssignmentValue::Scalar(word) => {
                let pieces = word::decode_value(&word.value);
                let pieces = self.pieces(pieces);
                let mut values = expand::value(&pieces, self.scope());
                if values.iter().any(|value| masked::is_secret_name(name) && !value.text.is_empty()) {
                    self.found.secrets.extend([word.value.clone()]);
                    self.found.secrets.extend(values.iter().map(|value| value.text.clone()));
                }
                for value in &values {
                    self.danger(name, value);
                }
                if values.len() == 1 { values.pop() } else { None }
            }
            ast::AssignmentValue::Array(elements) => {
                for (key, element) in elements {
                    for word in key.iter().chain([element]) {
                        self.word(&word.value);
                    }
                }
                self.opens(name);
                self.seen.array();
                return;
            }
        };
        if assignment.append {
            self.seen.open(name);
        } else {
            self.seen.assign(name, value);
        }
        if !for_command && matches!(assignment.name, ast::AssignmentName::VariableName(_)) {
            self.set.insert(name.clone());
        }
    }

    /// A program, a builtin or a function with its arguments.
    pub(in super::super) fn run(&mut self, list: Vec<Arg>, input: &Input) {
        self.commands += 1;
        if self.commands > super::COMMANDS_MAX {
            self.found.doubt(Why::new(format!("it runs more than {} commands", super::COMMANDS_MAX)));
            return;
        }
        let mut args = list.into_iter();
        let Some(first) = args.next() else {
            // every word of it came to nothing
            return;
        };
        let Some(word) = first.value().filter(|word| !word.is_empty() && !word.starts_with('=')) else {
            self.found.doubt(Why::new(format!("the command word `{}` is not literal", first.text)));
            return;
        };
        let args: Vec<Arg> = args.collect();
        let texts = args.iter().map(|arg| arg.text.clone()).collect();
        let program = Arc::new(Program { word: word.to_owned(), args: texts });
        if word.contains('/') && self.has_written(word) {
            self.found
                .doubt_program(Why::new(format!("`{word}` is written by the command line that runs it")));
        }
        masked::note(&program, &mut self.found.secrets);
        self.keeps_off_builtin(word, &args);
        if self.wrappers >= super::WRAPPERS_MAX {
            self.found.doubt(Why::new("too many programs that run each other"));
            return;
        }
        self.wrappers += 1;
        programs::run(self, &Call { program: &program, args: &args, input });
        self.wrappers -= 1;
    }

    /// The same where nobody knows where that is, and no shell is moved.
    pub(in super::super) fn run_elsewhere(&mut self, list: Vec<Arg>) {
        let place = self.place.clone();
        self.place.lose();
        self.run(list, &Input::Client);
        self.place = place;
    }

    /// Whether the command line writes what `path` may mean here.
    pub(in super::super) fn has_written(&self, path: &str) -> bool {
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let anywhere = |path: &str| path.starts_with("?/");
        self.place.paths(path).iter().any(|path| {
            self.written.contains(path)
                || self
                    .written
                    .iter()
                    .any(|written| (anywhere(path) || anywhere(written)) && name(path) == name(written))
        })
    }

    /// Touches what a path may mean here.
    pub(in super::super) fn file_touch(&mut self, path: &Arg, done: FileEffect, by: Option<&Arc<Program>>) {
        if path.sort == Sort::Exact && (is_stream(&path.text) || path.text == "-" && is_output(done, by)) {
            self.keeps_off_path(&path.text, path.sort);
            return;
        }
        let device = path.text.starts_with("/dev/");
        let done = done
            .whole(path.sort == Sort::Open || path.sort == Sort::Tree)
            .device(device && done.effect == FileEffect::WRITE.effect);
        self.doubt_path(path);
        let names = match path.sort {
            Sort::Open => vec![anywhere(&path.text)],
            Sort::Shaped => self.place.paths(&from_here(&path.text)),
            Sort::Exact => self.place.paths(&path.text),
            // what is in front of a pattern may be the shell's word, or be quoted
            Sort::Names | Sort::Tree | Sort::AnyNames => {
                let mut names = self.place.paths(&path.text);
                let here = from_here(&path.text);
                if here != path.text {
                    names.extend(self.place.paths(&here));
                }
                names
            }
        };
        let names = if path.is_pattern() { with_dots(names, done) } else { names };
        let sort = if done.reach == Reach::Tree { Sort::Tree } else { path.sort };
        for name in names {
            self.keeps_off_path(&name, sort);
            if done.effect == FileEffect::WRITE.effect {
                self.written.insert(name.clone());
            }
            self.found.file(done, (name, path.sort), by);
        }
    }

    /// A path that nobody knows is none that a rule about paths could be asked about.
    fn doubt_path(&mut self, path: &Arg) {
        let named = path.text.starts_with(['/', '~']);
        let why = if path.sort == Sort::Open {
            format!("which file `{}` is cannot be told, because it is not literal", path.text)
        } else if path.sort == Sort::Shaped && path.text.contains("--show-toplevel") {
            format!("which file `{}` is depends on the directory", path.text)
        } else if !named && self.place.is_lost() {
            format!("which file `{}` is cannot be told, because the directory may have changed", path.text)
        } else {
            return;
        };
        self.found.doubt_program(Why::new(why));
    }
}

/// All that a command consists of but its name.
fn items(command: &ast::SimpleCommand) -> impl Iterator<Item = &Item> {
    let prefix = command.prefix.iter().flat_map(|prefix| &prefix.0);
    prefix.chain(command.suffix.iter().flat_map(|suffix| &suffix.0))
}

/// A redirection of a descriptor of more than one digit.
fn has_long_number(item: &Item) -> bool {
    let Item::IoRedirect(redirect) = item else { return false };
    let number = match redirect {
        ast::IoRedirect::File(number, ..)
        | ast::IoRedirect::HereString(number, _)
        | ast::IoRedirect::HereDocument(number, _) => *number,
        ast::IoRedirect::OutputAndError(..) => None,
    };
    number.is_some_and(|number| number > 9)
}

/// The names, and what they are where a pattern such as `.*` is met by the directory itself and the one above, as it is
/// in most shells.
fn with_dots(names: Vec<String>, done: FileEffect) -> Vec<String> {
    let mut all = Vec::new();
    for name in names {
        let parts: Vec<&str> = name.split('/').collect();
        let dotted = parts
            .iter()
            .position(|part| part.starts_with(".*") || part.starts_with(".?") || part.starts_with(".["));
        if let Some(at) = dotted {
            let (before, rest) =
                (parts.get(..at).unwrap_or_default(), parts.get(at + 1..).unwrap_or_default());
            // to a directory alone next to nothing is done
            if !rest.is_empty() || done.reach != Reach::One || done.effect == FileEffect::LIST.effect {
                let with = |dots: &str| clean(&[before, &[dots], rest].concat().join("/"));
                all.extend([with("."), with("..")]);
            }
        }
        all.push(name);
    }
    all
}

/// The shell may make several words of it.
fn is_split(piece: &Piece) -> bool {
    match piece {
        Piece::Variable { quoted, .. }
        | Piece::Substitution { quoted, .. }
        | Piece::Computed { quoted, .. } => !quoted,
        Piece::Text(_) | Piece::Quoted(_) | Piece::Glob(_) | Piece::Brace(_) | Piece::Tilde(_) => false,
    }
}

/// The name of a path that may lead anywhere.
fn anywhere(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("?/{path}") }
}

/// A path behind the shell's own word for the directory, as a relative one.
fn from_here(path: &str) -> String {
    let rest = ["$PWD", "${PWD}", "$(pwd)"].iter().find_map(|here| path.strip_prefix(here));
    rest.map_or_else(|| path.to_owned(), |rest| format!(".{rest}"))
}

/// Programs that write to their output if `-` is what they are to write to, or take it for what stands in their input.
/// To the others, and to the shell itself, it is the name of a file.
const WRITE_OUTPUT: &[&str] = &[
    "7z", "bsdtar", "bunzip2", "bzip2", "cpio", "curl", "gtar", "gunzip", "gzip", "lz4", "lzma", "patch",
    "pax", "tar", "unlzma", "unxz", "unzstd", "wget", "xz", "zip", "zstd",
];

/// Whether `-` is a stream of the program that does this.
fn is_output(done: FileEffect, by: Option<&Arc<Program>>) -> bool {
    let Some(program) = by else { return false };
    done.effect == FileEffect::READ.effect || WRITE_OUTPUT.contains(&program.name())
}

/// Files that are the streams of a command, or nothing.
fn is_stream(path: &str) -> bool {
    matches!(
        path,
        "/dev/null"
            | "/dev/stdin"
            | "/dev/stdout"
            | "/dev/stderr"
            | "/dev/tty"
            | "/dev/zero"
            | "/dev/urandom"
            | "/dev/random"
    ) || path.strip_prefix("/dev/fd/").is_some_and(|fd| fd.chars().all(|c| c.is_ascii_digit()))
}

/// The paths below which `find … -print0` lists names, if that is what the command does.
pub(super) fn listed(walk: &mut Walk, command: &ast::Command) -> Option<Vec<Arg>> {
    let ast::Command::Simple(command) = command else { return None };
    if walk.known.is_function("find")
        || command.word_or_name.as_ref()?.value != "find"
        || command.prefix.is_some()
    {
        return None;
    }
    let mut words = Vec::new();
    for item in &command.suffix.as_ref()?.0 {
        match item {
            Item::Word(word) => words.push(word::decode(&word.value).ok()?),
            Item::IoRedirect(_) | Item::AssignmentWord(..) | Item::ProcessSubstitution(..) => return None,
        }
    }
    let lists = expand::arguments(&words, walk.scope()).ok()?;
    let [args] = lists.as_slice() else { return None };
    programs::find::printed(args)
}
