use super::super::{Analyzer, SessionState};
use super::Shape;
use crate::catalogue::{Catalogue, Relation, Row};
use proptest::prelude::*;

fn catalogue() -> Catalogue {
    let relation = |name: &str| Row::Relation(Box::new(Relation::simple("public", name, &["id", "a", "b"])));
    Catalogue::from_rows(["t", "u"].map(relation))
}

fn state() -> SessionState {
    SessionState::new("app", "shop")
}

#[test]
fn whole_numbers_that_stand_alone_are_taken_out() {
    let shape = Shape::of("select a from t where id = 17 and b<-4;\n").unwrap();
    assert_eq!(shape.numbers, ["17", "4"]);
    assert_eq!(shape.text, "select a from t where id = \u{1} and b<-\u{1};\n");
    let parameter = Shape::of("select $1, 2 from t1").unwrap();
    assert_eq!(parameter.text, "select $1, \u{1} from t1");
}

#[test]
fn a_text_whose_tokens_could_be_mistaken_has_no_shape() {
    for text in [
        "select 1 from t where a = 'x'",
        "select 1 from \"t\"",
        "select 1 -- 2",
        "select 1 /* 2 */",
        "select 1; select 2",
        "select 1.5",
        "select .5",
        "select 1e5",
        "select 0x1F",
        "select 1_000",
        "select 1a",
        "select $$1$$",
        "select $1$2",
        "select a$1 from t",
        "select 1234567890",
        "select é, 1",
        "select a from t",
        "select 1 \\ 2",
        "select 1 \u{1} 2",
    ] {
        assert_eq!(Shape::of(text), None, "{text}");
    }
}

/// The analysis of `text` by an analyser that has seen `before`, and by one that has seen nothing.
fn both(before: &str, text: &str) -> (String, String) {
    let (state, catalogue) = (state(), catalogue());
    let analyzer = Analyzer::new(100);
    analyzer.analyze(before, &state, &catalogue);
    let remembered = analyzer.analyze(text, &state, &catalogue);
    let fresh = Analyzer::new(100).analyze(text, &state, &catalogue);
    (format!("{remembered:?}"), format!("{fresh:?}"))
}

#[test]
fn a_remembered_shape_gives_what_a_fresh_analysis_gives() {
    for (before, text) in [
        ("select a from t where id = 1", "select a from t where id = 22"),
        ("select a, b from t order by 1", "select a, b from t order by 2"),
        ("select a, count(*) from t group by 1", "select a, count(*) from t group by 2"),
        ("select a from t limit 1 offset 2", "select a from t limit 3 offset 4"),
        ("update t set a = 1 where id = 2", "update t set a = 3 where id = 4"),
        ("delete from t where id in (1, 2)", "delete from t where id in (7, 8)"),
        ("delete from t where 1 = 1", "delete from t where 0 = 0"),
        ("insert into t values (1, 2, 3)", "insert into t values (4, 5, 6)"),
        ("select a::varchar(1) from t where id = -5", "select a::varchar(9) from t where id = -6"),
        ("explain (analyze 0) delete from t", "explain (analyze 1) delete from t"),
        ("set statement_timeout = 1", "set statement_timeout = 2"),
        ("prepare p as select 1", "prepare p as select 2"),
        ("declare c cursor for select 1 from t", "declare c cursor for select 2 from t"),
        ("create table z as select 1 as x", "create table z as select 2 as x"),
        ("select setval(1, 2)", "select setval(3, 4)"),
        ("select a from nowhere where id = 1", "select a from nowhere where id = 2"),
    ] {
        let (remembered, fresh) = both(before, text);
        assert_eq!(remembered, fresh, "{text} after {before}");
    }
}

#[test]
fn texts_of_one_shape_are_analysed_once() {
    let (state, catalogue) = (state(), catalogue());
    let analyzer = Analyzer::new(100);
    for id in 0..50 {
        analyzer.analyze(&format!("select a from t where id = {id}"), &state, &catalogue);
    }
    assert_eq!(analyzer.remembered.lock().unwrap().len(), 1);
}

proptest! {
    #[test]
    fn two_texts_of_one_shape_are_the_same_tokens(text in "[a-c0-2 $(),.;=<>:+*/%'\"_-]{0,24}", other in "[0-9]{1,9}") {
        if let Some(shape) = Shape::of(&text) {
            let filled = shape.text.replace('\u{1}', &other);
            let kinds = |text: &str| {
                pg_query::scan_tokens(text).ok().map(|tokens| {
                    tokens.into_iter().map(|token| (token.token, token.keyword_kind)).collect::<Vec<_>>()
                })
            };
            prop_assert_eq!(kinds(&text), kinds(&filled), "{} and {}", text, filled);
            prop_assert_eq!(Shape::of(&filled).map(|again| again.text), Some(shape.text));
        }
    }
}
