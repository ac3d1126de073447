//! Names of effects, as `PostgresqlEffect` of the policy API has them.

pub(super) const ALTER: &str = "Alter";
pub(super) const ADMINISTER: &str = "Administer";
pub(super) const CALL: &str = "Call";
pub(super) const CREATE: &str = "Create";
pub(super) const DELETE: &str = "Delete";
pub(super) const DROP: &str = "Drop";
pub(super) const GRANT: &str = "Grant";
pub(super) const INSERT: &str = "Insert";
pub(super) const NOTIFY: &str = "Notify";
pub(super) const LOCK: &str = "Lock";
pub(super) const MAINTAIN: &str = "Maintain";
pub(super) const SELECT: &str = "Select";
pub(super) const SERVER_FILE: &str = "ServerFile";
pub(super) const SET: &str = "Set";
pub(super) const TRANSACTION: &str = "Transaction";
pub(super) const TRUNCATE: &str = "Truncate";
pub(super) const UPDATE: &str = "Update";
