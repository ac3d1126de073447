//! `metadata.managedFields`: names of fields, and among them values.
//!
//! An element of a set is named by its value (`v:"…"`), one of a map list by its keys (`k:{"ip":"…"}`): what is masked
//! where it stands must be masked here too.
//!
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>

use super::Walk;
use crate::mask::scan::Span;
use crate::mask::value;
use serde_json::{Map, Value};

impl Walk<'_> {
    /// Goes down to the member `name`, should that be in managed fields; whether its name is masked now.
    pub(super) fn manage(&mut self, name: &str, key: Span) -> bool {
        let Some(path) = &mut self.managed else {
            if name == "fieldsV1" && self.relative() == "metadata.managedFields.fieldsV1" {
                self.managed = Some(String::new());
            }
            return false;
        };
        if let Some(field) = name.strip_prefix("f:") {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(field);
            return false;
        }
        let path = path.clone();
        let masked = match name.split_at_checked(2) {
            Some(("v:", element)) => {
                let element = serde_json::from_str(element).unwrap_or_else(|_other| Value::from(element));
                self.element(&path, &element).map(|masked| format!("v:{masked}"))
            }
            Some(("k:", keys)) => self.keys(&path, keys),
            Some(_) | None => None,
        };
        if let Some(masked) = &masked {
            self.replace(key, Some(masked));
        }
        masked.is_some()
    }

    /// Goes up again, to where the path had this length.
    pub(super) fn unmanage(&mut self, length: Option<usize>) {
        match (&mut self.managed, length) {
            (Some(path), Some(length)) => path.truncate(length),
            (managed, _) => *managed = None,
        }
    }

    fn keys(&mut self, path: &str, keys: &str) -> Option<String> {
        let mut keys: Map<String, Value> = serde_json::from_str(keys).ok()?;
        let mut is_masked = false;
        for (name, value) in &mut keys {
            if let Some(masked) = self.element(&format!("{path}.{name}"), value) {
                *value = masked;
                is_masked = true;
            }
        }
        is_masked.then(|| format!("k:{}", Value::Object(keys)))
    }

    fn element(&mut self, path: &str, value: &Value) -> Option<Value> {
        let rules = self.rules;
        let field = rules.field(path)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Some(value::field(self.masks, field, &text, self.counts).map_or(Value::Null, Value::from))
    }
}
