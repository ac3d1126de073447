//! The issuer's keys, kept in one file that only its owner can read.

use anyhow::Context as _;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// Most keys that are published; the oldest goes first.
const MAX_KEYS: usize = 4;

/// Keys and name of the issuer, as in the file.
#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct State {
    /// Where it listened last: its name.
    issuer: Option<String>,
    /// Oldest first; the last one signs.
    keys: Vec<SigningKey>,
}

/// One signing key.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SigningKey {
    /// Its `kid`.
    pub(super) id: String,
    /// PKCS#8 in base64.
    private: String,
}

impl SigningKey {
    fn generate() -> anyhow::Result<Self> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).context("make a key")?;
        let pkcs8 = pair.to_pkcs8v1().context("make a key")?;
        let id = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 9]>());
        Ok(Self { id, private: STANDARD.encode(pkcs8.as_ref()) })
    }

    pub(super) fn pkcs8(&self) -> anyhow::Result<Vec<u8>> {
        STANDARD.decode(&self.private).context("decode the issuer's key")
    }

    fn public(&self) -> anyhow::Result<Jwk> {
        let private = EncodingKey::from_ec_der(&self.pkcs8()?);
        let mut jwk = Jwk::from_encoding_key(&private, Algorithm::ES256).context("read the issuer's key")?;
        jwk.common.key_id = Some(self.id.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        jwk.common.key_algorithm = Some(KeyAlgorithm::ES256);
        Ok(jwk)
    }
}

/// The issuer's state on disk.
pub(super) struct Store {
    file: PathBuf,
    state: State,
}

impl Store {
    /// Reads the state, or begins one with a fresh key.
    pub(super) fn open(directory: &Path) -> anyhow::Result<Self> {
        let file = directory.join("issuer.json");
        let mut store = match fs::read(&file) {
            Ok(text) => {
                let state =
                    serde_json::from_slice(&text).with_context(|| format!("parse {}", file.display()))?;
                Self { file, state }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Self { file, state: State::default() },
            Err(error) => return Err(error).with_context(|| format!("read {}", file.display())),
        };
        if store.state.keys.is_empty() {
            store.rotate(false)?;
        }
        Ok(store)
    }

    /// The issuer's name; `None` before it first ran.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.state.issuer.as_deref()
    }

    /// Notes where it listens.
    pub(super) fn set_issuer(&mut self, issuer: String) -> anyhow::Result<()> {
        self.state.issuer = Some(issuer);
        self.save()
    }

    /// The key that signs.
    pub(super) fn signing_key(&self) -> anyhow::Result<&SigningKey> {
        self.state.keys.last().context("the issuer has no key")
    }

    /// What is published.
    pub(super) fn published(&self) -> anyhow::Result<JwkSet> {
        Ok(JwkSet { keys: self.state.keys.iter().map(SigningKey::public).collect::<Result<_, _>>()? })
    }

    /// Signs with a new key from now on; the old ones stay published unless they are retired. Returns its id.
    pub(super) fn rotate(&mut self, retire: bool) -> anyhow::Result<String> {
        let key = SigningKey::generate()?;
        let id = key.id.clone();
        if retire {
            self.state.keys.clear();
        }
        self.state.keys.push(key);
        let surplus = self.state.keys.len().saturating_sub(MAX_KEYS);
        self.state.keys.drain(..surplus);
        self.save()?;
        Ok(id)
    }

    fn save(&self) -> anyhow::Result<()> {
        let directory = self.file.parent().context("the state file has no directory")?;
        let save = || {
            fs::create_dir_all(directory)?;
            // Readable by its owner alone: that is how tempfile creates files.
            let mut temporary = tempfile::NamedTempFile::new_in(directory)?;
            serde_json::to_writer_pretty(&mut temporary, &self.state)?;
            temporary.flush()?;
            temporary.as_file().sync_all()?;
            temporary.persist(&self.file).map_err(|error| error.error)?;
            anyhow::Ok(())
        };
        save().with_context(|| format!("write {}", self.file.display()))
    }
}
