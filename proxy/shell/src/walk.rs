//! The walk over the syntax tree: which commands run, with which words, where.

mod dialect;
mod place;
mod redirect;
mod simple;

use super::argument::Arg;
use super::expand::{self, Scope};
use super::found::{Found, Why};
use super::shell::State;
use super::variables::{self, Variables};
use super::word::{self, Computed, Piece};
use super::{environment, parse, shape};
use brush_parser::ast;
use std::collections::BTreeSet;

pub(super) use dialect::Dialect;
pub(super) use place::Place;
pub(super) use redirect::Input;

/// So deep may command lines stand in command lines.
const DEPTH_MAX: usize = 16;

/// So many programs may run each other.
const WRAPPERS_MAX: usize = 24;

/// So many commands are looked at.
const COMMANDS_MAX: usize = 4_096;

/// So many bytes of command lines within command lines are looked at.
const INNER_MAX: usize = 512 * 1024;

/// One walk.
#[derive(Debug, Default)]
pub(super) struct Walk {
    pub(super) found: Found,
    /// What an earlier walk over the same text found of its variables.
    pub(super) known: Variables,
    /// What this one finds.
    pub(super) seen: Variables,
    /// Variables that have one of their values here.
    pub(super) set: BTreeSet<String>,
    pub(super) place: Place,
    /// Where the list of commands begins that is walked.
    begun: Place,
    /// Files that the command line writes: what they hold when they are run is not known.
    pub(super) written: BTreeSet<String>,
    /// How often something may have changed the directory so far.
    pub(super) moves: usize,
    /// The shell reads its lines from where they could reach.
    pub(super) lines: bool,
    /// Which shell reads what is walked.
    pub(super) dialect: Dialect,
    /// The words of the command hold something that is not known and that the shell splits.
    pub(super) splits: bool,
    depth: usize,
    wrappers: usize,
    commands: usize,
    inner: usize,
}

impl Walk {
    /// A walk through what a shell runs in that state, which knows the variables that an earlier walk has seen.
    pub(super) fn knowing(known: Variables, before: &State) -> Self {
        let State { variables, set, place, written, lines, .. } = before.clone();
        Self { known, seen: variables, set, place, written, lines, ..Self::default() }
    }

    /// A line that a shell reads; where the shell is if the line ends with status 0, where that says more.
    pub(super) fn line(&mut self, text: &str) -> Option<Place> {
        let program = match self.program(text) {
            Ok(program) => program,
            Err(why) => {
                self.found.doubt(why);
                return None;
            }
        };
        if let [list] = program.complete_commands.as_slice()
            && let [ast::CompoundListItem(and_or, ast::SeparatorOperator::Sequence)] = list.0.as_slice()
        {
            return self.and_or(and_or);
        }
        for list in &program.complete_commands {
            self.list(list);
        }
        None
    }

    /// A text that a shell runs.
    pub(super) fn text(&mut self, text: &str) {
        match self.program(text) {
            Ok(program) => program.complete_commands.iter().for_each(|list| self.list(list)),
            Err(why) => self.found.doubt(why),
        }
    }

    fn program(&mut self, text: &str) -> Result<ast::Program, Why> {
        self.keeps_off_chosen(text);
        let tokens = parse::tokens(text)?;
        let program = parse::program(&tokens)?;
        self.other_tokens(&tokens);
        Ok(program)
    }

    /// A text that another shell runs: nothing that it sets reaches this one.
    pub(super) fn inner_text(&mut self, text: &str) {
        self.inner += text.len();
        if self.depth >= DEPTH_MAX || self.inner > INNER_MAX {
            self.found.doubt(Why::new("it holds too many command lines within command lines"));
            return;
        }
        self.depth += 1;
        let (set, place) = (self.set.clone(), self.place.clone());
        self.text(text);
        (self.set, self.place) = (set, place);
        self.depth -= 1;
    }

    /// A text that another process' shell runs: variables of this one are not its own.
    pub(super) fn foreign_text(&mut self, text: &str) {
        let set = std::mem::take(&mut self.set);
        let dialect = std::mem::take(&mut self.dialect);
        self.inner_text(text);
        (self.set, self.dialect) = (set, dialect);
    }

    /// A text that this shell may run at any time.
    pub(super) fn later_text(&mut self, text: &str) {
        let (place, moves) = (self.place.clone(), self.moves);
        self.place.lose();
        self.foreign_text(text);
        self.place = place;
        if self.moves > moves {
            self.seen.doubt();
            self.place.lose();
        }
    }

    /// The variable gets a value of which nobody knows anything, in whatever way.
    pub(super) fn opens(&mut self, name: &str) {
        self.danger(name, &Arg::open(""));
        self.seen.open(name);
    }

    /// Doubts what a variable makes of the programs that get it.
    pub(super) fn danger(&mut self, name: &str, value: &Arg) {
        if let Some(why) = environment::danger(name, value) {
            self.found.doubt(why);
        }
    }

    /// The variable has one of its values from here on.
    pub(super) fn is_set(&mut self, name: &str) {
        self.set.insert(name.to_owned());
    }

    fn list(&mut self, list: &ast::CompoundList) {
        for ast::CompoundListItem(and_or, separator) in &list.0 {
            if matches!(separator, ast::SeparatorOperator::Async) {
                self.apart(|walk| drop(walk.and_or(and_or)));
            } else {
                // what follows runs whether it went well or not
                self.and_or(and_or);
            }
        }
    }

    /// Commands joined by `&&` and `||`. Gives the place behind them if all have gone well, where that is one way only.
    fn and_or(&mut self, list: &ast::AndOrList) -> Option<Place> {
        // wherever one of them ends that has not gone well
        let mut ended = self.place.clone();
        let outer = std::mem::replace(&mut self.begun, self.place.clone());
        self.pipeline(&list.first);
        let certain = self.set.clone();
        let mut straight = !list.first.bang;
        for next in &list.additional {
            ended.or(&self.place);
            match next {
                ast::AndOr::And(pipeline) => {
                    straight &= !pipeline.bang;
                    self.pipeline(pipeline);
                }
                ast::AndOr::Or(pipeline) => {
                    straight = false;
                    // what follows runs behind this one, or behind those before it if they have gone well
                    let well = std::mem::replace(&mut self.place, ended.clone());
                    self.set.clone_from(&certain);
                    self.pipeline(pipeline);
                    self.place.or(&well);
                    self.set.clone_from(&certain);
                }
            }
        }
        (self.set, self.begun) = (certain, outer);
        let reached = straight.then(|| self.place.clone());
        self.place.or(&ended);
        reached
    }

    fn pipeline(&mut self, pipeline: &ast::Pipeline) {
        if let [command] = pipeline.seq.as_slice() {
            if pipeline.timed.is_some() && self.dialect != Dialect::Bash {
                // where that is a program, what follows it sets nothing here
                self.perhaps(|walk| walk.command(command, &Input::Client));
            } else {
                self.command(command, &Input::Client);
            }
            return;
        }
        let mut input = Input::Client;
        for command in &pipeline.seq {
            let paths = simple::listed(self, command);
            self.apart(|walk| walk.command(command, &input));
            input = paths.map_or(Input::Computed, Input::Paths);
        }
    }

    /// What a part of the command line sets stays in it: a subshell, a part of a pipeline, a background job.
    fn apart(&mut self, walk: impl FnOnce(&mut Self)) {
        let (set, place) = (self.set.clone(), self.place.clone());
        walk(self);
        (self.set, self.place) = (set, place);
    }

    /// What a part that may not run sets is not certain behind it.
    fn perhaps(&mut self, walk: impl FnOnce(&mut Self)) {
        let (set, place) = (self.set.clone(), self.place.clone());
        walk(self);
        self.set = set;
        self.place.or(&place);
    }

    /// What a loop runs. If that changes the directory, each time after the first it begins where nobody knows.
    fn repeatedly(&mut self, walk: impl Fn(&mut Self)) {
        let moves = self.moves;
        self.perhaps(&walk);
        if self.moves > moves {
            self.place.lose();
            self.perhaps(walk);
        }
    }

    fn command(&mut self, command: &ast::Command, input: &Input) {
        self.commands += 1;
        if self.commands > COMMANDS_MAX {
            self.found.doubt(Why::new(format!("it holds more than {COMMANDS_MAX} commands")));
            return;
        }
        match command {
            ast::Command::Simple(command) => self.simple(command, input),
            ast::Command::Compound(command, redirects) => {
                let parted = self.is_parted(redirects.iter().flat_map(|list| &list.0));
                if parted {
                    self.begins_anew();
                }
                let input = self.redirects(redirects.as_ref(), input);
                if parted {
                    self.perhaps(|walk| walk.compound(command, &input));
                } else {
                    self.compound(command, &input);
                }
            }
            ast::Command::Function(function) => {
                self.seen.define(&function.fname.value);
                self.keeps_off_function(&function.fname.value);
                let body = &function.body;
                self.perhaps(|walk| {
                    // it may run where the caller is
                    walk.place.lose();
                    walk.redirects(body.1.as_ref(), &Input::Computed);
                    walk.set.clear();
                    walk.compound(&body.0, &Input::Computed);
                });
                if !is_plain_name(&function.fname.value) {
                    self.found.doubt(Why::new("a function whose name is not literal"));
                }
                // it may run anywhere from here on
                self.place.lose();
            }
            ast::Command::ExtendedTest(test, redirects) => {
                self.redirects(redirects.as_ref(), input);
                self.test(&test.expr);
            }
        }
    }

    fn compound(&mut self, command: &ast::CompoundCommand, input: &Input) {
        match command {
            ast::CompoundCommand::Arithmetic(command) => {
                self.arithmetic_text(&command.expr.value);
                self.other_arithmetic(&command.expr.value);
            }
            ast::CompoundCommand::ArithmeticForClause(clause) => {
                for part in [&clause.initializer, &clause.condition, &clause.updater].into_iter().flatten() {
                    self.arithmetic_text(&part.value);
                }
                self.repeatedly(|walk| walk.list_with(&clause.body.list, input));
            }
            ast::CompoundCommand::BraceGroup(group) => self.list_with(&group.list, input),
            ast::CompoundCommand::Subshell(shell) => self.apart(|walk| walk.list_with(&shell.list, input)),
            ast::CompoundCommand::ForClause(clause) => self.for_clause(clause, input),
            ast::CompoundCommand::CaseClause(clause) => {
                self.word(&clause.value.value);
                for case in &clause.cases {
                    for pattern in &case.patterns {
                        self.word(&pattern.value);
                    }
                    if let Some(list) = &case.cmd {
                        self.perhaps(|walk| walk.list_with(list, input));
                    }
                }
            }
            ast::CompoundCommand::IfClause(clause) => {
                self.list_with(&clause.condition, input);
                self.perhaps(|walk| walk.list_with(&clause.then, input));
                for part in clause.elses.iter().flatten() {
                    self.perhaps(|walk| {
                        if let Some(condition) = &part.condition {
                            walk.list_with(condition, input);
                        }
                        walk.list_with(&part.body, input);
                    });
                }
            }
            ast::CompoundCommand::WhileClause(clause) | ast::CompoundCommand::UntilClause(clause) => {
                self.repeatedly(|walk| {
                    walk.list_with(&clause.0, input);
                    walk.list_with(&clause.1.list, input);
                });
            }
            ast::CompoundCommand::Coprocess(command) => {
                self.apart(|walk| walk.command(&command.body, &Input::Computed));
            }
        }
    }

    /// A list whose commands read what the compound command reads.
    fn list_with(&mut self, list: &ast::CompoundList, input: &Input) {
        let [ast::CompoundListItem(and_or, ast::SeparatorOperator::Sequence)] = list.0.as_slice() else {
            // which of them reads how much of it cannot be told
            self.list(list);
            return;
        };
        if and_or.additional.is_empty()
            && let [command] = and_or.first.seq.as_slice()
        {
            self.command(command, input);
        } else {
            self.and_or(and_or);
        }
    }

    fn for_clause(&mut self, clause: &ast::ForClauseCommand, input: &Input) {
        let name = &clause.variable_name;
        let words = clause.values.as_deref().unwrap_or_default();
        let values = self.arguments(words.iter().map(|word| word.value.as_str()));
        for value in values.iter().flatten() {
            self.danger(name, value);
            self.seen.assign(name, Some(value.clone()));
        }
        if clause.values.is_none() || !word::is_name(name) {
            self.opens(name);
        }
        self.repeatedly(|walk| {
            walk.set.insert(name.clone());
            walk.list_with(&clause.body.list, input);
        });
    }

    fn test(&mut self, test: &ast::ExtendedTestExpr) {
        use ast::BinaryPredicate as Is;
        match test {
            ast::ExtendedTestExpr::And(left, right) | ast::ExtendedTestExpr::Or(left, right) => {
                self.test(left);
                self.test(right);
            }
            ast::ExtendedTestExpr::Not(inner) | ast::ExtendedTestExpr::Parenthesized(inner) => {
                self.test(inner);
            }
            ast::ExtendedTestExpr::UnaryTest(predicate, word) => {
                self.word(&word.value);
                if matches!(
                    predicate,
                    ast::UnaryPredicate::ShellVariableIsSetAndAssigned
                        | ast::UnaryPredicate::ShellVariableIsSetAndNameRef
                ) && !word::is_name(&word.value)
                {
                    self.found.doubt(Why::new("`[[ -v … ]]` evaluates what is not a plain name"));
                }
            }
            ast::ExtendedTestExpr::BinaryTest(predicate, left, right) => {
                for word in [left, right] {
                    self.pattern(&word.value);
                }
                if matches!(
                    predicate,
                    Is::ArithmeticEqualTo
                        | Is::ArithmeticNotEqualTo
                        | Is::ArithmeticLessThan
                        | Is::ArithmeticLessThanOrEqualTo
                        | Is::ArithmeticGreaterThan
                        | Is::ArithmeticGreaterThanOrEqualTo
                ) {
                    self.arithmetic_word(&left.value);
                    self.arithmetic_word(&right.value);
                }
            }
        }
    }

    /// An operand that `[[` evaluates as arithmetic.
    fn arithmetic_word(&mut self, raw: &str) {
        let plain = raw.trim_matches('"');
        self.arithmetic_text(plain);
    }

    fn arithmetic_text(&mut self, text: &str) {
        match word::decode_arithmetic(text) {
            Ok(computed) => self.computed(&computed),
            Err(why) => self.found.doubt(why),
        }
    }

    /// Walks into what runs while a word is expanded, and gives its pieces.
    fn word(&mut self, raw: &str) -> Vec<Piece> {
        let pieces = word::decode(raw);
        self.pieces(pieces)
    }

    fn pattern(&mut self, raw: &str) {
        let pieces = word::decode_pattern(raw);
        self.pieces(pieces);
    }

    fn pieces(&mut self, pieces: Result<Vec<Piece>, Why>) -> Vec<Piece> {
        let pieces = pieces.unwrap_or_else(|why| {
            self.found.doubt(why);
            Vec::new()
        });
        for piece in &pieces {
            match piece {
                Piece::Substitution { text, .. } => self.inner_text(text),
                Piece::Computed { computed, .. } => self.computed(computed),
                Piece::Text(_)
                | Piece::Quoted(_)
                | Piece::Glob(_)
                | Piece::Brace(_)
                | Piece::Tilde(_)
                | Piece::Variable { .. } => {}
            }
        }
        pieces
    }

    fn computed(&mut self, computed: &Computed) {
        let cut = |c: char| c.is_whitespace() || "<>;|&()".contains(c);
        if self.dialect != Dialect::Bash && computed.source.starts_with("$[") && computed.source.contains(cut)
        {
            self.found.doubt(Why::new("`$[…]`, which are several words in shells that do not know it"));
        }
        for text in &computed.substitutions {
            self.inner_text(text);
        }
        for name in &computed.assigns {
            self.opens(name);
        }
        for name in &computed.arithmetic {
            let number = |value: &Arg| value.value().is_some_and(|value| value.parse::<i64>().is_ok());
            let numbers = self.set.contains(name)
                && self.known.values(name).is_some_and(|values| values.iter().all(number));
            if !numbers && (!variables::is_number(name) || self.known.is_set(name)) {
                self.found.doubt(Why::new(format!(
                    "`{}` evaluates what the variable {name} holds, which may hold commands",
                    computed.source
                )));
            }
        }
    }

    /// Every list of arguments that words can stand for. None are known if one of them cannot be read.
    fn arguments<'w>(&mut self, words: impl Iterator<Item = &'w str>) -> Vec<Vec<Arg>> {
        let pieces: Vec<_> = words.map(|word| self.word(word)).collect();
        self.expanded(&pieces)
    }

    fn expanded(&mut self, words: &[Vec<Piece>]) -> Vec<Vec<Arg>> {
        expand::arguments(words, self.scope()).unwrap_or_else(|why| {
            self.found.doubt(why);
            Vec::new()
        })
    }

    fn scope(&self) -> Scope<'_> {
        let shaped = if self.known.has_functions() { |_: &str| false } else { shape::is_shaped };
        Scope { variables: &self.known, set: &self.set, shaped }
    }
}

fn is_plain_name(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'))
}
