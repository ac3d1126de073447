//! Commands that wait for an approval.

use crate::exec::POLICY;
use crate::gateway::{Gateway, ran};
use proxy_audit::event::key;
use proxy_core::approval::Outcome;
use russh::ChannelMsg;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// Starts a held command and waits until the client has been told.
async fn held(gateway: &Gateway, arguments: &[&str]) -> (tokio::process::Child, String) {
    let mut command = gateway.program("ssh");
    command.args(arguments).args(["deploy@127.0.0.1", "systemctl --version >/dev/null 2>&1; echo ran"]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    let line = tokio::time::timeout(Duration::from_secs(20), lines.next_line()).await.unwrap();
    (child, line.unwrap().unwrap_or_default())
}

#[tokio::test]
async fn a_held_command_runs_once_it_is_approved() {
    let Some(gateway) = Gateway::start(POLICY).await else { return };
    let answer = gateway.approvals.next();
    let (child, notice) = held(&gateway, &[]).await;
    assert!(notice.contains("waiting for approval hosts-1"), "{notice}");
    answer.send(Some(Outcome::Approved { approvers: vec!["alice (ops): CHG-1".to_owned()] })).unwrap();
    let ran = ran(child.wait_with_output().await.unwrap());
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "ran\n"), "{ran:?}");
}

#[tokio::test]
async fn a_held_command_that_is_denied_is_refused() {
    let Some(gateway) = Gateway::start(POLICY).await else { return };
    let answer = gateway.approvals.next();
    let (child, _) = held(&gateway, &[]).await;
    answer.send(Some(Outcome::Denied { approver: "alice".to_owned() })).unwrap();
    let ran = ran(child.wait_with_output().await.unwrap());
    assert_eq!((ran.code, ran.out.as_str()), (Some(126), ""), "{ran:?}");
    assert!(ran.err.contains("denied by alice"), "{ran:?}");
}

#[tokio::test]
async fn a_client_that_leaves_withdraws_its_request() {
    let Some(gateway) = Gateway::start(POLICY).await else { return };
    let _answer = gateway.approvals.next();
    let (mut child, _) = held(&gateway, &[]).await;
    child.kill().await.unwrap();
    let began = std::time::Instant::now();
    while *gateway.approvals.withdrawn.lock().unwrap() == 0 {
        assert!(began.elapsed() < Duration::from_secs(10), "not withdrawn");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("withdrawn after {:?}", began.elapsed());
}

/// Each way in which a client gives a command up that waits, while its connection goes on: within a second nobody is
/// asked about it any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_gives_up_what_waits_withdraws_its_request_within_a_second() {
    let terminals = POLICY.replace("effects: [Execute", "effects: [Terminal, Execute");
    let Some(gateway) = Gateway::start(&terminals).await else { return };
    let gate = crate::russh_client::through(&gateway).await;
    for (withdrawn, way) in (1..).zip(["Ctrl-C", "a signal", "a channel that is closed"]) {
        let _answer = gateway.approvals.next();
        let mut channel = gate.channel_open_session().await.unwrap();
        if way == "Ctrl-C" {
            channel.request_pty(true, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
        }
        channel.exec(true, "systemctl --version >/dev/null 2>&1; echo ran").await.unwrap();
        let waits = async {
            loop {
                match channel.wait().await.expect("it waits") {
                    ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. }
                        if String::from_utf8_lossy(&data).contains("waiting for approval") =>
                    {
                        return;
                    }
                    _ => {}
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waits).await.unwrap();
        let began = std::time::Instant::now();
        match way {
            "Ctrl-C" => channel.data_bytes(&b"\x03"[..]).await.unwrap(),
            "a signal" => channel.signal(russh::Sig::INT).await.unwrap(),
            _ => channel.close().await.unwrap(),
        }
        while *gateway.approvals.withdrawn.lock().unwrap() < withdrawn {
            assert!(began.elapsed() < Duration::from_secs(1), "{way}: not withdrawn");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if way == "a channel that is closed" {
            continue;
        }
        let mut status = None;
        while let Some(message) = channel.wait().await {
            if let ChannelMsg::ExitStatus { exit_status } = message {
                status = Some(exit_status);
            }
        }
        assert_eq!(status, Some(126), "{way}");
    }
    assert!(!gateway.has_said("ran"));
}

/// Starts a command line that is held, with a variable, and sends what would change it while it is.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_comes_while_a_command_is_held_goes_along_with_it() {
    let stage = "- {name: stage, action: Allow, ssh: {effects: [Environment], variables: [STAGE]}}\nmasking:";
    let policy = POLICY.replace("masking:", stage);
    let Some(gateway) = Gateway::start(&policy).await else { return };
    let answer = gateway.approvals.next();
    let gate = crate::russh_client::through(&gateway).await;
    let mut channel = gate.channel_open_session().await.unwrap();
    channel.set_env(true, "STAGE", "staging").await.unwrap();
    channel.exec(true, "systemctl --version >/dev/null 2>&1; echo $STAGE; tty").await.unwrap();
    let (mut answers, mut out) = (Vec::new(), Vec::new());
    let (mut asked, mut answer) = (false, Some(answer));
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::ExtendedData { .. } if !asked => {
                asked = true;
                channel.set_env(true, "STAGE", "production").await.unwrap();
                channel.request_pty(true, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
                channel.agent_forward(true).await.unwrap();
                channel.exec(true, "echo other").await.unwrap();
            }
            ChannelMsg::Success => answers.push(true),
            ChannelMsg::Failure => answers.push(false),
            ChannelMsg::Data { data } => out.extend_from_slice(&data),
            _ => {}
        }
        if answers.len() == 6
            && let Some(answer) = answer.take()
        {
            answer
                .send(Some(Outcome::Approved { approvers: vec!["alice (ops): CHG-1".to_owned()] }))
                .unwrap();
        }
    }
    assert_eq!(answers, [true, true, false, false, false, false]);
    assert_eq!(String::from_utf8(out).unwrap(), "staging\nnot a tty\n");
    let shown = gateway
        .records()
        .iter()
        .filter_map(|record| record.text(key::COMMAND_LINE).map(str::to_owned))
        .collect::<Vec<_>>();
    assert!(shown.iter().any(|line| line.ends_with("(with STAGE='staging')")), "{shown:?}");
}
