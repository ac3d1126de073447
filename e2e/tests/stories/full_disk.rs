//! The disk of the record is full, or fails: nothing runs that cannot be recorded, the client is told why, and once
//! there is room again all goes on by itself.
//!
//! On real file systems of a few MiB, in a mount namespace of the story's own. Needs root.

use crate::scene::{Answer, Scene, prepare};
use e2e::mounts::{fill, has_own_mounts, mount_over, run};
use e2e::process::wait_until;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A psql that stays, asked a statement at a time.
struct Psql {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Psql {
    fn start(scene: &Scene, subject: &str) -> Self {
        let mut psql = scene.psql("app", &scene.token(subject));
        psql.args(["-At", "-v", "VERBOSITY=verbose"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        // One stream, so that errors come where they belong.
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "exec \"$@\" 2>&1", "sh"])
            .arg(psql.get_program())
            .args(psql.get_args())
            .env_clear();
        for (name, value) in psql.get_envs() {
            shell.env(name, value.unwrap());
        }
        let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, stdin, stdout }
    }

    /// What psql prints of a statement.
    fn ask(&mut self, sql: &str) -> String {
        writeln!(self.stdin, "{sql};\n\\echo -- done").unwrap();
        let mut said = String::new();
        loop {
            let mut line = String::new();
            if self.stdout.read_line(&mut line).unwrap() == 0 || line == "-- done\n" {
                return said;
            }
            said.push_str(&line);
        }
    }
}

impl Drop for Psql {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn full_disk_refuses_commands_until_there_is_room_again() {
    if !has_own_mounts("full_disk::full_disk_refuses_commands_until_there_is_room_again").unwrap() {
        return;
    }
    let Some(prepared) = prepare() else { return };
    let state = prepared.setup.state().to_owned();
    mount_over(&state, &["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).unwrap();
    let ballast = fill(&state).unwrap();
    let starts = Answer::new(&prepared.setup.command().unwrap().output().unwrap());
    assert!(!starts.success && starts.err.contains("No space left on device"), "{starts:?}");
    std::fs::remove_file(ballast).unwrap();
    let scene = Scene::of(prepared.start().unwrap());
    scene.server.sql("shop", "create table marks (number int); grant insert on marks to app").unwrap();
    let mut stays = Psql::start(&scene, "stays");
    assert_eq!(stays.ask("insert into marks values (1)"), "INSERT 0 1\n");

    // Nothing runs: not in the session that is open, and not in a new one.
    let ballast = fill(&state).unwrap();
    let refused = wait_until("a refusal", || {
        let said = stays.ask("insert into marks values (2)");
        (said != "INSERT 0 1\n").then_some(said)
    });
    let before = marks(&scene);
    for said in [refused.unwrap(), stays.ask("insert into marks values (2)"), stays.ask("select 1")] {
        assert!(said.starts_with("ERROR:  58000: the gateway cannot record"), "{said}");
        assert!(said.contains("disk of the audit spool is full: free or add space"), "{said}");
        assert!(said.contains("HINT:  try again later, and tell whoever runs the gateway"), "{said}");
    }
    let comes = scene.run("app", &scene.token("comes"), "insert into marks values (3)");
    assert!(!comes.success && comes.err.contains("disk of the audit spool is full"), "{comes:?}");
    assert_eq!(marks(&scene), before);
    // Whoever chooses where sessions go is told, and why; nobody is told to start the gateway again.
    let unready = not_ready(&scene);
    let why =
        "shop/orders, so every command is refused: the disk of the audit spool is full: free or add space";
    assert!(unready.contains(why), "{unready}");
    assert_eq!(scene.gateway.admin("healthz").unwrap(), "ok\n");
    assert_eq!(has_room(&scene), "0");

    // There is room again, and nobody did anything else.
    std::fs::remove_file(ballast).unwrap();
    wait_until("it is ready", || scene.gateway.admin("readyz").ok()).unwrap();
    assert_eq!(has_room(&scene), "1");
    assert_eq!(stays.ask("insert into marks values (4)"), "INSERT 0 1\n");
    let comes = scene.run("app", &scene.token("comes"), "insert into marks values (5)");
    assert!(comes.success, "{comes:?}");
    assert_eq!(marks(&scene), format!("{before}\n4\n5"));

    // A result that fills the disk itself reaches nobody who has no record of it.
    let big = scene.run(
        "app",
        &scene.token("big"),
        "select repeat(md5(i::text), 30) from generate_series(1, 9000) i",
    );
    assert!(!big.success && big.err.contains("disk of the audit spool is full"), "{big:?}");
    not_ready(&scene);
    let of_big = scene.portcullis(&["commands", "--identity", "big", "-o", "csv"], 0).out;
    assert!(of_big.contains(",aborted,"), "{of_big}");
    scene.portcullis(&["verify"], 0);
}

/// A disk that others fill is noticed before a command has to be refused.
#[test]
fn full_disk_is_noticed_while_nobody_sends_a_command() {
    if !has_own_mounts("full_disk::full_disk_is_noticed_while_nobody_sends_a_command").unwrap() {
        return;
    }
    let Some(prepared) = prepare() else { return };
    let state = prepared.setup.state().to_owned();
    mount_over(&state, &["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).unwrap();
    let scene = Scene::of(prepared.start().unwrap());
    let ballast = fill(&state).unwrap();
    not_ready(&scene);
    std::fs::remove_file(ballast).unwrap();
    wait_until("it is ready", || scene.gateway.admin("readyz").ok()).unwrap();
    let log = scene.gateway.log();
    assert!(
        log.contains("nothing can be recorded") && log.contains("there is room for records again"),
        "{log}"
    );
    let comes = scene.run("app", &scene.token("comes"), "select 1");
    assert!(comes.success, "{comes:?}");
    scene.portcullis(&["verify"], 0);
}

/// What the gateway answers once it is not ready.
fn not_ready(scene: &Scene) -> String {
    wait_until("it is not ready", || scene.gateway.admin("readyz").is_err().then_some(())).unwrap();
    let url = format!("http://{}/readyz", scene.gateway.admin_address());
    let done = Command::new("curl").args(["-sS", "-w", "%{http_code}", &url]).output().unwrap();
    let answer = String::from_utf8(done.stdout).unwrap();
    assert!(answer.ends_with("503"), "{answer}");
    answer
}

/// The metric of it.
fn has_room(scene: &Scene) -> String {
    let metrics = scene.gateway.admin("metrics").unwrap();
    let line =
        metrics.lines().find(|line| line.starts_with("portcullis_audit_room{resource=\"shop/orders\"}"));
    line.unwrap().rsplit(' ').next().unwrap().to_owned()
}

fn marks(scene: &Scene) -> String {
    scene.server.sql("shop", "select number from marks order by ctid").unwrap().trim_end().to_owned()
}

/// A file system of more than its disk has takes what is written, and fails when that is synced: what it holds since,
/// nobody knows.
#[test]
fn disk_that_fails_ends_the_gateway_and_the_next_start_goes_on() {
    if !has_own_mounts("full_disk::disk_that_fails_ends_the_gateway_and_the_next_start_goes_on").unwrap() {
        return;
    }
    let Some(prepared) = prepare() else { return };
    let state = prepared.setup.state().to_owned();
    let disk = tempfile::tempdir().unwrap();
    let image = disk.path().join("image");
    let image = image.to_str().unwrap();
    run("mount", &["-t", "tmpfs", "-o", "size=6m", "tmpfs", disk.path().to_str().unwrap()]).unwrap();
    run("truncate", &["--size=32M", image]).unwrap();
    run("mkfs.ext4", &["-q", "-O", "^has_journal", image]).unwrap();
    mount_over(&state, &["-o", "loop", image]).unwrap();
    let mut scene = Scene::of(prepared.start().unwrap());
    scene.server.sql("shop", "create table marks (number int); grant insert on marks to app").unwrap();
    let mut stays = Psql::start(&scene, "stays");
    assert_eq!(stays.ask("insert into marks values (1)"), "INSERT 0 1\n");

    let ballast = fill(disk.path()).unwrap();
    let mut told = 1;
    let said = wait_until("the disk to fail", || {
        let said = stays.ask("insert into marks values (2)");
        told += usize::from(said == "INSERT 0 1\n");
        (said != "INSERT 0 1\n").then_some(said)
    });
    let said = said.unwrap();
    assert!(said.is_empty() || said.contains("the gateway cannot record"), "{said}");
    wait_until("the gateway's end", || {
        scene.gateway.log().contains("portcullis-proxy: the disk of an audit log failed").then_some(())
    })
    .unwrap();
    let ran = marks(&scene).lines().count();

    // Whoever supervises it starts it again.
    std::fs::remove_file(ballast).unwrap();
    scene.gateway.crash_and_restart().unwrap();
    let comes = scene.run("app", &scene.token("comes"), "insert into marks values (3)");
    assert!(comes.success, "{comes:?}");
    let sessions = scene.portcullis(&["sessions", "--identity", "stays"], 0).out;
    assert!(sessions.contains("crash_recovered"), "{sessions}");
    let recorded =
        scene.portcullis(&["commands", "--identity", "stays", "--text", "insert", "-o", "ndjson"], 0).out;
    assert!(told <= ran && ran <= recorded.lines().count(), "{told} told, {ran} ran: {recorded}");
    scene.portcullis(&["verify"], 0);
}
