//! The client's display: a real X server, a real program on the host that asks it, and the cookie on no record.

use crate::scene::{Answer, Scene};
use crate::stage::policy;
use e2e::tools;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// An X server without a screen, and what its own user has for it.
struct Display {
    server: Child,
    name: String,
    directory: TempDir,
}

impl Display {
    /// `None`: skipped, as a program is missing.
    fn start() -> Option<Self> {
        for program in ["Xvfb", "xauth", "xdpyinfo"] {
            tools::or_skip(program)?;
        }
        let directory = tempfile::Builder::new().prefix("portcullis-display-").tempdir().unwrap();
        let own = directory.path().join("own");
        // a server takes the cookies of its file whatever display they are for
        authorize(&own, ":0");
        let mut server = Command::new("Xvfb");
        server.args(["-displayfd", "1", "-nolisten", "tcp", "+extension", "SECURITY", "-auth"]).arg(&own);
        let mut server = server.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut number = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut number).unwrap();
        let name = format!(":{}", number.trim());
        let display = Self { server, name, directory };
        authorize(&display.own(), &display.name);
        Some(display)
    }

    fn own(&self) -> std::path::PathBuf {
        self.directory.path().join("own")
    }

    /// Runs one command line on the host, with the display lent.
    fn run(&self, scene: &Scene, how: &str, line: &str) -> Answer {
        let mut ssh = scene.agent.program("ssh").unwrap();
        ssh.args([how, "web", line]).env("DISPLAY", &self.name).env("XAUTHORITY", self.own());
        Answer::of(ssh.stdin(Stdio::null()))
    }

    /// Lines of a host's `sshd_config` that have it forward displays and keep their cookies here.
    fn settings(&self) -> String {
        let cookies = self.directory.path().join("host");
        format!(
            "X11Forwarding yes\nXAuthLocation /usr/bin/xauth\nSetEnv SHLVL=2 XAUTHORITY={}",
            cookies.display()
        )
    }

    /// The cookies that the host was given, in hexadecimal.
    fn cookies(&self) -> Vec<String> {
        let listed =
            Answer::of(Command::new("xauth").arg("-f").arg(self.directory.path().join("host")).arg("list"));
        listed.out.lines().filter_map(|line| line.split_whitespace().nth(2)).map(str::to_owned).collect()
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// The same cookie for everything of this display's own user.
fn authorize(file: &Path, display: &str) {
    let cookie = "5f0e1d2c3b4a59687786958493a2b1c0";
    let added = Answer::of(Command::new("xauth").arg("-f").arg(file).args(["add", display, ".", cookie]));
    assert_eq!(added.code, Some(0), "{added:?}");
}

/// Programs, displays as far as this says, and detectors: what they look at has to pass all the same.
fn rules(more: &str) -> String {
    policy(&format!(
        "  rules:\n  - {{name: programs, action: Allow, ssh: {{effects: [Execute, Read, Unknown{more}]}}}}\n  \
         masking: [{{detectors: [AwsAccessKey, PrivateKey]}}]\n"
    ))
}

#[test]
fn a_display_that_a_rule_allows_is_reached_and_its_cookie_is_on_no_record() {
    let Some(display) = Display::start() else { return };
    let Some(scene) = Scene::with(&rules(", ForwardX11"), &[&display.settings()], &[]) else { return };
    for how in ["-Y", "-X"] {
        let answer = display.run(&scene, how, "xdpyinfo");
        assert!(answer.code == Some(0) && answer.out.contains("X.Org Foundation"), "{how}: {answer:?}");
    }
    let allowed =
        scene.decided().into_iter().filter(|it| *it == ("ForwardX11".to_owned(), "allow".to_owned()));
    assert_eq!(allowed.count(), 4, "once for the display and once for the connection");
    let (log, cookies) = (scene.log_bytes(), display.cookies());
    assert!(!cookies.is_empty());
    let on_record = |bytes: &[u8]| log.windows(bytes.len()).any(|window| window == bytes);
    assert!(on_record(b"MIT-MAGIC-COOKIE-1"), "what goes to a display is recorded");
    for cookie in cookies {
        let digits: Vec<u32> = cookie.chars().map(|digit| digit.to_digit(16).unwrap()).collect();
        let raw: Vec<u8> =
            digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect();
        assert!(raw.len() == 16 && !on_record(&raw) && !on_record(cookie.as_bytes()));
    }
}

#[test]
fn who_does_not_show_the_cookie_does_not_reach_the_display() {
    let Some(display) = Display::start() else { return };
    let Some(scene) = Scene::with(&rules(", ForwardX11"), &[&display.settings()], &[]) else { return };
    let line = "XAUTHORITY=/dev/null xdpyinfo; xdpyinfo | grep -c X.Org";
    let answer = display.run(&scene, "-Y", line);
    assert!(answer.err.contains("unable to open display"), "{answer:?}");
    assert_ne!(answer.out.trim(), "0", "whoever shows it does");
}

#[test]
fn a_display_that_no_rule_allows_is_not_there() {
    let Some(display) = Display::start() else { return };
    let Some(scene) = Scene::with(&rules(""), &[&display.settings()], &[]) else { return };
    let answer = display.run(&scene, "-Y", "echo \"display ${DISPLAY:-none}\"");
    assert_eq!((answer.code, answer.out.as_str()), (Some(0), "display none\n"), "{answer:?}");
    assert!(answer.err.contains("X11 forwarding request failed"), "{answer:?}");
    assert!(scene.decided().contains(&("ForwardX11".to_owned(), "deny".to_owned())), "{:?}", scene.decided());
    assert!(display.cookies().is_empty());
}

#[test]
fn a_host_that_forwards_nothing_runs_the_command_without() {
    let Some(display) = Display::start() else { return };
    let settings = ["X11Forwarding no", "AllowAgentForwarding no"];
    let Some(scene) = Scene::with(&rules(", ForwardX11, ForwardAgent"), &settings, &[]) else { return };
    let mut ssh = scene.agent.program("ssh").unwrap();
    ssh.args(["-A", "-Y", "web", "echo \"display ${DISPLAY:-none} agent ${SSH_AUTH_SOCK:-none}\""]);
    ssh.env("DISPLAY", &display.name).env("XAUTHORITY", display.own());
    ssh.env("SSH_AUTH_SOCK", display.directory.path().join("no-agent"));
    let answer = Answer::of(ssh.stdin(Stdio::null()));
    assert_eq!((answer.code, answer.out.as_str()), (Some(0), "display none agent none\n"), "{answer:?}");
    assert!(answer.err.contains("the host does not take the display"), "{answer:?}");
}
