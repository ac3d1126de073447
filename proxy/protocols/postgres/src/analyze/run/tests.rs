use super::super::{Analyzer, SessionState};
use crate::catalogue::{Catalogue, Relation, Row};

#[test]
fn only_what_a_rollback_undoes_is_undoable() {
    let relation = Row::Relation(Box::new(Relation::simple("public", "t", &["id", "a"])));
    let (catalogue, state) = (Catalogue::from_rows([relation]), SessionState::new("app", "shop"));
    let undoable = |sql: &str| Analyzer::new(1).analyze(sql, &state, &catalogue).undoable;
    for sql in [
        "select a from t where id = 1",
        "select a from t for update",
        "update t set a = 'x'",
        "insert into t values (1, 'x') returning id",
        "delete from t where id = 1",
        "with gone as (delete from t returning id) insert into t select id, 'x' from gone",
        "copy t from stdin",
    ] {
        assert!(undoable(sql), "{sql}");
    }
    for sql in [
        "commit",
        "update t set a = 'x'; commit",
        "select nextval('s')",
        "insert into t values (nextval('s'), 'x')",
        "notify news",
        "select pg_notify('news', 'x')",
        "set work_mem = '5MB'",
        "drop table t",
        "truncate t",
        "create table u (id int)",
        "select pg_advisory_lock(1)",
        "select somebodys_function(1)",
        "do $$ begin delete from t; end $$",
        "call p()",
        "copy t to program 'cat'",
        "vacuum t",
        "not SQL",
    ] {
        assert!(!undoable(sql), "{sql}");
    }
}
