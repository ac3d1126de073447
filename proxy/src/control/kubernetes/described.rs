//! One object as far as it can be read.

use crds::validation::{Problem, Validate};
use kube::Resource;
use kube::api::DynamicObject;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// An object, or why it is none.
#[derive(Debug)]
pub(super) struct Described<K> {
    /// Its name.
    pub(super) name: String,
    /// Its UID: one that was deleted and made again is another one.
    pub(super) uid: String,
    /// Counts changes of its spec.
    pub(super) generation: i64,
    /// The object, checked as strictly as one from a file; or every reason against it.
    pub(super) object: Result<Arc<K>, Vec<Problem>>,
    /// Names in its `spec.targetRefs`, if these can be read though the object cannot, and are all that it is about.
    pub(super) targets: Option<Vec<String>>,
}

/// Reads an object. Its status is left out: nothing that is in force comes from there.
#[expect(clippy::unnecessary_wraps, reason = "a mirror's reader may leave objects out")]
pub(super) fn describe<K>(mut object: DynamicObject) -> Option<Described<K>>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Validate,
{
    object.metadata.managed_fields = None;
    if let Some(fields) = object.data.as_object_mut() {
        fields.remove("status");
    }
    let (name, uid) = (object.metadata.name.clone(), object.metadata.uid.clone());
    let generation = object.metadata.generation.unwrap_or_default();
    let targets = targets(&object);
    let object = match object.try_parse::<K>() {
        Ok(object) => {
            let problems = object.validate();
            if problems.is_empty() { Ok(Arc::new(object)) } else { Err(problems) }
        }
        Err(error) => {
            let message = proxy_core::gate::Chain(&error).to_string();
            Err(vec![Problem { path: String::new(), message }])
        }
    };
    let (name, uid) = (name.unwrap_or_default(), uid.unwrap_or_default());
    Some(Described { name, uid, generation, object, targets })
}

fn targets(object: &DynamicObject) -> Option<Vec<String>> {
    let spec = object.data.get("spec")?;
    if spec.get("resourceSelector").is_some() {
        return None;
    }
    let names = spec.get("targetRefs")?.as_array()?.iter();
    names.map(|target| target.get("name")?.as_str().map(str::to_owned)).collect()
}
