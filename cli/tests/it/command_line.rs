//! What the command line makes of what makes no sense, and of records that somebody wrote to deceive its reader.

use super::{portcullis, shown, text};
use proxy_audit::event::key;
use proxy_audit::{Event, EventName, SessionStamp, Severity, Spool, SpoolOptions};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn code(arguments: &[&str]) -> (Option<i32>, String) {
    let output = portcullis(arguments).env_remove("PORTCULLIS_SPOOL").output().unwrap();
    (output.status.code(), shown(&output))
}

/// No answer of `verify`, `scan`, `export status` or `policy test` is to be had from a mistyped command line.
#[test]
fn a_command_line_that_makes_no_sense_ends_with_64() {
    for arguments in [
        &["verify", "--kye", "log.vkey"][..],
        &["verify", "-o", "csv"],
        &["scan", "--detector", "NoSuchThing"],
        &["scan", "--detector", "none"],
        &["export", "state"],
        &["policy", "tset"],
        &["sessions", "--sort", "colour"],
        &["sessions", "--limit", "-1"],
        &["sessions", "--since", "yesterday-ish"],
        &["commands", "--verdict", "approved"],
        &["commands", "-o", "xml"],
        &["approvals", "--claim", "no-value"],
        &["replay"],
        &["replay", "0199", "--speed", "fast"],
        &["no-such-command"],
        &[],
    ] {
        let (code, said) = code(arguments);
        assert_eq!(code, Some(64), "{arguments:?}: {said}");
        assert!(said.contains("rror: ") || said.contains("Usage: "), "{arguments:?}: {said}");
    }
    for arguments in [&["--help"][..], &["--version"], &["verify", "--help"], &["help", "scan"]] {
        let (code, said) = code(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
    }
}

#[test]
fn where_the_exit_code_is_the_answer_none_has_a_code_of_its_own() {
    let empty = TempDir::new().unwrap();
    let directory = text(empty.path());
    let broken = empty.path().join("broken.json");
    std::fs::write(&broken, b"{\"resourceLogs\": [{]}\n").unwrap();
    let broken = text(&broken);
    let missing = format!("{directory}/missing");
    for arguments in [
        &["verify", "--spool", directory][..],
        &["verify", "--spool", &missing],
        &["verify", broken],
        &["verify", &missing],
        &["scan", "--spool", directory],
        &["scan", "--from", broken],
        &["scan", "--from", directory],
        &["scan", "--values", &missing, "--spool", directory],
        &["export", "status", "--spool", directory],
        &["policy", "test", &missing],
    ] {
        let (code, said) = code(arguments);
        assert_eq!(code, Some(3), "{arguments:?}: {said}");
    }
    // Elsewhere 1 says nothing else.
    for arguments in [
        &["sessions", "--spool", directory][..],
        &["sessions", "--from", directory],
        &["commands", "--from", broken],
        &["show", "0199", "--from", &missing],
    ] {
        let (code, said) = code(arguments);
        assert_eq!(code, Some(1), "{arguments:?}: {said}");
    }
}

const SESSION: &str = "0199e2a4-7b1c-7d3e-9f00-8a6b5c4d3e2f";

/// Clears the screen, names the window, begins a line of ours, and has the rest read backwards.
const HOSTILE: &str =
    "x\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\r\u{202e}\nRESULT   OK\n-- approved by dba\u{7f}\u{2066}";

async fn hostile(directory: &TempDir) -> PathBuf {
    let log = directory.path().join("state/audit/default.orders/gw-1");
    let (spool, _) = Spool::open(&SpoolOptions::new(&log, "dev/default/orders/gw-1")).unwrap();
    let named = [key::USER_ID, key::USER_NAME, key::RESOURCE_NAMESPACE, key::RESOURCE_NAME, key::ROLE];
    let mut stamp = vec![(key::SESSION_ID.into(), SESSION.into())];
    stamp.extend(named.map(|key| (key.into(), HOSTILE.into())));
    stamp.push((key::NAMESPACE.into(), HOSTILE.into()));
    stamp.push((key::RESOURCE_PROTOCOL.into(), "postgresql".into()));
    let session = SessionStamp::new(stamp);
    let event = |name| Event::new(name, Severity::Info, HOSTILE).with(key::COMMAND, 1_i64);
    let hostile =
        |event: Event, keys: &[&'static str]| keys.iter().fold(event, |event, key| event.with(key, HOSTILE));
    let start = [key::CLIENT_ADDRESS, key::CLIENT_NAME, key::TRANSPORT];
    let said =
        [key::OPERATION, key::QUERY_TEXT, key::VERDICT, key::POLICY_NAME, key::RULE, key::REFUSAL_HINT];
    let decided = [key::APPROVAL_NAME, key::APPROVAL_VERDICT];
    for event in [
        hostile(event(EventName::SessionStart), &start),
        hostile(event(EventName::Statement), &said),
        hostile(event(EventName::Approval), &decided).with(key::APPROVERS, vec![HOSTILE.to_owned()]),
        hostile(event(EventName::Result), &[key::OUTCOME, key::STATUS_CODE])
            .with(key::MASKED, vec![HOSTILE.to_owned()]),
        hostile(event(EventName::Error), &[]),
        hostile(event(EventName::SessionEnd), &[key::REASON]),
    ] {
        spool.append(&session, event).unwrap();
    }
    spool.close().await.unwrap();
    directory.path().join("state")
}

fn on(state: &Path, arguments: &[&str]) -> String {
    let mut command = portcullis(arguments);
    let output = command.args(["--spool", text(state)]).output().unwrap();
    assert_eq!(output.stderr, b"", "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn nothing_on_record_commands_the_terminal_of_its_reader_or_speaks_as_we_do() {
    let directory = TempDir::new().unwrap();
    let state = hostile(&directory).await;
    for arguments in [
        &["sessions"][..],
        &["sessions", "-o", "csv"],
        &["sessions", "-o", "json"],
        &["commands"],
        &["commands", "-o", "csv"],
        &["commands", "-o", "ndjson"],
        &["approvals"],
        &["approvals", "-o", "csv"],
        &["show", SESSION],
        &["show", SESSION, "-o", "json"],
        &["replay", SESSION],
        &["replay", SESSION, "-o", "json"],
        &["replay", SESSION, "--export", "asciicast"],
        &["verify"],
        &["scan"],
        &["export", "status"],
    ] {
        let said = on(&state, arguments);
        let obeyed = |c: char| {
            (c.is_control() && c != '\n' && !(c == '\r' && arguments.contains(&"csv")))
                || matches!(c, '\u{202e}' | '\u{2066}')
        };
        assert!(!said.is_empty() && !said.contains(obeyed), "{arguments:?}: {said:?}");
        let forged = |line: &str| line.starts_with("RESULT   OK") || line.starts_with("-- approved by dba");
        // JSON and CSV have no lines of ours.
        let ours = arguments == ["verify"] || arguments.contains(&"-o");
        assert!(ours || !said.lines().any(forged), "{arguments:?}: {said}");
    }
}

#[test]
fn bash_completes_subcommands_and_options() {
    let asked = "source \"$1\"; COMP_WORDS=(\"${@:2}\"); COMP_CWORD=$(($# - 2))
        _portcullis portcullis \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"; echo \"${COMPREPLY[@]}\"";
    let directory = TempDir::new().unwrap();
    let script = directory.path().join("portcullis.bash");
    std::fs::write(&script, portcullis(&["completion", "bash"]).output().unwrap().stdout).unwrap();
    let complete = |words: &[&str]| {
        let mut bash = std::process::Command::new("bash");
        let output = bash.args(["-c", asked, "bash", text(&script)]).args(words).output().unwrap();
        assert_eq!(output.stderr, b"", "{words:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete(&["portcullis", "sess"]), "sessions");
    assert_eq!(complete(&["portcullis", "commands", "--verd"]), "--verdict");
    assert_eq!(complete(&["portcullis", "evidence", "exp"]), "export");
    let mut shell = portcullis(&["completion"]);
    assert_eq!(shell.env("SHELL", "/bin/false").output().unwrap().status.code(), Some(64));
}
