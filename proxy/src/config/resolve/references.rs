//! Following references, and collecting what is wrong with them.

use crate::config::objects::{Located, Objects, Values};
use crate::config::{Place, Problem};
use crds::v1alpha1::{KeyKind, KeyRef, ProtectedResource};
use proxy_core::secret::Secret;

/// Follows the references of one Resource.
pub(super) struct Lookup<'a> {
    namespace: &'a str,
    place: &'a Place,
    objects: &'a Objects,
    problems: Vec<Problem>,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(resource: &'a Located<ProtectedResource>, objects: &'a Objects) -> Self {
        Self { namespace: &resource.namespace, place: &resource.place, objects, problems: Vec::new() }
    }

    /// Notes a problem of the Resource itself.
    pub(super) fn problem(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(self.place.problem(path, message));
    }

    /// Notes a problem of an object that the Resource refers to.
    pub(super) fn problem_in(&mut self, place: &Place, path: String, message: String) {
        self.problems.push(place.problem(path, message));
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// A number that has to fit its narrower type.
    pub(super) fn number<T: TryFrom<i32>>(&mut self, path: &str, value: i32) -> Option<T> {
        let number = T::try_from(value).ok();
        if number.is_none() {
            self.problem(path, format!("expected a number within the field's bounds, found {value}"));
        }
        number
    }

    /// A Secret by name.
    pub(super) fn secret(&mut self, path: &str, name: &str) -> Option<&'a Located<Values<Secret<String>>>> {
        let found = self.objects.secrets.get(&(self.namespace.to_owned(), name.to_owned()));
        if found.is_none() {
            self.missing(path, "Secret", name);
        }
        found
    }

    /// A value of a Secret.
    pub(super) fn secret_key(
        &mut self,
        path: &str,
        secret: &'a Located<Values<Secret<String>>>,
        key: &str,
    ) -> Option<&'a str> {
        let found = secret.object.get(key).map(|value| value.expose().as_str());
        match found {
            Some("") | None => {
                self.problem(path, format!("expected Secret {} to have the key {key}", secret.name));
                None
            }
            Some(value) => Some(value),
        }
    }

    /// A value of a ConfigMap or Secret, and the place of that object.
    pub(super) fn key(&mut self, path: &str, reference: &KeyRef) -> Option<(&'a Place, &'a str)> {
        if reference.kind == KeyKind::Secret {
            let secret = self.secret(path, &reference.name)?;
            return Some((&secret.place, self.secret_key(path, secret, &reference.key)?));
        }
        let Some(map) = self.objects.config_maps.get(&(self.namespace.to_owned(), reference.name.clone()))
        else {
            self.missing(path, "ConfigMap", &reference.name);
            return None;
        };
        let Some(value) = map.object.get(&reference.key) else {
            self.problem(path, format!("expected ConfigMap {} to have the key {}", map.name, reference.key));
            return None;
        };
        Some((&map.place, value))
    }

    fn missing(&mut self, path: &str, kind: &str, name: &str) {
        let namespace = self.namespace;
        self.problem(path, format!("expected a {kind} {name} in namespace {namespace}, found none"));
    }
}
