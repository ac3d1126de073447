//! The page of a session, read as text and in a real browser.

use super::{portcullis, succeeds, text};
use proxy_audit::event::key;
use proxy_audit::stream::{Channel, StreamEncoder, StreamEvent};
use proxy_audit::{Event, EventName, SessionStamp, Severity, Spool, SpoolOptions, Value};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const SESSION: &str = "0199e2a4-7b1c-7d3e-9f00-8a6b5c4d3e2f";
/// What an agent may send, and a page must not obey.
const HOSTILE: &str =
    "</pre><script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">";

fn table(rows: &[[&str; 3]]) -> Vec<u8> {
    let message = |tag: u8, body: &[u8]| {
        [&[tag][..], &u32::try_from(body.len() + 4).unwrap().to_be_bytes(), body].concat()
    };
    let mut description = vec![0, 3];
    for (name, oid) in [("id", 23_u32), ("name", 25), ("email", 25)] {
        description.extend(name.as_bytes());
        description.extend([0; 7]);
        description.extend(oid.to_be_bytes());
        description.extend([0; 8]);
    }
    let mut frames = message(b'T', &description);
    for row in rows {
        let mut body = vec![0, 3];
        for cell in row {
            body.extend(u32::try_from(cell.len()).unwrap().to_be_bytes());
            body.extend(cell.as_bytes());
        }
        frames.extend(message(b'D', &body));
    }
    frames.extend(message(b'C', format!("SELECT {}\0", rows.len()).as_bytes()));
    frames
}

fn terminal() -> Vec<u8> {
    let (mut encoder, mut out) = (StreamEncoder::default(), Vec::new());
    let at = Duration::from_millis;
    encoder.encode(at(0), &StreamEvent::Resize { columns: 72, rows: 12 }, &mut out);
    for (millis, line) in [
        (100, "\x1b[1;32mdeploy@web1\x1b[0m:\x1b[34m~\x1b[0m$ systemctl status shop\r\n"),
        (400, "\x1b[1;32m●\x1b[0m shop.service - The shop\r\n"),
        (450, "     Loaded: loaded (/etc/systemd/system/shop.service; \x1b[33menabled\x1b[0m)\r\n"),
        (500, "     Active: \x1b[1;32mactive (running)\x1b[0m since Tue 2026-11-24\r\n"),
        (900, "progress  10%\rprogress  55%\rprogress 100%\r\n"),
        (1_400, "\x1b[1;32mdeploy@web1\x1b[0m:\x1b[34m~\x1b[0m$ "),
    ] {
        encoder.data(at(millis), Channel::STDOUT, line.as_bytes(), &mut out);
    }
    encoder.encode(at(1_500), &StreamEvent::Exit(0), &mut out);
    out
}

fn statement(number: i64, verdict: &str, rule: &str, sql: &str) -> Event {
    let severity = if verdict == "allow" { Severity::Info } else { Severity::Warn };
    Event::new(EventName::Statement, severity, verdict)
        .with(key::COMMAND, number)
        .with(key::OPERATION, "SELECT")
        .with(key::QUERY_TEXT, sql)
        .with(key::VERDICT, verdict)
        .with(key::POLICY_NAME, "orders")
        .with(key::RULE, rule)
        .with(key::EFFECTS, vec!["read table public.users".to_owned()])
}

fn result(number: i64, outcome: &str) -> Event {
    Event::new(EventName::Result, Severity::Info, outcome)
        .with(key::COMMAND, number)
        .with(key::OUTCOME, outcome)
        .with(key::DURATION_US, 2_300_i64)
}

fn approval(verdict: &str, body: &str, approvers: &[&str]) -> Event {
    Event::new(EventName::Approval, Severity::Info, body)
        .with(key::COMMAND, 3_i64)
        .with(key::APPROVAL_NAME, "orders-7f3k2")
        .with(key::APPROVAL_VERDICT, verdict)
        .with(key::APPROVERS, approvers.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
}

fn bytes(bytes: Vec<u8>) -> Value {
    Value::Bytes(bytes.into())
}

async fn state(directory: &TempDir) -> PathBuf {
    let state = directory.path().join("state");
    let log = state.join("audit/default.orders/gw-1");
    let (spool, _) = Spool::open(&SpoolOptions::new(&log, "dev/default/orders/gw-1")).unwrap();
    let session = SessionStamp::new(vec![
        (key::SESSION_ID.into(), SESSION.into()),
        (key::USER_ID.into(), "https://issuer.example#repo:shop/api:ref:main".into()),
        (key::USER_NAME.into(), "ci-bot".into()),
        (key::USER_ROLES.into(), vec!["agents".to_owned(), "orders-readers".to_owned()].into()),
        (format!("{}repository", key::CLAIM_PREFIX).into(), "shop/api".into()),
        (key::RESOURCE_NAMESPACE.into(), "default".into()),
        (key::RESOURCE_NAME.into(), "orders".into()),
        (key::RESOURCE_PROTOCOL.into(), "PostgreSQL".into()),
        (key::ROLE.into(), "app".into()),
        (key::NAMESPACE.into(), "shop".into()),
    ]);
    let rows =
        table(&[["1", "Ada", "***@example.com"], ["2", "Grace", "***@example.com"], ["3", HOSTILE, "***"]]);
    let masked = vec!["column public.users.email ×3".to_owned(), "detector Jwt ×1".to_owned()];
    let events = [
        Event::new(EventName::SessionStart, Severity::Info, "ci-bot opened a session")
            .with(key::CLIENT_ADDRESS, "192.0.2.1"),
        statement(1, "allow", "reads", "SELECT id, name, email\n  FROM users\n ORDER BY id"),
        result(1, "ok").with(key::ROWS, 3_i64).with(key::MASKED, masked).with(key::FRAMES, bytes(rows)),
        statement(2, "deny", "no-drops", "DROP DATABASE shop"),
        result(2, "refused"),
        statement(3, "hold", "wide-deletes", "DELETE FROM orders"),
        approval("requested", "approval orders-7f3k2 asked for", &[]),
        approval("approved", "approval orders-7f3k2 approved", &["ada (dba): CHG-7"]),
        result(3, "ok").with(key::ROWS, 10_i64),
        statement(4, "allow", "reads", HOSTILE),
        result(4, "error").with(key::STATUS_CODE, "42601"),
        statement(5, "allow", "shells", "bash -l"),
        result(5, "ok").with(key::FRAMES, bytes(terminal())),
        Event::new(EventName::SessionEnd, Severity::Info, "end").with(key::REASON, "client_close"),
    ];
    for event in events {
        spool.append(&session, event).unwrap();
    }
    spool.close().await.unwrap();
    state
}

async fn page(directory: &TempDir) -> PathBuf {
    let state = state(directory).await;
    let page = directory.path().join("session.html");
    let arguments = ["report", "0199e2", "--html", text(&page), "--spool", text(&state)];
    succeeds(&mut portcullis(&arguments));
    page
}

#[tokio::test]
async fn the_page_says_everything_without_scripts_and_obeys_nobody() {
    let directory = TempDir::new().unwrap();
    let html = std::fs::read_to_string(page(&directory).await).unwrap();
    for part in [
        "The record is whole and unchanged",
        "DROP DATABASE shop;",
        "by orders/no-drops",
        "ada (dba): CHG-7",
        "column public.users.email ×3",
        "<td class=\"right\">1</td><td>Ada</td><td>***@example.com</td>",
        "progress 100%\n",
        "error 42601",
        "Claim repository",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains("<script>document") && !html.contains("<img"), "{HOSTILE}");
    for outside in ["http-equiv=\"refresh\"", "url(", "@import", "<link"] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert_eq!(html.matches("<script").count(), 2, "the player, and one recording");
}

#[tokio::test]
async fn a_page_of_a_changed_log_says_so() {
    let directory = TempDir::new().unwrap();
    let state = state(&directory).await;
    let segment = state.join("audit/default.orders/gw-1/00000000000000000000.seg");
    let mut log = std::fs::read(&segment).unwrap();
    let at = log.windows(6).position(|window| window == b"CHG-7\"" || window.starts_with(b"CHG-7")).unwrap();
    log[at + 4] = b'8';
    // The frame's CRC is made to fit, so that the record can be read.
    repair_crc(&mut log, at);
    std::fs::write(&segment, log).unwrap();
    let page = directory.path().join("session.html");
    succeeds(&mut portcullis(&["report", "0199e2", "--html", text(&page), "--spool", text(&state)]));
    let html = std::fs::read_to_string(page).unwrap();
    assert!(html.contains("The record was changed") && html.contains("seq 8 leaf_hash mismatch"), "{html}");
}

/// Makes the CRC fit of the frame that this byte is in.
fn repair_crc(log: &mut [u8], at: usize) {
    let mut start = 8;
    loop {
        let length = u32::from_be_bytes(log[start..start + 4].try_into().unwrap()) as usize;
        let payload = start + 8..start + 8 + length;
        if payload.contains(&at) {
            let crc = crc32fast::hash(&log[payload]).to_be_bytes();
            log[start + 4..start + 8].copy_from_slice(&crc);
            return;
        }
        start += 8 + length;
    }
}

/// A browser without a window; `None` where there is none, after printing that. In CI that is a failure.
fn browser(page: &Path, arguments: &[&str]) -> Option<Command> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names.iter().find(|name| Command::new(name).arg("--version").output().is_ok());
    let Some(name) = found else {
        assert!(std::env::var_os("CI").is_none(), "no browser: install chromium (.ci/packages)");
        println!("SKIPPED: no browser to open the page in (chromium)");
        return None;
    };
    let mut command = Command::new(name);
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]);
    command.args(["--disable-dev-shm-usage", "--enable-logging=stderr", "--virtual-time-budget=4000"]);
    command.arg(format!("--user-data-dir={}", page.with_extension("profile").display()));
    command.args(arguments).arg(format!("file://{}", page.display()));
    Some(command)
}

#[tokio::test]
async fn a_browser_shows_the_page_plays_the_terminal_and_reports_nothing_forbidden() {
    let directory = TempDir::new().unwrap();
    let page = page(&directory).await;
    let Some(mut command) = browser(&page, &["--dump-dom"]) else { return };
    let output = command.output().unwrap();
    let (dom, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{log}");
    assert!(!log.contains("Content Security Policy") && !log.contains("Uncaught"), "{log}");
    assert!(dom.contains("<title>Session of ci-bot</title>"), "a hostile title");
    let screen = dom.split("class=\"screen\"").nth(1).expect("the player made a screen");
    let screen = screen.split("</pre>").next().unwrap();
    assert!(screen.contains("active (running)") && screen.contains("progress 100%"), "{screen}");
    assert!(!screen.contains("10%\r") && !screen.contains('\u{1b}'), "{screen}");
    if let Some(path) = std::env::var_os("PORTCULLIS_SCREENSHOTS") {
        for (name, dark) in [("light", ""), ("dark", "--force-dark-mode")] {
            let file = format!("--screenshot={}/{name}.png", path.display());
            let mut arguments = vec!["--window-size=1180,2000", file.as_str()];
            arguments.extend((!dark.is_empty()).then_some(dark));
            assert!(browser(&page, &arguments).unwrap().output().unwrap().status.success());
        }
    }
}

#[tokio::test]
async fn a_browser_that_runs_no_script_shows_all_of_it_too() {
    let directory = TempDir::new().unwrap();
    let page = page(&directory).await;
    // One more policy forbids what the page's own allows itself.
    let html = std::fs::read_to_string(&page).unwrap();
    let none = "<meta http-equiv=\"Content-Security-Policy\" content=\"script-src 'none'\">";
    assert!(html.contains("<meta"), "{html}");
    std::fs::write(&page, html.replacen("<meta", &format!("{none}<meta"), 1)).unwrap();
    let Some(mut command) = browser(&page, &["--dump-dom"]) else { return };
    let output = command.output().unwrap();
    let dom = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !dom.contains("class=\"screen\""), "a script ran: {dom}");
    for part in
        ["The record is whole and unchanged", "DROP DATABASE shop;", "<td>Ada</td>", "progress 100%", "CHG-7"]
    {
        assert!(dom.contains(part), "{part}: {dom}");
    }
}
