use super::*;

fn created(schema: &str, name: &str) -> StateChange {
    let relation = Relation { schema: schema.to_owned(), name: name.to_owned(), ..Relation::default() };
    StateChange::Created(Arc::new(relation))
}

fn path(path: &str, local: bool) -> StateChange {
    StateChange::SearchPath { path: Some(vec![path.to_owned()]), local }
}

/// A session in which something has happened, and what it has been through by then.
fn session() -> (SessionState, History) {
    let mut state = SessionState::new("app", "shop");
    state.apply(&[path("public", false), StateChange::Begin, StateChange::Committed]);
    let history = state.history();
    (state, history)
}

#[test]
fn a_transaction_leaves_no_history_unless_it_leaves_a_change() {
    let savepoint = || StateChange::Savepoint("a".to_owned());
    let back = || StateChange::RolledBackTo("a".to_owned());
    for (changes, leaves) in [
        (vec![StateChange::Begin, StateChange::Committed], false),
        (vec![StateChange::Begin, StateChange::RolledBack], false),
        (vec![StateChange::Begin, savepoint(), back(), StateChange::Committed], false),
        (vec![StateChange::Begin, path("x", true), StateChange::Committed], false),
        (
            vec![
                StateChange::Begin,
                savepoint(),
                StateChange::Released("a".to_owned()),
                StateChange::Committed,
            ],
            false,
        ),
        (vec![StateChange::Begin, created("pg_temp", "t"), StateChange::RolledBack], false),
        (vec![path("x", true), StateChange::LocalEnds], false),
        (vec![created("pg_temp", "t"), StateChange::TemporaryDiscarded], false),
        (vec![StateChange::Begin, created("pg_temp", "t"), StateChange::Committed], true),
        (vec![StateChange::Begin, savepoint(), created("a", "t"), back(), StateChange::Committed], false),
    ] {
        let (mut state, before) = session();
        for (index, change) in changes.iter().enumerate() {
            state.apply_one(change);
            let last = index + 1 == changes.len();
            assert!(last || state.history() != before, "{changes:?} at {index}");
        }
        assert_eq!(state.history() != before, leaves, "{changes:?}");
        assert_eq!(state.search_path, ["public"], "{changes:?}");
    }
}

#[test]
fn within_a_transaction_what_it_goes_back_to_counts() {
    let (mut one, _) = session();
    let mut other = one.clone();
    // The same names now, and others after `ROLLBACK TO`.
    one.apply(&[StateChange::Begin, path("x", false), StateChange::Savepoint("a".to_owned())]);
    one.apply(&[path("y", false)]);
    other.apply(&[StateChange::Begin, path("z", false), StateChange::Savepoint("a".to_owned())]);
    other.apply(&[path("y", false)]);
    assert_eq!(one.search_path, other.search_path);
    assert_ne!(one.history(), other.history());
}

#[test]
fn sessions_that_began_unlike_each_other_never_have_the_same_history() {
    let began = |path: &str| {
        let mut state = SessionState::new("app", "shop");
        state.search_path = vec![path.to_owned()];
        state.apply(&[StateChange::SearchPath { path: Some(vec!["x".to_owned()]), local: false }]);
        state
    };
    let (one, other) = (began("a"), began("b"));
    assert_eq!(one.search_path, other.search_path);
    // `RESET search_path` brings unlike paths back.
    assert_ne!(one.history(), other.history());
}

#[test]
fn settings_for_the_transaction_end_with_it_and_those_of_a_savepoint_with_that() {
    let (mut state, _) = session();
    let role = |role: &str, local: bool| StateChange::Role { role: Some(role.to_owned()), local };
    state.apply(&[StateChange::Begin, role("other", true), path("x", true)]);
    state.apply(&[StateChange::Savepoint("a".to_owned()), path("y", false), role("third", false)]);
    state.apply(&[StateChange::RolledBackTo("a".to_owned())]);
    assert_eq!((state.role.as_str(), state.search_path[0].as_str()), ("other", "x"));
    state.apply(&[StateChange::Committed]);
    assert_eq!((state.role.as_str(), state.search_path[0].as_str()), ("app", "public"));
}
