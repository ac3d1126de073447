//! Writing a bundle: one pass over the logs for the records, one for the proofs.

use crate::checkpoint::{self, VERIFIER_KEY};
use crate::chunks::{self, CHUNKS, Identities, OpenError};
use crate::event::{EventName, key};
use crate::evidence::{FORMAT, FileEntry, LogEntry, MANIFEST, Manifest, ProofLine, SessionEntry};
use crate::inventory;
use crate::merkle::Prover;
use crate::read::{ReadError, end, records};
use crate::record::Record;
use age::secrecy::ExposeSecret as _;
use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, Write};
use std::path::{Path, PathBuf};

/// Records of one line.
const LINE_RECORDS: usize = 64;

/// How often a log is read that shrinks meanwhile.
const ATTEMPTS: u32 = 3;

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// A log cannot be read.
    #[error("read audit log")]
    Read(#[from] ReadError),
    /// No session begins so, or more than one does.
    #[error("{found} sessions begin with {prefix}")]
    Session {
        /// What was asked for.
        prefix: String,
        /// How many.
        found: usize,
    },
    /// A log has no signed checkpoint: nothing in it can be proved.
    #[error("{log} has no signed checkpoint yet")]
    Unsigned {
        /// The log.
        log: PathBuf,
    },
    /// A log does not have the root that its checkpoint signs.
    #[error("{log} is not the log that its checkpoint of size {size} signs: run portcullis verify")]
    Root {
        /// The log.
        log: PathBuf,
        /// Size of the checkpoint.
        size: u64,
    },
    /// The key of a session's encrypted results cannot be handed over.
    #[error("hand over the key of a session's results")]
    Sealed(#[from] OpenError),
    /// A file cannot be read or written.
    #[error("write evidence")]
    Io(#[from] io::Error),
    /// A record is not followed by the next.
    #[error("records are missing within {log}: run portcullis verify")]
    Hole {
        /// The log.
        log: PathBuf,
    },
    /// A record cannot be written as JSON.
    #[error("write evidence as JSON")]
    Json(#[from] serde_json::Error),
}

/// Writes a bundle of the sessions whose identifiers begin so. `tool` is the name and version of the program. With an
/// auditor's `identities`, encrypted results can be read by whoever gets the bundle, those of these sessions alone.
///
/// # Errors
/// See [`EvidenceError`]. What was written until then is no bundle.
pub fn export(
    logs: &[PathBuf],
    prefixes: &[String],
    tool: (&str, &str),
    identities: &Identities,
    out: impl Write,
) -> Result<Manifest, EvidenceError> {
    let mut found: BTreeMap<String, Vec<String>> =
        prefixes.iter().map(|prefix| (prefix.clone(), Vec::new())).collect();
    let mut manifest = Manifest {
        format: FORMAT.to_owned(),
        tool: tool.0.to_owned(),
        version: tool.1.to_owned(),
        created: Timestamp::now(),
        sessions: Vec::new(),
        logs: Vec::new(),
        files: Vec::new(),
    };
    let mut files = Files::default();
    for log in logs {
        let collected = Collected::read(log, &mut found)?;
        if !collected.sequences.is_empty() {
            collected.add_chunks(log, manifest.logs.len(), identities, &mut files)?;
            collected.write(log, &mut manifest, &mut files)?;
        }
    }
    if let Some((prefix, ids)) = found.iter().find(|(_, ids)| ids.len() != 1) {
        return Err(EvidenceError::Session { prefix: prefix.clone(), found: ids.len() });
    }
    files.add("README.txt", |file| Ok(file.write_all(README.as_bytes())?))?;
    manifest.files = files.0.iter().map(|(entry, _)| entry.clone()).collect();
    files.archive(&manifest, out)?;
    Ok(manifest)
}

/// The records of the wanted sessions that are in one log.
struct Collected {
    lines: File,
    sequences: Vec<u64>,
    sessions: BTreeMap<String, SessionEntry>,
}

impl Collected {
    fn read(log: &Path, found: &mut BTreeMap<String, Vec<String>>) -> Result<Self, EvidenceError> {
        let mut lines = BufWriter::new(tempfile::tempfile()?);
        let (mut sequences, mut sessions) = (Vec::new(), BTreeMap::new());
        let mut line = Vec::new();
        for record in records(log)? {
            let record = record?;
            let Some(id) = record.text(key::SESSION_ID) else { continue };
            let mut wanted = false;
            for (_, ids) in found.iter_mut().filter(|(prefix, _)| id.starts_with(prefix.as_str())) {
                wanted = true;
                if !ids.iter().any(|known| known == id) {
                    ids.push(id.to_owned());
                }
            }
            if !wanted {
                continue;
            }
            let session = sessions.entry(id.to_owned()).or_insert_with(|| SessionEntry {
                id: id.to_owned(),
                log: record.origin().to_owned(),
                records: 0,
                ended: false,
            });
            session.records += 1;
            session.ended |= record.name() == EventName::SessionEnd.as_str();
            sequences.push(record.sequence());
            line.push(record);
            if line.len() == LINE_RECORDS {
                write_line(&mut lines, &mut line)?;
            }
        }
        write_line(&mut lines, &mut line)?;
        Ok(Self { lines: lines.into_inner().map_err(io::IntoInnerError::into_error)?, sequences, sessions })
    }

    /// The newest checkpoint; one that witnesses cosigned, when it covers all that is handed over.
    fn checkpoint(&self, log: &Path) -> Result<Option<(u64, String)>, EvidenceError> {
        let end = end(log)?;
        let last = self.sequences.last().copied().unwrap_or_default();
        let cosigned = checkpoint::newest_cosigned(log, end)?.filter(|(size, _)| *size > last);
        Ok(if cosigned.is_some() { cosigned } else { checkpoint::newest(log, end)? })
    }

    /// What is encrypted, and the keys to it.
    fn add_chunks(
        &self,
        log: &Path,
        number: usize,
        identities: &Identities,
        files: &mut Files,
    ) -> Result<(), EvidenceError> {
        for session in self.sessions.keys() {
            let name = |kind: &str| format!("logs/{number}/{CHUNKS}/{session}.{kind}");
            for kind in [chunks::CIPHERTEXTS, chunks::KEY] {
                let path = chunks::file(log, session, kind).filter(|path| path.is_file());
                if let Some(path) = path {
                    files.add_file(&name(kind), File::open(path)?)?;
                }
            }
            let key = chunks::file(log, session, chunks::KEY).filter(|path| path.is_file());
            if key.is_some() && !identities.is_empty() {
                let identity = identities.of_session(log, session)?.to_string();
                files.add(&name(chunks::IDENTITY), |file| {
                    Ok(file.write_all(identity.expose_secret().as_bytes())?)
                })?;
            }
        }
        Ok(())
    }

    fn write(self, log: &Path, manifest: &mut Manifest, files: &mut Files) -> Result<(), EvidenceError> {
        let unsigned = || EvidenceError::Unsigned { log: log.to_owned() };
        let (size, note) = self.checkpoint(log)?.ok_or_else(unsigned)?;
        let prover = prover(log, size, &self.sequences)?;
        let signed = crate::note::SignedCheckpoint::parse(&note).or(Err(unsigned()))?;
        if signed.checkpoint.root != prover.root() {
            return Err(EvidenceError::Root { log: log.to_owned(), size });
        }
        let proofs = prover.finish();
        let directory = format!("logs/{}", manifest.logs.len());
        files.add(&format!("{directory}/log.vkey"), |file| {
            Ok(file.write_all(&std::fs::read(log.join(VERIFIER_KEY))?)?)
        })?;
        if let Some(certificate) = inventory::certificate(log)? {
            files.add(&format!("{directory}/log.certificate"), |file| {
                Ok(file.write_all(certificate.as_bytes())?)
            })?;
        }
        files.add(&format!("{directory}/checkpoint"), |file| Ok(file.write_all(note.as_bytes())?))?;
        files.add_file(&format!("{directory}/records.jsonl"), self.lines)?;
        files.add(&format!("{directory}/proofs.jsonl"), |file| {
            for proof in &proofs {
                serde_json::to_writer(&mut *file, &ProofLine::of(proof))?;
                file.write_all(b"\n")?;
            }
            Ok(())
        })?;
        let (records, unproved) = (self.sequences.len(), self.sequences.len().saturating_sub(proofs.len()));
        let (records, unproved) = (records as u64, unproved as u64);
        let origin = signed.checkpoint.origin;
        manifest.logs.push(LogEntry { origin, directory, size, records, unproved });
        manifest.sessions.extend(self.sessions.into_values());
        Ok(())
    }
}

/// The log's tree, with what proves these records. Where retention removes segments while they are read, the tree has
/// a hole: then it is grown anew from what is left.
fn prover(log: &Path, size: u64, sequences: &[u64]) -> Result<Prover, EvidenceError> {
    for _ in 0..ATTEMPTS {
        if let Some(prover) = grow(log, size, sequences)? {
            return Ok(prover);
        }
    }
    Err(EvidenceError::Hole { log: log.to_owned() })
}

/// `None` when a record is not followed by the next.
fn grow(log: &Path, size: u64, sequences: &[u64]) -> Result<Option<Prover>, EvidenceError> {
    let mut read = records(log)?;
    let mut record = read.next().transpose()?;
    let begin = read.begin().cloned().unwrap_or_default();
    let mut expected = begin.size();
    let mut prover = Prover::new(size, sequences.iter().copied(), begin);
    while let Some(next) = record {
        if next.sequence() != expected {
            return Ok(None);
        }
        prover.push(*next.leaf_hash());
        expected += 1;
        record = read.next().transpose()?;
    }
    Ok(Some(prover))
}

fn write_line(out: &mut impl Write, records: &mut Vec<Record>) -> Result<(), EvidenceError> {
    let log_records: Vec<LogRecord> = records.drain(..).map(Record::into_log_record).collect();
    if log_records.is_empty() {
        return Ok(());
    }
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    write_json(out, &ExportLogsServiceRequest { resource_logs })
}

fn write_json(out: &mut impl Write, value: &impl Serialize) -> Result<(), EvidenceError> {
    serde_json::to_writer(&mut *out, value)?;
    Ok(out.write_all(b"\n")?)
}

/// Files that are not yet in the archive: their lengths must be known first.
#[derive(Default)]
struct Files(Vec<(FileEntry, File)>);

impl Files {
    fn add(
        &mut self,
        path: &str,
        write: impl FnOnce(&mut BufWriter<File>) -> Result<(), EvidenceError>,
    ) -> Result<(), EvidenceError> {
        let mut file = BufWriter::new(tempfile::tempfile()?);
        write(&mut file)?;
        self.add_file(path, file.into_inner().map_err(io::IntoInnerError::into_error)?)
    }

    fn add_file(&mut self, path: &str, mut file: File) -> Result<(), EvidenceError> {
        file.rewind()?;
        let mut digest = Sha256::new();
        let mut bytes = 0;
        let mut reader = BufReader::with_capacity(1 << 17, &file);
        let mut block = vec![0; 1 << 16];
        loop {
            let read = reader.read(&mut block)?;
            let Some(part) = block.get(..read).filter(|part| !part.is_empty()) else { break };
            digest.update(part);
            bytes += read as u64;
        }
        let sha256 = const_hex::encode(digest.finalize());
        self.0.push((FileEntry { path: path.to_owned(), bytes, sha256 }, file));
        Ok(())
    }

    fn archive(self, manifest: &Manifest, out: impl Write) -> Result<(), EvidenceError> {
        let mut archive = tar::Builder::new(out);
        let seconds = u64::try_from(manifest.created.as_second()).unwrap_or_default();
        let header = |bytes: u64| {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes);
            header.set_mode(0o644);
            header.set_mtime(seconds);
            header
        };
        let text = serde_json::to_vec_pretty(manifest)?;
        archive.append_data(&mut header(text.len() as u64), MANIFEST, text.as_slice())?;
        for (entry, mut file) in self.0 {
            file.rewind()?;
            archive.append_data(&mut header(entry.bytes), &entry.path, BufReader::new(file))?;
        }
        archive.into_inner()?.flush()?;
        Ok(())
    }
}

const README: &str = "\
Evidence of recorded sessions, as Portcullis wrote it.

Verify it, without a network and without the log:

    portcullis verify THIS.tar --key LOG.vkey

LOG.vkey is the log's public key as you have it from elsewhere: who could change this file could change the key in it.
Look into it with `portcullis show|replay|report SESSION --from THIS.tar`.

By hand, for one record of logs/*/records.jsonl (OTLP JSON, opentelemetry.io):
  leaf       the LogRecord as protobuf, fields and attributes in their order, without defaults
  leaf hash  SHA-256(0x00, leaf)                                      RFC 6962, section 2.1
  root       from the leaf hash and the path in logs/*/proofs.jsonl   RFC 6962, section 2.1.1
  signature  Ed25519 over the text of logs/*/checkpoint               c2sp.org/signed-note, c2sp.org/tlog-checkpoint
The root must be the checkpoint's third line. A result that is not in its record is in logs/*/chunks, encrypted for the
auditors (age-encryption.org): portcullis.result.chunk is its SHA-256, SESSION.identity opens it where it is there. portcullis.session.seq counts the records of a session without gaps.
";
