//! The definitions and samples that are checked in.

#![expect(clippy::unwrap_used, reason = "a test may fail wherever it likes")]

mod definitions;
mod samples;
