//! The reference implementation of the same specifications, in Go: its witness cosigns our logs, and it reads what our
//! witness cosigned.

use super::{agents_session, only_log, portcullis, wait_until_witnessed, witnessed};
use crate::scene::{Answer, Scene, prepare};
use e2e::process::{Process, wait_until};
use e2e::tools;
use proxy_audit::{Event, EventName, SessionStamp, Severity, Spool, SpoolOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use tempfile::TempDir;

/// The Go programs; built the first time.
fn programs() -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("clients/witness");
    let _building = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut script = Command::new(tools::repository().join("e2e/clients/witness/build"));
    let done = script.arg(&folder).stdin(Stdio::null()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    folder
}

/// Opens a cosigned note with the Go implementation, and gives what it read.
fn opened(log_key: &str, witness_key: &str, note: &str) -> String {
    let mut command = Command::new(programs().join("check-note"));
    command.args([log_key, witness_key]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(note.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{}\n{note}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// The newest cosigned note of a log, and the log's key.
fn newest(log: &Path) -> (u64, String, String) {
    let (size, note) = proxy_audit::checkpoint::newest_cosigned(log, u64::MAX).unwrap().unwrap();
    (size, note, std::fs::read_to_string(log.join("log.vkey")).unwrap().trim_end().to_owned())
}

#[test]
fn the_reference_implementation_reads_what_our_witness_cosigned() {
    if tools::or_skip("go").is_none() {
        return;
    }
    let Some((scene, witness)) = witnessed() else { return };
    agents_session(&scene);
    wait_until_witnessed(&scene, &witness);
    let log = only_log(&scene.gateway.state().join("audit"));
    let (size, note, key) = newest(&log);
    let origin = key.split('+').next().unwrap();
    assert_eq!(opened(&key, &witness.key, &note), format!("{origin} {size}\n"));
}

/// The reference witness with its key in an agent of its own.
struct LiteWitness {
    folder: TempDir,
    _agent: Process,
    _process: Process,
    argument: String,
    key: String,
}

impl LiteWitness {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (key, socket) = (folder.path().join("key"), folder.path().join("agent"));
        let mut generate = Command::new("ssh-keygen");
        generate.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key);
        assert!(generate.status().unwrap().success());
        let agent =
            Process::start("ssh-agent", Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket)).unwrap();
        let add = || {
            let mut add = Command::new("ssh-add");
            add.arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket).stderr(Stdio::null());
            add.status().unwrap().success().then_some(())
        };
        wait_until("the agent has the key", add).unwrap();
        let fingerprint = Command::new("ssh-keygen").arg("-lf").arg(&key).output().unwrap();
        let fingerprint = String::from_utf8(fingerprint.stdout).unwrap();
        let fingerprint = fingerprint.split_whitespace().nth(1).unwrap();
        let port = tools::free_port().unwrap();
        let mut command = Command::new(programs().join("litewitness"));
        command.args([
            "-name",
            "reference.example",
            "-key",
            fingerprint,
            "-listen",
            &format!("127.0.0.1:{port}"),
        ]);
        command.arg("-ssh-agent").arg(&socket).arg("-db").arg(folder.path().join("db"));
        let mut process = Process::start("litewitness", &mut command).unwrap();
        let key = process
            .wait_for_line("its key", |line| {
                let (_, key) = line.split_once("vkey=")?;
                Some(key.trim_matches('"').to_owned())
            })
            .unwrap();
        let argument = format!("{key} http://127.0.0.1:{port}");
        Self { folder, _agent: agent, _process: process, argument, key }
    }

    /// Makes a log known to it, as its administrator does.
    fn learn(&self, key: &str) {
        let origin = key.split('+').next().unwrap();
        for arguments in [&["add-log"][..], &["add-key", "-key", key]] {
            let mut command = Command::new(programs().join("witnessctl"));
            command.args(&arguments[..1]).arg("-db").arg(self.folder.path().join("db"));
            command.args(["-origin", origin]).args(&arguments[1..]);
            let done = command.output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
    }
}

#[test]
fn the_reference_witness_cosigns_our_logs() {
    if ["go", "ssh-agent", "ssh-keygen"].iter().any(|program| tools::or_skip(program).is_none()) {
        return;
    }
    let Some(mut prepared) = prepare() else { return };
    let witness = LiteWitness::start();
    prepared.setup = prepared.setup.argument(format!("--witness={}", witness.argument));
    let scene = Scene::of(prepared.start().unwrap());
    let log = only_log(&scene.gateway.state().join("audit"));
    let key = std::fs::read_to_string(log.join("log.vkey")).unwrap();
    witness.learn(key.trim_end());
    // Twice, so that the second has to be proved to go on from the first.
    let mut last = 0;
    for _ in 0..2 {
        agents_session(&scene);
        let end = proxy_audit::read::end(&log).unwrap();
        last = wait_until("it cosigned", || {
            let newest = proxy_audit::checkpoint::newest_cosigned(&log, u64::MAX).ok()??;
            (newest.0 >= end && newest.0 > last).then_some(newest.0)
        })
        .unwrap();
    }
    let (_, note, key) = newest(&log);
    opened(&key, &witness.key, &note);
    // Ours reads theirs.
    let answer = scene.portcullis(&["verify", "--witness", &witness.key], 0).out;
    assert!(answer.contains("records cosigned until"), "{answer}");
}

/// A tree of three levels of tiles would be 65,536 records; this is one of two.
#[tokio::test]
async fn the_reference_client_reads_a_log_as_tiles() {
    if tools::or_skip("go").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let (spool, _) = Spool::open(&SpoolOptions::new(log.clone(), "dev/default/orders/0")).unwrap();
    let session = SessionStamp::new(Vec::new());
    for number in 0..999 {
        spool
            .append(&session, Event::new(EventName::Error, Severity::Error, format!("number {number}")))
            .unwrap();
    }
    spool.close().await.unwrap();
    let (tiles, log) = (folder.path().join("tiles"), log.to_str().unwrap().to_owned());
    let written = portcullis(&["evidence", "tiles", tiles.to_str().unwrap(), "--spool", &log], 0);
    assert!(written.out.contains("1000 records"), "{written:?}");

    let key = std::fs::read_to_string(Path::new(&log).join("log.vkey")).unwrap();
    let check = || {
        let mut command = Command::new(programs().join("check-tiles"));
        Answer::new(&command.arg(tiles.join("0")).arg(key.trim_end()).output().unwrap())
    };
    assert_eq!(check().out, "dev/default/orders/0 1000");
    // And it is that client that looks: it finds a bit.
    let bundle = tiles.join("0/tile/entries/001");
    let mut bytes = std::fs::read(&bundle).unwrap();
    bytes[1_000] ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    let found = check();
    assert!(!found.success && found.err.contains("does not match Merkle tree"), "{found:?}");
}
