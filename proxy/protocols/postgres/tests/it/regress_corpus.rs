//! PostgreSQL's own regression suite, statement by statement, through the analyser: it answers every one, and knows a
//! plain read when it sees it.
//!
//! `e2e/clients/regression/build` fetches it once per target directory. Its statements need tables that other files of it
//! make, so a first pass collects what every file creates. What no file creates is taken for a table of the schema
//! `public`.

use crate::tool;
use pg_query::NodeEnum;
use pg_query::protobuf::SelectStmt;
use proxy_policy::{Access, Effects, Identity, PolicySet, ResourceFacts, Touch, Verdict, compile};
use proxy_postgres::analyze::{Analysis, Analyzer, SessionState, StateChange};
use proxy_postgres::catalogue::{Catalogue, Relation, Row};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const READS: &str = "
apiVersion: portcullis.dev/v1alpha1
kind: Policy
metadata: {name: reads, namespace: shop}
spec:
  targetRefs: [{name: orders}]
  subjects: [{group: agents}]
  rules:
  - name: reads
    action: Allow
    postgresql: {effects: [Select]}
";

/// The directory of the suite, fetched if it is not there yet.
fn suite() -> PathBuf {
    static FETCHING: Mutex<()> = Mutex::new(());
    let _fetching = FETCHING.lock();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("clients/regression");
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../e2e/clients/regression/build");
    let output = Command::new(build).arg(&target).output().expect("the script starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join("sql")
}

/// One file: its name and its statements.
struct Script {
    name: String,
    statements: Vec<String>,
}

fn scripts() -> Vec<Script> {
    let mut scripts: Vec<Script> = std::fs::read_dir(suite())
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            Script { name, statements: statements(&text) }
        })
        .collect();
    scripts.sort_by(|a, b| a.name.cmp(&b.name));
    scripts
}

/// The statements of a psql script: without psql's own commands, and without the data of copies.
fn statements(text: &str) -> Vec<String> {
    let mut sql = String::new();
    let mut in_data = false;
    for line in text.lines() {
        if in_data {
            in_data = line != "\\.";
            continue;
        }
        if line.starts_with('\\') {
            continue;
        }
        // `\gset`, `\gexec` and the like end a statement as a semicolon does.
        let ends = ["\\g", "\\watch", "\\crosstab", "\\bind", "\\parse"];
        match ends.iter().filter_map(|end| line.find(end)).min() {
            Some(at) if !line.trim_start().starts_with("--") => {
                sql.push_str(line.split_at(at).0);
                sql.push(';');
            }
            _ => sql.push_str(line),
        }
        sql.push('\n');
        let lower = line.to_ascii_lowercase();
        in_data = lower.contains("from stdin") && lower.contains(';');
    }
    // Variables of psql, quoted by it.
    let sql = sql.replace(":'", "'").replace(":\"", "\"");
    match pg_query::split_with_scanner(&sql) {
        Ok(statements) => statements.into_iter().map(str::to_owned).collect(),
        // Some files are wrong on purpose.
        Err(_) => sql.split(";\n").map(str::to_owned).collect(),
    }
}

/// Spreads work over the processors there are.
fn spread<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            });
        }
    });
}

/// Everything that any file creates, under the first definition of its name.
fn catalogue(scripts: &[Script]) -> Catalogue {
    let created: Mutex<BTreeMap<(usize, String), Relation>> = Mutex::default();
    let order: HashMap<&str, usize> =
        scripts.iter().enumerate().map(|(index, script)| (&*script.name, index)).collect();
    spread(scripts, |script| {
        let analyzer = Analyzer::new(1);
        let (empty, mut state) = (Catalogue::builtin(), SessionState::new("agent", "regression"));
        // The set-up of the whole suite comes first.
        let rank = if script.name == "test_setup" { 0 } else { order[&*script.name] + 1 };
        for sql in &script.statements {
            let word = sql.trim_start().get(..6).unwrap_or_default().to_ascii_lowercase();
            if word != "create" && !sql.to_ascii_lowercase().contains("into") {
                continue;
            }
            let analysis = analyzer.analyze(sql, &state, &empty);
            state.apply(&analysis.state_changes);
            for change in &analysis.state_changes {
                let StateChange::Created(relation) = change else { continue };
                let key = (rank, format!("{}.{}", relation.schema, relation.name));
                created.lock().unwrap().entry(key).or_insert_with(|| Relation::clone(relation));
            }
        }
    });
    let mut first: BTreeMap<String, Relation> = BTreeMap::new();
    for ((_, name), relation) in created.into_inner().unwrap() {
        if relation.schema == "public" {
            first.entry(name).or_insert(relation);
        }
    }
    println!("{} relations", first.len());
    Catalogue::from_rows(first.into_values().map(|relation| Row::Relation(Box::new(relation))))
}

/// Functions of PostgreSQL's own that do something besides computing, or run a text, or read files of the server: a
/// call of them is no plain read. By how their names begin.
const SIDE_EFFECTS: &[&str] = &[
    "brin_desummarize",
    "brin_summarize",
    "currtid",
    "cursor_to_xml",
    "database_to_xml",
    "gin_clean_pending_list",
    "lo_",
    "loread",
    "lowrite",
    "pg_advisory",
    "pg_clear_",
    "pg_log_backend",
    "pg_read_",
    "pg_replication_",
    "pg_restore_",
    "pg_sleep",
    "pg_stat_clear",
    "pg_stat_file",
    "pg_stat_force",
    "pg_stat_reset",
    "pg_ls_",
    "query_to_xml",
    "schema_to_xml",
    "table_to_xml",
    "ts_rewrite",
    "ts_stat",
];

/// Names of functions, aggregates and operators that the suite itself creates.
fn created_functions(scripts: &[Script]) -> HashSet<String> {
    let names: Mutex<HashSet<String>> = Mutex::default();
    spread(scripts, |script| {
        for sql in &script.statements {
            let word = sql.to_ascii_lowercase();
            if !word.contains("create") && !word.contains("alter") {
                continue;
            }
            let Ok(parsed) = pg_query::parse(sql, 0) else { continue };
            for raw in &parsed.protobuf.stmts {
                let parts = match raw.stmt.as_ref().and_then(|node| node.node.as_ref()) {
                    Some(NodeEnum::CreateFunctionStmt(create)) => &create.funcname,
                    Some(NodeEnum::DefineStmt(define)) => &define.defnames,
                    Some(NodeEnum::CreateRangeStmt(create)) => &create.type_name,
                    _ => continue,
                };
                let Some(NodeEnum::String(name)) = parts.last().and_then(|last| last.node.as_ref()) else {
                    continue;
                };
                names.lock().unwrap().insert(name.sval.clone());
            }
        }
    });
    names.into_inner().unwrap()
}

/// What a statement is, for the count.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Kind {
    /// Something else than a query, or text that is no SQL.
    Other,
    /// A query that writes, locks, or calls what is not a computation of PostgreSQL's own.
    NotPlain,
    /// A plain read.
    Read,
}

fn kind(sql: &str, analysis: &Analysis, created: &HashSet<String>) -> Kind {
    let Ok(parsed) = pg_query::parse(sql, 0) else { return Kind::Other };
    let [one] = parsed.protobuf.stmts.as_slice() else { return Kind::Other };
    let Some(NodeEnum::SelectStmt(select)) = one.stmt.as_ref().and_then(|node| node.node.as_ref()) else {
        return Kind::Other;
    };
    let (Effects::Known(touches) | Effects::Unknown { touches, .. }) = &analysis.command.reading.effects;
    if select.into_clause.is_some() || locks(select) || touches.iter().any(|touch| writes(touch, created)) {
        return Kind::NotPlain;
    }
    Kind::Read
}

fn locks(select: &SelectStmt) -> bool {
    !select.locking_clause.is_empty()
}

/// It does more than read: other statements inside, functions and operators of the suite's own, functions with effects.
fn writes(touch: &Touch, created: &HashSet<String>) -> bool {
    if touch.effect != "Call" {
        return touch.access == Access::Write;
    }
    let name = touch.name.rsplit('.').next().unwrap_or_default();
    SIDE_EFFECTS.iter().any(|known| name.starts_with(known)) || created.contains(name)
}

#[derive(Default)]
struct Count {
    statements: u32,
    kinds: BTreeMap<Kind, u32>,
    not_plain: BTreeMap<String, u32>,
    refused: BTreeMap<String, Vec<String>>,
}

impl Count {
    fn add(&mut self, sql: &str, analysis: &Analysis, judge: &Judge) {
        let kind = kind(sql, analysis, &judge.created);
        self.statements += 1;
        *self.kinds.entry(kind).or_default() += 1;
        let (Effects::Known(touches) | Effects::Unknown { touches, .. }) = &analysis.command.reading.effects;
        if kind == Kind::NotPlain {
            for touch in touches.iter().filter(|touch| touch.effect == "Call") {
                let name = touch.name.strip_prefix("pg_catalog.").unwrap_or("of the user's");
                *self.not_plain.entry(name.to_owned()).or_default() += 1;
            }
        }
        let verdict = judge.verdict(analysis);
        if kind == Kind::Read
            && let Verdict::Deny { message, .. } = verdict
        {
            let why = match &analysis.command.reading.effects {
                Effects::Unknown { why, .. } => why.clone(),
                Effects::Known(_) => message,
            };
            self.refused.entry(why).or_default().push(sql.to_owned());
        }
    }

    fn merge(&mut self, other: Self) {
        self.statements += other.statements;
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
        for (name, count) in other.not_plain {
            *self.not_plain.entry(name).or_default() += count;
        }
        for (why, mut texts) in other.refused {
            self.refused.entry(why).or_default().append(&mut texts);
        }
    }
}

/// What tells whether a statement is a plain read, and whether it is refused.
struct Judge {
    policies: PolicySet,
    identity: Identity,
    created: HashSet<String>,
}

impl Judge {
    fn verdict(&self, analysis: &Analysis) -> Verdict {
        self.policies.evaluate(&self.identity, &analysis.command, jiff::Timestamp::UNIX_EPOCH).verdict
    }
}

fn judge(scripts: &[Script]) -> Judge {
    let facts = ResourceFacts {
        namespace: "shop".to_owned(),
        name: "orders".to_owned(),
        protocol: "postgresql".to_owned(),
        ..ResourceFacts::default()
    };
    let identity = Identity {
        issuer: "https://idp.example.com".to_owned(),
        subject: "bot".to_owned(),
        username: "bot".to_owned(),
        groups: vec!["agents".to_owned()],
        claims: serde_json::Map::new(),
    };
    let policies = compile(&facts, &[serde_yaml_ng::from_str(READS).unwrap()]).unwrap();
    Judge { policies, identity, created: created_functions(scripts) }
}

#[test]
fn the_regression_suite_is_understood() {
    if !tool::is_here("python3", &["-m", "pip", "--version"]) || !tool::is_here("tar", &["--version"]) {
        return;
    }
    let scripts = scripts();
    let (catalogue, judge) = (catalogue(&scripts), judge(&scripts));
    let total: Mutex<Count> = Mutex::default();
    spread(&scripts, |script| {
        let (analyzer, mut count) = (Analyzer::new(1), Count::default());
        let mut state = SessionState::new("agent", "regression");
        for sql in &script.statements {
            let analysis = analyzer.analyze(sql, &state, &catalogue);
            if let Effects::Unknown { why, .. } = &analysis.command.reading.effects {
                assert!(!why.contains("the analyser failed"), "{}: {sql}", script.name);
            }
            count.add(sql, &analysis, &judge);
            state.apply(&analysis.state_changes);
        }
        total.lock().unwrap().merge(count);
    });
    let total = total.into_inner().unwrap();
    let read = total.kinds.get(&Kind::Read).copied().unwrap_or_default();
    let refused: usize = total.refused.values().map(Vec::len).sum();
    println!("{} statements in {} files: {:?}", total.statements, scripts.len(), total.kinds);
    println!("not plain, by function: {:?}", total.not_plain);
    for (why, texts) in &total.refused {
        println!("{} refused: {why}: {}", texts.len(), texts[0]);
    }
    println!("{refused} of {read} plain reads are refused");
    assert!(total.statements > 45_000 && read > 10_000);
    assert!(refused * 100 <= read as usize, "more than 1 %");
}
