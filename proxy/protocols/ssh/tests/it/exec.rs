//! Command lines: allowed, refused, masked, recorded.

use crate::gateway::Gateway;
use proxy_audit::event::key;
use proxy_audit::stream::{Channel, StreamEvent};

pub(crate) const POLICY: &str = "
rules:
- {name: no-removal, action: Deny, ssh: {commands: [{name: rm, args: ['-rf']}]}, message: 'Ask the owners.'}
- {name: restarts, action: Hold, ssh: {commands: [{name: systemctl}]}, approval: {timeoutSeconds: 60, reviewers: [{group: ops, count: 1}]}}
- {name: rest, action: Allow, ssh: {effects: [Execute, Read, Write, List, Remove, Rename, Attributes, Unknown]}}
masking:
- {detectors: [AwsAccessKey], with: {type: Redact}}
";

/// Put together here, so that no scanner takes this file for a leak.
pub(crate) fn canary() -> String {
    format!("AKIA{}", "IOSFODNN7EXAMPLF")
}

pub(crate) fn said(events: &[StreamEvent], wanted: Channel) -> String {
    let data = events.iter().filter_map(|event| match event {
        StreamEvent::Data { channel, bytes } if *channel == wanted => Some(bytes.to_vec()),
        _ => None,
    });
    String::from_utf8(data.flatten().collect()).unwrap()
}

#[tokio::test]
async fn an_allowed_command_runs_masked_and_is_recorded_as_the_client_saw_it() {
    let Some(gateway) = Gateway::start(POLICY).await else { return };
    let line = format!("printf 'key {}\\nend' ; echo oops >&2; exit 7", canary());
    let ran = gateway.run(&line).await;
    assert_eq!((ran.code, ran.err.trim_end()), (Some(7), "oops"), "{ran:?}\n{}", gateway.sshd.log());
    assert_eq!(ran.out, "key [MASKED:aws-access-key]\nend", "{ran:?}");
    let events = gateway.stream(2);
    assert_eq!(said(&events, Channel::STDOUT), ran.out);
    assert_eq!(said(&events, Channel::STDERR), "oops\n");
    assert!(matches!(events.last(), Some(StreamEvent::Exit(7))), "{events:?}");
    let records = gateway.records();
    let result = records.iter().rev().find(|record| record.name() == "portcullis.result").unwrap();
    assert_eq!((result.text(key::OUTCOME), result.int(key::EXIT_CODE)), (Some("error"), Some(7)));
    assert!(!gateway.log().contains(&canary()), "the log must not hold what is masked");
}

#[tokio::test]
async fn a_file_that_is_denied_is_denied_by_every_name_that_the_hosts_shell_would_find_it_by() {
    let Some(gateway) = Gateway::start(POLICY).await else { return };
    let (dir, rules) = (gateway.path().display(), POLICY.replace("masking:", ""));
    let rules = rules.split("- {detectors").next().unwrap();
    gateway.put_in_force(&format!(
        "{rules}- {{name: secret, action: Deny, ssh: {{paths: ['{dir}/secret', '{dir}/d/**']}}}}\n"
    ));
    std::fs::write(gateway.path().join("secret"), "what nobody reads\n").unwrap();
    std::fs::write(gateway.path().join("plain"), "what anybody reads\n").unwrap();
    std::fs::create_dir(gateway.path().join("d")).unwrap();
    std::fs::write(gateway.path().join("d/secret"), "what nobody reads\n").unwrap();
    for line in [
        format!("cat {dir}/secr*"),
        format!("cat {dir}/[s]ecre?"),
        format!("cat {dir}/{{plain,secret}}"),
        format!("cat {dir}/?/*"),
        format!("cat /proc/self/root{dir}/secret"),
        format!("grep -r . {dir}"),
        format!("cd {dir} && tail *"),
        format!("xxd {dir}/s*"),
        format!("rm -r {dir}/d*"),
    ] {
        let ran = gateway.run(&line).await;
        assert_eq!((ran.code, ran.out.as_str()), (Some(126), ""), "{line}: {ran:?}");
        assert!(ran.err.contains("by rule secret"), "{line}: {ran:?}");
    }
    let ran = gateway.run(&format!("cat {dir}/plai?")).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "what anybody reads\n"), "{ran:?}");
}

#[tokio::test]
async fn a_denied_command_never_reaches_the_host_and_names_its_rule() {
    let Some(gateway) = Gateway::start(POLICY).await else { return };
    let kept = gateway.path().join("kept");
    std::fs::write(&kept, "x").unwrap();
    let ran = gateway.run(&format!("rm -rf {}", kept.display())).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(126), ""), "{ran:?}");
    assert!(ran.err.contains("Ask the owners.") && ran.err.contains("no-removal"), "{ran:?}");
    assert!(kept.exists());
    let records = gateway.records();
    let statement = records.iter().rev().find(|record| record.name() == "portcullis.statement").unwrap();
    assert_eq!((statement.text(key::VERDICT), statement.text(key::RULE)), (Some("deny"), Some("no-removal")));
}

#[tokio::test]
async fn input_of_any_size_reaches_the_program_and_comes_back() {
    // without detectors: how they take binary data is another test's matter
    let policy = POLICY.split("masking:").next().unwrap();
    let Some(gateway) = Gateway::start(policy).await else { return };
    let sent: Vec<u8> =
        (0..6_000_000_u32).map(|i| u8::try_from(i.wrapping_mul(2_654_435_761) >> 24).unwrap()).collect();
    let mut command = gateway.program("ssh");
    command
        .args(["deploy@127.0.0.1", "cat"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writing = {
        let sent = sent.clone();
        tokio::spawn(async move {
            use tokio::io::AsyncWriteExt as _;
            stdin.write_all(&sent).await.unwrap();
        })
    };
    let output = child.wait_with_output().await.unwrap();
    writing.await.unwrap();
    assert!(output.status.success());
    assert!(output.stdout == sent, "{} of {} bytes", output.stdout.len(), sent.len());
}
