//! Programs that write files, or change what is said of them.

use super::super::argument::{Arg, Sort, has_short, is_long};
use super::super::found::FileEffect;
use super::super::walk::Walk;
use super::Call;
use super::options::{self, Spec, operands, value_of};

/// Whether it is one of them.
pub(super) fn run(walk: &mut Walk, call: &Call<'_>) -> bool {
    match call.name() {
        "tee" | "sponge" => write(walk, call, ""),
        "touch" => write(walk, call, "drt"),
        "mkdir" => write(walk, call, "mZ"),
        "mkfifo" | "mknod" => write(walk, call, "m"),
        "truncate" => write(walk, call, "srd"),
        "fallocate" => write(walk, call, "lo"),
        "chmod" | "chown" | "chgrp" | "setfacl" | "chattr" | "setfattr" | "chcon" | "restorecon" => {
            attributes(walk, call);
        }
        "dd" => dd(walk, call),
        "gzip" | "gunzip" | "bzip2" | "bunzip2" | "xz" | "unxz" | "zstd" | "unzstd" | "lz4" | "lzma"
        | "compress" | "uncompress" => {
            compress(walk, call);
        }
        "sort" => sort(walk, call),
        "crontab" => crontab(walk, call),
        "patch" => patch(walk, call),
        _ => return false,
    }
    true
}

fn patch(walk: &mut Walk, call: &Call<'_>) {
    if !call.demands_literals(walk) {
        return;
    }
    let prefix = |arg: &Arg| ['B', 'Y'].iter().any(|letter| has_short(arg, *letter, "DdFgiprVzo"));
    if call
        .args
        .iter()
        .any(|arg| prefix(arg) || is_long(arg, "prefix", 2) || is_long(arg, "basename-prefix", 3))
    {
        call.doubt(walk, "keeps copies under names of its own");
    }
    let dir = value_of(call.args, 'd', "directory", "BDFgiprVYzo").unwrap_or_else(|| Arg::exact("."));
    walk.file_touch(&dir, FileEffect::WRITE.whole(true), Some(call.program));
    let options = [('o', "output"), ('r', "reject-file"), ('i', "input")];
    let values = options.iter().filter_map(|(letter, long)| value_of(call.args, *letter, long, "BDFgpVYz"));
    let files: Vec<Arg> = values.chain(operands(call.args, "BDdFgiprVYzo").into_iter().cloned()).collect();
    for file in &files {
        walk.file_touch(file, FileEffect::WRITE, Some(call.program));
        // what was there, and what of the changes does not fit
        walk.file_touch(&file.beside(), FileEffect::WRITE, Some(call.program));
    }
}

fn write(walk: &mut Walk, call: &Call<'_>, values: &str) {
    // the value of an option may become several words, one of which is a file
    call.demands_options(walk);
    for file in operands(call.args, values) {
        walk.file_touch(file, FileEffect::WRITE, Some(call.program));
    }
}

fn attributes(walk: &mut Walk, call: &Call<'_>) {
    let whole = call
        .args
        .iter()
        .any(|arg| has_short(arg, 'R', "") || is_long(arg, "recursive", 3) || arg.may_be_option());
    let values = match call.name() {
        "setfacl" => "mxMX",
        "setfattr" => "nvx",
        "chcon" => "lrtu",
        _ => "",
    };
    call.demands_options(walk);
    let files = operands(call.args, values);
    // of several names that match, the first says it
    let first = says_what_first(call) && !files.first().is_some_and(|first| first.may_be_several());
    for file in files.into_iter().skip(usize::from(first)) {
        walk.file_touch(file, FileEffect::ATTRIBUTES.whole(whole), Some(call.program));
    }
}

/// Whether the first operand says what becomes of the others; it may be an option (`chmod -x`), or in a file.
fn says_what_first(call: &Call<'_>) -> bool {
    let mode = |arg: &Arg| arg.is_option() && arg.text.chars().all(|c| "-rwxXstugo,+=".contains(c));
    match call.name() {
        "chmod" if call.args.iter().any(mode) => false,
        "chattr" => !call.args.first().is_some_and(Arg::is_option),
        "setfacl" | "setfattr" | "restorecon" => false,
        _ => !call.args.iter().any(|arg| is_long(arg, "reference", 3)),
    }
}

fn dd(walk: &mut Walk, call: &Call<'_>) {
    if !call.demands_literals(walk) {
        return;
    }
    for arg in call.args {
        if let Some(path) = arg.text.strip_prefix("of=") {
            walk.file_touch(
                &Arg { text: path.to_owned(), sort: arg.sort },
                FileEffect::WRITE,
                Some(call.program),
            );
        } else if let Some(path) = arg.text.strip_prefix("if=") {
            walk.file_touch(
                &Arg { text: path.to_owned(), sort: arg.sort },
                FileEffect::READ,
                Some(call.program),
            );
        }
    }
}

fn compress(walk: &mut Walk, call: &Call<'_>) {
    let to_output = call
        .args
        .iter()
        .any(|arg| has_short(arg, 'c', "ST") || is_long(arg, "stdout", 3) || is_long(arg, "to-stdout", 3));
    let only_tells = call.args.iter().any(|arg| {
        ['l', 't'].iter().any(|letter| has_short(arg, *letter, "ST"))
            || is_long(arg, "test", 3)
            || is_long(arg, "list", 3)
    });
    let whole = call.args.iter().any(|arg| has_short(arg, 'r', "ST") || is_long(arg, "recursive", 3));
    let longs = ["output-dir-flat", "output-dir-mirror", "filelist", "trace", "patch-from", "train"];
    if call.args.iter().any(|arg| longs.iter().any(|long| is_long(arg, long, 2))) {
        call.doubt(walk, "has an option that names files in other ways");
    }
    let levels = call.name() == "zstd" || call.name() == "unzstd";
    if levels && let Some(output) = value_of(call.args, 'o', "output", "DMTB") {
        walk.file_touch(&output, FileEffect::WRITE, Some(call.program));
    }
    call.demands_options(walk);
    if !to_output
        && !only_tells
        && call.args.iter().any(|arg| has_short(arg, 'N', "ST") || is_long(arg, "name", 2))
    {
        call.doubt(walk, "may write under the name that a file says");
    }
    for file in operands(call.args, "STo") {
        if to_output || only_tells {
            walk.file_touch(file, FileEffect::READ.whole(whole), Some(call.program));
        } else {
            compressed(walk, call, file, whole);
        }
    }
}

/// A file that gets another name, with a suffix or without, and other contents.
fn compressed(walk: &mut Walk, call: &Call<'_>, file: &Arg, whole: bool) {
    walk.file_touch(file, FileEffect::WRITE.whole(whole), Some(call.program));
    walk.file_touch(file, FileEffect::RENAME.below(whole), Some(call.program));
    if file.sort == Sort::Open {
        return;
    }
    walk.file_touch(&file.beside(), FileEffect::WRITE.below(whole), Some(call.program));
    // the suffixes are many, and an option may say another
    let stem = file.text.rsplit_once('.').filter(|(stem, suffix)| {
        let is_named = !stem.is_empty() && !stem.ends_with('/');
        is_named && !suffix.contains('/')
    });
    if let Some((stem, _)) = stem {
        let without = Arg { text: format!("{stem}*"), sort: file.sort.pattern() };
        walk.file_touch(&without, FileEffect::WRITE.below(whole), Some(call.program));
    }
}

fn sort(walk: &mut Walk, call: &Call<'_>) {
    let spec = Spec {
        flags: "bcCdfghimMnrRsuVz",
        values: "kSTto",
        optional: "",
        long_flags: &[
            "ignore-leading-blanks",
            "dictionary-order",
            "ignore-case",
            "general-numeric-sort",
            "human-numeric-sort",
            "ignore-nonprinting",
            "month-sort",
            "numeric-sort",
            "random-sort",
            "version-sort",
            "reverse",
            "debug",
            "merge",
            "stable",
            "unique",
            "zero-terminated",
        ],
        long_values: &[
            "sort",
            "random-source",
            "batch-size",
            "compress-program",
            "files0-from",
            "key",
            "output",
            "buffer-size",
            "field-separator",
            "temporary-directory",
            "parallel",
        ],
        long_optional: &["check"],
    };
    let parsed = options::parsed(call.args, spec).filter(|_| !call.args.iter().any(Arg::may_be_option));
    let (given, files) = parsed
        .filter(|(given, _)| !options::has(given, &["compress-program", "files0-from"]))
        .unwrap_or_else(|| {
            call.doubt_options(walk);
            (Vec::new(), operands(call.args, "").into_iter().cloned().collect())
        });
    for output in options::values(&given, &["o", "output", "T", "temporary-directory"]) {
        walk.file_touch(output, FileEffect::WRITE, Some(call.program));
    }
    for file in files.iter().chain(options::values(&given, &["random-source"])) {
        walk.file_touch(file, FileEffect::READ, Some(call.program));
    }
}

fn crontab(walk: &mut Walk, call: &Call<'_>) {
    let flags = |letter| call.args.iter().any(|arg| has_short(arg, letter, "u"));
    if flags('l') && !flags('r') && !flags('e') {
        return;
    }
    if flags('r') {
        walk.found.file(FileEffect::REMOVE, ("crontab".to_owned(), Sort::Exact), Some(call.program));
        return;
    }
    call.doubt(walk, "installs commands that run later");
}
