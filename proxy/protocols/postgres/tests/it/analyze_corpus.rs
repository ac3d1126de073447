//! The bypass corpora of `tests/bypass`: what the analyser must see in each statement.

use crate::corpus::{BLOCKING, MASKING, cases};
use proxy_policy::{Command, Effects, Outputs, Provenance};
use proxy_postgres::analyze::{Analysis, Analyzer, SessionState};
use proxy_postgres::catalogue::{Catalogue, Column, Function, Relation, RelationKind, Row};
use std::fmt::Write as _;

const MASKED: [&str; 2] = ["public.customers.ssn", "public.customers.doc"];

/// A database with a masked column, views over it, a partition, and functions of the user's.
pub(crate) fn catalogue() -> Catalogue {
    let table = |oid, name: &str, columns: &[&str]| {
        let mut relation = Relation::simple("public", name, columns);
        relation.oid = oid;
        relation
    };
    let view = |kind, name: &str, columns: &[&str], text: &str| {
        let mut relation = Relation::simple("public", name, columns);
        (relation.kind, relation.view) = (kind, Some(text.to_owned()));
        relation
    };
    let function = |name: &str, arguments| {
        Row::Function(Function {
            schema: "public".into(),
            name: name.into(),
            arguments_min: arguments,
            arguments_max: Some(arguments),
            ..Function::default()
        })
    };
    let mut people = Relation::simple("public", "people", &["id", "name"]);
    people.columns.push(Column {
        name: "initials".into(),
        generated: Some("public.getssn(id)".into()),
        ..Column::default()
    });
    let mut partition = table(2, "customers_old", &["id", "name", "ssn", "doc"]);
    partition.parents = vec![1];
    let mut sequence = table(6, "seq", &["last_value", "log_cnt", "is_called"]);
    sequence.kind = RelationKind::Sequence;
    let (plain, stored) = (RelationKind::View, RelationKind::MaterializedView);
    let relations = [
        table(1, "customers", &["id", "name", "ssn", "doc"]),
        partition,
        table(3, "orders", &["id", "customer_id", "total"]),
        table(4, "victim", &["id", "t"]),
        table(5, "log", &["id", "message"]),
        people,
        sequence,
        view(
            plain,
            "customer_view",
            &["id", "national_id"],
            "SELECT customers.id, customers.ssn AS national_id FROM public.customers;",
        ),
        view(plain, "outer_view", &["v"], "SELECT customer_view.national_id AS v FROM public.customer_view;"),
        view(plain, "vv", &["id", "t"], "SELECT victim.id, victim.t FROM public.victim;"),
        view(plain, "vf", &["fd"], "SELECT public.fd() AS fd;"),
        view(stored, "customer_copy", &["s"], "SELECT customers.ssn AS s FROM public.customers;"),
    ];
    let rows = relations.into_iter().map(|relation| Row::Relation(Box::new(relation)));
    let others = [
        function("getssn", 1),
        function("fd", 0),
        function("fc", 1),
        function("hstore", 1),
        function("drop_everything", 0),
        Row::Operator { schema: "public".into(), name: "===".into() },
        Row::Cast { schema: "public".into(), name: "ty".into() },
    ];
    Catalogue::from_rows(rows.chain(others))
}

fn is_masked(from: &Provenance) -> bool {
    from.opaque || from.sources.iter().any(|column| MASKED.contains(&column.0.as_str()))
}

fn outputs_masked(command: &Command) -> bool {
    command.reading.outputs.iter().any(|outputs| match outputs {
        Outputs::None => false,
        Outputs::Columns(columns) => columns.iter().any(is_masked),
        Outputs::Unaligned(from) => is_masked(from),
    })
}

/// What a policy that allows reading would refuse.
fn is_refused(command: &Command) -> bool {
    match &command.reading.effects {
        Effects::Unknown { .. } => true,
        Effects::Known(touches) => {
            touches.iter().any(|touch| !matches!(touch.effect, "Select" | "Transaction"))
        }
    }
}

fn touches(command: &Command) -> Vec<String> {
    match &command.reading.effects {
        Effects::Unknown { touches, .. } | Effects::Known(touches) => {
            touches.iter().map(ToString::to_string).collect()
        }
    }
}

fn holds(expected: &str, analysis: &Analysis) -> bool {
    let command = &analysis.command;
    let flows = command.reading.flows.iter().any(|flow| is_masked(&flow.from));
    match expected.split_once(':').unwrap_or((expected, "")) {
        ("tainted", _) => outputs_masked(command) || flows || is_refused(command),
        ("clear", _) => !outputs_masked(command) && !flows && !is_refused(command),
        ("clear-results", _) => !outputs_masked(command) && !flows,
        ("refused", _) => is_refused(command),
        ("reads", _) => command.reading.reads.iter().any(|column| MASKED.contains(&column.0.as_str())),
        ("predicates", _) => {
            command.reading.predicates.iter().any(|column| MASKED.contains(&column.0.as_str()))
        }
        ("touch", wanted) => {
            touches(command).iter().any(|touch| touch == wanted || touch.split(' ').next() == Some(wanted))
        }
        ("not", unwanted) => !touches(command).iter().any(|touch| touch.contains(unwanted)),
        ("columns", count) => match command.reading.outputs.last() {
            Some(Outputs::Columns(columns)) => columns.len().to_string() == count,
            Some(Outputs::None | Outputs::Unaligned(_)) | None => false,
        },
        (other, _) => panic!("no such expectation: {other}"),
    }
}

fn run(corpus: &str) {
    let (analyzer, catalogue) = (Analyzer::new(16), catalogue());
    let state = SessionState::new("agent", "app");
    let mut failures = String::new();
    let cases = cases(corpus);
    for case in &cases {
        let analysis = analyzer.analyze(&case.sql, &state, &catalogue);
        for expected in case.expected.iter().filter(|expected| !holds(expected, &analysis)) {
            let command = &analysis.command;
            writeln!(
                failures,
                "{}: not {expected}\n  {}\n  {:?}\n  {:?}\n  flows {:?}\n  unresolved {:?}",
                case.name,
                case.sql,
                command.reading.effects,
                command.reading.outputs,
                command.reading.flows,
                analysis.unresolved
            )
            .expect("a String takes it");
        }
    }
    assert!(failures.is_empty(), "{failures}");
    println!("{} cases", cases.len());
}

#[test]
fn every_way_to_a_masked_value_is_seen() {
    run(MASKING);
}

#[test]
fn every_way_to_destroy_is_seen() {
    run(BLOCKING);
}
