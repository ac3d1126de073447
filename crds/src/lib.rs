//! The Portcullis API: three custom resources, and nothing else.
//!
//! `Resource` is a protected upstream, `Policy` says who may do what to it, `ApprovalRequest` is one held
//! command. The doc comments of the fields are the specification: they become `kubectl explain`.
//!
//! [`manifest`] reads objects as people write them, [`validation`] checks them as the API server would, and
//! [`definitions`] gives what the API server has to be told.

pub mod definitions;
pub mod manifest;
pub mod v1alpha1;
pub mod validation;
