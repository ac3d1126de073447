//! Tests of the public interface, with the real tools and data where a user would have them.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "what a test prepares may panic where it is wrong"
)]

mod gitleaks;
mod mask_corpus;
mod mask_personal;
mod tool;
