//! What the targets share: frames, a gateway with both its peers, and a server that answers as PostgreSQL would.
//!
//! A panic is a finding wherever it happens: libFuzzer's panic hook aborts before anything can catch it, so what the
//! analyser and tokio would survive in production is found all the same.

pub mod frames;
pub mod gateway;
pub mod peers;
pub mod postgres;
