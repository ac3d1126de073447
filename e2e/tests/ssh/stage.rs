//! A host on which nothing runs but in a directory of its own, and which writes down what it was asked to run.

use crate::scene::{Answer, Scene};
use e2e::process::wait_until;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Where the command lines of a host run, and the list of them.
#[derive(Debug)]
pub(crate) struct Stage(TempDir);

impl Stage {
    /// An empty directory, the host's home, and a script through which the host starts everything in it.
    pub(crate) fn new() -> Self {
        let stage = Self(tempfile::Builder::new().prefix("portcullis-stage-").tempdir().unwrap());
        std::fs::create_dir(stage.work()).unwrap();
        let script = format!(
            "asked=${{SSH_ORIGINAL_COMMAND-}}\nunset SSH_ORIGINAL_COMMAND\ncd {0}/work || exit 99\n\
             printf '%s\\0' \"$asked\" >>{0}/asked\n\
             export HOME={0}/work OLDPWD={0}/work S=s LC_ALL=C.UTF-8\n\
             if [ -n \"$asked\" ]; then exec bash -c \"$asked\"; else exec bash; fi\n",
            stage.0.path().display()
        );
        std::fs::write(stage.0.path().join("script"), script).unwrap();
        stage
    }

    /// Where everything runs.
    pub(crate) fn work(&self) -> PathBuf {
        self.0.path().join("work")
    }

    /// The line of `sshd_config` that puts a host on this stage.
    pub(crate) fn config(&self) -> String {
        format!("ForceCommand bash {}/script", self.0.path().display())
    }

    /// What the host was asked to run, in order; a shell is an empty line.
    pub(crate) fn asked(&self) -> Vec<String> {
        let bytes = std::fs::read(self.0.path().join("asked")).unwrap_or_default();
        let text = String::from_utf8(bytes).unwrap();
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    /// A tree that may be destroyed.
    pub(crate) fn put_victim(&self) {
        std::fs::create_dir_all(self.work().join("victim/d")).unwrap();
        for file in ["victim/f", "victim/d/g"] {
            std::fs::write(self.work().join(file), "content\n").unwrap();
        }
    }

    /// Whether the tree is as it was put there.
    pub(crate) fn has_victim(&self) -> bool {
        let whole = |file: &str| {
            std::fs::read_to_string(self.work().join(file)).is_ok_and(|text| text == "content\n")
        };
        whole("victim/f") && whole("victim/d/g")
    }
}

/// One connection, over which many command lines go.
#[derive(Debug)]
pub(crate) struct Line {
    master: Child,
    /// `ssh` with everything but the host's name.
    program: PathBuf,
    control: TempDir,
}

impl Line {
    /// Connects with what `ssh` is given; `host` is the name to connect to.
    pub(crate) fn open(mut ssh: Command, host: &str) -> Self {
        let control = tempfile::Builder::new().prefix("pc-").tempdir().unwrap();
        let path = control.path().join("c");
        let program = PathBuf::from(ssh.get_program());
        ssh.args(["-N", "-oControlMaster=yes"]).arg(format!("-oControlPath={}", path.display())).arg(host);
        let master = ssh.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        wait_until("the connection", || path.exists().then_some(())).unwrap();
        Self { master, program, control }
    }

    /// A connection of the scene's agent through the gateway.
    pub(crate) fn through(scene: &Scene) -> Self {
        Self::open(scene.agent.program("ssh").unwrap(), "web")
    }

    /// A connection to the scene's host without the gateway.
    pub(crate) fn direct(scene: &Scene) -> Self {
        Self::open(scene.hosts.sshd.client("ssh").unwrap(), "127.0.0.1")
    }

    /// `ssh` over this connection, to add arguments to.
    pub(crate) fn ssh(&self, options: &[&str]) -> Command {
        let mut ssh = Command::new(&self.program);
        ssh.args(["-F", "/dev/null", "-oLogLevel=ERROR"]).arg("-S").arg(self.path()).args(options);
        ssh.arg("over-the-connection");
        ssh
    }

    /// Runs one command line.
    pub(crate) fn run(&self, line: &str) -> Answer {
        // an empty last word of OpenSSH's would be no command line at all
        Answer::of(self.ssh(&[]).arg("--").arg(line).stdin(Stdio::null()))
    }

    fn path(&self) -> PathBuf {
        self.control.path().join("c")
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.master.kill());
        drop(self.master.wait());
    }
}

/// A file of the corpora that the rooms are tested with as well.
pub(crate) fn corpus<T: serde::de::DeserializeOwned>(name: &str) -> Vec<T> {
    let proxy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proxy");
    let rooms = ["shell/tests/corpus", "protocols/ssh/tests/corpus"].map(|room| proxy.join(room).join(name));
    let found = rooms.iter().find(|file| file.exists()).unwrap();
    serde_yaml_ng::from_str(&std::fs::read_to_string(found).unwrap()).unwrap()
}

/// A Policy of these rules.
pub(crate) fn policy(spec: &str) -> String {
    format!(
        "apiVersion: portcullis.dev/v1alpha1\nkind: Policy\nmetadata: {{name: web-agents, namespace: shop}}\nspec:\n  \
         targetRefs: [{{name: web}}]\n  subjects: [{{group: agents}}]\n{spec}"
    )
}

/// What an agent that operates a host may do.
pub(crate) const OPERATE: &str = "  rules:
  - name: operate
    action: Allow
    ssh: {effects: [Execute, Read, Write, List, Remove, Rename, Attributes]}
  - {name: no-trees, action: Deny, ssh: {effects: [Remove], unbounded: true}}
";
