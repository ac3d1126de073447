//! `git`. Source: git(1); aliases, hooks and helpers make it run programs that its configuration names.

use super::super::argument::{Arg, Sort, has_short, is_long};
use super::super::found::FileEffect;
use super::super::walk::Walk;
use super::Call;
use super::options::{self, Given, Spec, operands};

/// Subcommands that only read.
const READS: &[&str] = &[
    "blame",
    "branch",
    "cat-file",
    "check-ignore",
    "count-objects",
    "describe",
    "diff",
    "diff-tree",
    "for-each-ref",
    "fsck",
    "grep",
    "help",
    "log",
    "ls-files",
    "ls-remote",
    "ls-tree",
    "merge-base",
    "name-rev",
    "reflog",
    "remote",
    "rev-list",
    "rev-parse",
    "shortlog",
    "show",
    "show-branch",
    "show-ref",
    "status",
    "tag",
    "var",
    "verify-commit",
    "verify-tag",
    "version",
    "whatchanged",
];

/// Subcommands that change the repository or the working tree.
const WRITES: &[&str] = &[
    "add",
    "am",
    "apply",
    "archive",
    "bundle",
    "checkout",
    "cherry-pick",
    "clone",
    "commit",
    "fetch",
    "format-patch",
    "gc",
    "init",
    "maintenance",
    "merge",
    "mv",
    "notes",
    "pack-refs",
    "prune",
    "pull",
    "push",
    "repack",
    "reset",
    "restore",
    "revert",
    "sparse-checkout",
    "stash",
    "switch",
    "symbolic-ref",
    "update-index",
    "update-ref",
    "lfs",
];

/// Whether it is `git`, or a program of it that serves another one.
pub(super) fn run(walk: &mut Walk, call: &Call<'_>) -> bool {
    match call.name() {
        "git" => git(walk, call),
        "git-upload-pack" | "git-upload-archive" => serve(walk, call, FileEffect::READ),
        "git-receive-pack" => serve(walk, call, FileEffect::WRITE),
        "git-lfs-authenticate" | "git-shell" => call.doubt(walk, "serves in a way that is not analysed"),
        _ => return false,
    }
    true
}

fn serve(walk: &mut Walk, call: &Call<'_>, done: FileEffect) {
    for path in operands(call.args, "") {
        walk.file_touch(path, done.whole(true), Some(call.program));
    }
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn git(walk: &mut Walk, call: &Call<'_>) {
    let spec = Spec {
        flags: "Pvh",
        values: "Cc",
        long_flags: &[
            "no-pager",
            "version",
            "help",
            "bare",
            "no-replace-objects",
            "no-optional-locks",
            "literal-pathspecs",
        ],
        long_values: &["git-dir", "work-tree", "namespace"],
        ..Spec::NONE
    };
    let Some((given, at)) = options::leading(call.args, spec) else {
        call.doubt(walk, "has options that may make it run programs");
        return;
    };
    for setting in options::values(&given, &["c"]).filter(|setting| !is_plain_setting(setting)) {
        call.doubt(walk, &format!("is configured by `{}`, which may make it run programs", setting.text));
    }
    let place = Place::of(&given);
    let Some(subcommand) = call.args.get(at) else { return };
    let args = call.args.get(at + 1..).unwrap_or_default();
    if !call.demands_literals(walk) {
        return;
    }
    // `-u` and `-c` of `clone` say what runs on its way, and how the copy is configured
    let cloned = subcommand.text == "clone"
        && args.iter().any(|arg| has_short(arg, 'u', "bjo") || has_short(arg, 'c', "bjo"));
    if cloned || args.iter().any(runs_programs) {
        call.doubt(walk, "has an option that may make it run programs");
    }
    let touch = |walk: &mut Walk, done: FileEffect| {
        for dir in place.given.iter().chain(&place.works_in) {
            walk.file_touch(dir, done.whole(true), Some(call.program));
        }
    };
    if !matches!(subcommand.text.as_str(), "help" | "version") {
        for dir in &place.given {
            walk.file_touch(dir, FileEffect::READ.whole(true), Some(call.program));
        }
    }
    for (file, done) in files(walk, call, (&subcommand.text, args)) {
        for path in place.paths(&file) {
            walk.file_touch(&path, done, Some(call.program));
        }
    }
    match subcommand.text.as_str() {
        "clean" => {
            touch(walk, if only_tells(args) { FileEffect::READ } else { FileEffect::REMOVE });
        }
        "rm" => {
            let whole = args.iter().any(|arg| has_short(arg, 'r', ""));
            for path in operands(args, "").into_iter().flat_map(|file| place.paths(file)) {
                let whole = whole || path.text.contains(['*', '?', '.']);
                walk.file_touch(&path, FileEffect::REMOVE.whole(whole), Some(call.program));
            }
        }
        "worktree" if args.first().is_some_and(|arg| matches!(arg.text.as_str(), "remove" | "list")) => {}
        "worktree" => touch(walk, FileEffect::WRITE),
        "config"
            if args.iter().any(|arg| {
                matches!(
                    arg.text.as_str(),
                    "--get" | "--list" | "-l" | "--get-all" | "--get-regexp" | "get" | "list"
                )
            }) => {}
        "submodule"
            if args.first().is_none_or(|arg| {
                matches!(arg.text.as_str(), "status" | "update" | "init" | "sync" | "summary")
            }) =>
        {
            touch(walk, FileEffect::WRITE);
        }
        "rebase"
            if args.iter().all(|arg| {
                matches!(arg.text.as_str(), "--abort" | "--continue" | "--skip") || !arg.text.starts_with('-')
            }) =>
        {
            touch(walk, FileEffect::WRITE);
        }
        name if READS.contains(&name) => {}
        name if WRITES.contains(&name) => touch(walk, FileEffect::WRITE),
        _ => call.doubt(walk, "has a subcommand that may make it run programs"),
    }
}

/// Whether `clean` removes nothing.
fn only_tells(args: &[Arg]) -> bool {
    let spec = Spec {
        flags: "dfinqxX",
        values: "e",
        long_flags: &["dry-run", "no-dry-run", "force", "no-force", "quiet", "no-quiet", "interactive"],
        long_values: &["exclude"],
        ..Spec::NONE
    };
    options::parsed(args, spec).is_some_and(|(given, _)| {
        options::has(&given, &["n", "dry-run"]) && !options::has(&given, &["no-dry-run"])
    })
}

fn is_plain_setting(setting: &Arg) -> bool {
    let key = setting.text.split_once('=').map_or(setting.text.as_str(), |(key, _)| key).to_ascii_lowercase();
    setting.value().is_some()
        && (matches!(
            key.as_str(),
            "user.name"
                | "user.email"
                | "safe.directory"
                | "advice.detachedhead"
                | "init.defaultbranch"
                | "core.quotepath"
                | "core.autocrlf"
                | "http.sslverify"
                | "gc.auto"
                | "protocol.version"
        ) || key.starts_with("color."))
}

/// `--upload-pack=…`, `--exec=…`, `-x`, `ext::…`: what git runs on its way.
fn runs_programs(arg: &Arg) -> bool {
    let names = [
        "upload-pack",
        "receive-pack",
        "exec",
        "open-files-in-pager",
        "extcmd",
        "ext-diff",
        "textconv",
        "config",
        "template",
        "gpg-sign",
        "interactive",
        "edit",
        "output",
    ];
    // what an abbreviation means depends on the subcommand, and one letter may do
    names.iter().any(|name| is_long(arg, name, 1) && !is_plain(arg))
        || arg.text.starts_with("ext::")
        || arg.text.starts_with("-O")
        || arg.text.starts_with("-x")
}

/// Whole names of options that begin as those do which run programs.
fn is_plain(arg: &Arg) -> bool {
    let name = arg.text.split_once('=').map_or(arg.text.as_str(), |(name, _)| name);
    matches!(name, "--ext" | "--text" | "--edit-description" | "--exclude" | "--exclude-standard")
}

/// Where it runs, and which repository it is told of.
#[derive(Debug)]
struct Place {
    /// Where options lead.
    given: Vec<Arg>,
    /// Where its working tree is, if no option says so.
    works_in: Option<Arg>,
    /// The directories that a path may be told from.
    bases: Vec<Arg>,
}

impl Place {
    fn of(options: &[Given]) -> Self {
        // each from where the one before it leads
        let here = options::values(options, &["C"]).fold(None, |here: Option<Arg>, dir| {
            Some(here.map_or_else(|| dir.clone(), |here| joined(&here, dir)))
        });
        let from_here = |dir: &Arg| here.as_ref().map_or_else(|| dir.clone(), |here| joined(here, dir));
        let trees: Vec<Arg> = options::values(options, &["work-tree"]).map(from_here).collect();
        let mut given: Vec<Arg> = options::values(options, &["git-dir"]).map(from_here).collect();
        given.extend(trees.iter().cloned());
        let works_in = (here.is_none() && trees.is_empty()).then(|| Arg::exact("."));
        if trees.is_empty() {
            given.extend(here.clone());
        }
        let bases = trees.into_iter().chain(Some(here.unwrap_or_else(|| Arg::exact(".")))).collect();
        Self { given, works_in, bases }
    }

    /// What a path may mean there.
    fn paths(&self, path: &Arg) -> Vec<Arg> {
        self.bases.iter().map(|base| joined(base, path)).collect()
    }
}

/// A path from a directory.
fn joined(dir: &Arg, path: &Arg) -> Arg {
    if path.text.starts_with(['/', '~']) || path.sort == Sort::Open || dir.value() == Some(".") {
        return path.clone();
    }
    let sort = match (dir.sort, path.sort) {
        (Sort::Open, _) => Sort::Open,
        (Sort::Exact, sort) | (sort, _) => sort,
    };
    Arg { text: format!("{}/{}", dir.text, path.text), sort }
}

/// Files that options name: how they are written in short and in long, and what is done to them. Letters of other
/// options whose value is in the same argument come first.
fn option_files((subcommand, args): (&str, &[Arg])) -> Vec<(Arg, FileEffect)> {
    let (read, written) = (FileEffect::READ, FileEffect::WRITE);
    let (others, letters) = match subcommand {
        "commit" => ("mcCuS", "Ft"),
        "tag" => ("mu", "F"),
        "merge" => ("msXS", "F"),
        "notes" => ("mcC", "F"),
        "blame" => ("L", "S"),
        "grep" => ("eABCm", "f"),
        "config" => ("", "f"),
        "ls-files" => ("x", "X"),
        "archive" | "format-patch" => ("", "o"),
        _ => ("", ""),
    };
    let mut longs = vec![
        ("contents", 1, read),
        ("file", 1, read),
        ("pathspec-from-file", 1, read),
        ("ignore-revs-file", 1, read),
        ("exclude-from", 1, read),
        ("template", 1, read),
    ];
    match subcommand {
        "archive" => longs.push(("add-file", 1, read)),
        "format-patch" => longs.push(("output-directory", 2, written.whole(true))),
        "init" => longs.push(("separate-git-dir", 2, written.whole(true))),
        "clone" => longs.extend([
            ("separate-git-dir", 2, written.whole(true)),
            ("reference-if-able", 3, read.whole(true)),
        ]),
        "push" => longs.push(("repo", 3, written.whole(true))),
        _ => {}
    }
    let mut found = Vec::new();
    for (at, arg) in args.iter().enumerate().filter(|(_, arg)| arg.is_option()) {
        let behind = || args.get(at + 1).cloned();
        if let Some(long) = arg.text.strip_prefix("--") {
            let fitting = longs.iter().find(|(name, least, _)| is_long(arg, name, *least) && !is_plain(arg));
            let file = long.split_once('=').map_or_else(behind, |(_, file)| Some(Arg::exact(file)));
            found.extend(fitting.zip(file).map(|((_, _, done), file)| (file, *done)));
        } else if let Some(place) = arg.text.find(|c| letters.contains(c) || others.contains(c))
            && let Some((_, rest)) = arg.text.split_at_checked(place)
            && rest.starts_with(|c| letters.contains(c))
        {
            let file = rest.get(1..).filter(|file| !file.is_empty());
            let done = if letters == "o" { written.whole(subcommand != "archive") } else { read };
            found.extend(file.map(Arg::exact).or_else(behind).map(|file| (file, done)));
        }
    }
    found
}

/// Options of a subcommand that do not stand alone: letters, and long names; and long names that do.
type Options = (&'static str, &'static [&'static str], &'static [&'static str]);

fn options_of(subcommand: &str) -> Options {
    match subcommand {
        "clone" => (
            "bjouc",
            &[
                "branch",
                "depth",
                "filter",
                "jobs",
                "origin",
                "reference",
                "reference-if-able",
                "separate-git-dir",
                "server-option",
                "shallow-exclude",
                "shallow-since",
            ],
            &[],
        ),
        "init" => ("b", &["initial-branch", "object-format", "ref-format", "separate-git-dir"], &[]),
        "worktree" => ("bB", &["reason"], &["checkout", "detach", "force", "lock", "no-checkout", "quiet"]),
        "bundle" => ("", &["version"], &["all", "branches", "quiet", "progress", "tags"]),
        "push" => (
            "o",
            &["push-option", "repo"],
            &["all", "atomic", "delete", "dry-run", "follow-tags", "force", "force-with-lease", "mirror"],
        ),
        "fetch" | "pull" | "ls-remote" => (
            if subcommand == "pull" { "josX" } else { "jo" },
            &["deepen", "depth", "filter", "jobs", "server-option", "strategy", "strategy-option"],
            &["all", "autostash", "dry-run", "ff-only", "heads", "no-ff", "no-rebase", "no-tags", "rebase"],
        ),
        "apply" | "am" => ("pC", &["directory", "exclude", "include", "whitespace"], &[]),
        _ => ("", &[], &[]),
    }
}

/// Long options that stand alone, whatever the subcommand.
const FLAGS: &[&str] = &[
    "force",
    "no-verify",
    "porcelain",
    "progress",
    "prune",
    "quiet",
    "set-upstream",
    "tags",
    "unshallow",
    "verbose",
];

/// Whether letters have all operands be repositories (`fetch -m`), or may have a value among them (`pull -Skey`).
fn is_unsure(subcommand: &str, letters: &str) -> bool {
    match subcommand {
        "fetch" => letters.contains('m'),
        "pull" => letters.len() > 2 && letters.contains(['S', 'r']),
        _ => false,
    }
}

/// The operands of a subcommand, and whether none of them may be the value of an option.
fn plain_operands((subcommand, args): (&str, &[Arg])) -> (Vec<Arg>, bool) {
    let (letters, values, flags) = options_of(subcommand);
    let (mut found, mut sure, mut ended) = (Vec::new(), true, false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if ended || !arg.is_option() {
            found.push(arg.clone());
        } else if arg.text == "--" {
            ended = true;
        } else if let Some(long) = arg.text.strip_prefix("--") {
            if values.contains(&long) {
                args.next();
            } else {
                sure &= long.contains('=') || flags.contains(&long) || FLAGS.contains(&long);
            }
        } else if is_unsure(subcommand, &arg.text) {
            sure = false;
        } else if arg.text.find(|c| letters.contains(c)).is_some_and(|place| place + 1 == arg.text.len()) {
            args.next();
        }
    }
    (found, sure)
}

/// Files, and repositories beside its own, that options and operands name.
fn files(walk: &mut Walk, call: &Call<'_>, (subcommand, args): (&str, &[Arg])) -> Vec<(Arg, FileEffect)> {
    let (read, written) = (FileEffect::READ.whole(true), FileEffect::WRITE.whole(true));
    let mut found = option_files((subcommand, args));
    found.retain(|(file, _)| !file.text.is_empty());
    let (operands, sure) = plain_operands((subcommand, args));
    // `host:path` and `scheme://`; a colon behind a slash is one of a path
    let remote = |arg: &Arg| {
        arg.text.split('/').next().is_some_and(|first| first.contains(':')) && !arg.text.starts_with("file:")
    };
    let local = |arg: &Arg| Arg { text: arg.text.trim_start_matches("file://").to_owned(), sort: arg.sort };
    match subcommand {
        "clone" => {
            let from = operands.iter().any(remote);
            for (at, file) in operands.iter().filter(|file| !remote(file)).enumerate() {
                found.push((local(file), read));
                found.extend((at > 0 || from).then(|| (local(file), written)));
            }
        }
        "diff" | "apply" | "am" => {
            // outside of a repository, or of its tree, `diff` compares any two files, or directories
            let any = args.iter().any(|arg| is_long(arg, "no-index", 2));
            for file in operands {
                let below = any || file.text.starts_with(['/', '~', '.']);
                found.push((file, FileEffect::READ.below(below)));
            }
        }
        "init" => found.extend(operands.iter().map(|dir| (local(dir), written))),
        "worktree" | "bundle" => found.extend(below_subcommand(&operands, sure)),
        "fetch" | "pull" | "push" | "ls-remote" => {
            let done = if subcommand == "push" { written } else { read };
            // the others are names of branches and tags; a word without a slash is the name of a remote
            let first = if sure { 1 } else { operands.len() };
            let path = |arg: &&Arg| arg.text.contains('/') || matches!(arg.text.as_str(), "." | ".." | "~");
            let repositories = operands.iter().take(first).filter(path).filter(|arg| !remote(arg));
            found.extend(repositories.map(|repository| (local(repository), done)));
        }
        "archive" | "format-patch" if args.iter().any(|arg| is_long(arg, "remote", 1)) => {
            call.doubt(walk, "reads another repository");
        }
        _ => {}
    }
    found
}

/// Files that `worktree add`, `bundle create` and others name behind their first operand.
fn below_subcommand(operands: &[Arg], sure: bool) -> Vec<(Arg, FileEffect)> {
    let Some((name, files)) = operands.split_first() else { return Vec::new() };
    let written = FileEffect::WRITE.whole(true);
    let (done, count) = match name.text.as_str() {
        // behind the first stand names of commits
        "add" | "create" if sure => (written, 1),
        "list" | "prune" if sure => return Vec::new(),
        "remove" => (FileEffect::REMOVE.whole(true), files.len()),
        "verify" | "list-heads" | "unbundle" if sure => (FileEffect::READ, 1),
        _ => (written, files.len()),
    };
    files.iter().take(count).map(|file| (file.clone(), done)).collect()
}

/// Whether it may read files that are in no repository.
pub(super) fn reads_any_file(call: &Call<'_>) -> bool {
    call.args.iter().any(|arg| {
        matches!(
            arg.text.as_str(),
            "hash-object" | "--no-index" | "-F" | "apply" | "am" | "config" | "bundle"
        ) || is_long(arg, "file", 3)
    })
}
