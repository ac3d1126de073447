//! Texts to effects: an answer to each, the same one again, and no panic, not even one that the analyser would survive.
//!
//! Input: texts of one session, in order, with NUL between them, which no text has.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy_policy::{Effects, Outputs};
use proxy_postgres::analyze::{Analysis, Analyzer, SessionState, StateChange};
use proxy_postgres::catalogue::Catalogue;
use proxy_postgres_fuzz::gateway::catalogue;
use std::sync::LazyLock;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(catalogue);

fuzz_target!(|data: &[u8]| {
    let Ok(input) = std::str::from_utf8(data) else { return };
    let mut state = SessionState::new("agent", "app");
    for text in input.split('\0').take(4) {
        // Nothing remembered: each is thought through.
        let analyzer = Analyzer::new(1);
        let analysis = analyzer.analyze(text, &state, &CATALOGUE);
        check(text, &analysis);
        let again = Analyzer::new(1).analyze(text, &state, &CATALOGUE);
        assert_eq!(answer(&analysis), answer(&again), "two answers to {text:?}");
        state.apply(&analysis.state_changes);
        for change in &analysis.state_changes {
            named(change, &analyzer, &state);
        }
    }
});

/// All of an analysis that is judged; changes of the session's state hold maps, which have no order.
fn answer(analysis: &Analysis) -> String {
    format!("{:?} {:?} {:?}", analysis.command, analysis.statements, analysis.unresolved)
}

fn check(text: &str, analysis: &Analysis) {
    let command = &analysis.command;
    assert_eq!(&*command.text, text);
    assert_eq!(command.reading.outputs.len(), analysis.statements.len(), "{text:?}");
    let known = matches!(command.reading.effects, Effects::Known(_));
    assert!(!known || !analysis.statements.is_empty() || command.reading.operation == "EMPTY", "{text:?}");
    assert!(known || command.reading.changes, "unknown effects count as a change: {text:?}");
    for (output, statement) in command.reading.outputs.iter().zip(analysis.statements.iter()) {
        assert_eq!(!matches!(output, Outputs::None), statement.returns_rows, "{text:?}");
    }
}

/// What a protocol-level message means that names what SQL made.
fn named(change: &StateChange, analyzer: &Analyzer, state: &SessionState) {
    let analysis = match change {
        StateChange::Prepared { name, .. } => analyzer.analyze_prepared(name, state, &CATALOGUE),
        StateChange::Declared { cursor, .. } => analyzer.analyze_cursor(cursor, state, &CATALOGUE),
        _ => None,
    };
    if let Some(analysis) = analysis {
        assert_eq!(analysis.statements.len(), 1);
    }
}
