//! Function calls: which are computations over their arguments, and which do something else.

use super::effect;
use super::names;
use super::scope::{absorb, opaque};
use super::setting::switch;
use super::walk::{Certain, Walk};
use crate::catalogue::{Judgement, builtin_function, information_schema_function};
use pg_query::NodeEnum;
use pg_query::protobuf::{FuncCall, Node};
use proxy_policy::Provenance;

impl Walk<'_> {
    /// The value of a call, and its touches.
    pub(super) fn function_call(&mut self, call: &FuncCall) -> Provenance {
        let certain = std::mem::take(&mut self.certain);
        if let Some(from) = self.field_of_row(call) {
            return from;
        }
        let mut from = self.all_of(&call.args);
        absorb(&mut from, &self.all_of(&call.agg_order));
        absorb(&mut from, &self.derived(call.agg_filter.as_deref()));
        if let Some(window) = call.over.as_deref() {
            absorb(&mut from, &self.window(window));
        }
        let (schema, name) = names::qualified(&call.funcname);
        self.certain = certain;
        let special = self.special_function(&schema, &name, &call.args);
        self.certain = Certain::Nothing;
        if let Some(special) = special {
            absorb(&mut from, &special);
            return from;
        }
        let counted = if call.func_variadic { call.args.len().max(1) } else { call.args.len() };
        self.named_function(&schema, &name, counted, from)
    }

    /// Judges a call by name, given what its arguments carry.
    pub(super) fn named_function(
        &mut self,
        schema: &str,
        name: &str,
        arguments: usize,
        mut from: Provenance,
    ) -> Provenance {
        from.verbatim = false;
        let own = match schema {
            "" | "pg_catalog" => builtin_function(name),
            "information_schema" => information_schema_function(name),
            _ => None,
        };
        let mut reached = self.catalogue.acting_functions(&self.state, schema, name, arguments);
        if own.is_none() && !self.catalogue.has_function(&self.state, schema, name, arguments) {
            reached = self.function_candidates(schema, name);
            self.unresolved.push(name.to_owned());
        }
        for function in &reached {
            self.write(effect::CALL, "function", function);
            from.opaque = true;
        }
        let Some(own) = own else { return from };
        match own.judgement {
            Judgement::Harmless => {}
            Judgement::Revealing => from.opaque = true,
            Judgement::Call => {
                self.write(effect::CALL, "function", &format!("pg_catalog.{name}"));
                if PUTTING.contains(&name) {
                    self.flow(from.clone(), "pg_catalog.pg_largeobject.data".to_owned());
                }
                from.opaque |= !LARGE_OBJECTS.contains(&name);
            }
        }
        if own.returns_set {
            let told = from.clone();
            self.filtered_by(&told);
            if let Some(level) = self.levels.last_mut() {
                absorb(&mut level.cardinality, &told);
            }
        }
        from
    }

    /// `(value).name`: a field of it, or another way to write `name(value)` if there is such a function that does more
    /// than compute.
    pub(super) fn field_or_function(&mut self, name: &str, from: Provenance) -> Provenance {
        let computes = match builtin_function(name) {
            Some(own) => own.judgement == Judgement::Harmless && !own.returns_set && !ACTING.contains(&name),
            None => true,
        };
        if !computes || !self.catalogue.acting_functions(&self.state, "", name, 1).is_empty() {
            let mut from = self.named_function("", name, 1, from);
            // what it acts on is named by a value
            from.opaque |= !computes;
            return from;
        }
        from
    }

    /// A construct of the grammar that an older server takes for a call, if there is a function of that name.
    pub(super) fn may_be_a_call(&mut self, name: &str, from: Provenance) -> Provenance {
        (0..=MOST).fold(from, |mut from, count| {
            for function in self.catalogue.acting_functions(&self.state, "", name, count) {
                self.write(effect::CALL, "function", &function);
                from.opaque = true;
            }
            from
        })
    }

    fn function_candidates(&self, schema: &str, name: &str) -> Vec<String> {
        if !schema.is_empty() {
            return vec![format!("{schema}.{name}")];
        }
        let path = self.catalogue.effective_path(&self.state);
        let user = path.iter().filter(|schema| !matches!(schema.as_str(), "pg_catalog" | "pg_temp"));
        let found: Vec<String> = user.map(|schema| format!("{schema}.{name}")).collect();
        if found.is_empty() { vec![format!("public.{name}")] } else { found }
    }

    /// `ssn(c)` where `c` is a relation with a column `ssn`: another way to write `c.ssn`.
    fn field_of_row(&mut self, call: &FuncCall) -> Option<Provenance> {
        let ([argument], [function]) = (call.args.as_slice(), call.funcname.as_slice()) else { return None };
        let (Some(NodeEnum::ColumnRef(reference)), Some(field)) =
            (argument.node.as_ref(), names::string(function))
        else {
            return None;
        };
        let parts = names::strings(&reference.fields);
        let [alias] = parts.as_slice() else { return None };
        let is_function =
            builtin_function(field).is_some() || self.catalogue.has_function(&self.state, "", field, 1);
        if is_function || !self.is_row_of(alias, field) {
            return None;
        }
        let fields = [alias.as_str(), field].map(names::string_node).to_vec();
        Some(self.column_reference(&pg_query::protobuf::ColumnRef { fields, location: 0 }))
    }

    /// Whether `name` stands for a whole row that has a known column `field`.
    pub(super) fn is_row_of(&self, name: &str, field: &str) -> bool {
        let sources = self.sources_named("", name);
        let has = |(level, source): &(usize, usize)| {
            let rows = self.levels.get(*level).and_then(|l| l.sources.get(*source)).map(|found| &found.rows);
            rows.is_some_and(|rows| {
                rows.rest.is_none() && rows.columns.iter().any(|column| column.name == field)
            })
        };
        let shadowed = self.levels.iter().any(|level| level.slots.iter().any(|slot| slot.name == name));
        !shadowed && !sources.is_empty() && sources.iter().all(has)
    }

    /// Functions of PostgreSQL's own that act on what a literal argument names.
    fn special_function(&mut self, schema: &str, name: &str, args: &[Node]) -> Option<Provenance> {
        if !(schema.is_empty() || schema == "pg_catalog") {
            return None;
        }
        let literal = args.first().and_then(names::constant_string).map(str::to_owned);
        match name {
            "set_config" => {
                self.set_config(args);
                Some(Provenance::default())
            }
            "nextval" | "setval" => {
                self.literal_sensitive = true;
                self.lasting = true;
                match literal.as_deref().and_then(regclass) {
                    Some((schema, name)) => {
                        for relation in self.relation_names(&schema, &name) {
                            self.write(effect::UPDATE, "relation", &relation);
                        }
                    }
                    None => self.write(effect::CALL, "function", &format!("pg_catalog.{name}")),
                }
                // Where a sequence stands tells what it was set to, and how often it was asked.
                let mut told = self.all_of(args);
                told.sources.extend(self.reads.iter().cloned());
                self.flow(told, "the place of a sequence".to_owned());
                Some(Provenance::default())
            }
            "setseed" => {
                let seed = self.all_of(args);
                self.flow(seed, "the seed of random".to_owned());
                Some(Provenance::default())
            }
            "current_setting" => {
                self.literal_sensitive = true;
                // A setting with a dot is whatever somebody put there.
                let plain = literal.is_some_and(|setting| !setting.contains('.'));
                Some(if plain { Provenance::default() } else { opaque() })
            }
            "pg_notify" => {
                self.literal_sensitive = true;
                self.write(effect::NOTIFY, "channel", literal.as_deref().unwrap_or("*"));
                let payload = args.get(1).map(|payload| self.expression(payload)).unwrap_or_default();
                self.flow(payload, format!("pg_notify.{}", literal.as_deref().unwrap_or("*")));
                Some(Provenance::default())
            }
            _ => None,
        }
    }
}

impl Walk<'_> {
    fn set_config(&mut self, args: &[Node]) {
        self.literal_sensitive = true;
        let literal = args.first().and_then(names::plain_string).map(str::to_owned);
        let setting = literal.or_else(|| self.setting.clone().filter(|_| names_setting(args.first())));
        let value = args.get(1).and_then(names::plain_string).map(str::to_owned);
        let local = match args {
            [_, _, local] => names::constant_text(local).and_then(|local| switch(&local)),
            _ => None,
        };
        match setting {
            // What later names mean depends on whether it runs.
            Some(setting)
                if gives_meaning(&setting) && (self.certain != Certain::Call || local.is_none()) =>
            {
                let why = format!("set_config of {setting} where it may not run, or run with another value");
                self.give_up(&why);
            }
            Some(setting) if value.is_some() => {
                self.set_setting(&setting, value.as_deref(), local == Some(true));
            }
            // asyncpg turns `jit` off around its own questions, and back to what it was; a parameter is the client's word.
            Some(setting)
                if is_plain_setting(&setting) || (is_parameter(args.get(1)) && !is_meant(&setting)) =>
            {
                self.write(effect::SET, "setting", &setting.to_ascii_lowercase());
                self.stored_in_setting(args);
            }
            Some(_) | None => {
                self.give_up("set_config with a computed name or value");
                self.stored_in_setting(args);
            }
        }
    }

    /// Whoever reads settings sees what is in them, numbers too. The name has no dots, so that no mask covers it.
    fn stored_in_setting(&mut self, args: &[Node]) {
        let stored = args.get(1).map(|value| self.expression(value)).unwrap_or_default();
        self.flow(stored, "a setting".to_owned());
    }
}

/// Schema (empty if not written) and name, as `regclass` reads a text; `None` for a number, and for what is no name.
fn regclass(text: &str) -> Option<(String, String)> {
    let mut parts = super::setting::parts(text, '.');
    let name = parts.pop()?;
    let schema = parts.pop().unwrap_or_default();
    let is_number = !text.contains('"') && name.chars().all(|c| c.is_ascii_digit());
    (!is_number).then_some((schema, name))
}

/// How the server reads what it is sent depends on these, or what names mean.
fn is_meant(setting: &str) -> bool {
    const READING: &[&str] = &["client_encoding", "names", "standard_conforming_strings"];
    gives_meaning(setting) || READING.iter().any(|one| one.eq_ignore_ascii_case(setting))
}

fn is_parameter(value: Option<&Node>) -> bool {
    match value.and_then(|value| value.node.as_ref()) {
        Some(NodeEnum::ParamRef(_)) => true,
        Some(NodeEnum::TypeCast(cast)) => is_parameter(cast.arg.as_deref()),
        _ => false,
    }
}

/// Names and roles depend on these.
fn gives_meaning(setting: &str) -> bool {
    ["search_path", "role", "session_authorization"].iter().any(|one| one.eq_ignore_ascii_case(setting))
}

/// `name`, which is a column of `pg_settings`.
fn names_setting(node: Option<&Node>) -> bool {
    match node.and_then(|node| node.node.as_ref()) {
        Some(NodeEnum::ColumnRef(reference)) => names::strings(&reference.fields) == ["name"],
        _ => false,
    }
}

/// Most arguments that a construct of the grammar is taken to have, as a call.
const MOST: usize = 8;

/// Functions of large objects: they give numbers, or what one holds, into which no masked value gets.
const LARGE_OBJECTS: &[&str] = &[
    "lo_close",
    "lo_creat",
    "lo_create",
    "lo_from_bytea",
    "lo_get",
    "lo_lseek",
    "lo_lseek64",
    "lo_open",
    "lo_put",
    "lo_tell",
    "lo_tell64",
    "lo_truncate",
    "lo_truncate64",
    "lo_unlink",
    "loread",
    "lowrite",
];

/// Those of them that put values into one.
const PUTTING: &[&str] = &["lo_from_bytea", "lo_put", "lowrite"];

/// Functions of [`Walk::special_function`] that take one argument: it says what they act on.
const ACTING: &[&str] = &["current_setting", "nextval", "setseed"];

/// Settings that are numbers or switches and change no statement's meaning, so that it does not matter to what they are
/// set, and none of them can hold a text.
fn is_plain_setting(name: &str) -> bool {
    const PLAIN: &[&str] = &[
        "idle_in_transaction_session_timeout",
        "jit",
        "lock_timeout",
        "maintenance_work_mem",
        "statement_timeout",
        "work_mem",
    ];
    PLAIN.iter().any(|plain| plain.eq_ignore_ascii_case(name))
}
