use super::*;
use crate::event::{Event, Severity, Value};
use crate::source::SpoolSource;
use crate::{SessionStamp, Spool, SpoolOptions};
use jiff::Timestamp;
use tempfile::TempDir;

fn stamp(session: &str, user: &str, repository: &str) -> SessionStamp {
    SessionStamp::new(vec![
        (key::SESSION_ID.into(), session.into()),
        (key::USER_ID.into(), format!("https://issuer#{user}").into()),
        (key::USER_ROLES.into(), vec!["agents".to_owned()].into()),
        (key::RESOURCE_NAMESPACE.into(), "default".into()),
        (key::RESOURCE_NAME.into(), "orders".into()),
        (format!("{}repository", key::CLAIM_PREFIX).into(), repository.into()),
    ])
}

fn event(name: EventName, attributes: &[(&'static str, Value)]) -> Event {
    attributes
        .iter()
        .fold(Event::new(name, Severity::Info, "x"), |event, (key, value)| event.with(key, value.clone()))
}

/// Two sessions: `aa11` allowed and masked, `bb22` denied, held and approved, still open.
async fn log(directory: &TempDir) -> SpoolSource {
    let options = SpoolOptions::new(directory.path().join("log"), "dev/default/orders/0");
    let (spool, _) = Spool::open(&options).unwrap();
    let one = stamp("aa11", "alice", "shop");
    let two = stamp("bb22", "bob", "blog");
    let statement = |number: i64, verdict: &str| {
        event(
            EventName::Statement,
            &[
                (key::COMMAND, number.into()),
                (key::VERDICT, verdict.into()),
                (key::POLICY_NAME, "p".into()),
                (key::QUERY_TEXT, format!("SELECT {number} FROM Orders").into()),
                (key::RULE, "r".into()),
            ],
        )
    };
    let masked = vec!["column users.email ×1".to_owned()];
    spool.append(&one, event(EventName::SessionStart, &[(key::CLIENT_ADDRESS, "192.0.2.1".into())])).unwrap();
    spool.append(&one, statement(1, "allow")).unwrap();
    spool.append(&two, event(EventName::SessionStart, &[])).unwrap();
    spool.append(&two, statement(1, "deny")).unwrap();
    let result = [(key::COMMAND, 1_i64.into()), (key::OUTCOME, "ok".into()), (key::MASKED, masked.into())];
    spool.append(&one, event(EventName::Result, &result)).unwrap();
    spool.append(&two, statement(2, "hold")).unwrap();
    let approved = [(key::COMMAND, 2_i64.into()), (key::APPROVAL_VERDICT, "approved".into())];
    spool.append(&two, event(EventName::Approval, &approved)).unwrap();
    spool.append(&one, event(EventName::SessionEnd, &[(key::REASON, "client_close".into())])).unwrap();
    spool.close().await.unwrap();
    SpoolSource::new(vec![options.directory])
}

fn by(filter: Filter) -> Query {
    Query { filter, order: "time".parse().unwrap(), limit: None }
}

fn ids(source: &SpoolSource, filter: &Filter) -> Vec<String> {
    let found = sessions(source, &by(filter.clone())).unwrap();
    found.rows.into_iter().map(|session| session.id).collect()
}

#[tokio::test]
async fn each_filter_finds_the_session_it_describes() {
    let directory = TempDir::new().unwrap();
    let logs = log(&directory).await;
    let some = |text: &str| Some(text.to_owned());
    let none = Filter::default;
    assert_eq!(ids(&logs, &none()), ["aa11", "bb22"]);
    assert_eq!(ids(&logs, &Filter { identity: some("alice"), ..none() }), ["aa11"]);
    assert_eq!(ids(&logs, &Filter { identity: some("https://issuer#bob"), ..none() }), ["bb22"]);
    assert_eq!(ids(&logs, &Filter { group: some("agents"), ..none() }).len(), 2);
    assert_eq!(ids(&logs, &Filter { group: some("people"), ..none() }).len(), 0);
    assert_eq!(ids(&logs, &Filter { resource: some("default/orders"), ..none() }).len(), 2);
    assert_eq!(ids(&logs, &Filter { resource: some("other/orders"), ..none() }).len(), 0);
    assert_eq!(ids(&logs, &Filter { verdict: some("hold"), ..none() }), ["bb22"]);
    assert_eq!(ids(&logs, &Filter { verdict: some("allow"), ..none() }), ["aa11"]);
    assert_eq!(
        ids(&logs, &Filter { claims: vec![("repository".into(), "blog".into())], ..none() }),
        ["bb22"]
    );
    assert_eq!(ids(&logs, &Filter { until: Some(Timestamp::UNIX_EPOCH), ..none() }).len(), 0);
    assert_eq!(ids(&logs, &Filter { since: Some(Timestamp::MAX), ..none() }).len(), 0);
}

#[tokio::test]
async fn a_summary_counts_and_names_the_end() {
    let directory = TempDir::new().unwrap();
    let logs = log(&directory).await;
    let sessions = sessions(&logs, &by(Filter::default())).unwrap().rows;
    let (one, two) = (&sessions[0], &sessions[1]);
    assert_eq!(
        (one.statements, one.allowed, one.masked, one.reason.as_deref()),
        (1, 1, 1, Some("client_close"))
    );
    assert_eq!((two.statements, two.denied, two.held, two.end), (2, 1, 1, None));
}

#[tokio::test]
async fn a_session_is_found_by_a_prefix_that_is_its_own() {
    let directory = TempDir::new().unwrap();
    let logs = log(&directory).await;
    let detail = session(&logs, "bb").unwrap();
    assert_eq!(detail.commands.len(), 2);
    assert_eq!(detail.commands[1].approvals[0].verdict, "approved");
    assert_eq!(detail.commands[0].rule, "p/r");
    assert!(matches!(session(&logs, ""), Err(FindError::Ambiguous { .. })));
    assert!(matches!(session(&logs, "zz"), Err(FindError::None { .. })));
    assert_eq!(session(&logs, "aa").unwrap().opening["client.address"], "192.0.2.1");
}

#[tokio::test]
async fn commands_and_approvals_are_found_by_each_filter() {
    let directory = TempDir::new().unwrap();
    let logs = log(&directory).await;
    let some = |text: &str| Some(text.to_owned());
    let none = Filter::default;
    let found = |filter: Filter| -> Vec<(String, i64)> {
        let rows = commands(&logs, &by(filter)).unwrap().rows;
        rows.into_iter().map(|row| (row.session.id.clone(), row.command.number)).collect()
    };
    let (aa1, bb1, bb2) = (("aa11".to_owned(), 1), ("bb22".to_owned(), 1), ("bb22".to_owned(), 2));
    assert_eq!(found(none()), [aa1.clone(), bb1.clone(), bb2.clone()]);
    assert_eq!(found(Filter { identity: some("bob"), ..none() }), [bb1.clone(), bb2.clone()]);
    assert_eq!(found(Filter { verdict: some("hold"), ..none() }), std::slice::from_ref(&bb2));
    assert_eq!(found(Filter { rule: some("p/r"), ..none() }).len(), 3);
    assert_eq!(found(Filter { rule: some("r"), ..none() }).len(), 3);
    assert_eq!(found(Filter { rule: some("p"), ..none() }), []);
    assert_eq!(found(Filter { text: some("2 from orders"), ..none() }), [bb2]);
    assert_eq!(found(Filter { detector: some("users.email"), ..none() }), [aa1]);
    assert_eq!(found(Filter { detector: some("email"), ..none() }), []);
    assert_eq!(found(Filter { since: Some(Timestamp::MAX), ..none() }), []);
    let steps = approvals(&logs, &by(Filter { verdict: some("approved"), ..none() })).unwrap().rows;
    assert_eq!(steps.len(), 1);
    assert_eq!((steps[0].command, steps[0].rule.as_str()), (2, "p/r"));
    assert_eq!(steps[0].text, "SELECT 2 FROM Orders");
    assert_eq!(ids(&logs, &Filter { text: some("2 from"), ..none() }), ["bb22"]);
    assert_eq!(ids(&logs, &Filter { detector: some("users.email"), ..none() }), ["aa11"]);
}

#[tokio::test]
async fn the_first_in_the_order_are_given_and_that_there_are_more() {
    let directory = TempDir::new().unwrap();
    let logs = log(&directory).await;
    let ask = |order: &str, limit| {
        let query = Query { order: order.parse().unwrap(), limit, ..Query::default() };
        let found = commands(&logs, &query).unwrap();
        (found.rows.iter().map(|row| row.command.verdict.clone()).collect::<Vec<_>>(), found.more)
    };
    assert_eq!(ask("-verdict", Some(2)), (vec!["hold".to_owned(), "deny".to_owned()], true));
    assert_eq!(ask("verdict", Some(1)), (vec!["allow".to_owned()], true));
    assert!(!ask("-time", None).1);
    assert!("-colour".parse::<Order>().unwrap_err().contains("time"));
}
