//! Much at once, for long: nothing is lost, nobody is held up, memory is bounded.
//!
//! `PORTCULLIS_SSH_MINUTES=60 cargo test -p e2e --test ssh load -- --nocapture` runs the long forms: traffic with key
//! exchanges for as long, 500 command lines at once, three thousand idle sessions.

use crate::scene::{Answer, Scene};
use crate::stage::{Line, policy};
use e2e::process::wait_until;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

const RULES: &str =
    "  rules:\n  - {name: anything, action: Allow, ssh: {effects: [Execute, List, Read, Unknown, Write]}}\n";
const MASKING: &str = "  masking:\n  - {detectors: [Secrets], with: {type: Redact}}\n";

/// How long the long forms run; `None`: the short ones.
fn minutes() -> Option<u64> {
    std::env::var("PORTCULLIS_SSH_MINUTES").ok()?.parse().ok()
}

/// A program that runs, and what it says.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    fn start(line: &Line, command: &str) -> Self {
        let mut ssh = line.ssh(&[]);
        ssh.arg(command).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = ssh.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    fn line(&mut self) -> String {
        let mut text = String::new();
        self.out.read_line(&mut text).unwrap();
        text
    }

    fn say(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// No more input; the rest of what it says, and how it ends.
    fn end(mut self) -> (String, Option<i32>) {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        (rest, self.child.wait().unwrap().code())
    }
}

#[test]
fn load_of_command_lines_at_once_loses_nothing() {
    let Some(scene) = Scene::with(&policy(&format!("{RULES}{MASKING}")), &[], &[]) else { return };
    let (lines, each) = if minutes().is_some() { (10, 50) } else { (2, 25) };
    let connections: Vec<Line> = (0..lines).map(|_| Line::through(&scene)).collect();
    let before = scene.memory("VmRSS");
    let start = |at: usize| {
        Running::start(&connections[at % lines], &format!("echo began {at}; cat; exit {}", at % 100))
    };
    let mut all: Vec<Running> = (0..lines * each).map(start).collect();
    for (at, running) in all.iter_mut().enumerate() {
        assert_eq!(running.line(), format!("began {at}\n"));
    }
    // all of them run now
    for (at, running) in all.iter_mut().enumerate() {
        running.say(&format!("{at} says so\n").repeat(1_000));
    }
    for (at, running) in all.into_iter().enumerate() {
        let (rest, code) = running.end();
        assert!(rest == format!("{at} says so\n").repeat(1_000), "{at}: {} bytes", rest.len());
        assert_eq!(code, Some(i32::try_from(at % 100).unwrap()));
    }
    let most = scene.memory("VmHWM");
    println!("{} command lines at once: {before} KiB before, {most} KiB at most", lines * each);
    let room = 1024 * u64::try_from(lines * each).unwrap();
    assert!(most < before + room, "more than 1 MiB for each: {before} KiB, then {most} KiB");
}

#[test]
fn load_with_key_exchanges_all_the_time_loses_nothing() {
    let Some(scene) = Scene::with(&policy(RULES), &["RekeyLimit 1M"], &[]) else { return };
    let mebibytes: u64 = if minutes().is_some() { 512 } else { 64 };
    // a session lasts no longer than its token
    scene.renew(Duration::from_secs(60 * (minutes().unwrap_or(0) + 30)));
    let stays = Line::open(rekeying(&scene), "web");
    let began = Instant::now();
    let until = Instant::now() + Duration::from_secs(60 * minutes().unwrap_or(0));
    let (mut rounds, mut most) = (0_u32, 0);
    loop {
        // numbered lines, so that one that is lost, doubled or moved changes the digest
        let numbers = format!("seq -f %015.0f 1 {}", mebibytes << 16);
        let line = format!("bash -c '{numbers} | tee >(sha256sum >&2) >&1 | cat'");
        // over one connection for all of the time
        let answer = pipe(stays.ssh(&[]).arg(&line), "sha256sum");
        let digest = |text: &str| text.split_whitespace().next().unwrap_or_default().to_owned();
        assert!(answer.code == Some(0) && digest(&answer.out).len() == 64, "{answer:?}");
        assert_eq!(digest(&answer.out), digest(&answer.err), "from the host");
        // and to it, over one of its own
        let mut up = rekeying(&scene);
        up.args(["web", "sha256sum"]);
        let mut feed = std::process::Command::new("bash");
        let mut feed = feed.arg("-c").arg(&numbers).stdout(Stdio::piped()).spawn().unwrap();
        let up = Answer::of(up.stdin(feed.stdout.take().unwrap()));
        assert!(feed.wait().unwrap().success());
        assert_eq!(digest(&up.out), digest(&answer.out), "to the host: {up:?}");
        rounds += 1;
        most = scene.memory("VmHWM").max(most);
        if Instant::now() > until {
            break;
        }
    }
    println!(
        "{rounds} times {mebibytes} MiB each way in {} s with keys for each MiB: {most} KiB at most",
        began.elapsed().as_secs()
    );
    assert!(most < 256 << 10, "{most} KiB");
}

/// `ssh` that exchanges keys after each MiB.
fn rekeying(scene: &Scene) -> std::process::Command {
    let mut ssh = scene.agent.program("ssh").unwrap();
    ssh.arg("-oRekeyLimit=1M");
    ssh
}

/// Runs a command line of the host's, and has its output read by a program here.
fn pipe(ssh: &mut std::process::Command, reader: &str) -> Answer {
    let mut ssh = ssh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut read = std::process::Command::new(reader);
    let out = Answer::of(read.stdin(ssh.stdout.take().unwrap())).out;
    Answer { out, ..Answer::new(&ssh.wait_with_output().unwrap()) }
}

/// A program that takes no input: it waits as it would without a gateway, others on its connection are not held up, those
/// that come later neither, and when it reads it gets everything.
#[test]
fn load_on_a_program_that_does_not_read_yet_holds_up_nobody_else() {
    let Some(scene) = Scene::with(&policy(RULES), &[], &[]) else { return };
    let go = scene.agent.path().join("go");
    let line = Line::through(&scene);
    let wait = format!("while [ ! -e {} ]; do sleep 0.1; done; wc -c", go.display());
    let mut hung = Running::start(&line, &wait);
    let mut stdin = hung.child.stdin.take().unwrap();
    let (told, taken) = std::sync::mpsc::channel();
    let flood = std::thread::spawn(move || {
        let block = vec![b'x'; 1 << 20];
        for _ in 0..64 {
            stdin.write_all(&block).unwrap();
            // whoever waited for it may have seen enough
            told.send(()).unwrap_or(());
        }
    });
    // until it takes no more
    while taken.recv_timeout(Duration::from_secs(2)).is_ok() {}
    assert!(!flood.is_finished(), "everything was taken, and nobody read it");
    for _ in 0..20 {
        assert_eq!(line.run("echo here").out, "here\n");
    }
    assert!(!flood.is_finished());
    let most = scene.memory("VmHWM");
    println!("beside a program that does not read: {most} KiB at most");
    std::fs::write(&go, "").unwrap();
    flood.join().unwrap();
    let (said, code) = hung.end();
    assert_eq!((said.trim(), code), ((64 << 20).to_string().as_str(), Some(0)));
    assert!(most < 256 << 10, "{most} KiB");
}

#[test]
fn load_of_idle_sessions_costs_little_and_ends_when_they_do() {
    let Some(scene) = Scene::with(&policy(RULES), &["MaxStartups 5000"], &[]) else { return };
    let count = if minutes().is_some() { 3_000 } else { 50 };
    // what the first session costs is not an idle session's
    drop(Line::through(&scene));
    let before = scene.memory("VmRSS");
    let mut sessions: Vec<Child> = Vec::new();
    for batch in (0..count).step_by(25) {
        for _ in batch..(batch + 25).min(count) {
            let mut ssh = scene.agent.program("ssh").unwrap();
            sessions.push(ssh.args(["-N", "web"]).stdin(Stdio::null()).spawn().unwrap());
        }
        wait_until("the sessions", || (active(&scene) >= sessions.len()).then_some(())).unwrap();
    }
    let each = (scene.memory("VmRSS") - before) / u64::try_from(count).unwrap();
    println!("{count} idle sessions: {each} KiB for each");
    assert!(each < 1_024, "{each} KiB");
    assert_eq!(Line::through(&scene).run("echo here").out, "here\n");
    for mut session in sessions {
        session.kill().unwrap();
        session.wait().unwrap();
    }
    wait_until("their end", || (active(&scene) == 0).then_some(())).unwrap();
}

/// Sessions that are open.
fn active(scene: &Scene) -> usize {
    let metrics = scene.hosts.gateway.admin("metrics").unwrap_or_default();
    let line =
        metrics.lines().find(|line| line.starts_with("portcullis_sessions_active")).unwrap_or_default();
    line.rsplit(' ').next().and_then(|figure| figure.parse().ok()).unwrap_or(0)
}

#[test]
fn load_of_strangers_leaves_room_for_others_and_ends() {
    let Some(scene) = Scene::with(&policy(RULES), &[], &["--max-unauthenticated-per-address=4"]) else {
        return;
    };
    let knock = || {
        let stream = TcpStream::connect(("127.0.0.1", scene.agent.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut said = [0; 4];
        // a greeting, or nothing at all
        let greeted = (&stream).read_exact(&mut said).is_ok();
        (stream, greeted)
    };
    let strangers: Vec<_> = (0..4).map(|_| knock()).collect();
    assert!(strangers.iter().all(|(_, greeted)| *greeted));
    let (_one_more, greeted) = knock();
    assert!(!greeted, "one more than may be unknown");
    let refused = scene.run("echo here");
    assert_eq!(refused.code, Some(255), "{refused:?}");
    drop(strangers);
    wait_until("room", || (scene.run("echo here").out == "here\n").then_some(())).unwrap();
}
