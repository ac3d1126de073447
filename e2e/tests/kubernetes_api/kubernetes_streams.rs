//! Into pods: exec, attach, logs, copies and ports, over both transports.

use crate::pods::{FORWARD, Forwarded, Pods};
use crate::scene::{Answer, feed};
use e2e::process::wait_until;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

const RULES: &str = r#"
rules:
- name: no-rm
  action: Deny
  message: "Do not remove what is not yours."
  kubernetes: {resources: [pods/exec], commands: [{name: rm}]}
- name: everything-else
  action: Allow
  kubernetes: {}
masking:
- detectors: [Secrets]
  with: {type: Redact}
"#;

/// The same without a rule about programs.
const ANYTHING: &str = "
rules:
- name: everything
  action: Allow
  kubernetes: {}
masking:
- detectors: [Secrets]
  with: {type: Redact}
";

/// Shaped like a GitHub token, so that a detector finds it.
const CANARY: &str = "ghp_x7Qz1xP0vB2nM4kL6jH8gF5dS3aQ9wE1rT0y";

/// kubectl speaks WebSocket by itself, and SPDY where it is told to.
pub(crate) const TRANSPORTS: [(&str, &str); 2] = [("websocket", "true"), ("spdy", "false")];

pub(crate) fn kubectl(pods: &Pods, transport: &str, rest: &[&str]) -> Command {
    let mut command = pods.scene.kubectl(&pods.scene.token("bot"));
    command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", transport);
    command.env("KUBECTL_PORT_FORWARD_WEBSOCKETS", transport);
    command.args(pods.arguments(rest));
    command
}

fn run(pods: &Pods, transport: &str, rest: &[&str]) -> Answer {
    Answer::new(&kubectl(pods, transport, rest).output().unwrap())
}

#[test]
fn kubernetes_exec_gives_output_error_and_exit_code_and_is_replayed() {
    let Some(pods) = Pods::start("exec", RULES) else { return };
    for (name, transport) in TRANSPORTS {
        let answer =
            run(&pods, transport, &["exec", "web", "--", "sh", "-c", "echo to-out; echo to-err >&2; exit 7"]);
        assert_eq!(answer.code, Some(7), "{name}: {answer:?}");
        assert_eq!(answer.out, "to-out\n", "{name}");
        assert!(answer.err.contains("to-err") && answer.err.contains("exit code 7"), "{name}: {answer:?}");

        let answer = Answer::new(&feed(
            kubectl(&pods, transport, &["exec", "-i", "web", "--", "cat"]),
            "through\nand back",
        ));
        assert!(answer.ok() && answer.out == "through\nand back", "{name}: {answer:?}");

        let input = format!("token {CANARY} end\n");
        let answer =
            Answer::new(&feed(kubectl(&pods, transport, &["exec", "-i", "web", "--", "cat"]), &input));
        assert!(
            answer.ok() && answer.out.contains("end") && !answer.out.contains(CANARY),
            "{name}: {answer:?}"
        );

        // however it is put, and where nobody can tell
        for words in [
            &["rm", "-rf", "/tmp"][..],
            &["sh", "-c", "cd /tmp && rm -rf x"],
            &["env", "rm", "/tmp/x"],
            &["sh"],
            &["sh", "-c", "$RUN"],
        ] {
            let answer = run(&pods, transport, &[&["exec", "web", "--"], words].concat());
            assert_eq!(answer.code, Some(1), "{name}: {words:?}: {answer:?}");
            assert!(answer.err.contains("Do not remove what is not yours."), "{name}: {answer:?}");
        }
    }
    pods.scene.assert_nowhere(CANARY);
    let sessions = pods.scene.portcullis(&["sessions", "-o", "json"], 0).out;
    let sessions: serde_json::Value = serde_json::from_str(&sessions).unwrap();
    let replayed: String = sessions
        .as_array()
        .unwrap()
        .iter()
        .map(|session| pods.scene.portcullis(&["replay", session["id"].as_str().unwrap()], 0).out)
        .collect();
    for told in ["\nto-out\n", "\nto-err\n", "exit 7"] {
        assert_eq!(replayed.matches(told).count(), TRANSPORTS.len(), "{told}: {replayed}");
    }
    pods.scene.portcullis(&["verify"], 0);
}

/// Every byte value, secrets, text without an end, and standard error beside it.
#[test]
fn kubernetes_exec_is_replayed_byte_for_byte_as_the_client_received_it() {
    let Some(pods) = Pods::start("bytes", ANYTHING) else { return };
    let mut mixed: Vec<u8> = (0..=255_u8).cycle().take(70_000).collect();
    mixed.extend_from_slice(format!("\nkey = {CANARY}\nümläut \u{1f980} without an end").as_bytes());
    for (name, transport) in TRANSPORTS {
        let both = ["exec", "-i", "web", "--", "sh", "-c", "cat; cat /missing"];
        let client = feed(kubectl(&pods, transport, &both), &mixed);
        let shown = String::from_utf8_lossy(&client.stdout).into_owned();
        assert!(shown.contains("[MASKED:") && shown.ends_with("without an end"), "{name}");
        let listed = pods.scene.portcullis(&["sessions", "--limit", "1", "-o", "json"], 0).out;
        let sessions: serde_json::Value = serde_json::from_str(&listed).unwrap();
        let steps =
            pods.scene.portcullis(&["replay", sessions[0]["id"].as_str().unwrap(), "-o", "json"], 0).out;
        let [out, err] = e2e::replayed::streams(&steps).unwrap();
        assert!(
            out == client.stdout,
            "{name}: {} bytes on record, {} received",
            out.len(),
            client.stdout.len()
        );
        // behind the program's words, kubectl adds what it was told of its end
        let (err, received) = (String::from_utf8_lossy(&err), String::from_utf8_lossy(&client.stderr));
        assert!(!err.is_empty() && received.starts_with(&*err), "{name}: {err:?} {received:?}");
    }
}

#[test]
fn kubernetes_copies_arrive_whole() {
    let Some(pods) = Pods::start("cp", ANYTHING) else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("there.bin");
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect();
    std::fs::write(&file, &bytes).unwrap();
    for (name, transport) in TRANSPORTS {
        let answer = run(&pods, transport, &["cp", file.to_str().unwrap(), "web:/tmp/there.bin"]);
        assert!(answer.ok(), "{name}: {answer:?}");
        let back = directory.path().join(format!("back-{name}.bin"));
        let answer = run(&pods, transport, &["cp", "web:/tmp/there.bin", back.to_str().unwrap()]);
        assert!(answer.ok(), "{name}: {answer:?}");
        assert!(std::fs::read(&back).unwrap() == bytes, "{name}: what came back is not what went there");
    }
    let sessions = pods.scene.portcullis(&["sessions", "-o", "json"], 0).out;
    let sessions: serde_json::Value = serde_json::from_str(&sessions).unwrap();
    let replay = |session: &serde_json::Value| {
        pods.scene.portcullis(&["replay", session["id"].as_str().unwrap()], 0).out
    };
    let replayed: String = sessions.as_array().unwrap().iter().map(replay).collect();
    let done = Command::new("sha256sum").arg(&file).output().unwrap();
    let digest = String::from_utf8(done.stdout).unwrap();
    let digest = digest.split_whitespace().next().unwrap();
    let told = format!("there.bin: {} bytes, SHA-256 {digest}", bytes.len());
    assert_eq!(replayed.matches(&told).count(), 2 * TRANSPORTS.len(), "{told} is not in\n{replayed}");
}

#[test]
fn kubernetes_a_forwarded_port_carries_http_and_each_connection_is_told_apart_on_record() {
    const CONNECTIONS: u32 = 310;
    let Some(pods) = Pods::start("port", ANYTHING) else { return };
    for (name, transport) in TRANSPORTS {
        let forwarded = Forwarded::start(kubectl(&pods, transport, FORWARD));
        // busybox waits a second for more of each client
        std::thread::scope(|scope| {
            for _ in 0..31 {
                scope.spawn(|| {
                    for _ in 0..CONNECTIONS / 31 {
                        let answer = forwarded.page();
                        assert!(answer.ends_with("hello\n"), "{name}: {answer}");
                    }
                });
            }
        });
        drop(forwarded);
        let recorded = wait_until("all of it is on record", || {
            let listed = pods.scene.portcullis(&["sessions", "--limit", "1", "-o", "json"], 0).out;
            let sessions: serde_json::Value = serde_json::from_str(&listed).unwrap();
            let id = sessions[0]["id"].as_str().unwrap();
            let steps = pods.scene.portcullis(&["replay", id, "-o", "json"], 0).out;
            let recorded = e2e::replayed::channels(&steps).unwrap();
            (recorded.len() == 2 * CONNECTIONS as usize).then_some(recorded)
        })
        .unwrap();
        for (connection, pair) in recorded.values().collect::<Vec<_>>().chunks(2).enumerate() {
            let [asked, answered] = pair else { panic!("{pair:?}") };
            assert!(asked.starts_with(b"GET /index.html"), "{name}, {connection}");
            assert!(answered.starts_with(b"HTTP/1.0 200") || answered.starts_with(b"HTTP/1.1 200"), "{name}");
            assert!(answered.ends_with(b"hello\n"), "{name}, {connection}");
        }
    }
}

#[test]
fn kubernetes_logs_are_followed_as_they_come() {
    let Some(pods) = Pods::start("logs", ANYTHING) else { return };
    let answer = run(&pods, "true", &["logs", "web"]);
    assert!(answer.ok() && answer.out == "started\n", "{answer:?}");

    pods.run_pod(
        "ticker",
        &format!("echo {CANARY}; n=0; while sleep 0.2; do n=$((n+1)); echo tick $n; done"),
    );
    let mut command = kubectl(&pods, "true", &["logs", "--follow", "ticker"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(!first.contains(CANARY), "{first}");
    let ticks: Vec<String> = lines.by_ref().take(5).map(Result::unwrap).collect();
    assert!(ticks.iter().all(|tick| tick.starts_with("tick ")), "{ticks:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the log that was followed is on record as aborted", || {
        let shown = pods.scene.portcullis(&["commands", "-o", "json"], 0).out;
        let commands: serde_json::Value = serde_json::from_str(&shown).unwrap();
        let followed = |command: &&serde_json::Value| {
            command["text"].as_str().is_some_and(|text| text.contains("ticker") && text.contains("log"))
        };
        let outcome = commands.as_array().unwrap().iter().find(followed)?["outcome"].clone();
        (outcome == "aborted").then_some(())
    })
    .unwrap();
    pods.scene.assert_nowhere(CANARY);
}

#[test]
fn kubernetes_a_terminal_has_its_size_and_follows_it_and_an_attached_program_is_heard() {
    let Some(pods) = Pods::start("tty", ANYTHING) else { return };
    let Some(script) = e2e::tools::or_skip("script") else { return };
    for (name, transport) in TRANSPORTS {
        // a program can run before its terminal was told a size; then it is told another one
        let inner = "until [ \"$(stty size 2>/dev/null)\" = '40 100' ]; do sleep 0.1; done; stty size; while [ \"$(stty size)\" = '40 100' ]; do sleep 0.1; done; stty size";
        let kubectl = kubectl(&pods, transport, &["exec", "-it", "web", "--", "sh", "-c", inner]);
        let words = [kubectl.get_program()].into_iter().chain(kubectl.get_args());
        let quoted = words.map(|word| ["'", &word.to_str().unwrap().replace('\'', r"'\''"), "'"].concat());
        let line = format!("tty; stty rows 40 cols 100; exec {}", quoted.collect::<Vec<_>>().join(" "));
        let mut command = Command::new(&script);
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        command.envs(kubectl.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let terminal = lines.next().unwrap();
        assert!(terminal.starts_with("/dev/"), "{name}: {terminal}");
        assert_eq!(lines.next().as_deref().map(str::trim), Some("40 100"), "{name}");
        let resized =
            Command::new("stty").args(["-F", terminal.trim(), "rows", "50", "cols", "120"]).status();
        assert!(resized.unwrap().success(), "{name}");
        assert_eq!(lines.next().as_deref().map(str::trim), Some("50 120"), "{name}");
        // `script` reads on as long as its own input is open
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success(), "{name}");
    }
    // late, because containerd gives a process its input before it listens to what it answers
    pods.run_pod("echo", "while read line; do sleep 1; echo heard $line; done");
    for (name, transport) in TRANSPORTS {
        let mut command = kubectl(&pods, transport, &["attach", "-i", "echo"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        for word in ["one", CANARY] {
            writeln!(input, "{word}").unwrap();
            let line = lines.find(|line| line.starts_with("heard")).unwrap();
            assert_eq!(line == "heard one", word == "one", "{name}: {line}");
            assert!(!line.contains(CANARY), "{name}: {line}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    pods.scene.assert_nowhere(CANARY);
    let sessions = pods.scene.portcullis(&["sessions", "-o", "json"], 0).out;
    let sessions: serde_json::Value = serde_json::from_str(&sessions).unwrap();
    let cast = |session: &serde_json::Value| {
        let arguments = ["replay", session["id"].as_str().unwrap(), "--export", "asciicast"];
        pods.scene.portcullis(&arguments, 0).out
    };
    let casts: Vec<String> = sessions.as_array().unwrap().iter().map(cast).collect();
    let resized = casts.iter().filter(|cast| cast.contains("\"120x50\"")).count();
    assert_eq!(resized, TRANSPORTS.len(), "{casts:?}");
}
