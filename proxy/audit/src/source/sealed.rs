//! Records of a source with the results that lie beside their logs, encrypted: for whoever has an identity.

use crate::chunks::{ChunkRef, Chunks, Identities, OpenError};
use crate::record::Record;
use crate::source::{RecordStream, Source, SourceError, Wanted};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A source and the keys to what is encrypted in it.
#[derive(Debug)]
pub struct UnsealedSource {
    inner: Box<dyn Source>,
    /// Directories with the chunks, by the origins of the logs.
    logs: BTreeMap<String, PathBuf>,
    identities: Identities,
}

impl UnsealedSource {
    /// What `inner` has, with the results from these directories.
    pub fn new(inner: Box<dyn Source>, logs: BTreeMap<String, PathBuf>, identities: Identities) -> Self {
        Self { inner, logs, identities }
    }

    /// The record with its result; one whose result was erased stays as it is.
    fn unseal(&self, chunks: &mut Chunks<'_>, mut record: Record) -> Result<Record, SourceError> {
        let Some(chunk) = ChunkRef::of(&record) else { return Ok(record) };
        let Some(log) = self.logs.get(record.origin()) else { return Ok(record) };
        match chunks.plaintext(log, &chunk) {
            Ok(frames) => {
                record.reveal(frames);
                Ok(record)
            }
            Err(OpenError::Erased { .. }) => Ok(record),
            Err(error) => Err(SourceError::Sealed { sequence: record.sequence(), source: error }),
        }
    }
}

impl Source for UnsealedSource {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn records(&self, wanted: &Wanted) -> Result<RecordStream<'_>, SourceError> {
        let mut chunks = Chunks::new(&self.identities);
        let records = self.inner.records(wanted)?;
        Ok(Box::new(records.map(move |record| self.unseal(&mut chunks, record?))))
    }
}
