//! Forwarding, environment, and channels beside each other.

use crate::exec::POLICY;
use crate::gateway::Gateway;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn forwarded(gateway: &Gateway, destination: u16) -> Vec<u8> {
    let mut ssh = gateway.program("ssh");
    ssh.args(["-W", &format!("127.0.0.1:{destination}"), "deploy@127.0.0.1"]);
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

/// One connection with a channel that takes no input and one that is busy: the first is ended when it has stopped the
/// second for as long as it may.
#[tokio::test(flavor = "multi_thread")]
async fn a_hung_channel_does_not_hold_up_a_busy_one() {
    // without detectors: they are slow in a build for tests, and not what this is about
    let policy = POLICY.split("masking:").next().unwrap();
    let Some(gateway) =
        Gateway::start_with(policy, |options| options.limits.stalled = Duration::from_secs(1)).await
    else {
        return;
    };
    let socket = gateway.path().join("control");
    let control = format!("-oControlPath={}", socket.display());
    let mut busy = gateway.program("ssh");
    busy.args(["-oControlMaster=yes", &control, "deploy@127.0.0.1", "cat"]);
    let mut busy = busy.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut to, mut from) = (busy.stdin.take().unwrap(), busy.stdout.take().unwrap());
    let mut turn = async || {
        let began = Instant::now();
        let mut echo = [0; 5];
        to.write_all(b"echo\n").await.unwrap();
        let echoed = tokio::time::timeout(Duration::from_secs(20), from.read_exact(&mut echo)).await;
        assert_eq!(echoed.expect("not held up").unwrap(), 5);
        began.elapsed()
    };
    turn().await;
    let mut hung = gateway.program("ssh");
    hung.args([&control, "deploy@127.0.0.1", "sleep 60"]);
    let mut hung = hung.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = hung.stdin.take().unwrap();
    let flood = tokio::spawn(async move {
        let block = vec![0_u8; 1 << 20];
        while stdin.write_all(&block).await.is_ok() {}
    });
    let mut slowest = Duration::ZERO;
    while hung.try_wait().unwrap().is_none() {
        slowest = slowest.max(turn().await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("slowest turn beside a hung channel: {slowest:?}");
    flood.await.unwrap();
    let ended = crate::gateway::ran(hung.wait_with_output().await.unwrap());
    assert!(ended.err.contains("takes no input"), "{ended:?}");
    turn().await;
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
