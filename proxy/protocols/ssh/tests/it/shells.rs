//! Shells: denied by default, decided line by line, or recorded.

use crate::gateway::{Gateway, Ran, ran};
use proxy_audit::event::key;
use std::process::Stdio;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const LINES: &str = "
rules:
- {name: shells, action: Allow, ssh: {effects: [Shell]}}
- {name: no-removal, action: Deny, ssh: {effects: [Remove], unbounded: true}, message: 'Ask the owners.'}
- {name: rest, action: Allow, ssh: {effects: [Execute, Read, Write, List, Attributes]}}
";

async fn typed(gateway: &Gateway, arguments: &[&str], keys: &[u8]) -> Ran {
    let mut ssh = gateway.program("ssh");
    ssh.args(arguments).arg("deploy@127.0.0.1");
    ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = ssh.spawn().unwrap();
    child.stdin.take().unwrap().write_all(keys).await.unwrap();
    let waiting = tokio::time::timeout(std::time::Duration::from_mins(1), child.wait_with_output());
    ran(waiting.await.expect("the shell ends").unwrap())
}

#[tokio::test]
async fn a_shell_is_refused_by_default() {
    let Some(gateway) = Gateway::start(crate::exec::POLICY).await else { return };
    let ran = gateway.run_as(crate::gateway::TOKEN, &["-tt"], "").await;
    assert_eq!(ran.code, Some(126), "{ran:?}");
}

#[tokio::test]
async fn the_line_that_the_shell_would_run_is_the_line_that_is_decided() {
    let Some(gateway) = Gateway::start(LINES).await else { return };
    let tree = gateway.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    // typed with a mistake, corrected, and with the command's start inserted last (catalogue T02, T03)
    let keys =
        format!("cd {0}\rpwd\r -rf {0}/treex\x7f\x01rm\recho still here\rexit 4\r", gateway.path().display());
    let ran = typed(&gateway, &["-tt"], keys.as_bytes()).await;
    assert_eq!(ran.code, Some(4), "{ran:?}\n{}", gateway.sshd.log());
    assert!(ran.out.contains("Ask the owners."), "{ran:?}");
    assert!(
        ran.out.contains(&format!("\n{}\r\n", gateway.path().display())),
        "a shell keeps its directory: {ran:?}"
    );
    assert!(ran.out.contains("\nstill here\r\n") && tree.exists(), "{ran:?}");
    let denied: Vec<String> = gateway
        .records()
        .iter()
        .filter(|record| record.text(key::VERDICT) == Some("deny"))
        .map(|record| record.text(key::COMMAND_LINE).unwrap().to_owned())
        .collect();
    assert_eq!(denied, [format!("rm -rf {}/tree", gateway.path().display())]);
}

/// What a rule says about paths holds wherever the shell is, and whatever its variables hold.
#[tokio::test]
async fn a_line_is_decided_where_the_lines_before_it_have_led() {
    let Some(gateway) = Gateway::start(LINES).await else { return };
    gateway.put_in_force(&format!(
        "{LINES}- {{name: not-those, action: Deny, ssh: {{paths: ['{}/kept/*']}}, message: 'Those stay.'}}\n- {{name: removal, action: Allow, ssh: {{effects: [Remove]}}}}\n",
        gateway.path().display()
    ));
    let (kept, other) = (gateway.path().join("kept"), gateway.path().join("other"));
    for dir in [&kept, &other] {
        std::fs::create_dir(dir).unwrap();
        std::fs::write(dir.join("f"), "content").unwrap();
    }
    let keys =
        format!("cd {0}\rrm f\rx={0}/f\rrm $x\rcd ../other\rrm f\recho still here\rexit\r", kept.display());
    let ran = typed(&gateway, &["-tt"], keys.as_bytes()).await;
    assert_eq!(ran.out.matches("Those stay.").count(), 2, "{ran:?}");
    assert!(ran.out.contains("\nstill here\r\n"), "{ran:?}");
    assert!(kept.join("f").exists() && !other.join("f").exists(), "{ran:?}");
}

#[tokio::test]
async fn a_script_on_the_input_is_decided_line_by_line_too() {
    let Some(gateway) = Gateway::start(LINES).await else { return };
    let script = b"x=1\ncat <<END\nwhole\nEND\nrm -rf /nowhere\necho last\n";
    let ran = typed(&gateway, &["-T"], script).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "whole\nlast\n"), "{ran:?}");
    assert!(ran.err.contains("Ask the owners."), "{ran:?}");
}

/// Where the shell's own output goes is a line's affair; that the line has ended is heard all the same.
#[tokio::test]
async fn a_shell_goes_on_wherever_a_line_has_sent_its_output() {
    let Some(gateway) = Gateway::start(LINES).await else { return };
    let dir = gateway.path().display();
    for (line, expected) in [
        (format!("exec >{dir}/out"), ""),
        (format!("exec 2>&1 >{dir}/out"), ""),
        (format!("exec <{dir}/token; read x"), "here\n"),
        ("exec 8>&-".to_owned(), "here\n"),
        (format!("exec 8>{dir}/eight"), "here\n"),
        ("exec >&- 2>&-".to_owned(), ""),
    ] {
        let script = format!("{line}\necho here\ntrue\nexit 5\n");
        let ran = typed(&gateway, &["-T"], script.as_bytes()).await;
        assert_eq!((ran.code, ran.out.as_str()), (Some(5), expected), "{line}: {ran:?}");
        let ran = typed(&gateway, &["-tt"], script.replace('\n', "\r").as_bytes()).await;
        assert_eq!(
            (ran.code, ran.out.contains("\nhere\r\n")),
            (Some(5), !expected.is_empty()),
            "{line}: {ran:?}"
        );
    }
    assert_eq!(std::fs::read_to_string(gateway.path().join("out")).unwrap(), "here\n");
}

/// What the host's shell reads lines from is no line's to read: whoever eats a line's beginning has the rest of it run as
/// something else, and whoever puts a file in its place has that run.
#[tokio::test]
async fn no_line_reaches_where_the_shell_reads_lines_from() {
    let Some(gateway) = Gateway::start(LINES).await else { return };
    let dir = gateway.path().display();
    let kept = gateway.path().join("kept");
    std::fs::write(&kept, "").unwrap();
    std::fs::write(gateway.path().join("evil"), format!("rm -f {dir}/kept\n")).unwrap();
    for hostile in [
        "(for n in 1 2 3 4 5 6 7; do read -r x; done; echo ate \"$x\") <&FD".to_owned(),
        "read -ru FD x; echo ate \"$x\"".to_owned(),
        format!("exec FD<{dir}/evil"),
        "n=FD; read -r x <&$n".to_owned(),
        "head -n 1 /dev/fd/FD".to_owned(),
        "head -n 1 /proc/$$/fd/FD".to_owned(),
        "trap 'read -r x' DEBUG".to_owned(),
    ] {
        for descriptor in ["10", "11"] {
            let line = hostile.replace("FD", descriptor);
            let script = format!("{line}\ncat <<'E'\nrm -f {dir}/kept\nE\nexit 5\n");
            for (arguments, keys) in [(["-T"], script.clone()), (["-tt"], script.replace('\n', "\r"))] {
                let ran = typed(&gateway, &arguments, keys.as_bytes()).await;
                let said = format!("{}{}", ran.out, ran.err);
                assert!(
                    said.contains("cannot be told") || said.contains("descriptor") || said.contains("trap"),
                    "{line}: {ran:?}"
                );
                assert!(kept.exists() && !said.contains("ate {"), "{line}: {ran:?}");
                assert_eq!(ran.code, Some(5), "{line}: {ran:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_line_that_has_the_shell_run_nothing_any_more_is_refused() {
    let Some(gateway) = Gateway::start(LINES).await else { return };
    for line in ["set -n", "set -eno pipefail", "set -o noexec"] {
        let ran = typed(&gateway, &["-T"], format!("{line}\necho here\n").as_bytes()).await;
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), "here\n"), "{line}: {ran:?}");
        assert!(ran.err.contains("run nothing"), "{line}: {ran:?}");
    }
}

/// What a job says while no command runs reaches the client, masked, and the shell's own record.
#[tokio::test]
async fn what_a_job_says_between_commands_is_shown_and_recorded() {
    let policy = format!("{LINES}masking:\n- {{detectors: [Secrets], with: {{type: Redact}}}}\n");
    let Some(gateway) = Gateway::start(&policy).await else { return };
    let mut ssh = gateway.program("ssh");
    ssh.args(["-tt", "deploy@127.0.0.1"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = ssh.spawn().unwrap();
    let mut keys = child.stdin.take().unwrap();
    let job = format!(
        "(until test -e {}/go; do sleep 0.1; done; echo late AKIAQ3EG''RJ5NLXVW7TZB; echo worse >&2) &\r",
        gateway.path().display()
    );
    keys.write_all(job.as_bytes()).await.unwrap();
    keys.write_all(b"echo ready\recho typ").await.unwrap();
    let until = |wanted: &'static str| {
        let gateway = &gateway;
        async move {
            while !gateway.has_said(wanted) {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    };
    let minute = std::time::Duration::from_mins(1);
    tokio::time::timeout(minute, until("ready")).await.expect("a command runs");
    std::fs::write(gateway.path().join("go"), "").unwrap();
    tokio::time::timeout(minute, until("worse")).await.expect("the job has said it all");
    keys.write_all(b"ed\rexit 3\r").await.unwrap();
    let ran = ran(tokio::time::timeout(minute, child.wait_with_output()).await.expect("it ends").unwrap());
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.out.contains("late [MASKED:") && ran.out.contains("\r\ntyped\r\n"), "{ran:?}");
    assert!(!ran.out.contains("AKIAQ3EGR") && !gateway.log().contains("AKIAQ3EGR"), "{ran:?}");
    assert!(
        ran.out.contains("\r\nweb1$ echo ready\r\nready\r\n"),
        "keys typed ahead are shown in order: {ran:?}"
    );
    let own = crate::exec::said(&gateway.stream(2), proxy_audit::stream::Channel::STDOUT);
    assert!(own.starts_with("late [MASKED:") && own.ends_with("worse\r\n"), "{own:?}");
}

#[tokio::test]
async fn a_script_ends_as_its_shell_does() {
    let Some(gateway) = Gateway::start(LINES).await else { return };
    let ran =
        typed(&gateway, &["-T"], b"(sleep 0.5; echo late; echo worse >&2) &\necho first\n(exit 7)").await;
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (Some(7), "first\nlate\n", "worse\n"),
        "{ran:?}"
    );
    let ran = typed(&gateway, &["-T"], b"echo first\nrm -rf /nowhere").await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(126), "first\n"), "{ran:?}");
}

/// What runs on and never pauses keeps no command from ending, and no line from being run.
#[tokio::test]
async fn a_job_that_never_pauses_keeps_no_line_waiting() {
    let Some(gateway) = Gateway::start(LINES).await else { return };
    let dir = gateway.path().display();
    for to in ["", " >&2"] {
        let script = format!(
            "(until test -e {dir}/go; do echo y{to}; done) &\necho next\ntouch {dir}/go\nwait\nexit 5\n"
        );
        let ran = typed(&gateway, &["-T"], script.as_bytes()).await;
        assert_eq!(ran.code, Some(5), "{to}: {}", ran.err.len());
        assert!(ran.out.contains("next\n"), "{to}: {}", ran.out.len());
        std::fs::remove_file(gateway.path().join("go")).unwrap();
    }
}

#[tokio::test]
async fn an_interrupt_gives_up_what_was_typed_ahead() {
    let Some(gateway) = Gateway::start(LINES).await else { return };
    let mut ssh = gateway.program("ssh");
    ssh.args(["-tt", "deploy@127.0.0.1"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = ssh.spawn().unwrap();
    let mut keys = child.stdin.take().unwrap();
    keys.write_all(b"sleep 3\recho ahead\r").await.unwrap();
    // whether the host's `sshd` ends it depends on whom it runs as
    let runs = || gateway.records().iter().any(|record| record.text(key::COMMAND_LINE) == Some("sleep 3"));
    while !runs() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    keys.write_all(b"\x03").await.unwrap();
    let waiting = tokio::time::timeout(std::time::Duration::from_secs(20), child.wait_with_output());
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    drop(keys);
    let ran = ran(waiting.await.expect("it ends").unwrap());
    assert!(!ran.out.contains("ahead"), "{ran:?}");
}

/// Without a terminal nobody edits: what the host's shell gets is what came, however long and whatever bytes it holds.
#[tokio::test]
async fn a_script_on_the_input_is_run_byte_for_byte_or_not_at_all() {
    let Some(gateway) = Gateway::start(LINES).await else { return };
    let long = "x".repeat(8_000);
    let script = format!(
        "cat <<-E\n\ta\tb\x01\x15c\x08\x7f\x1b[Ad\n\tE\nsleep 0.2\nprintf %s {long} | wc -c\necho last"
    );
    let ran = typed(&gateway, &["-T"], script.as_bytes()).await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "a\tb\x01\x15c\x08\x7f\x1b[Ad\n8000\nlast\n"),
        "{ran:?}"
    );
    for (script, why) in [
        (format!("echo first\necho {}\necho after\n", long.repeat(9)), "longer than 64 KiB"),
        ("echo first\ncat <<E\nafter\n".to_owned(), "in the middle of a command"),
    ] {
        let ran = typed(&gateway, &["-T"], script.as_bytes()).await;
        assert_eq!((ran.code, ran.out.as_str()), (Some(126), "first\n"), "{ran:?}");
        assert!(ran.err.contains(why), "{ran:?}");
    }
}

#[tokio::test]
async fn a_paste_that_does_not_fit_is_refused_as_a_whole() {
    let Some(gateway) = Gateway::start(LINES).await else { return };
    let mut ssh = gateway.program("ssh");
    ssh.args(["-tt", "deploy@127.0.0.1"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = ssh.spawn().unwrap();
    let (mut keys, mut shown) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let paste = format!("cat <<E\r{}\recho within\rE\recho behind\r", vec!["y".repeat(4_000); 20].join("\r"));
    keys.write_all(paste.as_bytes()).await.unwrap();
    let reading = async {
        let (mut seen, mut wrote) = (Vec::new(), false);
        while shown.read_buf(&mut seen).await.unwrap() > 0 {
            if !wrote && String::from_utf8_lossy(&seen).contains("not run either") {
                wrote = true;
                keys.write_all(b"echo still here\rexit 3\r").await.unwrap();
            }
        }
        String::from_utf8(seen).unwrap()
    };
    let seen = tokio::time::timeout(std::time::Duration::from_mins(1), reading).await.expect("it ends");
    assert_eq!(child.wait().await.unwrap().code(), Some(3), "{seen}");
    assert!(seen.contains("nor what comes with it") && seen.contains("\nstill here\r\n"), "{seen}");
    assert!(!seen.contains("\nwithin") && !seen.contains("\nbehind"), "{seen}");
    let lines = gateway.records();
    let lines: Vec<_> = lines.iter().filter_map(|record| record.text(key::COMMAND_LINE)).collect();
    assert!(!lines.iter().any(|line| line.contains("within") || line.contains("behind")), "{lines:?}");
}

/// What a job says meanwhile is none of the paste.
#[tokio::test]
async fn a_refused_paste_ends_while_a_job_speaks() {
    let Some(gateway) = Gateway::start(LINES).await else { return };
    let mut ssh = gateway.program("ssh");
    ssh.args(["-tt", "deploy@127.0.0.1"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = ssh.spawn().unwrap();
    let (mut keys, mut shown) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let go = gateway.path().join("go");
    let job = format!("(until test -e {}; do echo spoken; sleep 0.1; done) &\r", go.display());
    let paste = format!("cat <<E\r{}\rE\r", vec!["y".repeat(4_000); 20].join("\r"));
    keys.write_all(format!("{job}{paste}").as_bytes()).await.unwrap();
    let reading = async {
        let (mut seen, mut wrote) = (Vec::new(), false);
        while shown.read_buf(&mut seen).await.unwrap() > 0 {
            if !wrote && String::from_utf8_lossy(&seen).contains("not run either") {
                wrote = true;
                keys.write_all(format!("touch {}\rexit 3\r", go.display()).as_bytes()).await.unwrap();
            }
        }
        String::from_utf8(seen).unwrap()
    };
    let seen = tokio::time::timeout(std::time::Duration::from_secs(30), reading).await.expect("it ends");
    assert_eq!(child.wait().await.unwrap().code(), Some(3), "{seen}");
    assert!(seen.contains("spoken"), "{seen}");
}

/// More than any buffer holds, behind a command that takes its time: the client waits, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_script_waits_for_a_slow_command() {
    let Some(gateway) = Gateway::start(LINES).await else { return };
    let line = format!("{}\n", "y".repeat(9_999));
    let document = format!("wc -c <<E\n{}E\n", line.repeat(6));
    let script = format!("sleep 2\n{}echo last\n", document.repeat(80));
    assert!(script.len() > 4 << 20);
    let ran = typed(&gateway, &["-T"], script.as_bytes()).await;
    assert_eq!((ran.code, ran.out), (Some(0), format!("{}last\n", "60000\n".repeat(80))), "{}", ran.err);
}

#[tokio::test]
async fn output_and_errors_of_a_line_are_masked_each_by_itself() {
    let policy = format!("{LINES}masking:\n- {{detectors: [Secrets], with: {{type: Redact}}}}\n");
    let slow =
        |options: &mut proxy_ssh::options::Options| options.limits.quiet = std::time::Duration::from_secs(1);
    let Some(gateway) = Gateway::start_with(&policy, slow).await else { return };
    let script = "printf 'key AKIAQ3EG'; sleep 0.1; echo some error >&2; sleep 0.1; echo RJ5NLXVW7TZB\n";
    let ran = typed(&gateway, &["-T"], script.as_bytes()).await;
    assert!(ran.out.starts_with("key [MASKED:") && !ran.out.contains("RJ5N"), "{ran:?}");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), "some error\n"), "{ran:?}");
}

#[tokio::test]
async fn a_recorded_shell_is_a_terminal_of_the_host() {
    let policy = "
rules:
- {name: shells, action: Allow, ssh: {shells: [RecordOnly]}}
";
    let Some(gateway) = Gateway::start(policy).await else { return };
    let ran = typed(&gateway, &["-tt"], b"tty; exit 5\r").await;
    assert_eq!(ran.code, Some(5), "{ran:?}");
    assert!(ran.out.contains("/dev/pts/"), "{ran:?}");
    assert!(
        crate::exec::said(&gateway.stream(2), proxy_audit::stream::Channel::STDOUT).contains("/dev/pts/")
    );
}
