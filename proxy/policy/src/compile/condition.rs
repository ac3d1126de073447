//! `when:`: CEL expressions, fenced.
//!
//! The interpreter has no cost limit and no static types, so the fence is ours: source length and nesting are
//! bounded, a comprehension may not run inside another (the cost stays linear in the longest list), unknown variables and
//! fields are found by walking the expression, and type errors by a dry run over samples. What still fails at run
//! time is an error, and an error refuses the command.

mod fence;
mod sample;
mod scope;

use cel::{Env, ExecutionError, Program, Value};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub(crate) use scope::Scope;

use super::ResourceFacts;

/// Longest source of an expression, in bytes.
const MAX_SOURCE: usize = 4096;
/// Stack for the parser, in bytes; only what is used is ever committed.
const PARSER_STACK: usize = 64 << 20;
/// Most problems reported for one expression.
const MAX_PROBLEMS: usize = 16;

/// A compiled `when:`.
pub(crate) struct Condition {
    program: Program,
    source: String,
}

impl std::fmt::Debug for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Condition").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Condition {
    /// Compiles, fences and dry-runs an expression.
    ///
    /// # Errors
    /// What is wrong, with `line:column` where it can be told.
    pub(crate) fn compile(
        source: &str,
        env: &Arc<Env>,
        resource: &ResourceFacts,
    ) -> Result<Self, Vec<String>> {
        if source.len() > MAX_SOURCE {
            return Err(vec![format!("is {} bytes long; at most {MAX_SOURCE} are allowed", source.len())]);
        }
        fence::check_source(source).map_err(|problem| vec![problem])?;
        let program = parse(source, env, &resource.protocol)?;
        let condition = Self { program, source: source.to_owned() };
        sample::dry_run(&condition, env, resource).map_err(|problem| vec![problem])?;
        Ok(condition)
    }

    /// Evaluates the expression.
    ///
    /// # Errors
    /// Why it has no answer, in words without any value of the identity or the command.
    pub(crate) fn holds(&self, scope: &Scope<'_>) -> Result<bool, String> {
        match self.execute(scope)? {
            Ok(Value::Bool(answer)) => Ok(answer),
            Ok(other) => Err(format!("gives {}, not a bool", name_of(&other))),
            Err(error) => Err(describe(&error)),
        }
    }

    /// A panic of the interpreter refuses one command; it does not end the gateway.
    fn execute(&self, scope: &Scope<'_>) -> Result<Result<Value, ExecutionError>, String> {
        let context = scope.context()?;
        catch_unwind(AssertUnwindSafe(|| self.program.execute(context)))
            .map_err(|_panic| "the CEL interpreter failed on this expression".to_owned())
    }
}

/// Parses and fences on a stack of its own: the parser recurses, and a policy must not be able to end the process.
fn parse(source: &str, env: &Arc<Env>, protocol: &str) -> Result<Program, Vec<String>> {
    let parse = || {
        let program = env.compile(source).map_err(|errors| {
            let errors = errors.errors.iter().take(MAX_PROBLEMS);
            errors.map(|error| at(error.pos.0, error.pos.1, &error.msg)).collect::<Vec<_>>()
        })?;
        let problems = fence::check(&program, protocol);
        // A program that is refused may be deep, and is dropped here, where there is stack for it.
        if problems.is_empty() { Ok(program) } else { Err(problems) }
    };
    std::thread::scope(|threads| {
        let thread = std::thread::Builder::new().name("cel-parser".to_owned()).stack_size(PARSER_STACK);
        thread
            .spawn_scoped(threads, parse)
            .map_err(|_error| vec!["no thread could be started to parse this expression".to_owned()])?
            .join()
            .unwrap_or_else(|_panic| Err(vec!["the CEL parser failed on this expression".to_owned()]))
    })
}

/// A message with its place; parsers count from one, and say -1 where they do not know.
fn at(line: isize, column: isize, message: &str) -> String {
    if line > 0 { format!("{line}:{column}: {message}") } else { message.to_owned() }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a foreign enum that grows; the rest has no word worth saying"
)]
/// An evaluation error without the values in it, since they may be secret and the client gets to read it.
fn describe(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(name) if matches!(name.as_str(), "text" | "effects") => {
            format!("the command is too large to look at its {name}")
        }
        ExecutionError::NoSuchKey(name) => format!("no such key: {name}"),
        ExecutionError::NoSuchOverload(overload) => overload.to_string(),
        ExecutionError::UndeclaredReference(name) => format!("undeclared reference to `{name}`"),
        ExecutionError::InvalidArgumentCount { expected, actual } => {
            format!("wrong number of arguments: expected {expected}, got {actual}")
        }
        ExecutionError::UnexpectedType { got, want } => format!("expected {want}, got {got}"),
        ExecutionError::UnsupportedBinaryOperator(operator, left, right) => {
            format!("`{operator}` does not take {} and {}", name_of(left), name_of(right))
        }
        ExecutionError::ValuesNotComparable(left, right) => {
            format!("{} and {} cannot be compared", name_of(left), name_of(right))
        }
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "division by zero".to_owned()
        }
        ExecutionError::Overflow(..) => "arithmetic overflow".to_owned(),
        ExecutionError::IndexOutOfBounds(_) => "index out of bounds".to_owned(),
        ExecutionError::FunctionError { function, .. } => format!("function `{function}` failed"),
        _ => "types do not fit".to_owned(),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum with features; the rest has one name")]
fn name_of(value: &Value) -> &'static str {
    match value {
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
        Value::Int(_) | Value::UInt(_) | Value::Float(_) => "a number",
        Value::String(_) => "a string",
        Value::Bool(_) => "a bool",
        Value::Null => "null",
        _ => "another type",
    }
}

#[cfg(test)]
mod tests;
