//! What a decision costs: `cargo bench -p proxy-policy`. Prints the best of several rounds, in microseconds.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program that prints figures, or fails")]

use crds::v1alpha1::Policy;
use proxy_policy::{
    Access, ColumnName, Command, Effects, Identity, Outputs, PolicySet, Provenance, Reading, ResourceFacts,
    Touch, compile,
};
use serde_json::{Value, json};
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: usize = 7;
const REPEATS: u32 = 20_000;

fn main() {
    let identity = Identity {
        issuer: "https://idp.example".to_owned(),
        subject: "agent-7".to_owned(),
        username: "agent-7".to_owned(),
        groups: (0..20).map(|number| format!("group-{number}")).chain(["agents".to_owned()]).collect(),
        claims: json!({"repository": "acme/billing", "run_id": 7}).as_object().unwrap().clone(),
    };
    let read = command("Select", &["id", "name", "email", "total"]);
    let write = command("Update", &[]);
    for (name, set) in [
        ("20 rules", policy_set(&json!([]), None)),
        ("20 rules, 60 column masks, detectors", policy_set(&masking(), None)),
        (
            "20 rules, one with a condition",
            policy_set(&json!([]), Some("'agents' in identity.groups && !command.changes")),
        ),
    ] {
        for command in [&read, &write] {
            measure(&format!("{name}: {}", command.reading.operation), || {
                black_box(set.evaluate(
                    black_box(&identity),
                    black_box(command),
                    jiff::Timestamp::UNIX_EPOCH,
                ));
            });
        }
    }
    measure_once("compile", || drop(black_box(policy_set(&masking(), Some("command.changes")))));
}

fn measure(name: &str, run: impl Fn()) {
    let best = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        (0..REPEATS).for_each(|_| run());
        start.elapsed().as_secs_f64() / f64::from(REPEATS)
    });
    println!("{name:60} {:10.2} µs", best.fold(f64::INFINITY, f64::min) * 1e6);
}

fn measure_once(name: &str, run: impl Fn()) {
    let best = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    println!("{name:60} {:10.2} µs", best.fold(f64::INFINITY, f64::min) * 1e6);
}

fn rules(when: Option<&str>) -> Value {
    let mut rules: Vec<_> = (0..18)
        .map(|number| {
            let (action, effect) = if number % 3 == 0 { ("Deny", "Drop") } else { ("Allow", "Select") };
            json!({"name": format!("r{number}"), "action": action,
                "postgresql": {"effects": [effect], "relations": [format!("schema{number}.*"), "other.*"]}})
        })
        .collect();
    rules.push(json!({"name": "reads", "action": "Allow", "when": when,
        "postgresql": {"effects": ["Select"], "relations": ["public.*"]}}));
    rules.push(json!({"name": "writes", "action": "Allow", "postgresql": {"effects": ["Insert", "Update"]}}));
    json!(rules)
}

fn masking() -> Value {
    let columns: Vec<_> = (0..50).map(|number| format!("public.t{number}.email")).collect();
    let patterns: Vec<_> = (0..10).map(|number| format!("schema{number}.*.secret*")).collect();
    json!([{"columns": columns}, {"columns": patterns}, {"columns": ["public.orders.email"]}, {"detectors": ["Secrets"]}])
}

fn policy_set(masking: &Value, when: Option<&str>) -> PolicySet {
    let spec = json!({"targetRefs": [{"name": "orders"}], "subjects": [{"group": "agents"}],
        "rules": rules(when), "masking": masking});
    let policy = Policy::new("agents", serde_json::from_value(spec).unwrap());
    compile(&ResourceFacts { name: "orders".to_owned(), ..ResourceFacts::default() }, &[policy]).unwrap()
}

fn command(effect: &'static str, columns: &[&str]) -> Command {
    let touches = ["public.orders", "public.customers"].map(|name| Touch {
        effect,
        object: "relation",
        name: name.to_owned(),
        access: if effect == "Select" { Access::Read } else { Access::Write },
        unbounded: false,
        detail: proxy_policy::Detail::None,
    });
    let sources: Vec<_> =
        columns.iter().map(|column| ColumnName(format!("public.orders.{column}"))).collect();
    let provenance =
        |source: &ColumnName| Provenance { sources: [source.clone()].into(), verbatim: true, opaque: false };
    let text = "SELECT id, name, email, total FROM orders JOIN customers USING (id)";
    let reading = Reading {
        outputs: vec![Outputs::Columns(sources.iter().map(provenance).collect())],
        reads: sources.into_iter().collect(),
        ..Reading::new(effect.to_uppercase(), text, Effects::Known(touches.into()))
    };
    Command {
        text: "".into(),
        canonical: String::new(),
        role: "app".into(),
        namespace: "app".into(),
        binding: Vec::new(),
        reading: reading.into(),
    }
}
