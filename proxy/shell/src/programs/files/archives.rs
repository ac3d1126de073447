//! Programs that pack files into archives and unpack them, but for `tar`. Each reads its options in a way of its own, and
//! what stands among them may be a file that is written, or a command that is run.
//!
//! Sources: `zip -h2` (3.0), `unzip -hh` (6.0), `7z` (16.02), `cpio --help` (GNU, 2.13).

use super::super::super::argument::Arg;
use super::super::super::found::FileEffect;
use super::super::super::walk::Walk;
use super::super::Call;
use super::super::options::{Given, Spec, has, parsed, values};

/// One of them.
pub(super) fn run(walk: &mut Walk, call: &Call<'_>) {
    if !call.demands_literals(walk) {
        return;
    }
    let known = match call.name() {
        "zip" => zip(walk, call),
        "unzip" => unzip(walk, call),
        "7z" | "7za" | "7zr" => seven_zip(walk, call),
        "cpio" => cpio(walk, call),
        _ => None,
    };
    if known.is_none() {
        call.doubt(walk, "may be told to run programs, or to write elsewhere");
    }
}

fn touch(walk: &mut Walk, call: &Call<'_>, file: &Arg, done: FileEffect) {
    walk.file_touch(file, done, Some(call.program));
}

/// What an archive has goes below a directory.
fn extracted(walk: &mut Walk, call: &Call<'_>, directory: Option<&Arg>) {
    let here = Arg::exact(".");
    touch(walk, call, directory.unwrap_or(&here), FileEffect::WRITE.whole(true));
}

/// Letters of `zip` that stand alone, in a cluster too: two letters may be one option, and `-TT` has a command for its
/// value, so what has any other letter, or one of these twice, is not known. `-m`: the files are moved.
const ZIP: &str = "0123456789DJTXefgijmoqruvxy";

/// Long options of `zip` that stand alone.
const ZIP_LONG: &[&str] = &[
    "--exclude",
    "--freshen",
    "--grow",
    "--include",
    "--junk-paths",
    "--latest-time",
    "--move",
    "--no-dir-entries",
    "--no-extra",
    "--quiet",
    "--recurse-paths",
    "--strip-extra",
    "--symlinks",
    "--test",
    "--update",
    "--verbose",
];

/// What it packs and with `-m` removes. Names behind `-x` and `-i` count as packed, too.
fn zip(walk: &mut Walk, call: &Call<'_>) -> Option<()> {
    let (mut files, mut moves, mut deletes) = (Vec::new(), false, false);
    let mut args = call.args.iter();
    while let Some(arg) = args.next() {
        match arg.text.as_str() {
            // the list of names is read from the input
            "-@" => return None,
            "-" | "--" => files.push(arg),
            "-d" | "--delete" => deletes = true,
            // a password, suffixes, a date, a method, and their values
            "-P" | "--password" | "-n" | "--suffixes" | "-t" | "-tt" | "-Z" => drop(args.next()?),
            text if text.starts_with("--") => {
                ZIP_LONG.contains(&text).then_some(())?;
                moves |= text == "--move";
            }
            text => match text.strip_prefix('-').filter(|_| arg.is_option()) {
                Some(cluster) => moves |= zip_letters(cluster)?,
                None => files.push(arg),
            },
        }
    }
    let (archive, packed) = files.split_first()?;
    touch(walk, call, archive, FileEffect::WRITE);
    for file in packed.iter().filter(|_| !deletes) {
        touch(walk, call, file, FileEffect::READ.whole(true));
        if moves {
            touch(walk, call, file, FileEffect::REMOVE.whole(true));
        }
    }
    Some(())
}

/// Whether the files are moved.
fn zip_letters(cluster: &str) -> Option<bool> {
    let once = |letter: char| cluster.matches(letter).count() == 1 && ZIP.contains(letter);
    // `-ic` and `-ex` are none of two letters; `-x` and `-i` have a list behind them, and may have it in the cluster
    let ends = |letter: char| !cluster.contains(letter) || cluster.ends_with(letter);
    (!cluster.is_empty() && cluster.chars().all(once) && ends('x') && ends('i'))
        .then(|| cluster.contains('m'))
}

const UNZIP: Spec = Spec { flags: "ZCLMUVWXabcfhjlnopqtuvxz:", values: "dPO", ..Spec::NONE };

fn unzip(walk: &mut Walk, call: &Call<'_>) -> Option<()> {
    let (given, files) = parsed(call.args, UNZIP)?;
    for file in &files {
        touch(walk, call, file, FileEffect::READ);
    }
    // `-v` beside others is a modifier
    let lists =
        has(&given, &["l", "t", "p", "c", "z", "Z", "h"]) || given.iter().all(|option| option.name == "v");
    if !lists || given.is_empty() {
        extracted(walk, call, values(&given, &["d"]).next());
    }
    Some(())
}

/// Switches of `7z` that stand alone or have a value in the same argument which names no file.
const SEVEN_ZIP: &[&str] = &[
    "-aoa", "-aos", "-aot", "-aou", "-bb", "-bd", "-bs", "-m", "-p", "-r", "-spf", "-sse", "-ssc", "-t",
    "-v", "-y",
];

fn seven_zip(walk: &mut Walk, call: &Call<'_>) -> Option<()> {
    let (mut files, mut directory, mut moves) = (Vec::new(), None, false);
    for arg in call.args {
        match arg.text.as_str() {
            "-sdel" => moves = true,
            "--" => return None,
            // a list of names in a file
            text if text.starts_with('@') => return None,
            text if text.starts_with("-o") && text.len() > 2 => directory = text.get(2..).map(Arg::exact),
            text if text.starts_with('-') && text.len() > 1 => {
                SEVEN_ZIP.iter().any(|known| text.starts_with(known)).then_some(())?;
            }
            _ => files.push(arg),
        }
    }
    let (command, files) = files.split_first()?;
    let (archive, members) = files.split_first()?;
    match command.text.as_str() {
        "l" | "t" => touch(walk, call, archive, FileEffect::READ),
        "x" | "e" => {
            touch(walk, call, archive, FileEffect::READ);
            extracted(walk, call, directory.as_ref());
        }
        "d" | "rn" => touch(walk, call, archive, FileEffect::WRITE),
        "a" | "u" => {
            touch(walk, call, archive, FileEffect::WRITE);
            for file in members {
                touch(walk, call, file, FileEffect::READ.whole(true));
                if moves {
                    touch(walk, call, file, FileEffect::REMOVE.whole(true));
                }
            }
        }
        _ => return None,
    }
    Some(())
}

const CPIO: Spec = Spec {
    flags: "0ABLVabcdfiklmnoprstuv",
    values: "CDEFHIMORW",
    optional: "",
    long_flags: &[
        "absolute-filenames",
        "append",
        "create",
        "dereference",
        "dot",
        "extract",
        "force-local",
        "link",
        "list",
        "make-directories",
        "no-absolute-filenames",
        "no-preserve-owner",
        "nonmatching",
        "null",
        "numeric-uid-gid",
        "only-verify-crc",
        "pass-through",
        "preserve-modification-time",
        "quiet",
        "reset-access-time",
        "sparse",
        "unconditional",
        "verbose",
    ],
    long_values: &[
        "block-size",
        "directory",
        "file",
        "format",
        "io-size",
        "owner",
        "pattern-file",
        "warning",
    ],
    long_optional: &[],
};

fn cpio(walk: &mut Walk, call: &Call<'_>) -> Option<()> {
    let (given, operands) = parsed(call.args, CPIO)?;
    let archives = |names: &'static [&'static str]| values(&given, names).cloned().collect::<Vec<_>>();
    let (into, from) = (archives(&["F", "file", "O"]), archives(&["F", "file", "I", "E", "pattern-file"]));
    // over another host's shell
    if into.iter().chain(&from).any(|archive| archive.text.contains(':')) {
        return None;
    }
    let directory = values(&given, &["D", "directory"]).next();
    if has(&given, &["o", "create"]) || has(&given, &["p", "pass-through"]) {
        // which files it packs or copies, its input says
        touch(walk, call, &Arg::exact("/"), FileEffect::READ.whole(true));
        let passed = has(&given, &["p", "pass-through"]);
        for file in into.iter().chain(operands.iter().filter(|_| passed)) {
            touch(walk, call, file, FileEffect::WRITE.whole(passed));
            // from where it was told to go first
            if let Some(directory) = directory {
                let file = Arg { text: format!("{}/{}", directory.text, file.text), sort: file.sort };
                touch(walk, call, &file, FileEffect::WRITE.whole(passed));
            }
        }
        return Some(());
    }
    for file in &from {
        touch(walk, call, file, FileEffect::READ);
    }
    if !has(&given, &["t", "list", "only-verify-crc"]) {
        unpacked(walk, call, &given, directory);
    }
    Some(())
}

/// Names in an archive may begin with `/`, which `cpio` obeys unless it is told not to.
fn unpacked(walk: &mut Walk, call: &Call<'_>, given: &[Given], directory: Option<&Arg>) {
    let root = Arg::exact("/");
    let relative = has(given, &["no-absolute-filenames"]);
    extracted(walk, call, if relative { directory } else { Some(&root) });
}
