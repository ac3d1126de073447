use super::*;
use crate::event::{Event, Severity, Value};
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
async fn log(directory: &TempDir) -> Vec<PathBuf> {
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
    vec![options.directory]
}

fn ids(logs: &[PathBuf], filter: &Filter) -> Vec<String> {
    sessions(logs, filter).unwrap().into_iter().map(|session| session.id).collect()
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
    let sessions = sessions(&logs, &Filter::default()).unwrap();
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
