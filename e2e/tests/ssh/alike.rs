//! Two agents' machines that are alike, one before the gateway and one before the host itself: the same script must say
//! the same on both, and leave the same files.

use crate::scene::{Answer, Scene};
use crate::ssh_clients::POLICY;
use e2e::random::Random;
use e2e::tools;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Two machines, and the scene in which they are.
#[derive(Debug)]
pub(crate) struct Alike {
    direct: Machine,
    through: Machine,
    different: Vec<String>,
    scripts: usize,
    // last, so that what the machines still run finds its host
    scene: Scene,
}

/// A directory with what `ssh` is configured with, `local` where scripts run, and `remote` for the files of the host.
#[derive(Debug)]
struct Machine(TempDir);

impl Alike {
    /// `None` where one of these programs is missing, after printing that.
    pub(crate) fn start(programs: &[&str]) -> Option<Self> {
        programs.iter().try_for_each(|program| tools::or_skip(program).map(drop))?;
        let scene = Scene::with(POLICY, &["AcceptEnv GIT_PROTOCOL"], &[])?;
        let through = Machine::new(&std::fs::read_to_string(scene.log_in()).unwrap());
        let host = &scene.hosts.sshd;
        let direct = Machine::new(&format!(
            "Host web\n  HostName 127.0.0.1\n  Port {}\n  User {}\n  IdentityFile {}\n  IdentitiesOnly yes\n  \
             StrictHostKeyChecking yes\n  UserKnownHostsFile known_hosts\n",
            host.port(),
            e2e::sshd::user().unwrap(),
            host.user_key().display()
        ));
        let known = format!("[127.0.0.1]:{} {}\n", host.port(), host.host_key().unwrap());
        let file = direct.0.path().join("known_hosts");
        std::fs::write(&file, known).unwrap();
        let config = std::fs::read_to_string(direct.config()).unwrap();
        let config = config.replace("File known_hosts", &format!("File {}", file.display()));
        std::fs::write(direct.config(), config).unwrap();
        Some(Self { direct, through, different: Vec::new(), scripts: 0, scene })
    }

    /// Does the same on both machines.
    pub(crate) fn prepare(&self, act: impl Fn(&Path)) {
        act(self.direct.0.path());
        act(self.through.0.path());
    }

    /// Runs a script on both; `usual` makes one of what may differ.
    pub(crate) fn run(&mut self, script: &str, usual: impl Fn(&str) -> String) {
        let said = |machine: &Machine| {
            let answer = machine.run(script);
            let plain = |text: &str| usual(&text.replace(machine.0.path().to_str().unwrap(), "$W"));
            Answer { code: answer.code, out: plain(&answer.out), err: plain(&answer.err) }
        };
        let (direct, through) = (said(&self.direct), said(&self.through));
        let (there, here) = (self.direct.tree(), self.through.tree());
        let mut wrong = Vec::new();
        if through != direct {
            wrong.push(format!("    {through:?}\n    directly {direct:?}"));
        }
        for name in there.keys().chain(here.keys().filter(|name| !there.contains_key(*name))) {
            let (there, here) = (there.get(name), here.get(name));
            if there != here {
                wrong.push(format!("    {name}: {here:?}, directly {there:?}"));
            }
        }
        self.scripts += 1;
        if !wrong.is_empty() {
            wrong.truncate(20);
            self.different.push(format!("{script}\n{}", wrong.join("\n")));
        }
    }

    /// Says how many scripts were alike.
    ///
    /// # Panics
    /// One was not.
    pub(crate) fn end(self, what: &str) {
        let alike = self.scripts - self.different.len();
        println!("{what}: {alike} of {} scripts alike", self.scripts);
        assert!(self.different.is_empty(), "{}", self.different.join("\n"));
        // what differs in nothing may have gone another way
        let log = self.scene.hosts.gateway.log();
        assert!(!self.scene.decided().is_empty(), "nothing came through the gateway: {log}");
    }
}

impl Machine {
    fn new(config: &str) -> Self {
        let machine = Self(tempfile::Builder::new().prefix("portcullis-m-").tempdir().unwrap());
        let path = machine.0.path();
        for directory in ["bin", "local", "remote", "home"] {
            std::fs::create_dir(path.join(directory)).unwrap();
        }
        std::fs::write(machine.config(), format!("{config}  LogLevel ERROR\n  BatchMode yes\n")).unwrap();
        for program in ["ssh", "scp", "sftp"] {
            let wrapper = path.join("bin").join(program);
            let real = tools::need(program).unwrap();
            let text =
                format!("#!/bin/sh\nexec {} -F {} \"$@\"\n", real.display(), machine.config().display());
            std::fs::write(&wrapper, text).unwrap();
            std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        machine
    }

    fn config(&self) -> PathBuf {
        self.0.path().join("config")
    }

    fn run(&self, script: &str) -> Answer {
        let path = self.0.path();
        let programs = format!("{}:{}", path.join("bin").display(), std::env::var("PATH").unwrap());
        let mut bash = Command::new("timeout");
        bash.args(["--kill-after=5", "120", "bash", "-c", script]).current_dir(path.join("local"));
        bash.env("PATH", programs).env("R", path.join("remote")).env("HOME", path.join("home"));
        bash.env("LC_ALL", "C.UTF-8").env_remove("SSH_AUTH_SOCK").stdin(Stdio::null());
        Answer::of(&mut bash)
    }

    /// Every file of both sides, with all that a client may have to bring along. A time is told if it was set: before
    /// the year 2020.
    fn tree(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for side in ["local", "remote"] {
            gather(&self.0.path().join(side), side, &mut found);
        }
        found
    }
}

fn gather(directory: &Path, name: &str, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), format!("{name}/{}", entry.file_name().to_string_lossy()));
        // what git keeps of itself has times and places in it; what it is about is compared by `git` itself
        if path.is_dir() && path.extension().is_some_and(|end| end == "git") || name.ends_with("/.git") {
            continue;
        }
        let status = path.symlink_metadata().unwrap();
        let time = if status.mtime() < YEAR_2020 { status.mtime() } else { 0 };
        let content = if status.is_symlink() {
            path.read_link().unwrap().to_string_lossy().into_owned()
        } else if status.is_file() {
            format!("{:016x}", digest(&std::fs::read(&path).unwrap()))
        } else {
            if status.is_dir() {
                gather(&path, &name, found);
            }
            String::new()
        };
        let of_directory = if status.is_dir() { 0 } else { status.len() };
        let told = format!("{:o} {of_directory} {} {time} {content}", status.mode(), status.nlink());
        found.insert(name, told);
    }
}

/// FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>: enough to tell two files apart that should be the same.
fn digest(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What may be sent and fetched: many small files, one that is large, links, rights, odd names, times.
pub(crate) fn put_tree(root: &Path) {
    let mut random = Random::seeded(7);
    let mut bytes = |count: usize| -> Vec<u8> {
        std::iter::repeat_with(|| u8::try_from(random.below(256)).unwrap()).take(count).collect()
    };
    for number in 0..300 {
        let directory = root.join(format!("d{}", number % 10));
        std::fs::create_dir_all(&directory).unwrap();
        let content = if number % 2 == 0 { bytes(number * 7) } else { vec![b'x'; number * 31] };
        std::fs::write(directory.join(format!("f{number}")), content).unwrap();
    }
    std::fs::write(root.join("large"), bytes(5_000_000)).unwrap();
    for name in ["a b", "it's", "\"q\"", "ümläut", "$x `y`", "-n", "new\nline", "*", "back\\slash", ".hidden"]
    {
        std::fs::write(root.join("d0").join(name), name).unwrap();
    }
    std::fs::create_dir(root.join("empty")).unwrap();
    for (leads, link) in [("d1/f1", "link"), ("d2", "to-directory"), ("/no/where", "dangling")] {
        std::os::unix::fs::symlink(leads, root.join(link)).unwrap();
    }
    std::fs::hard_link(root.join("d3/f3"), root.join("d3/hard")).unwrap();
    for (file, mode) in [("d4/f4", 0o600), ("d4/f14", 0o755), ("d4/f24", 0o444), ("empty", 0o700)] {
        std::fs::set_permissions(root.join(file), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut touch = Command::new("find");
    touch.arg(root).args(["-depth", "-exec", "touch", "-h", "-d", "2015-03-04T05:06:07Z", "{}", "+"]);
    assert!(touch.status().unwrap().success());
}

const YEAR_2020: i64 = 1_577_836_800;
