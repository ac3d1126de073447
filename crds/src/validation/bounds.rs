//! The bounds of a structural schema, for values whose types serde has checked already.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::Value;
use std::collections::HashSet;

use super::Problem;

/// Deepest nesting that is followed; the schemas of this crate are less than half as deep.
const MAX_DEPTH: usize = 32;

/// Adds what is out of bounds in `value`.
pub(super) fn check(schema: &JSONSchemaProps, value: &Value, problems: &mut Vec<Problem>) {
    Walk { path: Vec::new(), problems }.visit(schema, value);
}

struct Walk<'a> {
    /// `.field` and `[index]` parts.
    path: Vec<String>,
    problems: &'a mut Vec<Problem>,
}

impl Walk<'_> {
    fn visit(&mut self, schema: &JSONSchemaProps, value: &Value) {
        if self.path.len() > MAX_DEPTH {
            self.add("is nested too deeply");
            return;
        }
        match value {
            Value::String(text) => self.visit_text(schema, text),
            Value::Number(number) => self.visit_number(schema, number.as_f64()),
            Value::Array(items) => self.visit_list(schema, items),
            Value::Object(fields) => {
                for (name, value) in fields {
                    let field = schema.properties.as_ref().and_then(|properties| properties.get(name));
                    let any = match &schema.additional_properties {
                        Some(JSONSchemaPropsOrBool::Schema(schema)) => Some(&**schema),
                        Some(JSONSchemaPropsOrBool::Bool(_)) | None => None,
                    };
                    if let Some(schema) = field.or(any) {
                        self.within(format!(".{name}"), |walk| walk.visit(schema, value));
                    }
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn visit_text(&mut self, schema: &JSONSchemaProps, text: &str) {
        let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        self.check_count("characters", length, schema.min_length, schema.max_length);
        // What is too long is not matched: the pattern says nothing more then.
        if let Some(pattern) = &schema.pattern
            && schema.max_length.is_none_or(|most| length <= most)
            && !regex::Regex::new(pattern).is_ok_and(|regex| regex.is_match(text))
        {
            self.add(&format!("`{text}` does not match {pattern}"));
        }
    }

    fn visit_number(&mut self, schema: &JSONSchemaProps, number: Option<f64>) {
        let Some(number) = number else { return };
        match (schema.minimum, schema.maximum) {
            (Some(least), Some(most)) if number < least || number > most => {
                self.add(&format!("must be from {least} to {most}, but is {number}"));
            }
            (Some(least), None) if number < least => {
                self.add(&format!("must be at least {least}, but is {number}"));
            }
            (None, Some(most)) if number > most => {
                self.add(&format!("must be at most {most}, but is {number}"));
            }
            _ => {}
        }
    }

    fn visit_list(&mut self, schema: &JSONSchemaProps, items: &[Value]) {
        let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
        self.check_count("entries", length, schema.min_items, schema.max_items);
        if let Some(keys) = &schema.x_kubernetes_list_map_keys {
            self.check_keys(keys, items);
        }
        if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
            for (index, item) in items.iter().enumerate() {
                self.within(format!("[{index}]"), |walk| walk.visit(schema, item));
            }
        }
    }

    /// Entries of a list that is a map differ in its keys.
    fn check_keys(&mut self, keys: &[String], items: &[Value]) {
        let mut seen = HashSet::new();
        for (index, item) in items.iter().enumerate() {
            let values: Vec<_> = keys.iter().map(|key| item.get(key).and_then(Value::as_str)).collect();
            if !seen.insert(values) {
                self.within(format!("[{index}]"), |walk| {
                    walk.add(&format!("another entry has the same {}", keys.join(" and ")));
                });
            }
        }
    }

    fn check_count(&mut self, what: &str, count: i64, least: Option<i64>, most: Option<i64>) {
        if let Some(least) = least.filter(|least| count < *least) {
            self.add(&format!("must have at least {least} {what}, but has {count}"));
        }
        if let Some(most) = most.filter(|most| count > *most) {
            self.add(&format!("must have at most {most} {what}, but has {count}"));
        }
    }

    fn within(&mut self, part: String, visit: impl FnOnce(&mut Self)) {
        self.path.push(part);
        visit(self);
        self.path.pop();
    }

    fn add(&mut self, message: &str) {
        let path = self.path.concat();
        self.problems.push(Problem::new(path.strip_prefix('.').unwrap_or(&path), message));
    }
}
