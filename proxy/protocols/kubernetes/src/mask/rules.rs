//! Which fields of which objects are masked, and how.

use super::{Masks, embed};
use crate::request::RequestInfo;
use proxy_policy::{FieldChoice, Mask, MaskType};
use std::sync::Arc;

/// The annotation in which `kubectl apply` keeps the whole object as it was sent.
pub(super) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Longest name of a mask, as `[MASKED:name]` shows it.
const NAME_LIMIT: usize = 63;

/// One masked field.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    /// Dotted path from the object's root; `*` stands for any characters.
    path: String,
    /// Shown in the mask and counted in the record.
    pub(super) name: String,
    pub(super) mask: Mask,
    /// The field holds bytes, which JSON writes in base64: so must the mask be, or typed clients cannot read the object.
    pub(super) base64: bool,
}

impl Field {
    /// A field that is always masked.
    fn built_in(path: &str, name: &str, base64: bool) -> Self {
        Self { path: path.to_owned(), name: name.to_owned(), mask: Mask::default(), base64 }
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        glob(&self.path, path)
    }

    /// Whether something below `path` may match.
    pub(super) fn reaches_into(&self, path: &str) -> bool {
        let literal = self.path.split('*').next().unwrap_or_default();
        literal.starts_with(path) || path.starts_with(literal)
    }
}

/// What is masked in the answers to one request, and in its body.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// Of the objects that the request is about.
    pub(super) fields: Arc<[Field]>,
    /// Of Secrets, wherever one is embedded.
    pub(super) secrets: Arc<[Field]>,
    /// What of error messages is withheld.
    pub(super) withholds: Withholds,
    /// The request is about Secrets.
    pub(super) is_of_secrets: bool,
    /// Columns of a Table may show what is masked.
    pub(super) hides_cells: bool,
}

/// What error messages may quote that is masked elsewhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Withholds {
    Nothing,
    /// Whole objects, a Secret perhaps.
    Objects,
    /// Any value.
    Values,
}

impl Rules {
    /// Rules for the resource that a request is about.
    pub(super) fn of(masks: &Masks, info: &RequestInfo) -> Self {
        let resource = if info.group.is_empty() {
            info.resource.clone()
        } else {
            format!("{}.{}", info.resource, info.group)
        };
        let mut fields = chosen(&masks.fields, &resource);
        let is_of_secrets = resource == "secrets";
        // their own columns count keys, and show none
        let hides_cells = !is_of_secrets && resource != "configmaps" && !fields.is_empty();
        fields.extend(built_in(&resource, &info.subresource));
        let withholds = if !fields.is_empty() {
            Withholds::Values
        } else if info.is_resource && embed::may_hold_objects(info) {
            Withholds::Objects
        } else {
            Withholds::Nothing
        };
        let mut secrets = chosen(&masks.fields, "secrets");
        secrets.extend(built_in("secrets", ""));
        Self { fields: fields.into(), secrets: secrets.into(), withholds, is_of_secrets, hides_cells }
    }

    /// Whether the author of a policy masks fields of it, whose values a Table may show in any column.
    pub(super) fn hides_columns(masks: &Masks, info: &RequestInfo) -> bool {
        Self::of(masks, info).hides_cells
    }

    /// Whether some field of an object of the request is masked.
    pub(crate) fn any(&self) -> bool {
        !self.fields.is_empty()
    }

    /// Whether the value at `path` is masked, by itself or with what it is in.
    pub(crate) fn covers(&self, path: &str) -> bool {
        self.field(path).is_some()
    }

    /// The field that masks the value at `path`, or what it is in.
    pub(super) fn field(&self, path: &str) -> Option<&Field> {
        let above = path.match_indices('.').filter_map(|(dot, _)| path.get(..dot));
        above.chain([path]).find_map(|path| self.fields.iter().find(|field| field.matches(path)))
    }

    /// Whether the value at `path`, or anything that may be below it, is masked: then it may be neither compared nor
    /// copied.
    pub(crate) fn guards(&self, path: &str) -> bool {
        self.covers(path) || self.fields.iter().any(|field| field.reaches_into(path))
    }
}

/// Fields that are masked whatever the policy says: values of Secrets, and what mints credentials.
fn built_in(resource: &str, subresource: &str) -> Vec<Field> {
    let field = Field::built_in;
    match (resource, subresource) {
        ("secrets", _) => {
            // whatever stands there: a value of another type is refused by the API server, and on record before
            vec![field("data", "secrets.data", true), field("stringData", "secrets.stringData", false)]
        }
        ("serviceaccounts", "token") => vec![field("status.token", "serviceaccounts.token", false)],
        ("tokenreviews.authentication.k8s.io", _) => vec![field("spec.token", "tokenreviews.token", false)],
        ("certificatesigningrequests.certificates.k8s.io", _) => vec![
            field("spec.request", "certificatesigningrequests.request", true),
            field("status.certificate", "certificatesigningrequests.certificate", true),
        ],
        _ => Vec::new(),
    }
}

/// What policies say of a resource.
fn chosen(choices: &[FieldChoice], resource: &str) -> Vec<Field> {
    let meant =
        choices.iter().filter(|choice| choice.resources.iter().any(|pattern| glob(pattern, resource)));
    let fields = meant.flat_map(|choice| {
        choice.paths.iter().map(|path| Field {
            path: path.clone(),
            name: name(resource, path),
            mask: choice.with.clone(),
            base64: is_bytes(resource, path),
        })
    });
    let mut fields: Vec<_> = fields.collect();
    // of several, the strictest is found first
    fields.sort_by_key(|field| rank(field.mask.type_));
    fields
}

const fn rank(mask: MaskType) -> u8 {
    match mask {
        MaskType::Null => 0,
        MaskType::Redact => 1,
        MaskType::Hash => 2,
        MaskType::Token => 3,
        MaskType::Partial => 4,
    }
}

/// Fields of the built-in types whose values are bytes.
fn is_bytes(resource: &str, path: &str) -> bool {
    match resource {
        "secrets" => path == "*" || path.starts_with("data"),
        "configmaps" => path.starts_with("binaryData"),
        _ => path.ends_with("caBundle"),
    }
}

/// A name that a mask can show: letters, digits, `.`, `-`, `_`.
fn name(resource: &str, path: &str) -> String {
    let path = path.trim_matches(['*', '.']);
    let whole = if path.is_empty() { resource.to_owned() } else { format!("{resource}.{path}") };
    let shown = whole.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    let shown: String = shown.take(NAME_LIMIT).collect();
    if shown.is_empty() { "field".to_owned() } else { shown }
}

/// `*` stands for any characters, as in every pattern of a policy.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(last) = parts.next_back() else { return pattern == text };
    let Some(mut rest) = text.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else {
        return false;
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_take_dots_and_nothing_as_well() {
        for (pattern, text, matches) in [
            ("data.*", "data.a.b", true),
            ("data.*", "data", false),
            ("*.value", "spec.env.value", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("", "", true),
        ] {
            assert_eq!(glob(pattern, text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn a_guarded_path_is_one_that_holds_or_is_held_by_a_masked_one() {
        let fields: Arc<[Field]> = built_in("secrets", "").into();
        let rules = Rules {
            fields: Arc::clone(&fields),
            secrets: fields,
            withholds: Withholds::Values,
            is_of_secrets: true,
            hides_cells: false,
        };
        for (path, guarded) in [
            ("data", true),
            ("data.a", true),
            ("", true),
            ("metadata.name", false),
            ("stringData.a", true),
            ("type", false),
        ] {
            assert_eq!(rules.guards(path), guarded, "{path}");
        }
        for (path, covered) in
            [("data", true), ("data.a", true), ("data.a.b", true), ("metadata.name", false)]
        {
            assert_eq!(rules.covers(path), covered, "{path}");
        }
    }
}
