//! `portcullis-operator`.
fn main() {}
