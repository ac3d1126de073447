//! Forwarding, environment, and channels beside each other.

use crate::exec::POLICY;
use crate::gateway::Gateway;
use proxy_core::approval::Outcome;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Child;

async fn forwarded(gateway: &Gateway, destination: u16) -> Vec<u8> {
    forwarded_to(gateway, &format!("127.0.0.1:{destination}")).await
}

async fn forwarded_to(gateway: &Gateway, destination: &str) -> Vec<u8> {
    let mut ssh = gateway.program("ssh");
    ssh.args(["-W", destination, "deploy@127.0.0.1"]);
    let mut child = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = vec![0; 8];
    let read = child.stdout.as_mut().unwrap().read(&mut said);
    let count = tokio::time::timeout(Duration::from_secs(20), read).await.unwrap().unwrap();
    said.truncate(count);
    said
}

#[tokio::test]
async fn a_forwarding_leads_only_where_a_rule_says() {
    let Some(gateway) = Gateway::start(POLICY).await else { return };
    let sshd = gateway.sshd.port;
    assert_eq!(forwarded(&gateway, sshd).await, b"", "denied by default");
    gateway.put_in_force(&format!(
        "rules:\n- {{name: to-db, action: Allow, ssh: {{destinations: ['127.0.0.1:{sshd}']}}}}\n"
    ));
    assert_eq!(forwarded(&gateway, sshd).await, b"SSH-2.0-", "what the rule names");
    assert_eq!(forwarded(&gateway, gateway.port).await, b"", "nothing else");
}

#[tokio::test]
async fn a_destination_that_is_denied_is_denied_however_it_is_written() {
    let Some(gateway) = Gateway::start(POLICY).await else { return };
    let sshd = gateway.sshd.port;
    let rest = "- {name: rest, action: Allow, ssh: {effects: [ForwardLocal]}}\n";
    gateway.put_in_force(&format!("rules:\n{rest}"));
    assert_eq!(
        forwarded_to(&gateway, &format!("0x7f000001:{sshd}")).await,
        b"SSH-2.0-",
        "where nothing denies"
    );
    gateway.put_in_force(&format!(
        "rules:\n- {{name: no-self, action: Deny, ssh: {{destinations: ['LOCALHOST:*']}}}}\n{rest}"
    ));
    for name in [
        "127.0.0.1",
        "localhost",
        "LocalHost",
        "localhost.",
        "127.1",
        "127.0.0.2",
        "0x7f000001",
        "0177.1",
        "2130706433",
        "0",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
        "[::]",
    ] {
        assert_eq!(forwarded_to(&gateway, &format!("{name}:{sshd}")).await, b"", "{name}");
    }
}

#[tokio::test]
async fn a_variable_needs_a_rule_and_a_language_does_not() {
    let policy = format!("{POLICY}\n")
        .replace("rules:", "rules:\n- {name: debug, action: Allow, ssh: {variables: [APP_DEBUG]}}");
    let Some(gateway) = Gateway::start(&policy).await else { return };
    let mut ssh = gateway.program("ssh");
    ssh.args(["-oSendEnv=APP_DEBUG", "-oSendEnv=LD_PRELOAD2", "-oSendEnv=LANG", "deploy@127.0.0.1", "env"]);
    ssh.env("APP_DEBUG", "1").env("LD_PRELOAD2", "evil").env("LANG", "C.UTF-8");
    let said = String::from_utf8(ssh.stdin(Stdio::null()).output().await.unwrap().stdout).unwrap();
    assert!(said.contains("APP_DEBUG=1\n") && said.contains("LANG=C.UTF-8\n"), "{said}");
    assert!(!said.contains("LD_PRELOAD2"), "{said}");
}

/// Channels of one connection: over the first of them nothing runs.
struct Shared<'a> {
    gateway: &'a Gateway,
    control: String,
    _master: Child,
}

impl<'a> Shared<'a> {
    async fn start(gateway: &'a Gateway) -> Self {
        let socket = gateway.path().join("control");
        let control = format!("-oControlPath={}", socket.display());
        let mut master = gateway.program("ssh");
        master.args(["-N", "-oControlMaster=yes", &control, "deploy@127.0.0.1"]).kill_on_drop(true);
        let master = master.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        while !socket.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { gateway, control, _master: master }
    }

    fn begin(&self, line: &str) -> Child {
        let mut ssh = self.gateway.program("ssh");
        ssh.args([&self.control, "deploy@127.0.0.1", line]).kill_on_drop(true);
        ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// What a command line says for itself.
    async fn run(&self, line: &str) -> String {
        let mut child = self.begin(line);
        drop(child.stdin.take());
        let ended = tokio::time::timeout(Duration::from_secs(20), child.wait_with_output()).await;
        crate::gateway::ran(ended.expect("not held up").unwrap()).out
    }

    /// Sends so many MiB to a program, and comes back when it takes no more, with the task that goes on.
    async fn flood(child: &mut Child, mebibytes: usize) -> tokio::task::JoinHandle<bool> {
        let mut stdin = child.stdin.take().unwrap();
        let (told, mut taken) = tokio::sync::mpsc::unbounded_channel();
        let flood = tokio::spawn(async move {
            let block = vec![b'x'; 1 << 20];
            for _ in 0..mebibytes {
                if stdin.write_all(&block).await.is_err() {
                    return false;
                }
                told.send(()).unwrap_or_default();
            }
            true
        });
        while tokio::time::timeout(Duration::from_secs(1), taken.recv()).await.is_ok_and(|it| it.is_some()) {}
        flood
    }
}

/// Without detectors: they are slow in a build for tests, and not what this is about.
fn unmasked() -> &'static str {
    POLICY.split("masking:").next().unwrap()
}

/// One channel takes no input, of another nobody reads the output: others go on, and later ones open, in both orders.
/// When they are read, all is there.
#[tokio::test(flavor = "multi_thread")]
async fn hung_channels_hold_up_nobody_and_lose_nothing() {
    let Some(gateway) = Gateway::start(unmasked()).await else { return };
    let shared = Shared::start(&gateway).await;
    let go = gateway.path().join("go");
    let wait = format!("while [ ! -e {} ]; do sleep 0.1; done; wc -c", go.display());
    // alone at first
    let mut deaf = shared.begin(&wait);
    let flood = Shared::flood(&mut deaf, 24).await;
    assert!(!flood.is_finished(), "everything was taken, and nobody read it");
    assert_eq!(shared.run("echo later").await, "later\n");
    let mut unread = shared.begin("head -c 24000000 /dev/zero");
    let mut busy = shared.begin("cat");
    let (mut to, mut from) = (busy.stdin.take().unwrap(), busy.stdout.take().unwrap());
    for _ in 0..50 {
        let mut echo = [0; 1_000];
        to.write_all(&[b'e'; 1_000]).await.unwrap();
        let echoed = tokio::time::timeout(Duration::from_secs(20), from.read_exact(&mut echo)).await;
        assert_eq!(echoed.expect("not held up").unwrap(), 1_000);
    }
    assert_eq!(shared.run("head -c 4000000 /dev/zero | wc -c").await, "4000000\n");
    assert_eq!(shared.run("head -c 4000000 /dev/zero").await.len(), 4_000_000);
    assert!(!flood.is_finished() && deaf.try_wait().unwrap().is_none());
    std::fs::write(&go, "").unwrap();
    assert!(flood.await.unwrap());
    let said = crate::gateway::ran(deaf.wait_with_output().await.unwrap());
    assert_eq!((said.code, said.out.trim()), (Some(0), "25165824"), "{said:?}");
    let mut all = Vec::new();
    unread.stdout.take().unwrap().read_to_end(&mut all).await.unwrap();
    assert_eq!((all.len(), unread.wait().await.unwrap().code()), (24_000_000, Some(0)));
}

/// What is let send no more beside a channel that takes nothing gets its turn, and the other one is told why.
#[tokio::test(flavor = "multi_thread")]
async fn a_hung_channel_gives_way_to_one_that_has_much_to_send() {
    let stalled = Duration::from_secs(1);
    let Some(gateway) = Gateway::start_with(unmasked(), |options| options.limits.stalled = stalled).await
    else {
        return;
    };
    let shared = Shared::start(&gateway).await;
    let mut deaf = shared.begin("sleep 60");
    let flood = Shared::flood(&mut deaf, 64).await;
    assert!(!flood.is_finished());
    let mut busy = shared.begin("wc -c");
    assert!(Shared::flood(&mut busy, 16).await.await.unwrap(), "not held up");
    let said = crate::gateway::ran(busy.wait_with_output().await.unwrap());
    assert_eq!((said.code, said.out.trim()), (Some(0), "16777216"), "{said:?}");
    let ended = crate::gateway::ran(deaf.wait_with_output().await.unwrap());
    assert!(ended.err.contains("takes no input"), "{ended:?}");
    assert!(!flood.await.unwrap());
}

/// However long it takes to ask people about a command, other channels of its connection go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_about_which_people_are_being_asked_holds_up_no_other_channel() {
    let Some(gateway) = Gateway::start(POLICY).await else { return };
    let shared = Shared::start(&gateway).await;
    gateway.approvals.is_slow.send_replace(true);
    let answer = gateway.approvals.next();
    let held = shared.begin("systemctl --version >/dev/null 2>&1; echo ran");
    let asked = async {
        while gateway.approvals.questions.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asked).await.unwrap();
    assert_eq!(shared.run("echo later").await, "later\n");
    gateway.approvals.is_slow.send_replace(false);
    answer.send_replace(Some(Outcome::Approved { approvers: vec!["alice".to_owned()] }));
    let said = crate::gateway::ran(held.wait_with_output().await.unwrap());
    assert_eq!((said.code, said.out.as_str()), (Some(0), "ran\n"), "{said:?}");
}

/// Who asks for what cannot be held is refused at once, and nobody is asked about it.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_held_is_refused_without_asking_anybody() {
    let rules =
        "rules:\n- {name: held, action: Hold, ssh: {effects: [Environment, ForwardAgent, ForwardRemote]}}\n";
    let Some(gateway) = Gateway::start(rules).await else { return };
    gateway.approvals.is_slow.send_replace(true);
    let gate = crate::russh_client::through(&gateway).await;
    let mut channel = gate.channel_open_session().await.unwrap();
    channel.set_env(true, "STAGE", "production").await.unwrap();
    channel.agent_forward(true).await.unwrap();
    for _ in 0..2 {
        let answer = tokio::time::timeout(Duration::from_secs(20), channel.wait()).await;
        assert!(matches!(answer.expect("at once"), Some(russh::ChannelMsg::Failure)));
    }
    let listening = tokio::time::timeout(Duration::from_secs(20), gate.tcpip_forward("127.0.0.1", 0)).await;
    assert!(listening.expect("at once").is_err());
    assert_eq!(gateway.approvals.questions.lock().unwrap().len(), 0);
}

/// Says `one` to who connects, and `two` once the test says so.
async fn two_words(rest: tokio::sync::oneshot::Receiver<()>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"one").await.unwrap();
        rest.await.unwrap();
        stream.write_all(b"two").await.unwrap();
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_given_up_lets_what_came_through_it_end() {
    let rules = "rules:\n- {name: ports, action: Allow, ssh: {effects: [ForwardRemote]}}\n";
    let Some(gateway) = Gateway::start(rules).await else { return };
    let shared = Shared::start(&gateway).await;
    let (say, rest) = tokio::sync::oneshot::channel();
    // the host is here as well: this port is free on it
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let forward = format!("127.0.0.1:{port}:127.0.0.1:{}", two_words(rest).await);
    let control = async |order: &str| {
        let mut ssh = gateway.program("ssh");
        ssh.args([&shared.control, "-O", order, "-R", &forward, "deploy@127.0.0.1"]);
        let done = crate::gateway::ran(ssh.output().await.unwrap());
        assert_eq!(done.code, Some(0), "{order}: {done:?}");
    };
    control("forward").await;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut word = [0; 3];
    stream.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"one");
    control("cancel").await;
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(20), "the host listens on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    say.send(()).unwrap();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_exact(&mut word)).await;
    assert!(read.unwrap().is_ok(), "it was cut");
    assert_eq!(&word, b"two");
    // the port is free again, for the same session
    control("forward").await;
}

#[tokio::test]
async fn a_draining_gateway_lets_what_runs_end_and_starts_nothing_more() {
    let Some(gateway) = Gateway::start(POLICY).await else { return };
    let mut ssh = gateway.program("ssh");
    ssh.args(["deploy@127.0.0.1", "echo begun; read line; echo $line"]);
    let mut child = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut begun = [0; 6];
    // what is held back for the masks comes when the program pauses
    child.stdout.as_mut().unwrap().read_exact(&mut begun).await.unwrap();
    gateway.drain.cancel();
    tokio::time::sleep(Duration::from_millis(300)).await;
    child.stdin.as_mut().unwrap().write_all(b"to the end\n").await.unwrap();
    let output = tokio::time::timeout(Duration::from_secs(20), child.wait_with_output()).await.unwrap();
    let ended = crate::gateway::ran(output.unwrap());
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "to the end\n"), "{ended:?}");
}
