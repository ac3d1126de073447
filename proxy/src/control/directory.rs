//! The control plane without Kubernetes: files in directories.

pub mod approvals;
