//! Decision tables: identities × commands × policies → verdicts, one file each, with what is expected beside it.
//!
//! `UPDATE_GOLDEN=1 cargo test -p proxy-policy` writes the tables anew; read the difference before committing it.

use crds::v1alpha1::Policy;
use proxy_policy::{
    Access, ApiRequest, ColumnName, Command, Detail, Effects, Flow, Identity, Mask, OutputMask, Outputs,
    PolicySet, Program, Provenance, Reading, ResourceFacts, Runs, Touch, Verdict, compile,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    now: String,
    #[serde(default)]
    protocol: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    policies: BTreeMap<String, serde_json::Value>,
    identities: BTreeMap<String, Caller>,
    commands: BTreeMap<String, Statement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Caller {
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    claims: serde_json::Map<String, serde_json::Value>,
}

/// A request in short, as the fields of `ApiRequest`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "marks of a request, in a file")]
struct Request {
    verb: String,
    group: String,
    resource: String,
    subresource: String,
    namespace: String,
    every_namespace: bool,
    name: String,
    path: String,
    command: String,
    /// What its command line runs besides itself, and what it does to files.
    runs: Vec<String>,
    files: Vec<String>,
    runs_unknown: bool,
    stdin: bool,
    dry_run: bool,
    images: Vec<String>,
    fields: Option<Vec<String>>,
    object: Option<serde_json::Value>,
}

/// A command in short. `runs` are programs, `requests` requests to an API server. Touches: `Select public.orders`, `Drop database:app`, `Delete public.orders unbounded`.
/// Sources: `=a.b.c` unchanged, `a.b.c + d.e.f` computed, `?` anything.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    #[serde(default)]
    touches: Vec<String>,
    #[serde(default)]
    runs: Vec<String>,
    #[serde(default)]
    requests: Vec<Request>,
    #[serde(default)]
    unknown: Option<String>,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    columns: Vec<String>,
    #[serde(default)]
    predicates: Vec<String>,
    #[serde(default)]
    flows: BTreeMap<String, String>,
}

#[test]
fn decisions_are_those_of_the_tables() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut tables = 0;
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let scenario: Scenario = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let table = table(&scenario);
        let expected = path.with_extension("table");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&expected, &table).unwrap();
        }
        let expected = std::fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(table, expected, "{} differs; UPDATE_GOLDEN=1 writes it anew", path.display());
        tables += 1;
    }
    assert!(tables >= 6);
}

fn table(scenario: &Scenario) -> String {
    let set = policy_set(scenario);
    let now = scenario.now.parse().unwrap();
    let mut table = String::new();
    for (name, caller) in &scenario.identities {
        let identity = Identity {
            issuer: "https://idp.example".to_owned(),
            subject: name.clone(),
            username: name.clone(),
            groups: caller.groups.clone(),
            claims: caller.claims.clone(),
        };
        for (operation, statement) in &scenario.commands {
            let evaluation = set.evaluate(&identity, &command(operation, statement), now);
            writeln!(table, "{name} · {operation}\n  {}", describe(&evaluation.verdict)).unwrap();
            for observed in evaluation.observed {
                let rule = &observed.rule;
                writeln!(table, "  would {}: {}/{}", observed.verdict, rule.policy, rule.rule).unwrap();
            }
        }
    }
    table
}

fn policy_set(scenario: &Scenario) -> PolicySet {
    let facts = ResourceFacts {
        namespace: "shop".to_owned(),
        name: "orders".to_owned(),
        labels: scenario.labels.clone(),
        protocol: scenario.protocol.clone().unwrap_or_else(|| "postgresql".to_owned()),
        roles: vec!["app".to_owned(), "readonly".to_owned()],
    };
    let policies = scenario.policies.iter().map(|(name, spec)| {
        let mut spec = spec.clone();
        spec["targetRefs"] = serde_json::json!([{"name": "orders"}]);
        let mut policy = Policy::new(name, serde_json::from_value(spec).unwrap());
        policy.metadata.namespace = Some("shop".to_owned());
        policy
    });
    let policies = policies.collect::<Vec<_>>();
    compile(&facts, &policies).unwrap()
}

fn command(operation: &str, statement: &Statement) -> Command {
    let touches = statement.touches.iter().map(|text| touch(text));
    let touches = touches.chain(statement.runs.iter().map(|line| run(line)));
    let touches: Vec<_> = touches.chain(statement.requests.iter().map(request)).collect();
    let columns: Vec<_> = statement.columns.iter().map(|text| provenance(text)).collect();
    let effects = match &statement.unknown {
        None => Effects::Known(touches),
        Some(why) => Effects::Unknown { why: why.clone(), touches },
    };
    let flows = statement.flows.iter();
    let reading = Reading {
        outputs: if columns.is_empty() { Vec::new() } else { vec![Outputs::Columns(columns)] },
        predicates: statement.predicates.iter().cloned().map(ColumnName).collect(),
        flows: flows
            .map(|(into, from)| Flow { from: provenance(from), into: ColumnName(into.clone()) })
            .collect(),
        ..Reading::new(operation, operation, effects)
    };
    Command {
        text: "".into(),
        canonical: String::new(),
        role: statement.role.as_deref().unwrap_or("app").into(),
        namespace: "app".into(),
        binding: Vec::new(),
        reading: reading.into(),
    }
}

fn touch(text: &str) -> Touch {
    let mut words = text.split(' ');
    let effect: &'static str = words.next().unwrap().to_owned().leak();
    let name = words.next().unwrap_or_default();
    let (object, name) = name.split_once(':').unwrap_or(("relation", name));
    let read = matches!(effect, "Select" | "Connect" | "Transaction" | "Read" | "List");
    Touch {
        effect,
        object: object.to_owned().leak(),
        name: name.to_owned(),
        access: if read { Access::Read } else { Access::Write },
        unbounded: words.next() == Some("unbounded"),
        detail: Detail::None,
    }
}

fn run(line: &str) -> Touch {
    let mut words = line.split(' ').map(str::to_owned);
    let word = words.next().unwrap();
    Touch {
        effect: "Execute",
        object: "program",
        name: word.clone(),
        access: Access::Write,
        unbounded: false,
        detail: Detail::Program(Arc::new(Program { word, args: words.collect() })),
    }
}

fn request(given: &Request) -> Touch {
    let verb = given.verb.clone();
    let name = format!("{}{}/{}/{}", given.path, given.resource, given.subresource, given.name);
    let lines = std::iter::once(&given.command).chain(&given.runs).filter(|line| !line.is_empty());
    let touches = lines.map(|line| run(line)).chain(given.files.iter().map(|text| touch(text)));
    Touch {
        effect: verb.clone().leak(),
        object: "request",
        name,
        access: if verb == "get" { Access::Read } else { Access::Write },
        unbounded: false,
        detail: Detail::Request(Arc::new(ApiRequest {
            verb,
            group: given.group.clone(),
            resource: given.resource.clone(),
            subresource: given.subresource.clone(),
            namespace: given.namespace.clone(),
            every_namespace: given.every_namespace,
            name: given.name.clone(),
            path: given.path.clone(),
            command: given.command.split_whitespace().map(str::to_owned).collect(),
            runs: Runs { touches: touches.collect(), unknown: given.runs_unknown },
            stdin: given.stdin,
            dry_run: given.dry_run,
            images: given.images.clone(),
            fields: given.fields.clone(),
            object: given.object.clone().map(Arc::new),
            ..ApiRequest::default()
        })),
    }
}

fn provenance(text: &str) -> Provenance {
    if text == "?" {
        return Provenance { opaque: true, ..Provenance::default() };
    }
    let (verbatim, sources) = text.strip_prefix('=').map_or((false, text), |rest| (true, rest));
    let sources = sources.split(" + ").filter(|source| !source.is_empty());
    Provenance {
        sources: sources.map(|source| ColumnName(source.to_owned())).collect(),
        verbatim,
        opaque: false,
    }
}

fn describe(verdict: &Verdict) -> String {
    let (word, rule, mask, message) = match verdict {
        Verdict::Allow { rule, mask } => ("Allow", rule, Some(mask), ""),
        Verdict::Deny { rule, message } => ("Deny", rule, None, message.as_str()),
        Verdict::Hold { rule, mask, message, .. } => ("Hold", rule, Some(mask), message.as_str()),
    };
    let mut text = format!("{word} {}/{}", rule.policy, rule.rule);
    if let Verdict::Hold { terms, .. } = verdict {
        write!(text, " for {} s", terms.timeout.as_secs()).unwrap();
    }
    if let Some(mask) = mask {
        for output in &mask.outputs {
            write!(text, "; {}", describe_output(output)).unwrap();
        }
        text += if mask.tainted { "; tainted" } else { "" };
        text += if mask.detectors.is_empty() { "" } else { "; detectors" };
    }
    if message.is_empty() { text } else { format!("{text}\n  {message}") }
}

fn describe_output(output: &OutputMask) -> String {
    let one = |mask: &Mask| {
        format!("{:?}{}", mask.type_, mask.keep_last.map_or(String::new(), |keep| format!("({keep})")))
    };
    match output {
        OutputMask::Clear => "clear".to_owned(),
        OutputMask::Whole(mask) => format!("whole {}", one(mask)),
        OutputMask::Columns(masks) => {
            let masks: Vec<_> = masks.iter().map(|mask| mask.as_ref().map_or("-".to_owned(), one)).collect();
            masks.join(" ")
        }
    }
}
