//! Names to objects, by the search path, as PostgreSQL does it.

use super::Catalogue;
use super::model::{Function, Relation};
use crate::analyze::SessionState;
use std::sync::Arc;

/// What a relation's name stands for.
#[derive(Clone, Debug)]
pub(crate) enum Resolved {
    /// This relation. The others it hides, if this session made it: it may be gone by now without a word (`CASCADE`, `ON
    /// COMMIT DROP`, another name), and then the name stands for the next one; or if anything is in doubt.
    Known(Arc<Relation>, Vec<Arc<Relation>>),
    /// None that is known; if it exists it is one of these, `schema.name`. Never empty.
    Unknown(Vec<String>),
}

impl Catalogue {
    /// What `schema.name`, or `name` along the search path, stands for in a session.
    pub(crate) fn resolve(&self, state: &SessionState, schema: &str, name: &str) -> Resolved {
        if !schema.is_empty() {
            let schema = if schema.starts_with("pg_temp") { "pg_temp" } else { schema };
            return match self.find(state, schema, name) {
                Some(relation) => Resolved::Known(relation, Vec::new()),
                None => Resolved::Unknown(vec![format!("{schema}.{name}")]),
            };
        }
        let path = self.effective_path(state);
        let mut along = path.iter().filter_map(|schema| Some((schema, self.find(state, schema, name)?)));
        if let Some((schema, relation)) = along.next() {
            let mut hidden = Vec::new();
            let doubt = state.is_in_doubt();
            let mut ours = doubt || state.overlay(schema, name).is_some();
            while ours && let Some((schema, next)) = along.next() {
                hidden.push(next);
                ours = doubt || state.overlay(schema, name).is_some();
            }
            return Resolved::Known(relation, hidden);
        }
        let candidates: Vec<String> = path
            .iter()
            .filter(|s| !matches!(s.as_str(), "pg_catalog" | "pg_temp"))
            .map(|s| format!("{s}.{name}"))
            .collect();
        if candidates.is_empty() {
            Resolved::Unknown(vec![format!("public.{name}")])
        } else {
            Resolved::Unknown(candidates)
        }
    }

    fn find(&self, state: &SessionState, schema: &str, name: &str) -> Option<Arc<Relation>> {
        if let Some(change) = state.overlay(schema, name) {
            return change.cloned();
        }
        self.relation(schema, name).cloned()
    }

    /// The schemas that are searched, in order, the implicit ones included, those that do not exist left out.
    pub(crate) fn effective_path(&self, state: &SessionState) -> Vec<String> {
        let mut path: Vec<String> = Vec::new();
        let doubt = state.is_in_doubt();
        for schema in &state.search_path {
            let schema = if schema == "$user" { state.role.as_str() } else { schema.as_str() };
            let schema = if schema.starts_with("pg_temp") { "pg_temp" } else { schema };
            let usable = schema == "pg_temp"
                || (doubt && self.schemas.contains_key(schema))
                || state.has_schema(schema)
                || self.schemas.get(schema).copied().unwrap_or(false);
            if usable && !path.iter().any(|known| known == schema) {
                path.push(schema.to_owned());
            }
        }
        if !path.iter().any(|schema| schema == "pg_catalog") {
            path.insert(0, "pg_catalog".to_owned());
        }
        if !path.iter().any(|schema| schema == "pg_temp") {
            path.insert(0, "pg_temp".to_owned());
        }
        path
    }

    /// The schema that an unqualified `CREATE` puts its object in.
    pub(crate) fn creation_schema(&self, state: &SessionState) -> String {
        let path = self.effective_path(state);
        let named = |schema: &&String| !matches!(schema.as_str(), "pg_catalog" | "pg_temp");
        path.iter().find(named).cloned().unwrap_or_else(|| "public".to_owned())
    }

    /// Functions outside PostgreSQL's own that a call by this name can reach, as `schema.name`, and that may do anything.
    /// An unqualified name reaches every schema of the path: which overload wins depends on types, which are not followed.
    pub(crate) fn acting_functions(
        &self,
        state: &SessionState,
        schema: &str,
        name: &str,
        arguments: usize,
    ) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for function in self.user_functions(state, schema, name, arguments) {
            let qualified = format!("{}.{}", function.schema, function.name);
            if !function.computes && !found.contains(&qualified) {
                found.push(qualified);
            }
        }
        found
    }

    /// Whether a call by this name can reach a function outside PostgreSQL's own.
    pub(crate) fn has_function(
        &self,
        state: &SessionState,
        schema: &str,
        name: &str,
        arguments: usize,
    ) -> bool {
        self.user_functions(state, schema, name, arguments).next().is_some()
    }

    fn user_functions(
        &self,
        state: &SessionState,
        schema: &str,
        name: &str,
        arguments: usize,
    ) -> impl Iterator<Item = &Function> {
        let named = self.functions.get(name).map(Vec::as_slice).unwrap_or_default();
        let path = match schema {
            _ if named.is_empty() => Vec::new(),
            "" => self.effective_path(state),
            schema => vec![schema.to_owned()],
        };
        named.iter().filter(move |function| {
            usize::from(function.arguments_min) <= arguments
                && function.arguments_max.is_none_or(|most| arguments <= usize::from(most))
                && path.contains(&function.schema)
        })
    }

    /// Operators outside PostgreSQL's own that this symbol can reach, as `schema.symbol`.
    pub(crate) fn user_operators(&self, state: &SessionState, schema: &str, name: &str) -> Vec<String> {
        let Some(schemas) = self.operators.get(name) else { return Vec::new() };
        let path = if schema.is_empty() { self.effective_path(state) } else { vec![schema.to_owned()] };
        schemas
            .iter()
            .filter(|schema| path.contains(schema))
            .map(|schema| format!("{schema}.{name}"))
            .collect()
    }
}
