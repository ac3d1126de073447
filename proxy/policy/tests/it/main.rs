//! Decisions as a user of the crate sees them.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail wherever it likes")]

mod golden;
mod properties;
