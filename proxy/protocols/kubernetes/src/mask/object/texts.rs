//! What is text in an object: for the detectors, or an object by itself.

use super::{Place, Siblings, Walk, Within, apply};
use crate::mask::rules::LAST_APPLIED;
use crate::mask::scan::Span;
use crate::mask::search::Text;
use crate::mask::{Unmaskable, value};

/// So many annotations of one object inside the other are looked into.
const NESTING_LIMIT: usize = 4;

/// A text that may be an object by itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nested {
    span: Span,
    /// What `kubectl apply` keeps: never shown where it cannot be read.
    is_last_applied: bool,
    is_of_secret: bool,
}

impl Walk<'_> {
    /// Notes a text for the detectors.
    pub(super) fn gather(&mut self, span: Span, context: Option<Span>) -> Result<(), Unmaskable> {
        if self.detects { self.texts.note(&self.scanner, span, context) } else { Ok(()) }
    }

    pub(super) fn detect(&mut self) -> Result<(), Unmaskable> {
        for nested in std::mem::take(&mut self.nested) {
            self.nested(nested)?;
        }
        for text in self.texts.suspects(&self.masks.masker) {
            self.detect_text(text)?;
        }
        Ok(())
    }

    fn detect_text(&mut self, text: Text) -> Result<(), Unmaskable> {
        let value = self.scanner.decode(text.span)?;
        let context = text.context.map(|context| self.scanner.decode(context)).transpose()?;
        if let Some(masked) = value::text(self.masks, context.as_deref(), &value, self.counts) {
            self.replace(text.span, Some(&masked));
        }
        Ok(())
    }

    /// Whether the string that is next, the member `name`, may be an object kept as text.
    pub(super) fn may_nest(&self, name: &str, siblings: &Siblings) -> Result<bool, Unmaskable> {
        if name == LAST_APPLIED || !siblings.are_annotations {
            return Ok(name == LAST_APPLIED);
        }
        let value = self.scanner.decode(self.peek_string()?)?;
        Ok(value.trim_start().starts_with(['{', '[']) || (value.starts_with(GZIP) && self.is_in_secret()))
    }

    /// Takes a string that may be an object kept as text.
    pub(super) fn nest(&mut self, name: &str) -> Result<(), Unmaskable> {
        let span = self.scanner.string()?;
        let is_last_applied = name == LAST_APPLIED;
        self.nested.push(Nested { span, is_last_applied, is_of_secret: self.is_in_secret() });
        Ok(())
    }

    /// An object kept as text in an annotation.
    fn nested(&mut self, nested: Nested) -> Result<(), Unmaskable> {
        let Nested { span, is_last_applied, is_of_secret } = nested;
        let value = self.scanner.decode(span)?;
        let mut walk = Walk::new(&value, self.masks, self.rules, self.counts);
        walk.within = Within { annotations: self.within.annotations + 1, secret: is_of_secret };
        walk.asks |= is_of_secret;
        walk.tracks |= is_of_secret;
        let edits = if walk.within.annotations > NESTING_LIMIT || (is_of_secret && is_list_of_objects(&value))
        {
            Err(Unmaskable::TooDeep)
        } else {
            walk.run(Place::Document)
        };
        let edits = match edits {
            Ok(edits) => edits,
            // a text that begins like JSON
            Err(Unmaskable::Malformed) if !is_last_applied && !is_of_secret => {
                return self.gather(span, None);
            }
            Err(_unreadable) => {
                let name = if is_last_applied { "last-applied" } else { "annotation" };
                self.counts.add(name);
                self.replace(span, Some(&format!("[MASKED:{name}]")));
                return Ok(());
            }
        };
        if edits.is_empty() {
            return Ok(());
        }
        let mut out = Vec::with_capacity(value.len());
        apply(&value, edits, &mut out);
        self.replace(span, Some(&String::from_utf8_lossy(&out)));
        Ok(())
    }
}

/// How JSON that was compressed begins in base64: some tools keep an object so.
const GZIP: &str = "H4sI";

/// A patch, most likely, whose values may be anybody's.
fn is_list_of_objects(text: &str) -> bool {
    text.trim_start().starts_with('[') && text.contains('{')
}

/// Whether an error's text quotes an object, or what is in the data of one.
pub(super) fn quotes_object(message: &str) -> bool {
    let is_named = |name: &str| {
        message.match_indices(name).any(|(at, _)| {
            let next = message.as_bytes().get(at + name.len());
            !next.is_some_and(|next| next.is_ascii_alphanumeric() || *next == b'_' || !next.is_ascii())
        })
    };
    ["{", "map["].iter().any(|sign| message.contains(sign))
        || [".data", "stringData"].into_iter().any(is_named)
}

#[cfg(test)]
mod tests {
    use super::quotes_object;

    #[test]
    fn an_error_quotes_data_where_it_names_the_field_itself() {
        for shown in [
            r#"Postgres.acid.zalan.do "x" is invalid: spec.database: Required value"#,
            r#"PersistentVolumeClaim "x" is invalid: spec.dataSource: Forbidden: field is immutable"#,
            r#"Kafka "x" is invalid: spec.dataDir: Required value"#,
            r#"Thing "x" is invalid: spec.data_dir: Required value, spec.stringDataset: Required value"#,
            r#"Thing "x" is invalid: spec.data2: Required value"#,
        ] {
            assert!(!quotes_object(shown), "{shown}");
        }
        for quoting in [
            "ConfigMap.data",
            "v1.Secret.data: illegal base64 data at input byte 4",
            r#"spec.database and .data["p"]: Invalid value: "clear-value""#,
            "Secret.stringData: clear-value",
            "stringData[p]: Invalid value",
            "spec.dataSource and template.data.p: Invalid value",
            r#"cannot read {"p":"clear-value"}"#,
            "map[p:clear-value]",
        ] {
            assert!(quotes_object(quoting), "{quoting}");
        }
    }
}
