//! What leads around a recording (ports, sockets, agents) is refused by default and on record, and works where
//! a rule allows it.

use crate::scene::{Answer, Scene};
use crate::stage::policy;
use e2e::process::wait_until;
use e2e::tools;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Programs are allowed, and whatever is added.
fn rules(more: &str) -> String {
    policy(&format!(
        "  rules:\n  - {{name: programs, action: Allow, ssh: {{effects: [Execute, Read, Unknown{more}]}}}}\n"
    ))
}

/// Says hello to everybody who connects.
fn greeter() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            drop(stream.write_all(b"hello"));
        }
    });
    port
}

/// What comes from a port before it is closed.
fn heard(port: u16) -> String {
    let mut text = String::new();
    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
        drop(stream.read_to_string(&mut text));
    }
    text
}

/// An agent of OpenSSH's with one key.
struct KeyAgent {
    process: Child,
    directory: TempDir,
}

impl KeyAgent {
    fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("portcullis-agent-").tempdir().unwrap();
        let socket = directory.path().join("socket");
        let mut agent = Command::new("ssh-agent");
        let process = agent.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        wait_until("the agent", || socket.exists().then_some(())).unwrap();
        let key = directory.path().join("key");
        e2e::sshd::keygen(&key).unwrap();
        let added = Answer::of(Command::new("ssh-add").arg(&key).env("SSH_AUTH_SOCK", &socket));
        assert_eq!(added.code, Some(0), "{added:?}");
        Self { process, directory }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }
}

impl Drop for KeyAgent {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn run(scene: &Scene, arguments: &[&str], change: impl FnOnce(&mut Command)) -> Answer {
    let mut ssh = scene.agent.program("ssh").unwrap();
    change(ssh.args(arguments).stdin(Stdio::null()));
    Answer::of(&mut ssh)
}

fn denied(scene: &Scene, effect: &str) -> bool {
    scene.decided().iter().any(|(text, verdict)| text.starts_with(effect) && verdict == "deny")
}

#[test]
fn ports_and_sockets_that_the_host_would_listen_on_are_refused() {
    let Some(scene) = Scene::with(&rules(""), &[], &[]) else { return };
    let socket = scene.agent.path().join("there.sock");
    for (from, effect) in [("0", "ForwardRemote"), (socket.to_str().unwrap(), "ForwardSocket")] {
        let forward = format!("{from}:127.0.0.1:{}", greeter());
        let answer = run(&scene, &["-oExitOnForwardFailure=yes", "-R", &forward, "web", "echo ran"], |_| {});
        assert!(answer.code == Some(255) && answer.out.is_empty(), "{answer:?}");
        assert!(denied(&scene, effect), "{effect}: {:?}", scene.decided());
    }
    assert!(!socket.exists());
}

#[test]
fn a_port_that_a_rule_allows_leads_to_the_client() {
    let Some(scene) = Scene::with(&rules(", ForwardRemote"), &[], &[]) else { return };
    let port = tools::free_port().unwrap();
    let forward = format!("127.0.0.1:{port}:127.0.0.1:{}", greeter());
    let arguments = ["-oExitOnForwardFailure=yes", "-R", &forward, "web"];
    let line = format!("head -c 5 </dev/tcp/127.0.0.1/{port}");
    let answer = run(&scene, &arguments, |ssh| {
        ssh.arg(format!("bash -c '{line}'"));
    });
    assert_eq!((answer.code, answer.out.as_str()), (Some(0), "hello"), "{answer:?}");
    let allowed = scene
        .decided()
        .into_iter()
        .filter(|(text, verdict)| text.starts_with("ForwardRemote") && verdict == "allow");
    assert_eq!(allowed.count(), 2, "once for the port and once for the connection");
}

#[test]
fn a_socket_of_the_hosts_leads_nowhere_without_a_rule() {
    let Some(scene) = Scene::with(&rules(""), &[], &[]) else { return };
    let socket = scene.agent.path().join("host.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            drop(stream.write_all(b"hello"));
        }
    });
    let forwarded = |scene: &Scene| {
        let port = tools::free_port().unwrap();
        let mut ssh = scene.agent.program("ssh").unwrap();
        ssh.args(["-N", "-L", &format!("127.0.0.1:{port}:{}", socket.display()), "web"]);
        let mut ssh = ssh.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_until("the forwarding", || TcpStream::connect(("127.0.0.1", port)).ok()).unwrap();
        let heard = heard(port);
        ssh.kill().unwrap();
        ssh.wait().unwrap();
        heard
    };
    assert_eq!(forwarded(&scene), "");
    assert!(denied(&scene, "ForwardSocket"), "{:?}", scene.decided());
    let allowed = Scene::with(&rules(", ForwardSocket"), &[], &[]).unwrap();
    assert_eq!(forwarded(&allowed), "hello");
}

#[test]
fn an_agent_is_lent_only_where_a_rule_says() {
    let Some(scene) = Scene::with(&rules(""), &[], &[]) else { return };
    let agent = KeyAgent::start();
    let keys = |scene: &Scene| {
        run(scene, &["-A", "web", "ssh-add -l"], |ssh| {
            ssh.env("SSH_AUTH_SOCK", agent.socket());
        })
    };
    let answer = keys(&scene);
    assert!(answer.code == Some(2) && answer.out.is_empty(), "{answer:?}");
    assert!(denied(&scene, "ForwardAgent"), "{:?}", scene.decided());
    let allowed = keys(&Scene::with(&rules(", ForwardAgent"), &[], &[]).unwrap());
    assert!(allowed.code == Some(0) && allowed.out.contains("ED25519"), "{allowed:?}");
}
