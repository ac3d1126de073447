use super::*;
use proxy_audit::event::key;
use proxy_audit::query::{self, Filter, Query};
use proxy_audit::source::SpoolSource;
use proxy_audit::{Event, EventName, SessionStamp, Severity, Spool, SpoolOptions};
use serde::Serialize;
use serde_json::Value;
use tempfile::TempDir;

fn stamp(number: u32) -> SessionStamp {
    SessionStamp::new(vec![
        (key::SESSION_ID.into(), format!("session-{number}").into()),
        (key::USER_ID.into(), format!("https://issuer#agent-{}", number % 3).into()),
        (key::USER_NAME.into(), format!("agent-{}", number % 3).into()),
        (key::USER_ROLES.into(), vec!["agents".to_owned(), format!("team-{}", number % 2)].into()),
        (format!("{}repository", key::CLAIM_PREFIX).into(), format!("shop/{}", number % 4).into()),
        (key::RESOURCE_NAMESPACE.into(), "default".into()),
        (key::RESOURCE_NAME.into(), if number.is_multiple_of(2) { "orders" } else { "users" }.into()),
    ])
}

/// Command `number` of a session, with what comes of it; `Some` result only when `ends`.
fn events(number: u32, ends: bool) -> Vec<Event> {
    let verdict = ["allow", "deny", "hold"][number as usize % 3];
    let command = i64::from(number);
    let mut events = vec![
        Event::new(EventName::Statement, Severity::Info, verdict)
            .with(key::COMMAND, command)
            .with(key::QUERY_TEXT, format!("SELECT Ünï_{}% FROM t{number}", number % 5))
            .with(key::OPERATION, "SELECT")
            .with(key::VERDICT, verdict)
            .with(key::POLICY_NAME, "policy")
            .with(key::RULE, format!("rule-{}", number % 2)),
    ];
    if verdict == "hold" {
        events.push(
            Event::new(EventName::Approval, Severity::Info, "approved")
                .with(key::COMMAND, command)
                .with(key::APPROVAL_NAME, format!("request-{number}"))
                .with(key::APPROVAL_VERDICT, "approved")
                .with(key::APPROVERS, vec!["ada (dba)".to_owned()]),
        );
    }
    if ends {
        let mut result = Event::new(EventName::Result, Severity::Info, "ok")
            .with(key::COMMAND, command)
            .with(key::OUTCOME, "ok")
            .with(key::ROWS, i64::from(number * 7 % 11))
            .with(key::DURATION_US, i64::from(number * 13 % 17));
        if number.is_multiple_of(4) {
            result =
                result.with(key::MASKED, vec!["detector Jwt ×2".to_owned(), "column t.Email ×1".to_owned()]);
        }
        events.push(result);
    }
    events
}

struct Scene {
    directory: TempDir,
    log: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let log = directory.path().join("log");
        Self { directory, log }
    }

    fn options(&self) -> SpoolOptions {
        SpoolOptions { segment_bytes: 20_000, ..SpoolOptions::new(&self.log, "dev/default/orders/0") }
    }

    fn index(&self) -> Index {
        let mut index = Index::open(&self.directory.path().join("index")).unwrap();
        index.refresh(std::slice::from_ref(&self.log)).unwrap();
        index
    }

    /// The index and the log give the same answers to all questions.
    fn compare(&self) {
        let source = SpoolSource::new(vec![self.log.clone()]);
        let index = self.index();
        for query in questions() {
            let asked = format!("{query:?}");
            same(&query::commands(&source, &query).unwrap(), &index.commands(&query).unwrap(), &asked);
            same(&query::sessions(&source, &query).unwrap(), &index.sessions(&query).unwrap(), &asked);
            same(&query::approvals(&source, &query).unwrap(), &index.approvals(&query).unwrap(), &asked);
        }
    }
}

/// Same rows in the same order; times to the microsecond.
fn same<T: Serialize>(log: &query::Found<T>, index: &query::Found<T>, asked: &str) {
    let plain =
        |rows: &[T]| -> Vec<Value> { rows.iter().map(|row| serde_json::to_value(row).unwrap()).collect() };
    let (mut log_rows, mut index_rows) = (plain(&log.rows), plain(&index.rows));
    for row in log_rows.iter_mut().chain(&mut index_rows) {
        for time in ["time", "start", "last", "end"] {
            if let Some(Value::String(text)) = row.get_mut(time) {
                let time: jiff::Timestamp = text.parse().unwrap();
                *text = time.as_microsecond().to_string();
            }
        }
    }
    assert_eq!(log.more, index.more, "{asked}");
    assert_eq!(log_rows, index_rows, "{asked}");
}

fn questions() -> Vec<Query> {
    let some = |text: &str| Some(text.to_owned());
    let none = Filter::default;
    let filters = vec![
        none(),
        Filter { identity: some("agent-1"), ..none() },
        Filter { identity: some("https://issuer#agent-2"), ..none() },
        Filter { group: some("team-1"), ..none() },
        Filter { resource: some("default/users"), ..none() },
        Filter { claims: vec![("repository".into(), "shop/3".into())], ..none() },
        Filter { session: some("session-1"), ..none() },
        Filter { verdict: some("deny"), ..none() },
        Filter { verdict: some("approved"), ..none() },
        Filter { rule: some("rule-1"), ..none() },
        Filter { rule: some("policy/rule-0"), ..none() },
        Filter { text: some("from T1"), ..none() },
        Filter { text: some("_3%"), ..none() },
        Filter { text: some("ÜNÏ_2"), ..none() },
        Filter { detector: some("jwt"), ..none() },
        Filter { detector: some("t.email"), ..none() },
        Filter { since: Some(jiff::Timestamp::MAX), ..none() },
        Filter { until: Some(jiff::Timestamp::UNIX_EPOCH), ..none() },
        Filter { identity: some("agent-0"), verdict: some("hold"), text: some("select"), ..none() },
    ];
    let orders = ["-time", "time"];
    let mut questions = Vec::new();
    for filter in filters {
        for order in orders {
            for limit in [None, Some(5)] {
                let filter = filter.clone();
                questions.push(Query { filter, order: order.parse().unwrap(), limit });
            }
        }
    }
    for order in [
        "duration",
        "-rows",
        "user",
        "-resource",
        "verdict",
        "-rule",
        "commands",
        "-denied",
        "held",
        "-masked",
    ] {
        questions.push(Query { order: order.parse().unwrap(), limit: Some(40), ..Query::default() });
    }
    questions
}

#[tokio::test]
async fn the_index_answers_as_the_log_does_also_after_it_grew() {
    let scene = Scene::new();
    let (spool, _) = Spool::open(&scene.options()).unwrap();
    let stamps: Vec<SessionStamp> = (0..12).map(stamp).collect();
    for (number, stamp) in (0..12_u32).zip(&stamps) {
        spool.append(stamp, Event::new(EventName::SessionStart, Severity::Info, "start")).unwrap();
        for command in 0..10 {
            for event in events(number * 100 + command, command < 8) {
                spool.append(stamp, event).unwrap();
            }
        }
    }
    scene.compare();
    for (number, stamp) in (0..12_u32).zip(&stamps) {
        // The results that were missing, another command, and for some the end.
        for command in 8..10 {
            let result = events(number * 100 + command, true).pop().unwrap();
            spool.append(stamp, result).unwrap();
        }
        for event in events(number * 100 + 50, true) {
            spool.append(stamp, event).unwrap();
        }
        if number.is_multiple_of(2) {
            let end =
                Event::new(EventName::SessionEnd, Severity::Info, "end").with(key::REASON, "client_close");
            spool.append(stamp, end).unwrap();
        }
    }
    scene.compare();
    scene.compare();
    let mode = std::fs::metadata(scene.directory.path().join("index")).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600, "as sensitive as the log");
    spool.close().await.unwrap();
}

#[tokio::test]
async fn a_log_that_is_not_the_one_that_was_indexed_is_indexed_anew() {
    let scene = Scene::new();
    for number in [1, 2] {
        let (spool, _) = Spool::open(&scene.options()).unwrap();
        let stamp = stamp(number);
        for event in events(number, true) {
            spool.append(&stamp, event).unwrap();
        }
        spool.close().await.unwrap();
        scene.compare();
        if number == 1 {
            // Another log takes its place, and is longer.
            std::fs::remove_dir_all(&scene.log).unwrap();
            let (spool, _) = Spool::open(&scene.options()).unwrap();
            for number in 5..30 {
                for event in events(number, true) {
                    spool.append(&stamp, event).unwrap();
                }
            }
            spool.close().await.unwrap();
            scene.compare();
        }
    }
}
