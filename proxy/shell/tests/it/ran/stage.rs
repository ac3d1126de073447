//! A root of the test's own, in which shells may do what they like: nothing of the host but its programs is there, and
//! those cannot be changed.
//!
//! It takes a mount, a PID and a network namespace, for which a user namespace does where the test is not root. The
//! processes in it have no capabilities.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

/// Set where the test runs within its root.
const WITHIN: &str = "PORTCULLIS_OWN_ROOT";

/// Programs without which there is no such root.
const NEEDED: [&str; 5] = ["unshare", "chroot", "setpriv", "bash", "perl"];

/// Says what it is run as, and goes on as that program.
const LOGGER: &str = r#"#!/usr/bin/perl
my ($name) = $0 =~ m{([^/]*)$};
if (open my $log, '>>', '/log') {
    binmode $log;
    my $parent = '';
    if (open my $comm, '<', '/proc/' . getppid() . '/comm') {
        chomp($parent = <$comm>);
    }
    syswrite $log, join("\0", scalar(@ARGV), $$, $parent, $name, @ARGV) . "\0";
}
for my $dir ('/usr/bin', '/bin', '/usr/sbin', '/sbin') {
    exec { "$dir/$name" } $name, @ARGV if -x "$dir/$name";
}
exit 127;
"#;

/// Makes the root in `$1` and runs the rest there.
const BUILD: &str = r#"
set -e
root=$1 test=$2 beside=$3; shift 3
mount -t tmpfs -o size=64m tmpfs "$root"
cd "$root"
mkdir -p proc dev tmp srv loggers home/deploy root
for dir in tmp srv home/deploy; do
    mount -t tmpfs -o strictatime,size=64m tmpfs "$dir"
done
mount --bind "$beside/loggers" loggers
mount -o remount,bind,ro loggers
: > log
mount --bind "$beside/log" log
for dir in usr etc bin sbin lib lib32 lib64 libx32; do
    if [ -L "/$dir" ]; then
        ln -s "$(readlink "/$dir")" "$dir"
    elif [ -d "/$dir" ]; then
        mkdir "$dir"
        mount --bind "/$dir" "$dir"
        mount -o remount,bind,ro "$dir"
    fi
done
for device in null zero random urandom; do
    : > "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
mount -t proc proc proc
: > it
mount --bind "$test" it
mount -o remount,bind,ro it
mount -o remount,bind,ro .
# not in its place: whoever becomes the first process here has to clean up behind others
chroot . setpriv --no-new-privs --inh-caps=-all --bounding-set=-all /it "$@"
"#;

/// Whether this process is in such a root. Where it is not, the test of this name is run once more in one, and this one
/// is done with it; where there is none to be had, a skip is printed.
pub(super) fn is_set(test: &str) -> bool {
    if std::env::var_os(WITHIN).is_some() {
        return true;
    }
    let (root, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let users: &[&str] = if is_root() { &[] } else { &["--user", "--map-root-user"] };
    let mut command = Command::new("unshare");
    command.args(users).args([
        "--mount",
        "--propagation",
        "private",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--",
    ]);
    let mut probe = Command::new("unshare");
    probe
        .args(command.get_args())
        .args(["mount", "-t", "tmpfs", "tmpfs"])
        .arg(root.path())
        .stderr(Stdio::null());
    let have = NEEDED.iter().all(|program| is_there(program));
    if !have || !probe.status().is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "no root of its own is to be had, and CI must have it");
        println!("SKIPPED: what shells do is seen in namespaces, with {NEEDED:?}");
        return false;
    }
    loggers(&beside.path().join("loggers"));
    std::fs::write(beside.path().join("log"), "").unwrap();
    command
        .args(["bash", "-c", BUILD, "bash"])
        .arg(root.path())
        .arg(std::env::current_exe().unwrap())
        .arg(beside.path());
    command.args(["--exact", test, "--nocapture"]).env(WITHIN, "1").stdin(Stdio::null());
    let status = command.status().unwrap();
    assert!(status.success(), "{test}: {status}");
    false
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

pub(super) fn is_there(program: &str) -> bool {
    ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].iter().any(|dir| Path::new(dir).join(program).exists())
}

/// For each program of the host one of the same name that logs its arguments first.
fn loggers(loggers: &Path) {
    std::fs::create_dir(loggers).unwrap();
    let logger = loggers.join(".logger");
    std::fs::write(&logger, LOGGER).unwrap();
    std::fs::set_permissions(logger, std::fs::Permissions::from_mode(0o755)).unwrap();
    for dir in ["/usr/bin", "/bin", "/usr/sbin", "/sbin"] {
        for program in std::fs::read_dir(dir).into_iter().flatten() {
            // one that is in two directories has its link already
            drop(symlink(".logger", loggers.join(program.unwrap().file_name())));
        }
    }
}

/// Runs a text with a shell, to its end and that of what it has started. Gives the programs that ran, or nothing if it
/// took too long.
pub(super) fn ran(shell: &[&str], text: &str) -> Option<Vec<Ran>> {
    std::fs::write("/log", "").unwrap();
    let status = Command::new("/usr/bin/timeout")
        .args(["-s", "KILL", "1"])
        .args(shell)
        .args(["-c", text])
        .current_dir("/home/deploy")
        .env_clear()
        .env("PATH", "/loggers:/usr/bin:/bin")
        .env("HOME", "/home/deploy")
        .env("OLDPWD", "/home/deploy")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let ended = status.is_ok_and(|status| status.code().is_some());
    let ended = end_others() && ended;
    let log = std::fs::read("/log").unwrap();
    ended.then(|| programs(&log))
}

/// Waits for what still runs, and ends what goes on. Whether it has ended by itself.
fn end_others() -> bool {
    for _ in 0..40 {
        if others().is_empty() {
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let others = others();
    drop(Command::new("/usr/bin/kill").arg("-9").args(&others).stderr(Stdio::null()).status());
    others.is_empty()
}

/// All processes but the first one, this one and the dead.
fn others() -> Vec<String> {
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let is_process = name.bytes().all(|byte| byte.is_ascii_digit());
        if !is_process || name == "1" || name == own {
            continue;
        }
        let state = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let state = state.rsplit(") ").next().unwrap_or_default();
        if !state.is_empty() && !state.starts_with(['Z', 'X']) {
            found.push(name);
        }
    }
    found
}

/// A program that ran, and who started it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Ran {
    /// The program whose process it was before, or the parent's.
    pub(super) by: String,
    pub(super) argv: Vec<String>,
}

fn programs(log: &[u8]) -> Vec<Ran> {
    let mut parts = log.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned());
    let mut found = Vec::new();
    let mut processes = std::collections::BTreeMap::new();
    while let Some(count) = parts.next().and_then(|count| count.parse::<usize>().ok()) {
        let (process, parent) = (parts.next().unwrap(), parts.next().unwrap());
        let argv: Vec<String> = parts.by_ref().take(count + 1).collect();
        let before = processes.insert(process, argv[0].clone());
        found.push(Ran { by: before.unwrap_or(parent), argv });
    }
    found
}
