//! A witness, as a process of its own: it finds what the log alone cannot show, and nothing waits for it.

mod reference;

use crate::scene::{Answer, Scene, prepare};
use e2e::process::{Process, wait_until};
use e2e::shop::RESOURCE;
use e2e::tools;
use proxy_audit::note::LogKey;
use proxy_audit::{Event, EventName, SessionStamp, Severity, Spool, SpoolOptions};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A running `portcullis witness`.
struct Witness {
    state: TempDir,
    process: Process,
    certifier: String,
    key: String,
    url: String,
}

impl Witness {
    /// One that knows the logs of whoever has this tenant key.
    fn start(tenant_key: &Path) -> Self {
        let certifier =
            portcullis(&["witness", "certifier", "--tenant-key", tenant_key.to_str().unwrap()], 0).out;
        let state = tempfile::tempdir().unwrap();
        let (process, key, url) = spawn(state.path(), &certifier, "127.0.0.1:0");
        Self { state, process, certifier, key, url }
    }

    fn again(&mut self) {
        let address = self.url.strip_prefix("http://").unwrap().to_owned();
        let (process, key, url) = spawn(self.state.path(), &self.certifier, &address);
        assert_eq!((&key, &url), (&self.key, &self.url));
        self.process = process;
    }

    fn kill(&mut self) {
        self.process.signal("KILL").unwrap();
        self.process.wait().unwrap();
    }

    fn argument(&self) -> String {
        format!("{} {}", self.key, self.url)
    }
}

fn spawn(state: &Path, certifier: &str, listen: &str) -> (Process, String, String) {
    let mut command = Command::new(tools::own("portcullis").unwrap());
    command.args(["witness", "serve", "--name", "witness.local", "--listen", listen]);
    command.args(["--certifier", certifier, "--state"]).arg(state);
    let mut process = Process::start("witness", &mut command).unwrap();
    let (key, url) = process
        .wait_for_line("its key and address", |line| {
            let (key, url) = line.strip_prefix("ready: ")?.split_once(' ')?;
            Some((key.to_owned(), url.to_owned()))
        })
        .unwrap();
    (process, key, url)
}

/// Runs `portcullis`; it must exit with `code`.
fn portcullis(arguments: &[&str], code: i32) -> Answer {
    let done = Command::new(tools::own("portcullis").unwrap()).args(arguments).output().unwrap();
    let answer = Answer::new(&done);
    assert_eq!(done.status.code(), Some(code), "portcullis {arguments:?}: {answer:?}");
    answer
}

/// A shop whose gateway has its log witnessed.
fn witnessed() -> Option<(Scene, Witness)> {
    let prepared = prepare()?;
    let tenant_key = prepared.setup.state().join("tenant.key");
    std::fs::write(&tenant_key, [7; 32]).unwrap();
    std::fs::set_permissions(&tenant_key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let witness = Witness::start(&tenant_key);
    let mut prepared = prepared;
    prepared.setup = prepared.setup.argument(format!("--witness={}", witness.argument()));
    Some((Scene::of(prepared.start().unwrap()), witness))
}

fn agents_session(scene: &Scene) {
    let token = scene.token("ci-bot");
    let answer = scene.run("readonly", &token, "select count(*) from orders");
    assert_eq!(answer.out, "10", "{answer:?}");
}

/// Waits until the witness cosigned all of the newest log, and gives the report on it.
fn wait_until_witnessed(scene: &Scene, witness: &Witness) -> Value {
    wait_until("all is witnessed", || {
        let answer = scene.portcullis_any(&["verify", "-o", "json", "--witness", &witness.argument()]);
        let reports: Vec<Value> = serde_json::from_str(&answer.out).ok()?;
        let report = reports.last()?.clone();
        (answer.success && !report["witnessed"].is_null() && report["witnessed"] == report["end"])
            .then_some(report)
    })
    .unwrap()
}

/// A copy of all logs with what belongs to them, to try things on.
fn copy(audit: &Path) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let copied = folder.path().join("audit");
    let done = Command::new("cp").arg("-a").arg(audit).arg(&copied).status().unwrap();
    assert!(done.success());
    (folder, copied)
}

fn only_log(audit: &Path) -> PathBuf {
    let mut logs = proxy_audit::read::logs(audit).unwrap();
    assert_eq!(logs.len(), 1, "{logs:?}");
    logs.remove(0)
}

#[test]
fn a_witness_finds_what_the_log_alone_cannot_show() {
    let Some((mut scene, witness)) = witnessed() else { return };
    let audit = scene.gateway.state().join("audit");
    agents_session(&scene);
    wait_until_witnessed(&scene, &witness);
    let (_early_folder, early) = copy(&audit);
    agents_session(&scene);
    agents_session(&scene);
    wait_until_witnessed(&scene, &witness);
    scene.gateway.process().signal("TERM").unwrap();
    scene.gateway.process_mut().wait().unwrap();
    let certifier = audit.join("certifier.vkey");
    let certifier = certifier.to_str().unwrap();
    let asked = witness.argument();
    let whole = portcullis(&["verify", audit.to_str().unwrap(), "--key", certifier, "--witness", &asked], 0);
    assert!(whole.out.contains("key ") && whole.out.contains("as given"), "{whole:?}");
    let alone = portcullis(&["verify", audit.to_str().unwrap()], 0);
    assert!(alone.out.contains("witness  none asked"), "{alone:?}");
    // The witness's word, for a machine without a network.
    let statement = scene.gateway.state().join("witnessed.note");
    let statement = statement.to_str().unwrap();
    portcullis(&["witness", "logs", &asked, "--file", statement], 0);

    let forgeries: [(&str, Forgery, i32, i32, &str); 4] = [
        ("rolled back with all beside it", roll_back, 0, 1, "tail cut: the checkpoint of size"),
        ("written anew with its own key", write_anew, 0, 1, "tail cut: the checkpoint of size"),
        ("written anew, and longer", write_anew_longer, 0, 1, "are not those that the checkpoint"),
        ("deleted", delete, 2, 2, "the whole log is not here"),
    ];
    for (name, forge, alone, with, said) in forgeries {
        let (_folder, copied) = copy(&audit);
        forge(&copied, &early);
        let shown = copied.to_str().unwrap();
        portcullis(&["verify", shown, "--key", certifier], alone);
        for how in [&["--witness", &asked][..], &["--witness", &witness.key, "--witnessed", statement]] {
            let answer = portcullis(&[&["verify", shown, "--key", certifier], how].concat(), with);
            assert!(answer.out.contains(said), "{name}: {answer:?}");
        }
    }

    // Deleted with the inventory that names it: nothing is left that could tell.
    let (_folder, copied) = copy(&audit);
    delete(&copied, &early);
    std::fs::remove_file(copied.join("inventory")).unwrap();
    let shown = copied.to_str().unwrap();
    let answer = portcullis(&["verify", shown], 3);
    assert!(answer.err.contains("no audit log"), "{answer:?}");
    let answer = portcullis(&["verify", shown, "--witness", &asked], 2);
    assert!(answer.out.contains("the whole log is not here"), "{answer:?}");
    assert!(answer.out.contains("witness witness.local saw"), "{answer:?}");
    let answer = portcullis(&["verify", shown, "--witness", &asked, "--below", "other/"], 3);
    assert!(answer.err.contains("no audit log"), "{answer:?}");
}

/// What is done to a copy of the logs, with one of an earlier time at hand.
type Forgery = fn(&Path, &Path);

/// The log as it was earlier, with its checkpoints and cosignatures of then.
fn roll_back(audit: &Path, early: &Path) {
    let log = only_log(audit);
    std::fs::remove_dir_all(&log).unwrap();
    let done = Command::new("cp").arg("-a").arg(only_log(early)).arg(&log).status().unwrap();
    assert!(done.success());
}

fn write_anew(audit: &Path, early: &Path) {
    anew(audit, early, 1);
}

fn write_anew_longer(audit: &Path, early: &Path) {
    anew(audit, early, 500);
}

/// Another history, signed by the log's own key, which whoever copied the state has while the gateway ran.
fn anew(audit: &Path, early: &Path, records: usize) {
    let log = only_log(audit);
    let beside = |log: &Path| PathBuf::from(format!("{}.key", log.display()));
    assert!(!beside(&log).exists(), "a log that is closed has no key");
    std::fs::copy(beside(&only_log(early)), beside(&log)).unwrap();
    let key = std::fs::read_to_string(log.join("log.vkey")).unwrap();
    let certificate = std::fs::read(log.join("log.certificate")).unwrap();
    std::fs::remove_dir_all(&log).unwrap();
    let options = SpoolOptions::new(&log, LogKey::parse(&key).unwrap().name());
    let (spool, _) = Spool::open(&options).unwrap();
    let nobody = SessionStamp::new(Vec::new());
    for _ in 0..records {
        spool.append(&nobody, Event::new(EventName::Error, Severity::Error, "nothing happened")).unwrap();
    }
    drop(spool);
    std::fs::write(log.join("log.certificate"), certificate).unwrap();
}

fn delete(audit: &Path, _: &Path) {
    std::fs::remove_dir_all(only_log(audit)).unwrap();
}

#[test]
fn nothing_waits_for_a_witness_that_is_away_and_it_covers_all_when_it_is_back() {
    let Some((mut scene, mut witness)) = witnessed() else { return };
    agents_session(&scene);
    let before = wait_until_witnessed(&scene, &witness);
    witness.kill();
    agents_session(&scene);
    // Known from beside the log: how far it was witnessed. What came since is signed, and nobody else's word is on it.
    let answer = scene.portcullis(&["verify", "--witness", &witness.key], 0).out;
    assert!(answer.contains("records after it not yet") && answer.contains("only from beside"), "{answer}");
    wait_until("failures in the metrics", || {
        let metrics = scene.gateway.admin("metrics").ok()?;
        let line = metrics.lines().find(|line| line.starts_with("portcullis_audit_witness_failures{"))?;
        (!line.ends_with(" 0")).then_some(())
    })
    .unwrap();
    // The gateway, too, starts without it; its earlier log is cosigned to the end later.
    scene.gateway.crash_and_restart().unwrap();
    agents_session(&scene);
    witness.again();
    let after = wait_until_witnessed(&scene, &witness);
    assert_ne!(after["origin"], before["origin"]);
    wait_until("the earlier log is witnessed as well", || {
        let answer = scene.portcullis_any(&["verify", "-o", "json", "--witness", &witness.argument()]);
        let reports: Vec<Value> = serde_json::from_str(&answer.out).ok()?;
        let all = reports.len() == 2 && reports.iter().all(|report| report["witnessed"] == report["end"]);
        (all && answer.success).then_some(())
    })
    .unwrap();
    let listed = portcullis(&["witness", "logs", &witness.argument(), "-o", "json"], 0).out;
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let of_resource = |log: &Value| log["log"].as_str().unwrap().contains(&format!("/{RESOURCE}/"));
    assert!(listed.len() == 2 && listed.iter().all(of_resource), "{listed:?}");
}
