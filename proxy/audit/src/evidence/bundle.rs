//! Reading a bundle.

use crate::chunks::{CHUNKS, IDENTITY, parse_name};
use crate::evidence::{FORMAT, FileEntry, LogEntry, MANIFEST, Manifest, ProofLine};
use crate::merkle::Proof;
use crate::source::{OtlpSource, Part, RecordStream, Source, SourceError, Wanted};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, BufRead as _, BufReader, Read, Seek as _, SeekFrom};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Most bytes of a manifest, a key or a checkpoint.
const MAX_SMALL_BYTES: u64 = 16 << 20;

/// Most bytes of a line with a proof: 64 hashes of 44 characters, for no tree has more levels, are less than half of it.
const MAX_PROOF_BYTES: u64 = 8 << 10;

/// An opened bundle. Nothing of it is believed: see [`crate::verify::verify_bundle`].
#[derive(Debug)]
pub struct Bundle {
    path: PathBuf,
    manifest: Manifest,
    /// Files in the archive: first byte and length.
    files: BTreeMap<String, (u64, u64)>,
    records: OtlpSource,
}

impl Bundle {
    /// Opens a bundle.
    ///
    /// # Errors
    /// The file cannot be read, or is no bundle.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let io_error = |source| SourceError::Io { path: path.to_owned(), source };
        let mut archive = tar::Archive::new(BufReader::new(File::open(path).map_err(io_error)?));
        let mut files = BTreeMap::new();
        for entry in archive.entries_with_seek().map_err(io_error)? {
            let entry = entry.map_err(io_error)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let place = (entry.raw_file_position(), entry.size());
            if files.insert(name.clone(), place).is_some() {
                return Err(no_bundle(path, format!("{name} is in it twice")));
            }
        }
        let text = read_small(path, &files, MANIFEST)?;
        let manifest: Manifest =
            serde_json::from_str(&text).map_err(|error| no_bundle(path, format!("{MANIFEST}: {error}")))?;
        if manifest.format != FORMAT {
            return Err(no_bundle(path, format!("its format is {}, not {FORMAT}", manifest.format)));
        }
        let parts = manifest.logs.iter().filter_map(|log| {
            let (offset, length) = files.get(&format!("{}/records.jsonl", log.directory))?;
            Some(Part { path: path.to_owned(), offset: *offset, length: Some(*length) })
        });
        let records = OtlpSource::new(parts.collect());
        Ok(Self { path: path.to_owned(), manifest, files, records })
    }

    /// What it says that is in it.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the files in it.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// A small text file of it.
    pub(crate) fn text(&self, name: &str) -> Result<String, SourceError> {
        read_small(&self.path, &self.files, name)
    }

    /// The records of one log.
    pub(crate) fn log(&self, directory: &str) -> OtlpSource {
        let place = self.files.get(&format!("{directory}/records.jsonl"));
        let part = place.map(|(offset, length)| Part {
            path: self.path.clone(),
            offset: *offset,
            length: Some(*length),
        });
        OtlpSource::new(part.into_iter().collect())
    }

    /// The proofs of one log, and whether all lines are proofs. After a line that is longer than any proof, none is read.
    pub(crate) fn proofs(&self, directory: &str) -> Result<(BTreeMap<u64, Proof>, bool), SourceError> {
        let mut file = BufReader::new(self.open_file(&format!("{directory}/proofs.jsonl"))?);
        let mut proofs = BTreeMap::new();
        let mut all = true;
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = file.by_ref().take(MAX_PROOF_BYTES).read_until(b'\n', &mut line);
            let read = read.map_err(|source| SourceError::Io { path: self.path.clone(), source })? as u64;
            if read == 0 {
                return Ok((proofs, all));
            }
            match serde_json::from_slice::<ProofLine>(&line).ok().and_then(|line| line.proof()) {
                Some(proof) => drop(proofs.insert(proof.index, proof)),
                None => all = false,
            }
            if read == MAX_PROOF_BYTES {
                return Ok((proofs, false));
            }
        }
    }

    /// Whether a file has the length and the digest that the manifest says.
    pub(crate) fn fits(&self, entry: &FileEntry) -> Result<bool, SourceError> {
        if self.files.get(&entry.path).is_none_or(|(_, length)| *length != entry.bytes) {
            return Ok(false);
        }
        let mut file = self.open_file(&entry.path)?;
        let mut digest = Sha256::new();
        let mut block = vec![0; 1 << 16];
        loop {
            let read = file
                .read(&mut block)
                .map_err(|source| SourceError::Io { path: self.path.clone(), source })?;
            let Some(part) = block.get(..read).filter(|part| !part.is_empty()) else { break };
            digest.update(part);
        }
        Ok(const_hex::encode(digest.finalize()) == entry.sha256)
    }

    /// Writes the encrypted results of one log, and the keys to them, as they lie beside a log. Whether a key is among
    /// them that everybody can use.
    ///
    /// # Errors
    /// They cannot be read or written.
    pub fn unpack_chunks(&self, log: &LogEntry, into: &Path) -> Result<bool, SourceError> {
        let mut open = false;
        let folder = into.join(CHUNKS);
        let prefix = format!("{}/{CHUNKS}/", log.directory);
        let io_error = |path: &Path| {
            let path = path.to_owned();
            move |source| SourceError::Io { path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(io_error(&folder))?;
        for name in self.files.keys() {
            let Some(file) = name.strip_prefix(&prefix).filter(|file| parse_name(file).is_some()) else {
                continue;
            };
            let path = folder.join(file);
            let mut out = File::create_new(&path).map_err(io_error(&path))?;
            io::copy(&mut self.open_file(name)?, &mut out).map_err(io_error(&path))?;
            open |= parse_name(file).is_some_and(|(_, kind)| kind == IDENTITY);
        }
        Ok(open)
    }

    fn open_file(&self, name: &str) -> Result<io::Take<File>, SourceError> {
        open_file(&self.path, &self.files, name)
    }
}

impl Source for Bundle {
    fn name(&self) -> String {
        format!("evidence bundle {}", self.path.display())
    }

    fn records(&self, wanted: &Wanted) -> Result<RecordStream<'_>, SourceError> {
        self.records.records(wanted)
    }
}

fn no_bundle(path: &Path, why: String) -> SourceError {
    SourceError::Bundle { path: path.to_owned(), why }
}

type Places = BTreeMap<String, (u64, u64)>;

fn open_file(path: &Path, files: &Places, name: &str) -> Result<io::Take<File>, SourceError> {
    let (offset, length) = files.get(name).ok_or_else(|| no_bundle(path, format!("it has no {name}")))?;
    let io_error = |source| SourceError::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(io_error)?;
    file.seek(SeekFrom::Start(*offset)).map_err(io_error)?;
    Ok(file.take(*length))
}

fn read_small(path: &Path, files: &Places, name: &str) -> Result<String, SourceError> {
    let mut bytes = Vec::new();
    open_file(path, files, name)?
        .take(MAX_SMALL_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|source| SourceError::Io { path: path.to_owned(), source })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
