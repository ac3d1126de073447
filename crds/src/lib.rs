//! The Portcullis API: three custom resources, and nothing else.
//!
//! `Resource` is a protected upstream, `Policy` says who may do what to it, `ApprovalRequest` is one held
//! command. The doc comments of the fields are the specification: they become `kubectl explain`.

pub mod manifest;
pub mod v1alpha1;
