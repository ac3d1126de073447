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
        self.compare_with(&self.index());
    }

    /// The same, of an index that others may use as well.
    fn compare_with(&self, index: &Index) {
        let source = SpoolSource::new(vec![self.log.clone()]);
        for query in questions() {
            let asked = format!("{query:?}");
            same(&query::commands(&source, &query).unwrap(), &index.commands(&query).unwrap(), &asked);
            same(&query::sessions(&source, &query).unwrap(), &index.sessions(&query).unwrap(), &asked);
            same(&query::approvals(&source, &query).unwrap(), &index.approvals(&query).unwrap(), &asked);
        }
    }
}

/// Same rows in the same order, and the same times.
fn same<T: Serialize>(log: &query::Found<T>, index: &query::Found<T>, asked: &str) {
    let plain =
        |rows: &[T]| -> Vec<Value> { rows.iter().map(|row| serde_json::to_value(row).unwrap()).collect() };
    assert_eq!(log.more, index.more, "{asked}");
    assert_eq!(plain(&log.rows), plain(&index.rows), "{asked}");
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
        Filter { since: Some(Timestamp::MAX), ..none() },
        Filter { until: Some(Timestamp::UNIX_EPOCH), ..none() },
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
async fn a_text_is_found_by_one_rule_in_the_log_and_in_the_index() {
    let scene = Scene::new();
    let (spool, _) = Spool::open(&scene.options()).unwrap();
    let texts = ["\u{212a}elvin", "Kelvin", "\u{130}stanbul", "ISTANBUL", "a\0behind", "xb\0ehind", "_%\\"];
    for (number, text) in (0_i64..).zip(texts) {
        let event = Event::new(EventName::Statement, Severity::Info, "allow")
            .with(key::COMMAND, number)
            .with(key::QUERY_TEXT, text);
        spool.append(&stamp(1), event).unwrap();
    }
    spool.close().await.unwrap();
    let (index, source) = (scene.index(), SpoolSource::new(vec![scene.log.clone()]));
    let asked = [("kelvin", 2), ("\u{212a}ELVI", 2), ("nbul", 2), ("istan", 1), ("BEHIND", 1), ("_%\\", 1)];
    for (wanted, count) in asked {
        let filter = Filter { text: Some(wanted.to_owned()), ..Filter::default() };
        let query = Query { filter, ..Query::default() };
        let found = query::commands(&source, &query).unwrap();
        assert_eq!(found.rows.len(), count, "{wanted}");
        same(&found, &index.commands(&query).unwrap(), wanted);
    }
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

#[tokio::test]
async fn one_index_of_several_spools_answers_for_each_from_its_own_logs() {
    let (scene, other) = (Scene::new(), Scene::new());
    for (number, scene) in [(1, &scene), (2, &other)] {
        let (spool, _) = Spool::open(&scene.options()).unwrap();
        for event in (0..40).flat_map(|command| events(number * 100 + command, command < 35)) {
            spool.append(&stamp(number), event).unwrap();
        }
        spool.close().await.unwrap();
    }
    let shared = scene.directory.path().join("shared");
    for _ in 0..2 {
        for scene in [&scene, &other] {
            let mut index = Index::open(&shared).unwrap();
            index.refresh(std::slice::from_ref(&scene.log)).unwrap();
            scene.compare_with(&index);
        }
    }
    let mut index = Index::open(&shared).unwrap();
    index.refresh(&[scene.log.clone(), other.log.clone()]).unwrap();
    let both = index.sessions(&Query::default()).unwrap().rows;
    assert_eq!(both.len(), 2);

    // A spool that is gone leaves nothing behind, whoever asks next; not even a text.
    std::fs::remove_dir_all(&other.log).unwrap();
    index.refresh(std::slice::from_ref(&scene.log)).unwrap();
    scene.compare_with(&index);
    let left = |sql: &str| index.connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((left("SELECT count(*) FROM logs"), left("SELECT count(*) FROM sessions")), (1, 1));
    assert_eq!(left("SELECT count(*) FROM texts WHERE text LIKE '% FROM t2__'"), 0);
    assert_eq!(left("SELECT count(*) FROM texts WHERE text LIKE '% FROM t1__'"), 40);
}

#[tokio::test]
async fn what_retention_removed_of_a_log_leaves_the_index_too() {
    let scene = Scene::new();
    let (spool, _) = Spool::open(&scene.options()).unwrap();
    let stamps: Vec<SessionStamp> = (0..12).map(stamp).collect();
    // Sessions of which nothing, some and all is left: each begins and ends a while after the one before.
    for round in 0..16_usize {
        for (number, stamp) in stamps.iter().enumerate() {
            let begun = number / 2..number / 2 + 8;
            if begun.contains(&round) {
                let command = u32::try_from(number * 100 + round).unwrap();
                for event in events(command, round % 3 > 0) {
                    spool.append(stamp, event).unwrap();
                }
            }
            if begun.end == round && number % 3 > 0 {
                let end = Event::new(EventName::SessionEnd, Severity::Info, "end");
                spool.append(stamp, end.with(key::REASON, "client_close")).unwrap();
            }
        }
    }
    spool.close().await.unwrap();
    let segments = Segment::list(&scene.log).unwrap();
    assert!(segments.len() > 4, "{}", segments.len());
    scene.compare();
    // One, then most of them.
    for removed in [&segments[..1], &segments[1..segments.len() - 2]] {
        for segment in removed {
            std::fs::remove_file(&segment.path).unwrap();
        }
        scene.compare();
    }
    let index = scene.index();
    let left = |sql: &str| index.connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let texts = "SELECT count(*) FROM texts WHERE text LIKE '% FROM t0'";
    assert_eq!(left(texts), 0, "the first command's text is not in the log any more");
}
