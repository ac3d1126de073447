//! The Kubernetes API through the gate.

pub mod request;
