//! Everyday commands of an operations runbook run through the gateway as they run directly: the same output, the same
//! errors, the same exit status, the same files afterwards.
//!
//! The two hosts are alike: a file system of their own with a shell and the common tools, in which nothing is the
//! machine's. What is not there (service managers, containers, clocks) says what it was called with.

use crate::scene::{Answer, Scene};
use crate::stage::{Line, OPERATE, corpus, policy};
use e2e::sshd::Sshd;
use e2e::tools;
use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Tools whose output depends on nothing but files and input, and of which no two in one line have errors: whose comes
/// first is nobody's word.
const TOOLS: &[&str] = &[
    "awk",
    "base64",
    "basename",
    "cat",
    "chmod",
    "cp",
    "cut",
    "diff",
    "env",
    "find",
    "grep",
    "gunzip",
    "gzip",
    "head",
    "ln",
    "md5sum",
    "mkdir",
    "mv",
    "nice",
    "nohup",
    "readlink",
    "rm",
    "sed",
    "seq",
    "sh",
    "sha256sum",
    "sort",
    "strings",
    "tail",
    "tar",
    "tee",
    "timeout",
    "touch",
    "tr",
    "truncate",
    "uniq",
    "unlink",
    "wc",
    "xargs",
    "xxd",
    "zcat",
];

/// Files of both hosts.
const FILES: &[(&str, &str)] = &[
    ("etc/hosts", "127.0.0.1 localhost\n10.0.0.5 db.internal\n"),
    ("etc/passwd", "root:x:0:0::/root:/bin/bash\ndeploy:x:1000:1000::/home/deploy:/bin/bash\n"),
    ("etc/os-release", "NAME=host\n"),
    ("etc/motd", "hello\n"),
    ("etc/nginx/nginx.conf", "worker_processes 2;\n\nevents {}\n"),
    ("etc/nginx/sites-enabled/default", "listen 80;\n"),
    ("etc/nginx/upstreams.conf", "server 10.0.0.4;\n"),
    ("etc/ssh/sshd_config", "#Port 22\n"),
    ("etc/app/config.ini", "path=/old/path\n"),
    ("proc/loadavg", "0.10 0.20 0.30 1/100 999\n"),
    ("proc/meminfo", "MemTotal: 1 kB\n"),
    ("root/.keep", ""),
    ("opt/app/bin/status", "#!/bin/sh\necho \"status $*\"\n"),
    ("opt/app/bin/deploy", "#!/bin/sh\necho \"deploy $*\"\n"),
    ("opt/app/bin/backup.sh", "#!/bin/sh\necho backup\n"),
    ("opt/app/bin/healthcheck", "#!/bin/sh\necho healthy\nexit 3\n"),
    ("opt/app/deploy.sh", "echo \"deploying $1\"\n"),
    ("srv/app/bin/status", "#!/bin/sh\necho up\n"),
    ("srv/app/config/app.yaml", "a: 1\n"),
    ("srv/app/run.sh", "echo run\n"),
    ("srv/app/data.db", "data\n"),
    ("srv/app/data.bin", "0123456789"),
    ("srv/app/shared/file", "shared\n"),
    ("srv/releases/app-1.2.3.tgz", "not a tar\n"),
    ("tmp/config.ini", "path=/new\n"),
    ("tmp/cert.b64", "aGVsbG8K\n"),
    ("tmp/df.txt", "Filesystem x x x Use% Mounted\n/dev/sda 1 1 1 91% /\n"),
    ("tmp/dos.txt", "a\r\nb\r\n"),
    ("tmp/hosts", "web2\nweb1\nweb2\n"),
    ("tmp/report.csv", "b,2\na,10\n"),
    ("tmp/report-1.csv", "x\n"),
    ("tmp/old.log", "x\n"),
    ("usr/local/bin/app", "version 1.2.3 of it\n"),
    ("var/backups/.keep", ""),
    ("var/lib/app/data.db", "data\n"),
    ("var/log/app/app.log", "ERROR timeout\nok\n"),
    ("var/log/app/app.log.1", "old\n"),
    ("var/log/app/error.log", "one\ntwo\n"),
    ("var/log/nginx/access.log", "10.0.0.1 - 500 x\n10.0.0.2 - 200 y\n10.0.0.1 - 200 z\n"),
    ("var/log/nginx/error.log", "nothing\n"),
    ("var/lock/.keep", ""),
    ("var/run/app.pid", "1\n"),
];

/// A file system that a host's command lines run in.
fn file_system() -> TempDir {
    let root = tempfile::Builder::new().prefix("portcullis-host-").tempdir().unwrap();
    let place = |file: &str| {
        let path = root.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    let linked = Command::new("ldd").arg(tools::need("bash").unwrap()).output().unwrap();
    let libraries = String::from_utf8(linked.stdout).unwrap();
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        std::fs::copy(library, place(library.trim_start_matches('/'))).unwrap();
    }
    std::fs::copy(tools::need("bash").unwrap(), place("bin/bash")).unwrap();
    std::fs::copy(tools::need("busybox").unwrap(), place("bin/busybox")).unwrap();
    for tool in TOOLS {
        symlink("busybox", place(&format!("bin/{tool}"))).unwrap();
    }
    for (file, content) in FILES {
        std::fs::write(place(file), content).unwrap();
        std::fs::set_permissions(place(file), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::fs::write(place("dev/null"), "").unwrap();
    let script = format!(
        "cd /\nasked=$SSH_ORIGINAL_COMMAND\nroot() {{ if [ $(id -u) = 0 ]; then busybox chroot \"$@\"; else unshare -r busybox chroot \"$@\"; fi; }}\n\
         root {} /bin/busybox env -i PATH=/bin HOME=/root USER=deploy LC_ALL=C /bin/bash -c '\n\
         enable -n kill; cd\ncommand_not_found_handle() {{ printf \"%s\\n\" \"$*\"; }}\neval \"$0\"' \"$asked\"\n",
        root.path().display()
    );
    std::fs::write(root.path().join("script"), script).unwrap();
    root
}

fn on(root: &TempDir) -> String {
    format!("ForceCommand bash {}/script", root.path().display())
}

/// What is below, with rights and size.
fn tree(root: &Path) -> BTreeSet<String> {
    let listed = Answer::of(
        Command::new("find")
            .arg(".")
            .args(["!", "-type", "d", "!", "-name", "script", "-exec", "stat", "-c", "%n %a %s", "{}", "+"])
            .current_dir(root)
            .stdin(Stdio::null()),
    );
    // how long a compressed archive is depends on the times of its files
    let line = |line: &str| match line.rsplit_once(' ') {
        Some((archive, _)) if archive.starts_with("./var/backups/") => archive.to_owned(),
        Some(_) | None => line.to_owned(),
    };
    listed.out.lines().map(line).collect()
}

/// Without times of day: what both sides write at once may be on two sides of a minute's end.
fn timeless(answer: Answer) -> Answer {
    let is_time = |word: &str| matches!(word.as_bytes(), [a, b, b':', c, d] if [a, b, c, d].iter().all(|digit| digit.is_ascii_digit()));
    let words = answer.out.split_inclusive(char::is_whitespace);
    let out = words.map(|word| if is_time(word.trim_end()) { "TIME " } else { word }).collect();
    Answer { out, ..answer }
}

#[test]
fn everyday_commands_run_as_they_run_directly() {
    if ["busybox", "unshare", "ldd"].iter().any(|tool| tools::or_skip(tool).is_none()) {
        return;
    }
    let (here, there) = (file_system(), file_system());
    let Some(scene) = Scene::with(&policy(OPERATE), &[&on(&there)], &[]) else { return };
    let sshd = Sshd::start(&[&on(&here)]).unwrap();
    let direct = Line::open(sshd.client("ssh").unwrap(), "127.0.0.1");
    let through = Line::through(&scene);
    let commands: Vec<String> = corpus("everyday.yaml");
    let (mut different, mut speaking) = (Vec::new(), 0);
    for line in &commands {
        let (here, there) = std::thread::scope(|scope| {
            let here = scope.spawn(|| direct.run(line));
            let there = through.run(line);
            (timeless(here.join().unwrap()), timeless(there))
        });
        speaking += usize::from(!here.out.is_empty());
        if here != there {
            different.push(format!("{line}\n    {there:?}\n    directly {here:?}"));
        }
    }
    println!(
        "everyday commands: {} of {} alike, {speaking} of them with output",
        commands.len() - different.len(),
        commands.len()
    );
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
    assert!(commands.len() >= 200 && speaking >= 130, "{speaking}");
    let (here, there) = (tree(here.path()), tree(there.path()));
    let different: Vec<&String> = here.symmetric_difference(&there).collect();
    assert!(different.is_empty() && here.len() > 50, "the files differ: {different:#?}");
}
