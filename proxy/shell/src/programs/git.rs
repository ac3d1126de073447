//! `git`. Source: git(1); aliases, hooks and helpers make it run programs that its configuration names.

use super::super::argument::{Arg, Sort, has_short, is_long};
use super::super::found::FileEffect;
use super::super::walk::Walk;
use super::Call;
use super::options::{self, Spec, operands};

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
    let (mut dir, mut elsewhere) = (Arg::exact("."), false);
    for option in given {
        match (option.name.as_str(), option.value) {
            ("c", Some(setting)) if !is_plain_setting(&setting) => {
                call.doubt(
                    walk,
                    &format!("is configured by `{}`, which may make it run programs", setting.text),
                );
            }
            ("C" | "work-tree" | "git-dir", Some(path)) => {
                // each from where the one before it leads
                dir = if !elsewhere || path.text.starts_with(['/', '~']) || path.sort != Sort::Exact {
                    path
                } else {
                    Arg { text: format!("{}/{}", dir.text, path.text), sort: dir.sort }
                };
                elsewhere = true;
            }
            _ => {}
        }
    }
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
    let touch =
        |walk: &mut Walk, done: FileEffect| walk.file_touch(&dir, done.whole(true), Some(call.program));
    if elsewhere && !matches!(subcommand.text.as_str(), "help" | "version") {
        touch(walk, FileEffect::READ);
    }
    option_files(walk, call, (&subcommand.text, args));
    operand_files(walk, call, (&subcommand.text, args));
    match subcommand.text.as_str() {
        "clean" => {
            touch(walk, if only_tells(args) { FileEffect::READ } else { FileEffect::REMOVE });
        }
        "rm" => {
            let whole = args.iter().any(|arg| has_short(arg, 'r', ""));
            for file in operands(args, "") {
                walk.file_touch(
                    file,
                    FileEffect::REMOVE.whole(whole || file.text.contains(['*', '?', '.'])),
                    Some(call.program),
                );
            }
        }
        "worktree" if args.first().is_some_and(|arg| arg.text == "remove") => {
            for tree in operands(args.get(1..).unwrap_or_default(), "") {
                walk.file_touch(tree, FileEffect::REMOVE.whole(true), Some(call.program));
            }
        }
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

/// Files that options name.
fn option_files(walk: &mut Walk, call: &Call<'_>, (subcommand, args): (&str, &[Arg])) {
    let letters: &[char] = if subcommand == "config" { &['f'] } else { &['F', 'S', 't'] };
    let longs = ["contents", "file", "pathspec-from-file", "ignore-revs-file", "exclude-from", "template"];
    for (at, arg) in args.iter().enumerate().filter(|(_, arg)| arg.is_option()) {
        let behind = || args.get(at + 1).cloned();
        let file = match arg.text.strip_prefix("--") {
            Some(long) if longs.iter().any(|name| is_long(arg, name, 1)) => {
                long.split_once('=').map_or_else(behind, |(_, file)| Some(Arg::exact(file)))
            }
            Some(_) => None,
            None => arg
                .text
                .split_once(letters)
                .and_then(|(_, file)| if file.is_empty() { behind() } else { Some(Arg::exact(file)) }),
        };
        if let Some(file) = file.filter(|file| !file.text.is_empty()) {
            walk.file_touch(&file, FileEffect::READ, Some(call.program));
        }
    }
}

/// Repositories and files beside the repository that operands and options name.
fn operand_files(walk: &mut Walk, call: &Call<'_>, (subcommand, args): (&str, &[Arg])) {
    let files = operands(args, "bocjum");
    let remote = |arg: &Arg| arg.text.contains(':') && !arg.text.starts_with("file:");
    let local = |arg: &Arg| Arg { text: arg.text.trim_start_matches("file://").to_owned(), sort: arg.sort };
    match subcommand {
        "clone" => {
            for (at, file) in files.into_iter().filter(|file| !remote(file)).enumerate() {
                walk.file_touch(&local(file), FileEffect::READ.whole(true), Some(call.program));
                if at > 0 || args.iter().any(remote) {
                    walk.file_touch(&local(file), FileEffect::WRITE.whole(true), Some(call.program));
                }
            }
        }
        "diff" | "apply" | "am" => {
            // outside of a repository, or of its tree, `diff` compares any two files, or directories
            let any = args.iter().any(|arg| is_long(arg, "no-index", 2));
            for file in files {
                let below = any || file.text.starts_with(['/', '~', '.']);
                walk.file_touch(file, FileEffect::READ.below(below), Some(call.program));
            }
        }
        "init" | "worktree" | "bundle" => {
            for file in files {
                walk.file_touch(&local(file), FileEffect::WRITE.whole(true), Some(call.program));
            }
        }
        "fetch" | "pull" | "push" | "ls-remote" => {
            let done = if subcommand == "push" { FileEffect::WRITE } else { FileEffect::READ };
            for file in files.into_iter().filter(|file| file.text.contains('/') && !remote(file)) {
                walk.file_touch(&local(file), done.whole(true), Some(call.program));
            }
        }
        "archive" | "format-patch" => {
            if args.iter().any(|arg| is_long(arg, "remote", 1)) {
                call.doubt(walk, "reads another repository");
            }
            let written = args.iter().enumerate().filter_map(|(at, arg)| match arg.text.strip_prefix("-o") {
                Some("") => args.get(at + 1).cloned(),
                Some(file) => Some(Arg::exact(file)),
                None => None,
            });
            for file in written.collect::<Vec<_>>() {
                walk.file_touch(&file, FileEffect::WRITE.whole(subcommand != "archive"), Some(call.program));
            }
        }
        _ => {}
    }
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
