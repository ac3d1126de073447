//! Secrets and ConfigMaps as the kubelet mounts them: `<mounts>/Secret/NAME/KEY` and `<mounts>/ConfigMap/NAME/KEY`.

use crate::config::objects::{Located, Objects, Values};
use crate::config::{Place, Problem, Problems};
use proxy_core::secret::Secret;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

/// A Secret or ConfigMap holds at most 1 MiB.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Keys and values of the mounted objects, by name. They hold secrets, so this has no `Debug`.
#[derive(Clone, Default, Eq, PartialEq)]
pub(super) struct Mounted {
    secrets: BTreeMap<String, BTreeMap<String, String>>,
    config_maps: BTreeMap<String, BTreeMap<String, String>>,
}

impl Mounted {
    /// Reads all of them. A value that is not text is left out. Blocks.
    ///
    /// # Errors
    /// Something is there and cannot be read; says where, never what.
    pub(super) fn read(mounts: &Path) -> Result<Self, Problems> {
        Ok(Self {
            secrets: objects(&mounts.join("Secret")).map_err(|problem| Problems(vec![problem]))?,
            config_maps: objects(&mounts.join("ConfigMap")).map_err(|problem| Problems(vec![problem]))?,
        })
    }

    /// Adds them to the objects of a namespace.
    pub(super) fn add_to(&self, namespace: &str, objects: &mut Objects) {
        for (name, values) in &self.secrets {
            let values = values.iter().map(|(key, value)| (key.clone(), Secret::new(value.clone())));
            let secret = located("Secret", namespace, name, values.collect());
            objects.secrets.insert((namespace.to_owned(), name.clone()), secret);
        }
        for (name, values) in &self.config_maps {
            let map = located("ConfigMap", namespace, name, values.clone());
            objects.config_maps.insert((namespace.to_owned(), name.clone()), map);
        }
    }

    /// Takes names, keys and values into a hash.
    pub(super) fn hash(&self, hash: &mut Sha256) {
        for (kind, objects) in [("Secret", &self.secrets), ("ConfigMap", &self.config_maps)] {
            for (name, values) in objects {
                for (key, value) in values {
                    for part in [kind, name, key, value] {
                        // lengths first, so that no two states share one stream of bytes
                        hash.update((part.len() as u64).to_be_bytes());
                        hash.update(part);
                    }
                }
            }
        }
    }
}

fn located<T>(kind: &str, namespace: &str, name: &str, object: Values<T>) -> Located<Values<T>> {
    let place = Place::object(kind, namespace, name);
    Located { place, namespace: namespace.to_owned(), name: name.to_owned(), object }
}

/// Every object of one kind. No directory: none.
fn objects(kind: &Path) -> Result<BTreeMap<String, BTreeMap<String, String>>, Problem> {
    let mut objects = BTreeMap::new();
    for name in names(kind)? {
        let mount = kind.join(&name);
        if mount.is_dir() {
            objects.insert(name, values(&mount)?);
        }
    }
    Ok(objects)
}

/// The kubelet swaps the symbolic link `..data`: what is behind it now belongs together.
fn values(mount: &Path) -> Result<BTreeMap<String, String>, Problem> {
    let directory = std::fs::canonicalize(mount.join("..data")).unwrap_or_else(|_| mount.to_owned());
    let mut values = BTreeMap::new();
    for key in names(&directory)? {
        if let Some(value) = value(&directory.join(&key))? {
            values.insert(key, value);
        }
    }
    Ok(values)
}

fn value(path: &Path) -> Result<Option<String>, Problem> {
    let broken = |error: &dyn std::fmt::Display| {
        Place::file(&path.display().to_string()).problem("", format!("expected a readable file: {error}"))
    };
    let file = std::fs::File::open(path).map_err(|error| broken(&error))?;
    if !file.metadata().map_err(|error| broken(&error))?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| broken(&error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(broken(&format_args!("longer than {MAX_FILE_BYTES} bytes")));
    }
    Ok(String::from_utf8(bytes).ok())
}

/// Names in a directory but the kubelet's own, which begin with two dots.
fn names(directory: &Path) -> Result<Vec<String>, Problem> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(directory, &error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| unreadable(directory, &error))?.file_name();
        names.extend(name.to_str().filter(|name| !name.starts_with("..")).map(str::to_owned));
    }
    Ok(names)
}

fn unreadable(directory: &Path, error: &std::io::Error) -> Problem {
    let place = Place::file(&directory.display().to_string());
    place.problem("", format!("expected a readable directory: {error}"))
}

#[cfg(test)]
mod tests {
    use super::Mounted;
    use crate::config::objects::Objects;
    use std::os::unix::fs::symlink;

    #[test]
    fn values_are_read_behind_the_kubelets_links_and_swapped_as_one() {
        let mounts = tempfile::tempdir().unwrap();
        let secret = mounts.path().join("Secret/orders-app");
        for (version, password) in [("..1", "old"), ("..2", "new")] {
            std::fs::create_dir_all(secret.join(version)).unwrap();
            std::fs::write(secret.join(version).join("username"), "app").unwrap();
            std::fs::write(secret.join(version).join("password"), password).unwrap();
        }
        std::fs::write(secret.join("..1/binary"), [0xff]).unwrap();
        symlink("..1", secret.join("..data")).unwrap();
        symlink("..data/password", secret.join("password")).unwrap();
        let map = mounts.path().join("ConfigMap/orders-ca");
        std::fs::create_dir_all(&map).unwrap();
        std::fs::write(map.join("ca.crt"), "pem").unwrap();
        let read = || {
            let mut objects = Objects::default();
            Mounted::read(mounts.path()).ok().unwrap().add_to("shop", &mut objects);
            objects
        };
        let name = ("shop".to_owned(), "orders-app".to_owned());
        let values = read().secrets.remove(&name).unwrap();
        assert_eq!(values.place.to_string(), "Secret shop/orders-app");
        assert_eq!(values.object.keys().collect::<Vec<_>>(), ["password", "username"]);
        assert_eq!(values.object["password"].expose(), "old");
        symlink("..2", secret.join("..new")).unwrap();
        std::fs::rename(secret.join("..new"), secret.join("..data")).unwrap();
        let objects = read();
        assert_eq!(objects.secrets[&name].object["password"].expose(), "new");
        assert_eq!(objects.config_maps.len(), 1);
    }

    #[test]
    fn nothing_mounted_is_nothing_and_no_problem() {
        let mounts = tempfile::tempdir().unwrap();
        assert!(Mounted::read(mounts.path()).is_ok_and(|mounted| mounted == Mounted::default()));
    }
}
