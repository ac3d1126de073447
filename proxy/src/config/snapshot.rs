//! The files of a directory as they were at one moment, and a digest to tell two moments apart.

use sha2::{Digest, Sha256};
use std::io::Read as _;
use std::path::Path;

use super::{Place, Problem, Problems};

/// Contents of every manifest file of a directory. They hold Secrets: `Debug` shows the names only.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Snapshot {
    /// Name and text of each file, sorted by name.
    pub files: Vec<(String, String)>,
}

/// A ConfigMap may hold 1 MiB; a file beyond sixteen of them is no manifest.
const MAX_FILE_BYTES: u64 = 16 << 20;

impl Snapshot {
    /// Reads every `*.yaml` and `*.yml` of `directory`, not below it. Symbolic links are followed. Blocks.
    ///
    /// # Errors
    /// The directory or some files cannot be read, or are no UTF-8 text.
    pub fn read(directory: &Path) -> Result<Self, Problems> {
        let here = Place::file(&directory.display().to_string());
        let entries = std::fs::read_dir(directory).map_err(|error| {
            Problems(vec![here.problem("", format!("expected a readable directory: {error}"))])
        })?;
        let mut files = Vec::new();
        let mut problems = Vec::new();
        for entry in entries {
            match entry {
                Ok(entry) => match file(&entry.path()) {
                    Ok(Some(file)) => files.push(file),
                    Ok(None) => {}
                    Err(problem) => problems.push(problem),
                },
                Err(error) => problems.push(here.problem("", format!("list directory: {error}"))),
            }
        }
        files.sort();
        if problems.is_empty() { Ok(Self { files }) } else { Err(Problems::new(problems)) }
    }

    /// SHA-256 over names and contents, in hex.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for (name, text) in &self.files {
            for part in [name.as_bytes(), text.as_bytes()] {
                // lengths first, so that no two snapshots share one stream of bytes
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        }
        const_hex::encode(hash.finalize())
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.files.iter().map(|(name, _)| name)).finish()
    }
}

fn file(path: &Path) -> Result<Option<(String, String)>, Problem> {
    let manifest = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned()).filter(|_| manifest)
    else {
        return Ok(None);
    };
    let place = Place::file(&name);
    let broken =
        |error: &dyn std::fmt::Display| place.problem("", format!("expected a readable file: {error}"));
    let file = std::fs::File::open(path).map_err(|error| broken(&error))?;
    if file.metadata().map_err(|error| broken(&error))?.is_dir() {
        return Ok(None);
    }
    let mut text = String::new();
    let bytes = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(|error| broken(&error))?;
    if bytes as u64 > MAX_FILE_BYTES {
        return Err(place.problem("", format!("expected at most {MAX_FILE_BYTES} bytes")));
    }
    Ok(Some((name, text)))
}
