//! Programs that only read, and what they read.

mod table;

use super::super::argument::{Arg, Sort, has_short, is_long};
use super::super::found::FileEffect;
use super::super::walk::Walk;
use super::Call;
use super::options::{self, Given, operands};

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
        if call.demands_literals(walk) {
            read(walk, call);
        }
        return true;
    }
    if LISTS.contains(&name) {
        if call.demands_literals(walk) {
            list(walk, call);
        }
        return true;
    }
    named(walk, call);
    match name {
        // whatever they are given, they only say it or do nothing
        "echo" | "printf" | "true" | "false" | ":" | "test" | "[" | "sleep" | "expr" | "basename"
        | "dirname" | "seq" | "pwd" | "which" => true,
        _ => false,
    }
}

fn list(walk: &mut Walk, call: &Call<'_>) {
    let name = call.name();
    let odd = match name {
        "tree" => call.args.iter().any(|arg| has_short(arg, 'o', "LPIHTR") || arg.text.starts_with("--from")),
        "du" => call.args.iter().any(|arg| is_long(arg, "files0-from", 1)),
        "file" => call.args.iter().any(|arg| has_short(arg, 'f', "eFmP") || is_long(arg, "files-from", 1)),
        _ => false,
    };
    if odd {
        call.doubt(walk, "has an option that names files in other ways");
    }
    named(walk, call);
    let files = operands(call.args, if name == "stat" { "c" } else { "" });
    let here = Arg::exact(".");
    let files = if files.is_empty() { vec![&here] } else { files };
    let below = matches!(name, "du" | "tree")
        || matches!(name, "ls" | "dir" | "vdir" | "lsattr" | "getfacl" | "getfattr")
            && call.args.iter().any(|arg| has_short(arg, 'R', "") || is_long(arg, "recursive", 3));
    // `file` says what it finds in them
    let done = if name == "file" { FileEffect::READ } else { FileEffect::LIST };
    for file in files {
        walk.file_touch(file, done.below(below), Some(call.program));
    }
}

/// Long names of the options by which such files are named, and how many of their letters are no other's.
fn long_named(name: &str) -> &'static [(&'static str, usize)] {
    match name {
        "ss" => &[("filter", 3), ("diag", 2)],
        "last" | "lastb" => &[("file", 1)],
        "pgrep" => &[("pidfile", 2)],
        "findmnt" => &[("tab-file", 2)],
        "date" => &[("file", 1), ("reference", 3)],
        "file" => &[("files-from", 1), ("magic-file", 3)],
        "du" => &[("exclude-from", 9)],
        _ => &[],
    }
}

/// Files that programs read which tell of the system otherwise.
fn named(walk: &mut Walk, call: &Call<'_>) {
    for (long, least) in long_named(call.name()) {
        for (at, arg) in call.args.iter().enumerate().filter(|(_, arg)| is_long(arg, long, *least)) {
            let file = match arg.text.split_once('=') {
                Some((_, file)) => Some(Arg::exact(file)),
                None => call.args.get(at + 1).cloned(),
            };
            if let Some(file) = file {
                walk.file_touch(&file, FileEffect::READ, Some(call.program));
            }
        }
    }
    let letters = match call.name() {
        "dig" => "fk",
        "ss" => "FD",
        "last" | "lastb" => "f",
        "pgrep" | "findmnt" => "F",
        "lspci" => "Fi",
        "date" => "fr",
        "file" => "fm",
        "du" => "X",
        _ => return,
    };
    for letter in letters.chars() {
        for (at, arg) in call.args.iter().enumerate() {
            let Some((_, attached)) = arg.text.split_once(letter).filter(|_| has_short(arg, letter, ""))
            else {
                continue;
            };
            let file =
                if attached.is_empty() { call.args.get(at + 1).cloned() } else { Some(Arg::exact(attached)) };
            if let Some(file) = file {
                walk.file_touch(&file, FileEffect::READ, Some(call.program));
            }
        }
    }
}

/// Reads what the arguments name.
fn read(walk: &mut Walk, call: &Call<'_>) {
    if call.name() == "jq" {
        return jq(walk, call);
    }
    if matches!(call.args, [arg] if matches!(arg.value(), Some("--version" | "--help" | "-V"))) {
        return;
    }
    let spec = table::spec(call.name());
    let parsed = match call.name() {
        "head" | "tail" => options::counted(call.args, spec),
        _ => options::parsed(call.args, spec),
    };
    let Some((given, mut files)) = parsed else {
        call.doubt(walk, "has options that are not analysed");
        let files = call.args.iter().filter(|arg| !arg.is_option());
        return files
            .for_each(|file| walk.file_touch(file, FileEffect::READ.below(true), Some(call.program)));
    };
    let grep = call.name().ends_with("grep");
    if options::has(&given, &["files0-from"])
        || call.name() == "strings" && files.iter().any(|file| file.text.starts_with('@'))
    {
        call.doubt(walk, "reads which files it reads from a file");
    }
    let more: &[&str] = match call.name() {
        "diff" => &["X", "exclude-from", "from-file", "to-file"],
        "hexdump" => &["f", "format-file"],
        _ if grep => &["f", "file", "exclude-from"],
        _ => &[],
    };
    for file in options::values(&given, more) {
        walk.file_touch(file, FileEffect::READ, Some(call.program));
    }
    if grep
        && !options::has(&given, &["e", "f", "regexp", "file"])
        && files.first().is_some_and(|pattern| !pattern.may_be_several())
    {
        files.remove(0);
    }
    let whole = reads_trees(call, &given);
    if whole && grep && files.is_empty() {
        files.push(Arg::exact("."));
    }
    for file in &files {
        walk.file_touch(file, FileEffect::READ.whole(whole), Some(call.program));
    }
    if let ("diff", [one, other]) = (call.name(), files.as_slice()) {
        beside(walk, call, one, other);
        beside(walk, call, other, one);
        // below home, where lines begin, most names are files
        let may_be_one = |dir: &&Arg| !whole && dir.text.starts_with(['/', '.', '~', '$']);
        for dir in [one, other].into_iter().filter(may_be_one) {
            // of two directories it reads every file that both have
            let inside = Arg { text: format!("{}/*", dir.text.trim_end_matches('/')), sort: Sort::Names };
            walk.file_touch(&inside, FileEffect::READ, Some(call.program));
        }
    }
}

/// Where one is a directory, `diff` reads the file of the other's name in it.
fn beside(walk: &mut Walk, call: &Call<'_>, dir: &Arg, file: &Arg) {
    let name = file.text.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if dir.sort == Sort::Exact && !matches!(name, "" | "." | ".." | "-") {
        let inside = Arg { text: format!("{}/{name}", dir.text), sort: file.sort };
        walk.file_touch(&inside, FileEffect::READ, Some(call.program));
    }
}

/// Whether it reads all that is below a directory.
fn reads_trees(call: &Call<'_>, given: &[Given]) -> bool {
    let mut directories = options::values(given, &["d", "directories"]);
    match call.name() {
        "diff" => options::has(given, &["r", "recursive"]),
        name if name.ends_with("grep") => {
            options::has(given, &["r", "R", "recursive", "dereference-recursive"])
                || directories.any(|how| !matches!(how.value(), Some("read" | "skip")))
        }
        _ => false,
    }
}

/// `jq` reads options by rules of its own: letters stand together in any order, and only long ones have values.
fn jq(walk: &mut Walk, call: &Call<'_>) {
    let script = call.args.iter().any(|arg| has_short(arg, 'f', "") || is_long(arg, "from-file", 2));
    let odd = |arg: &Arg| {
        has_short(arg, 'L', "") || is_long(arg, "library-path", 1) || is_long(arg, "run-tests", 2)
    };
    if call.args.iter().any(odd) {
        call.doubt(walk, LOADS);
    }
    let mut args = call.args.iter();
    let (mut program, mut ended) = (script, false);
    while let Some(arg) = args.next() {
        let count = match arg.value() {
            _ if ended => 0,
            Some("--arg" | "--argjson") => 2,
            Some("--slurpfile" | "--rawfile" | "--argfile") => {
                args.next();
                0
            }
            Some("--indent") => 1,
            Some("--") => {
                ended = true;
                continue;
            }
            _ if arg.is_option() => continue,
            _ => 0,
        };
        if count > 0 {
            args.by_ref().take(count).for_each(drop);
            continue;
        }
        let file = if arg.is_option() && !ended { args.next() } else { Some(arg) };
        let is_program = !arg.is_option() && !std::mem::replace(&mut program, true);
        if is_program && imports(&arg.text) {
            call.doubt(walk, LOADS);
        }
        if let Some(file) = file.filter(|_| !is_program) {
            walk.file_touch(file, FileEffect::READ, Some(call.program));
        }
    }
}

const LOADS: &str = "may load files that are not analysed";

/// Whether a program of `jq` has the word `import` or `include`, and no field of that name.
fn imports(program: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$' | '@');
    program.split(|c: char| !part(c)).any(|word| matches!(word, "import" | "include"))
}
