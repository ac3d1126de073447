//! The operator's steps on whole objects.
#![cfg(test)]
#![expect(clippy::unwrap_used, reason = "a test may fail wherever it likes")]

mod golden;
