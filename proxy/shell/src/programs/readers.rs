//! Programs that only read, and what they read.

use super::super::argument::{Arg, has_short, is_long};
use super::super::found::FileEffect;
use super::super::walk::Walk;
use super::Call;
use super::options::{operands, value_of};

/// Directories whose programs are what their names say.
pub(super) fn is_system_path(word: &str) -> bool {
    let dirs = ["/bin/", "/usr/bin/", "/sbin/", "/usr/sbin/", "/usr/local/bin/", "/usr/local/sbin/"];
    dirs.iter().any(|dir| word.strip_prefix(dir).is_some_and(|name| !name.contains('/')))
}

/// A program of this name changes nothing, whatever its arguments are; the shell may, by a redirection.
pub(super) fn only_reads(name: &str) -> bool {
    FILES.contains(&name) || LISTS.contains(&name) || TELLS.contains(&name)
}

/// A program of this name tells of the system, or says what it is given.
pub(super) fn only_tells(name: &str) -> bool {
    TELLS.contains(&name)
}

/// Programs that read the files that they are given.
const FILES: &[&str] = &[
    "cat",
    "head",
    "tail",
    "wc",
    "cut",
    "tac",
    "rev",
    "nl",
    "fold",
    "column",
    "comm",
    "cmp",
    "diff",
    "paste",
    "join",
    "grep",
    "egrep",
    "fgrep",
    "zgrep",
    "zcat",
    "bzcat",
    "xzcat",
    "zstdcat",
    "strings",
    "od",
    "hexdump",
    "md5sum",
    "sha1sum",
    "sha256sum",
    "sha512sum",
    "b2sum",
    "cksum",
    "sum",
    "jq",
    "base64",
    "base32",
    "fmt",
    "pr",
    "expand",
    "unexpand",
];

/// Programs that list directories or tell of files.
const LISTS: &[&str] = &[
    "ls", "dir", "vdir", "stat", "file", "du", "tree", "readlink", "realpath", "namei", "lsattr", "getfacl",
    "getfattr",
];

/// Programs that tell of the system, or only write what they are given to their output.
const TELLS: &[&str] = &[
    "echo",
    "printf",
    "true",
    "false",
    ":",
    "test",
    "[",
    "sleep",
    "seq",
    "expr",
    "basename",
    "dirname",
    "tr",
    "uname",
    "whoami",
    "id",
    "groups",
    "who",
    "w",
    "last",
    "lastlog",
    "uptime",
    "free",
    "vmstat",
    "iostat",
    "mpstat",
    "df",
    "ps",
    "pgrep",
    "pidof",
    "pstree",
    "lsof",
    "ss",
    "netstat",
    "nproc",
    "lscpu",
    "lsmem",
    "lsblk",
    "lspci",
    "lsusb",
    "lsmod",
    "blkid",
    "findmnt",
    "nslookup",
    "dig",
    "host",
    "ping",
    "traceroute",
    "tracepath",
    "getent",
    "printenv",
    "locale",
    "tty",
    "arch",
    "logname",
    "users",
    "cal",
    "yes",
    "which",
    "type",
    "whereis",
    "getconf",
    "pwd",
    "cd",
    "nstat",
];

/// Whether it is one of them; otherwise nothing is known of it.
pub(super) fn run(walk: &mut Walk, call: &Call<'_>) -> bool {
    let name = call.name();
    if FILES.contains(&name) {
        if !call.demands_literals(walk) {
            return true;
        }
        let pattern = matches!(name, "grep" | "egrep" | "fgrep" | "zgrep" | "jq" | "tr")
            && !call.args.iter().any(|arg| matches!(arg.text.as_str(), "-e" | "-f"));
        let values = match name {
            "head" | "tail" => "nc",
            "grep" | "egrep" | "fgrep" | "zgrep" => "ABCmefdD",
            "cut" => "dfcb",
            _ => "",
        };
        reads_more(walk, call, values);
        let whole = call.args.iter().any(|arg| has_short(arg, 'r', values) || has_short(arg, 'R', values));
        for file in operands(call.args, values).into_iter().skip(usize::from(pattern)) {
            walk.file_touch(
                file,
                FileEffect::READ.whole(whole && name.ends_with("grep")),
                Some(call.program),
            );
        }
        return true;
    }
    if LISTS.contains(&name) {
        if call.demands_literals(walk) {
            let files = operands(call.args, if name == "stat" { "c" } else { "" });
            let here = Arg::exact(".");
            let files = if files.is_empty() { vec![&here] } else { files };
            let below = matches!(name, "du" | "tree")
                || matches!(name, "ls" | "dir" | "vdir" | "lsattr" | "getfacl" | "getfattr")
                    && call.args.iter().any(|arg| has_short(arg, 'R', "") || is_long(arg, "recursive", 3));
            for file in files {
                walk.file_touch(file, FileEffect::LIST.below(below), Some(call.program));
            }
        }
        return true;
    }
    match name {
        // whatever they are given, they only say it or do nothing
        "echo" | "printf" | "true" | "false" | ":" | "test" | "[" | "sleep" | "expr" | "basename"
        | "dirname" | "seq" | "pwd" | "which" => true,
        _ => false,
    }
}

/// Files that are named in options.
fn reads_more(walk: &mut Walk, call: &Call<'_>, values: &str) {
    if call.args.iter().any(|arg| is_long(arg, "files0-from", 3)) {
        call.doubt(walk, "reads which files it reads from a file");
    }
    if call.name().ends_with("grep") {
        let before: String = values.chars().filter(|c| *c != 'f').collect();
        if let Some(file) = value_of(call.args, 'f', "file", &before) {
            walk.file_touch(&file, FileEffect::READ, Some(call.program));
        }
    }
}
