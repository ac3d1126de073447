//! Commands that wait for an approval.

use crate::exec::POLICY;
use crate::gateway::{Gateway, ran};
use proxy_core::approval::Outcome;
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
