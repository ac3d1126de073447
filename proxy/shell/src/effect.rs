//! Names of effects, as `SshEffect` of the policy API has them.

pub(super) const ATTRIBUTES: &str = "Attributes";
pub(super) const EXECUTE: &str = "Execute";
pub(super) const LIST: &str = "List";
pub(super) const READ: &str = "Read";
pub(super) const REMOVE: &str = "Remove";
pub(super) const RENAME: &str = "Rename";
pub(super) const WRITE: &str = "Write";
