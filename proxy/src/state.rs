//! The state directory: the tenant key, this process's name, and where logs and approval requests are.
//!
//! ```text
//! <state>/tenant.key                                    32 random bytes, for the owner only; or a file of its own
//! <state>/audit/<namespace>.<resource>/<instance>/      one log per Resource and start of the gateway
//! <state>/audit/inventory                               certificates of all these logs
//! <state>/approvals/NAME.yaml                           held commands
//! ```

use crate::config::ResourceKey;
use jiff::Timestamp;
use proxy_core::secret::Secret;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A state directory that is ready for use.
#[derive(Clone, Debug)]
pub struct State {
    directory: PathBuf,
    instance: String,
    tenant_key: Secret<[u8; 32]>,
}

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be created, read or written.
    #[error("{step} {path}")]
    Io {
        /// What failed: "create directory".
        step: &'static str,
        /// Where.
        path: PathBuf,
        /// Because of.
        #[source]
        source: std::io::Error,
    },
    /// The tenant key is not 32 bytes.
    #[error("tenant key {path}: expected exactly 32 bytes; restore it, or remove it to start with a new one")]
    BadKey {
        /// Where.
        path: PathBuf,
    },
    /// Others may read the tenant key.
    #[error("tenant key {path}: expected mode 0600, found {mode:o}; others may have read it")]
    OpenKey {
        /// Where.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The operating system gave no random bytes.
    #[error("no random bytes for the tenant key")]
    Random,
}

impl State {
    /// Creates what is missing and reads the tenant key, from a file of its own where one is given. Blocks.
    ///
    /// # Errors
    /// The directory cannot be used, or the tenant key is damaged or, in the directory, readable by others.
    pub fn open(directory: &Path, tenant_key: Option<&Path>) -> Result<Self, StateError> {
        let state = |tenant_key| Self { directory: directory.to_owned(), instance: instance(), tenant_key };
        for path in [directory.to_owned(), directory.join("audit"), directory.join("approvals")] {
            // for the owner only: the log holds what agents did, requests hold what they ask for
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|source| StateError::Io { step: "create directory", path, source })?;
        }
        if let Some(path) = tenant_key {
            let path = path.to_owned();
            // Whoever mounts it decides who may read it: a mounted Secret belongs to root and the pod's group.
            return match std::fs::File::open(&path) {
                Ok(file) => read_key(file, path).map(|(key, _)| state(key)),
                Err(source) => Err(StateError::Io { step: "open", path, source }),
            };
        }
        let path = directory.join("tenant.key");
        match std::fs::File::open(&path) {
            Ok(file) => read_own_key(file, path).map(state),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => create_key(path).map(state),
            Err(source) => Err(StateError::Io { step: "open", path, source }),
        }
    }

    /// Name of this gateway process: host, start, and random letters.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Key of digests and mask tokens. Equal for all gateways of a tenant, and over restarts.
    pub const fn tenant_key(&self) -> &Secret<[u8; 32]> {
        &self.tenant_key
    }

    /// Where held commands are.
    pub fn approvals(&self) -> PathBuf {
        self.directory.join("approvals")
    }

    /// Where all logs are, and the inventory of them.
    pub fn audit(&self) -> PathBuf {
        self.directory.join("audit")
    }

    /// Where the logs of a Resource are, one directory per start of a gateway.
    pub fn logs(&self, resource: &ResourceKey) -> PathBuf {
        self.audit().join(format!("{}.{}", resource.namespace, resource.name))
    }
}

fn read_own_key(file: std::fs::File, path: PathBuf) -> Result<Secret<[u8; 32]>, StateError> {
    let (key, mode) = read_key(file, path.clone())?;
    if mode & 0o077 != 0 {
        return Err(StateError::OpenKey { path, mode });
    }
    Ok(key)
}

/// The key and the file's permission bits.
fn read_key(mut file: std::fs::File, path: PathBuf) -> Result<(Secret<[u8; 32]>, u32), StateError> {
    let mut bytes = Vec::with_capacity(33);
    let metadata = file
        .metadata()
        .and_then(|metadata| (&mut file).take(33).read_to_end(&mut bytes).map(|_| metadata))
        .map_err(|source| StateError::Io { step: "read", path: path.clone(), source })?;
    let mode = metadata.permissions().mode() & 0o777;
    let key = <[u8; 32]>::try_from(bytes.as_slice()).or(Err(StateError::BadKey { path }))?;
    Ok((Secret::new(key), mode))
}

fn create_key(path: PathBuf) -> Result<Secret<[u8; 32]>, StateError> {
    let key = random::<32>()?;
    // whole under another name first: a crash never leaves half a key under the name that counts
    let draft = path.with_extension(format!("key.{}", std::process::id()));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| file.write_all(&key).and_then(|()| file.sync_all()))
        // a link fails where a rename would replace the key that another gateway has just made
        .and_then(|()| std::fs::hard_link(&draft, &path));
    let removed = std::fs::remove_file(&draft);
    match written.and(removed) {
        Ok(()) => Ok(Secret::new(key)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.exists() => {
            let file = std::fs::File::open(&path).map_err(|source| StateError::Io {
                step: "open",
                path: path.clone(),
                source,
            })?;
            read_own_key(file, path)
        }
        Err(source) => Err(StateError::Io { step: "create", path, source }),
    }
}

fn random<const COUNT: usize>() -> Result<[u8; COUNT], StateError> {
    let mut bytes = [0; COUNT];
    let source = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    source.fill(&mut bytes).or(Err(StateError::Random))?;
    Ok(bytes)
}

/// Name of this host, of letters, digits and `-`: a pod's name is its host's.
pub(crate) fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .unwrap_or_default();
    let mut name: String = host
        .trim()
        .chars()
        .take(63)
        .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
        .collect();
    if name.is_empty() {
        name.push_str("gateway");
    }
    name
}

/// Names only this start: a log is never written by two processes.
fn instance() -> String {
    let mut name = host();
    let since_epoch = Timestamp::now().as_second();
    // without random bytes the process id still tells two starts of one second apart
    let tail = random::<4>().map_or_else(|_| std::process::id(), u32::from_be_bytes);
    if write!(name, "-{since_epoch}-{tail:08x}").is_err() {
        name.push_str("-gateway");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::{State, StateError};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_tenant_key_survives_a_restart_and_is_for_the_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let first = State::open(directory.path(), None).unwrap();
        let second = State::open(directory.path(), None).unwrap();
        assert_eq!(first.tenant_key().expose(), second.tenant_key().expose());
        assert_ne!(first.instance(), second.instance());
        let mode = |name| {
            directory
                .path()
                .join(name)
                .metadata()
                .map(|metadata| metadata.permissions().mode() & 0o777)
                .unwrap()
        };
        assert_eq!(mode("tenant.key"), 0o600);
        assert_eq!(mode("audit"), 0o700);
        assert_eq!(mode("approvals"), 0o700);
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        State::open(directory.path(), None).unwrap();
        let key = directory.path().join("tenant.key");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(State::open(directory.path(), None), Err(StateError::OpenKey { mode: 0o640, .. })));
    }

    #[test]
    fn a_mounted_key_is_taken_as_it_is_mounted_and_is_never_made() {
        let directory = tempfile::tempdir().unwrap();
        let (state, key) = (directory.path().join("state"), directory.path().join("key"));
        assert!(matches!(State::open(&state, Some(&key)), Err(StateError::Io { .. })));
        for (bytes, good) in [(&[7; 32][..], true), (&[7; 33], false), (&[7; 31], false)] {
            std::fs::write(&key, bytes).unwrap();
            std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o440)).unwrap();
            let opened = State::open(&state, Some(&key));
            assert_eq!(opened.is_ok_and(|state| state.tenant_key().expose() == &[7; 32]), good);
            std::fs::remove_file(&key).unwrap();
        }
        assert!(!state.join("tenant.key").exists());
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        State::open(directory.path(), None).unwrap();
        for bytes in [&[7; 31][..], &[7; 33], &[]] {
            std::fs::write(directory.path().join("tenant.key"), bytes).unwrap();
            assert!(matches!(State::open(directory.path(), None), Err(StateError::BadKey { .. })));
        }
    }
}
