//! Programs that copy, move or link files to a file, or into a directory: which of the two, only the host knows.
//!
//! A link is another name for a file: whoever writes the one writes the other, so a link is a write of what it leads to.

use super::super::argument::{Arg, Sort, has_short, is_long};
use super::super::found::FileEffect;
use super::super::walk::Walk;
use super::Call;
use super::options::{operands, value_of};

/// Whether it is one of them.
pub(super) fn run(walk: &mut Walk, call: &Call<'_>) -> bool {
    match call.name() {
        "install" if any(call, "d", &["directory"]) => {
            for dir in operands(call.args, values(call)) {
                walk.file_touch(dir, FileEffect::WRITE, Some(call.program));
            }
        }
        "cp" | "mv" | "ln" | "install" | "link" => {
            if call.args.iter().any(|arg| is_long(arg, "strip-program", 1) && arg.text != "--strip") {
                call.doubt(walk, "may be told to run programs");
            }
            copy(walk, call);
        }
        _ => return false,
    }
    true
}

/// Letters of options with a value.
fn values(call: &Call<'_>) -> &'static str {
    if call.name() == "install" { "gmotSZ" } else { "tS" }
}

fn any(call: &Call<'_>, letters: &str, longs: &[&str]) -> bool {
    call.args.iter().take_while(|arg| arg.value() != Some("--")).any(|arg| {
        letters.chars().any(|letter| has_short(arg, letter, values(call)))
            || longs.iter().any(|long| is_long(arg, long, 3))
    })
}

/// What becomes of the files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum How {
    Copied,
    Moved,
    /// Each gets another name.
    Linked,
    /// A text that leads there, from where the link is.
    Symbolic,
}

fn how(call: &Call<'_>) -> How {
    match call.name() {
        "mv" => How::Moved,
        "ln" if any(call, "s", &["symbolic"]) && !any(call, "r", &["relative"]) => How::Symbolic,
        "ln" | "link" => How::Linked,
        // for a symbolic link `cp` demands a path that leads there from here as well
        "cp" if any(call, "ls", &["link", "symbolic-link"]) => How::Linked,
        _ => How::Copied,
    }
}

fn copy(walk: &mut Walk, call: &Call<'_>) {
    call.demands_options(walk);
    if let Some(arg) = call.args.iter().find(|arg| arg.sort == Sort::AnyNames) {
        call.doubt(walk, &arg.unclear());
    }
    let open = call.args.iter().any(|arg| arg.sort == Sort::Open);
    let whole = open || call.name() != "ln" && any(call, "rRa", &["recursive", "archive"]);
    let how = how(call);
    let into = value_of(call.args, 't', "target-directory", "S");
    let is_told = into.is_some();
    let exact = call.name() == "link" || any(call, "T", &["no-target-directory"]);
    let mut files = operands(call.args, values(call));
    let (target, exact) = match into {
        Some(dir) => (dir, false),
        None if files.len() > 1 || files.iter().any(|file| file.may_be_several()) => {
            let target = files.pop().cloned().unwrap_or_else(|| Arg::exact("."));
            (target, exact)
        }
        // `ln FILE`: here, under its own name
        None => (Arg::exact("."), false),
    };
    // of several names that match, the last is where the others go
    let last = target.clone();
    if last.may_be_several() {
        files.push(&last);
    }
    for file in &files {
        source(walk, call, file, (&target, how, whole));
    }
    // a directory that is moved takes all that is in it to another name
    let moved = how == How::Moved;
    let named = moved && !is_told && (files.len() == 1 || target.may_be_several());
    put(walk, call, &target, FileEffect::WRITE.whole(whole).directory(named));
    for file in files.iter().filter(|_| !exact) {
        let name = if call.name() == "cp" && any(call, "", &["parents"]) {
            Some(file.text.as_str())
        } else {
            file.text.trim_end_matches('/').rsplit('/').next()
        };
        // what a home is called there, only the host knows
        let home = file.text.starts_with('~') && name.is_some_and(|name| name.starts_with('~'));
        let name = name.map(|name| match name.split_once('/') {
            Some((_, rest)) if home => format!("**/{rest}"),
            None if home => "*".to_owned(),
            Some(_) | None => name.to_owned(),
        });
        let sort = if home { file.sort.pattern() } else { file.sort };
        if let Some(name) = name.filter(|name| !matches!(name.as_str(), "" | "." | "..")) {
            let inside = joined(&target, &name, sort);
            put(walk, call, &inside, FileEffect::WRITE.whole(whole).directory(moved));
        }
    }
}

/// Touches what is written, and what is kept of it.
fn put(walk: &mut Walk, call: &Call<'_>, file: &Arg, done: FileEffect) {
    walk.file_touch(file, done, Some(call.program));
    let keeps = call.name() != "link" && any(call, "bS", &["backup", "suffix"]);
    if keeps && file.sort != Sort::Open {
        // behind its name comes a tilde, a number, or what an option or a variable says
        let plain = Arg { text: file.text.trim_end_matches('/').to_owned(), sort: file.sort };
        walk.file_touch(&plain.beside(), done, Some(call.program));
    }
}

/// Touches what is copied, moved or linked to.
fn source(walk: &mut Walk, call: &Call<'_>, file: &Arg, (target, how, whole): (&Arg, How, bool)) {
    let done: &[FileEffect] = match how {
        How::Copied => &[FileEffect::READ],
        How::Moved => &[FileEffect::RENAME],
        How::Linked | How::Symbolic => &[FileEffect::READ, FileEffect::WRITE],
    };
    let leads = if how == How::Symbolic && !file.text.starts_with(['/', '~']) {
        // from the directory that the link is in: the target, or that which the target is in
        let parent = target.text.trim_end_matches('/').rsplit_once('/');
        let beside = parent.map_or(".", |(parent, _)| if parent.is_empty() { "/" } else { parent });
        let beside = Arg { text: beside.to_owned(), sort: target.sort };
        vec![joined(target, &file.text, file.sort), joined(&beside, &file.text, file.sort)]
    } else {
        vec![file.clone()]
    };
    for file in &leads {
        if matches!(how, How::Linked | How::Symbolic) {
            walk.keeps_off_link(file);
        }
        for done in done {
            // a name of a directory is one of everything below it
            let done = done.whole(whole).directory(how == How::Symbolic);
            walk.file_touch(file, done, Some(call.program));
        }
    }
}

/// A name below a directory.
fn joined(dir: &Arg, name: &str, sort: Sort) -> Arg {
    let sort = match (dir.sort, sort) {
        (Sort::Open, _) | (_, Sort::Open) => Sort::Open,
        (Sort::Exact, Sort::AnyNames) => Sort::Names,
        (Sort::Exact, sort) | (sort, _) => sort,
    };
    Arg { text: format!("{}/{name}", dir.text), sort }
}
