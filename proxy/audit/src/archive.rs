//! Logs in an object store: S3, Google Cloud Storage, Azure Blob Storage, or a directory.
//!
//! Every file of a log becomes a folder of parts that never change, each named after the byte that it begins at:
//!
//! ```text
//! PREFIX/CLUSTER/NAMESPACE/RESOURCE/INSTANCE/
//!     log.vkey/00000000000000000000
//!     00000000000000000000.seg/00000000000000000000       the segment's first bytes
//!     00000000000000000000.seg/00000000000008388608       what came later
//!     checkpoints/00000000000000000000
//!     …
//! ```
//!
//! The parts of a file in their order are the file. So a log is delivered while it grows, what was delivered is never
//! written again, and a store that forbids to change or remove objects (object lock, retention policies) can hold it.
//! A checkpoint follows the records that it signs: whoever reads never finds a checkpoint over records that are still
//! to come.
//!
//! [`Archiver`] delivers, [`mirror`] fetches whole logs, [`crate::source::ArchiveSource`] reads their records.

mod cursor;
mod deliver;
mod listing;
mod location;
mod mirror;
mod pieces;
mod store;

pub use cursor::{ARCHIVE_CURSOR, Standing, standing};
pub use deliver::{ArchiveOptions, ArchiveStatus, Archiver};
pub use location::{Location, Lock};
pub use mirror::{INVENTORIES, mirror};

pub(crate) use listing::{ArchivedFile, ArchivedLog, logs};
pub(crate) use location::Purpose;
pub(crate) use mirror::{runtime, write};
pub(crate) use store::Store;

/// Why an archive cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The URL, or what the environment says to it, is not usable.
    #[error("archive: {why}")]
    Location {
        /// What is wrong with it. Quotes no credential.
        why: String,
    },
    /// The store does not do what it was asked.
    #[error("{doing} in the archive: {why}")]
    Store {
        /// What it was asked.
        doing: String,
        /// What it said. Queries of URLs, which may be signatures, are cut off.
        why: String,
    },
    /// What is there is not what was delivered.
    #[error("the archive holds something else at {path}")]
    Differs {
        /// The object.
        path: String,
    },
    /// Parts of a file are not there.
    #[error("{file} in the archive lacks its bytes from {from}")]
    Gap {
        /// The file.
        file: String,
        /// First byte that is not there.
        from: u64,
    },
    /// A file of the log, or of its copy, cannot be read or written.
    #[error("use {path}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A segment of the log is damaged.
    #[error("read audit log")]
    Segment(#[from] crate::segment::SegmentError),
}

#[cfg(test)]
mod tests;
