//! What an expression may be made of.

use cel::Program;
use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, SelectExpr};

use super::{MAX_PROBLEMS, at};

/// Deepest nesting of an expression.
const MAX_DEPTH: usize = 64;
/// Most comprehensions of one expression; they may only stand beside each other.
const MAX_COMPREHENSIONS: usize = 8;
/// Most brackets within each other, and most of `!`, `-` and `?` in an expression: what a recursive parser descends on.
const MAX_BRACKETS: usize = 32;
const MAX_PREFIXES: usize = 64;

/// The variables, and the fields of those that have a fixed set.
const VARIABLES: [(&str, &[&str]); 4] = [
    ("identity", &["issuer", "subject", "username", "groups", "claims"]),
    ("command", &["operation", "text", "effects", "database", "role", "changes"]),
    ("resource", &["namespace", "name", "labels", "protocol"]),
    ("now", &[]),
];

/// Fields of `command` that only commands of one protocol have.
fn own_fields(protocol: &str) -> &'static [&'static str] {
    match protocol {
        "kubernetes" => &["request"],
        "ssh" => &["host"],
        _ => &[],
    }
}

/// Names of types, which CEL writes like variables.
const TYPES: [&str; 12] = [
    "bool",
    "bytes",
    "double",
    "duration",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "timestamp",
    "type",
    "uint",
];

/// Refuses what would make the parser recurse deeply, before it sees it. Characters in string literals count as well:
/// telling them apart would need the parser.
pub(super) fn check_source(source: &str) -> Result<(), String> {
    let (mut depth, mut deepest, mut prefixes) = (0_usize, 0, 0);
    for character in source.chars() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '!' | '-' | '?' => prefixes += 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    if deepest > MAX_BRACKETS {
        return Err(format!("has brackets nested deeper than {MAX_BRACKETS}"));
    }
    if prefixes > MAX_PREFIXES {
        return Err(format!("has more than {MAX_PREFIXES} of `!`, `-` and `?`"));
    }
    Ok(())
}

/// Every problem of an expression that can be seen without running it.
pub(super) fn check(program: &Program, protocol: &str) -> Vec<String> {
    let mut walk = Walk { program, protocol, bound: Vec::new(), comprehensions: 0, problems: Vec::new() };
    walk.visit(program.expression(), 0);
    walk.problems
}

struct Walk<'program> {
    program: &'program Program,
    protocol: &'program str,
    /// Variables that comprehensions around the current node bind.
    bound: Vec<&'program str>,
    comprehensions: usize,
    problems: Vec<String>,
}

impl<'program> Walk<'program> {
    fn visit(&mut self, node: &'program IdedExpr, depth: usize) {
        if depth > MAX_DEPTH {
            self.problem(node.id, &format!("is nested deeper than {MAX_DEPTH} levels"));
            return;
        }
        let depth = depth + 1;
        match &node.expr {
            Expr::Unspecified | Expr::Literal(_) => {}
            Expr::Ident(name) => self.visit_ident(node.id, name),
            Expr::Select(select) => self.visit_select(node.id, select, depth),
            Expr::Call(call) => {
                for part in call.target.as_deref().into_iter().chain(&call.args) {
                    self.visit(part, depth);
                }
            }
            Expr::List(list) => list.elements.iter().for_each(|element| self.visit(element, depth)),
            Expr::Map(map) => self.visit_entries(&map.entries, depth),
            Expr::Struct(message) => self.visit_entries(&message.entries, depth),
            Expr::Comprehension(comprehension) => self.visit_comprehension(node.id, comprehension, depth),
        }
    }

    fn visit_entries(&mut self, entries: &'program [IdedEntryExpr], depth: usize) {
        for entry in entries {
            match &entry.expr {
                EntryExpr::StructField(field) => self.visit(&field.value, depth),
                EntryExpr::MapEntry(entry) => {
                    self.visit(&entry.key, depth);
                    self.visit(&entry.value, depth);
                }
            }
        }
    }

    fn visit_ident(&mut self, id: u64, name: &str) {
        let known = name.starts_with('@')
            || self.bound.contains(&name)
            || TYPES.contains(&name)
            || VARIABLES.iter().any(|(variable, _)| *variable == name);
        if !known {
            let message = format!("unknown variable `{name}`; expected identity, command, resource or now");
            self.problem(id, &message);
        }
    }

    fn visit_select(&mut self, id: u64, select: &'program SelectExpr, depth: usize) {
        if let Expr::Ident(name) = &select.operand.expr
            && !self.bound.contains(&name.as_str())
            && let Some((_, fields)) = VARIABLES.iter().find(|(variable, _)| variable == name)
            && !fields.contains(&select.field.as_str())
            && !(name == "command" && own_fields(self.protocol).contains(&select.field.as_str()))
        {
            let own: &[&str] = if name == "command" { own_fields(self.protocol) } else { &[] };
            let fields = [fields, own].concat();
            let expected = if fields.is_empty() { "none".to_owned() } else { fields.join(", ") };
            self.problem(id, &format!("`{name}` has no field `{}`; it has {expected}", select.field));
        }
        self.visit(&select.operand, depth);
    }

    fn visit_comprehension(&mut self, id: u64, node: &'program ComprehensionExpr, depth: usize) {
        self.comprehensions += 1;
        if self.comprehensions > MAX_COMPREHENSIONS {
            self.problem(
                id,
                &format!("has more than {MAX_COMPREHENSIONS} of all, exists, map, filter and the like"),
            );
            return;
        }
        if !self.bound.is_empty() {
            self.problem(
                id,
                "all, exists, map, filter and the like must not be nested: their cost multiplies",
            );
            return;
        }
        self.visit(&node.iter_range, depth);
        self.visit(&node.accu_init, depth);
        self.bound.extend([node.iter_var.as_str(), node.accu_var.as_str()]);
        self.bound.extend(node.iter_var2.as_deref());
        for part in [&node.loop_cond, &node.loop_step, &node.result] {
            self.visit(part, depth);
        }
        self.bound.clear();
    }

    fn problem(&mut self, id: u64, message: &str) {
        if self.problems.len() < MAX_PROBLEMS {
            let (line, column) = self.place(id);
            self.problems.push(at(line, column, message));
        }
    }

    /// Line and column, from one, of a node.
    fn place(&self, id: u64) -> (isize, isize) {
        let info = self.program.source_info();
        let Some((start, _)) = info.offset_for(id) else { return (-1, -1) };
        // Offsets count from zero.
        let before = info.source.chars().take(usize::try_from(start).unwrap_or(0));
        let (mut line, mut column) = (1, 1);
        for character in before {
            if character == '\n' {
                line += 1;
                column = 1;
            } else {
                column += 1;
            }
        }
        (line, column)
    }
}
