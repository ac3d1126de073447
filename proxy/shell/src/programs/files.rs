//! Programs that transfer, pack or unpack files.

mod archives;
mod transfer;

use super::super::argument::{Arg, Sort, has_short, is_long};
use super::super::found::FileEffect;
use super::super::walk::Walk;
use super::Call;
use super::options::{operands, value_of, values_of};

/// Whether it is one of them.
pub(super) fn run(walk: &mut Walk, call: &Call<'_>) -> bool {
    match call.name() {
        "tar" | "bsdtar" | "gtar" => tar(walk, call),
        "rsync" => rsync(walk, call),
        "scp" | "sftp-server" => scp(walk, call),
        "zip" | "unzip" | "7z" | "7za" | "7zr" | "cpio" | "pax" | "unrar" => archives::run(walk, call),
        "curl" | "wget" => transfer::fetch(walk, call),
        _ => return false,
    }
    true
}

fn any(call: &Call<'_>, letters: &str, values: &str, longs: &[&str]) -> bool {
    call.args.iter().take_while(|arg| arg.value() != Some("--")).any(|arg| {
        letters.chars().any(|letter| has_short(arg, letter, values))
            || longs.iter().any(|long| is_long(arg, long, 3))
    })
}

/// The directories that `tar` changes to, wherever it does.
fn directories(call: &Call<'_>) -> Vec<Arg> {
    let mut dirs = Vec::new();
    for at in 0..call.args.len() {
        let here = call.args.get(at..).and_then(|args| args.get(..args.len().min(2))).unwrap_or_default();
        let dir = value_of(here.get(..1).unwrap_or_default(), 'C', "directory", "fTXbgHKLNIV")
            .or_else(|| value_of(here, 'C', "directory", "fTXbgHKLNIV"));
        dirs.extend(dir.filter(|dir| dirs.last() != Some(dir)));
    }
    // each is a directory of the one before
    let mut here: Option<Arg> = None;
    for dir in &mut dirs {
        if let Some(before) = here.filter(|_| !dir.text.starts_with(['/', '~'])) {
            *dir = below(&[before], dir).pop().unwrap_or_else(|| Arg::open(""));
        }
        here = Some(dir.clone());
    }
    dirs
}

/// Whether a name stands before the first directory that `tar` changes to.
fn names_before(args: &[Arg]) -> bool {
    let changes = |arg: &Arg| has_short(arg, 'C', "fTXbgHKLNIV") || is_long(arg, "directory", 3);
    let at = args.iter().position(changes).unwrap_or(0);
    !operands(args.get(..at).unwrap_or_default(), VALUES).is_empty()
}

/// Letters of `tar` with a value.
const VALUES: &str = "fCTXbgHKLNIV";

/// What `tar` may mean with a name: it is one of a directory that it has changed to, which may be one of another's.
fn below(dirs: &[Arg], file: &Arg) -> Vec<Arg> {
    if dirs.is_empty() || file.text.starts_with(['/', '~']) || file.sort == Sort::Open {
        return vec![file.clone()];
    }
    let sort = |dir: &Arg| match (dir.sort, file.sort) {
        (Sort::Open, _) => Sort::Open,
        (Sort::Exact, sort) | (sort, _) => sort,
    };
    dirs.iter().map(|dir| Arg { text: format!("{}/{}", dir.text, file.text), sort: sort(dir) }).collect()
}

/// The files that `tar` is given behind letters without a dash and the archive, or anywhere.
fn named(call: &Call<'_>, archive: Option<&Arg>, dirs: &[Arg]) -> Vec<Arg> {
    let rest = call.args.get(if archive.is_some() { 2 } else { 0 }..).unwrap_or_default();
    let early = names_before(rest);
    let meant =
        |file: &Arg| below(dirs, file).into_iter().chain(early.then(|| file.clone())).collect::<Vec<_>>();
    operands(rest, VALUES).into_iter().flat_map(meant).collect()
}

fn tar(walk: &mut Walk, call: &Call<'_>) {
    let cluster = call
        .args
        .first()
        .filter(|arg| !arg.text.starts_with('-'))
        .map(|arg| Arg { text: format!("-{}", arg.text), sort: arg.sort });
    let mut args = call.args.to_vec();
    let old = cluster.is_some();
    if let (Some(cluster), Some(first)) = (cluster, args.first_mut()) {
        *first = cluster;
    }
    let args = with_values(args, old);
    let call = &Call { args: &args, ..*call };
    if call.args.iter().any(Arg::is_unclear_option) || is_odd(call, old) {
        call.doubt_options(walk);
    }
    // without `f` in them it is what a long option says, or the output
    let old = old && call.args.first().is_some_and(|letters| letters.text.contains('f'));
    let archive =
        if old { call.args.get(1).cloned() } else { value_of(call.args, 'f', "file", "CTXbgHKLNIV") };
    if archive.as_ref().is_some_and(|archive| archive.text.contains(':')) {
        call.doubt(walk, "may reach another host for its archive");
    }
    let dirs = directories(call);
    let dir = dirs.first().cloned().unwrap_or_else(|| Arg::exact("."));
    let files = named(call, archive.as_ref().filter(|_| old), &dirs);
    let archives = |arg: &&Arg| has_short(arg, 'f', "CTXbgHKLNIV") || is_long(arg, "file", 3);
    if call.args.iter().filter(archives).count() > 1 || archive.as_ref().is_some_and(Arg::may_be_several) {
        call.doubt(walk, "is told of several archives");
    }
    if any(call, "x", "fCTXbgHKLNIV", &["extract", "get"]) {
        extracted(walk, call, &dirs);
    }
    let writes = any(
        call,
        "cruA",
        "fCTXbgHKLNIV",
        &["create", "append", "update", "concatenate", "catenate", "delete"],
    );
    if let Some(archive) = &archive {
        walk.file_touch(
            archive,
            if writes { FileEffect::WRITE } else { FileEffect::READ },
            Some(call.program),
        );
    }
    let removes = any(call, "", "", &["remove-files"])
        || any(call, "", "", &["recursive-unlink"])
        || any(call, "U", "fCTXbgHKLNIV", &["unlink-first"]);
    for file in files.iter().filter(|_| writes || removes) {
        walk.file_touch(file, FileEffect::READ.whole(true), Some(call.program));
        if removes {
            walk.file_touch(file, FileEffect::REMOVE.whole(true), Some(call.program));
        }
    }
    if removes {
        walk.file_touch(&dir, FileEffect::REMOVE.whole(true), Some(call.program));
    }
}

/// Whether `tar` may run something, or names files in ways that are not told.
fn is_odd(call: &Call<'_>, old: bool) -> bool {
    let longs = [
        "to-command",
        "use-compress-program",
        "checkpoint-action",
        "info-script",
        "new-volume-script",
        "rsh-command",
        "rmt-command",
        "files-from",
        "owner-map",
        "group-map",
        "transform",
        "xform",
        "exclude-from",
        "listed-incremental",
        "index-file",
        "volno-file",
        "add-file",
        "one-top-level",
    ];
    // letters without a dash take their values one after the other
    let ordered =
        old && call.args.first().is_some_and(|arg| arg.text.contains(|c| "CTXbgHKLNIVF".contains(c)));
    ordered
        || any(call, "IFTXg", "fCbVHKLN", &[])
        || call
            .args
            .iter()
            .any(|arg| longs.iter().any(|long| is_long(arg, long, 2) && !is_another(arg, long)))
}

/// Whether it is the whole name of another option of `tar`, so that it abbreviates none: `--exclude`, `--list`.
fn is_another(arg: &Arg, long: &str) -> bool {
    let name = arg.text.strip_prefix("--").unwrap_or_default();
    let name = name.split_once('=').map_or(name, |(name, _)| name);
    name != long && (TAR_VALUES.contains(&name) || TAR_FLAGS.contains(&name))
}

/// Long options of `tar` with a value, in the same argument or the next.
const TAR_VALUES: &[&str] = &[
    "after-date",
    "blocking-factor",
    "directory",
    "exclude",
    "exclude-tag",
    "exclude-tag-all",
    "exclude-tag-under",
    "file",
    "format",
    "group",
    "label",
    "level",
    "mode",
    "mtime",
    "newer",
    "newer-mtime",
    "owner",
    "pax-option",
    "quoting-style",
    "record-size",
    "sort",
    "starting-file",
    "strip-components",
    "suffix",
    "warning",
];

/// Long options of `tar` that stand alone.
const TAR_FLAGS: &[&str] = &[
    "acls",
    "append",
    "auto-compress",
    "bzip2",
    "checkpoint",
    "create",
    "dereference",
    "exclude-backups",
    "exclude-caches",
    "exclude-vcs",
    "exclude-vcs-ignores",
    "extract",
    "get",
    "gzip",
    "list",
    "no-recursion",
    "no-same-owner",
    "numeric-owner",
    "one-file-system",
    "preserve-permissions",
    "same-owner",
    "selinux",
    "sparse",
    "to-stdout",
    "totals",
    "update",
    "verbose",
    "verify",
    "xattrs",
    "xz",
    "zstd",
];

/// The arguments of `tar`, where the value of a long option stands in the same argument. One that may be the value of
/// another option is none itself.
fn with_values(args: Vec<Arg>, old: bool) -> Vec<Arg> {
    let mut found: Vec<Arg> = Vec::new();
    let mut args = args.into_iter().enumerate().peekable();
    let mut ended = false;
    while let Some((at, arg)) = args.next() {
        let name = arg.value().and_then(|text| text.strip_prefix("--"));
        ended |= name == Some("");
        // letters without a dash have their values right behind them
        let may_be_value = old && at < 2 || found.last().is_some_and(may_want_value);
        let wants = !ended && !may_be_value && name.is_some_and(|name| TAR_VALUES.contains(&name));
        match args.next_if(|(_, next)| wants && next.sort == Sort::Exact) {
            Some((_, value)) => found.push(Arg::exact(format!("{}={}", arg.text, value.text))),
            None => found.push(arg),
        }
    }
    found
}

/// Whether an option of `tar` may have its value in the next argument.
fn may_want_value(arg: &Arg) -> bool {
    match arg.text.strip_prefix("--") {
        Some(long) => !long.contains('=') && !TAR_FLAGS.contains(&long),
        None => arg.text.starts_with('-') && arg.text.ends_with(|c| "fCTXbgHKLNIVF".contains(c)),
    }
}

/// What comes out of an archive goes where the last `-C` leads.
fn extracted(walk: &mut Walk, call: &Call<'_>, dirs: &[Arg]) {
    let here = Arg::exact(".");
    for dir in dirs.iter().chain(Some(&here).filter(|_| dirs.is_empty())) {
        walk.file_touch(dir, FileEffect::WRITE.whole(true), Some(call.program));
    }
    if dirs.iter().skip(1).any(|dir| !dir.text.starts_with(['/', '~'])) {
        call.doubt(walk, "goes from one directory to another");
    }
    if any(call, "P", "fCTXbgHKLNIV", &["absolute-names", "absolute-paths"]) {
        walk.file_touch(&Arg::exact("/"), FileEffect::WRITE.whole(true), Some(call.program));
    }
}

fn rsync(walk: &mut Walk, call: &Call<'_>) {
    let server = call.value(0) == Some("--server");
    let shell = value_of(call.args, 'e', "rsh", "fBMT@").filter(|_| !server);
    let odd_shell = shell.is_some_and(|shell| shell.value() != Some("ssh"));
    if call.args.iter().any(Arg::is_unclear_option)
        || odd_shell
        || any(
            call,
            "M",
            "",
            &["rsync-path", "daemon", "remote-option", "early-input", "config", "files-from"],
        )
    {
        call.doubt_options(walk);
    }
    let mut files = operands(call.args, if server { "" } else { "efBMT" });
    let hidden = |arg: &Arg| {
        has_short(arg, 's', "e") || is_long(arg, "secluded-args", 3) || is_long(arg, "protect-args", 3)
    };
    if server && (files.is_empty() || call.args.iter().any(hidden)) {
        call.doubt(walk, "reads from its client which files it transfers (`-s`)");
    }
    if server && files.first().is_some_and(|file| file.text == ".") {
        files.remove(0);
    }
    let sends = server && call.args.iter().any(|arg| is_long(arg, "sender", 3));
    let target = if sends { None } else { files.pop() };
    files.extend(target.filter(|target| target.may_be_several()));
    rsync_options(walk, call, target);
    let deletes = call
        .args
        .iter()
        .any(|arg| ["--del", "--remove-s", "--remove-sent"].iter().any(|name| arg.text.starts_with(name)));
    let moves = call.args.iter().any(|arg| arg.text.starts_with("--remove-s"));
    for file in files.iter().filter(|_| !server || sends) {
        walk.file_touch(file, FileEffect::READ.whole(true), Some(call.program));
        if moves {
            walk.file_touch(file, FileEffect::REMOVE.whole(true), Some(call.program));
        }
    }
    if let Some(target) = target {
        walk.file_touch(target, FileEffect::WRITE.whole(true), Some(call.program));
        if deletes && !moves || call.args.iter().any(|arg| arg.text.starts_with("--del")) {
            walk.file_touch(target, FileEffect::REMOVE.whole(true), Some(call.program));
        }
    }
}

/// Files beside those that are transferred; some are told from where the others go.
fn rsync_options(walk: &mut Walk, call: &Call<'_>, target: Option<&Arg>) {
    let (there, here) = (true, false);
    let options = [
        ("log-file", FileEffect::WRITE, here),
        ("write-batch", FileEffect::WRITE, here),
        ("only-write-batch", FileEffect::WRITE, here),
        ("temp-dir", FileEffect::WRITE, there),
        ("partial-dir", FileEffect::WRITE, there),
        ("backup-dir", FileEffect::WRITE, there),
        ("compare-dest", FileEffect::READ, there),
        ("copy-dest", FileEffect::READ, there),
        ("link-dest", FileEffect::READ, there),
        ("read-batch", FileEffect::READ, here),
        ("include-from", FileEffect::READ, here),
        ("exclude-from", FileEffect::READ, here),
        ("password-file", FileEffect::READ, here),
    ];
    let target: Vec<Arg> = target.filter(|target| !target.text.contains(':')).into_iter().cloned().collect();
    for (long, done, from) in options {
        let others = ["backup", "exclude", "include", "partial"];
        let mut paths = values_of(call.args, long, &others);
        if long == "temp-dir" {
            paths.extend(value_of(call.args, 'T', "temp-dir", "efBM@"));
        }
        for path in paths.iter().flat_map(|path| below(if from == there { &target } else { &[] }, path)) {
            walk.file_touch(&path, done.below(true), Some(call.program));
            if long.ends_with("write-batch") {
                // a script that runs the batch lies beside it
                let script = Arg { text: format!("{}.sh", path.text), sort: path.sort };
                walk.file_touch(&script, done, Some(call.program));
            }
        }
    }
}

/// `scp -t PATH` and `scp -f PATH` are the far side of a copy.
fn scp(walk: &mut Walk, call: &Call<'_>) {
    if call.name() == "sftp-server" {
        call.doubt(walk, "serves files whose operations are told only in the subsystem sftp");
        return;
    }
    let to = any(call, "t", "cFiJloPSX", &[]);
    let from = any(call, "f", "cFiJloPSX", &[]);
    if call.args.iter().any(Arg::is_unclear_option) || (!to && !from && any(call, "SFoX", "", &[])) {
        call.doubt_options(walk);
    }
    let whole = any(call, "r", "cFiJloPSX", &[]);
    let files = operands(call.args, "cFiJloPSX");
    let last = files.len().saturating_sub(1);
    for (at, file) in files.into_iter().enumerate() {
        let writes = to || !from && at == last;
        if writes && file.may_be_several() {
            walk.file_touch(file, FileEffect::READ.whole(whole), Some(call.program));
        }
        let done = if writes { FileEffect::WRITE } else { FileEffect::READ };
        walk.file_touch(file, done.whole(whole), Some(call.program));
        if writes && file.sort != Sort::Open {
            // into a directory, under names that its client or the other host gives
            let inside = Arg { text: format!("{}/*", file.text), sort: Sort::Names };
            walk.file_touch(&inside, FileEffect::WRITE.whole(whole), Some(call.program));
        }
    }
}
