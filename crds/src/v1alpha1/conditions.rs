//! Condition types and reasons: a public contract.

/// The spec is valid.
pub const ACCEPTED: &str = "Accepted";
/// Every reference was found.
pub const RESOLVED_REFS: &str = "ResolvedRefs";
/// Every gateway runs this generation.
pub const PROGRAMMED: &str = "Programmed";
/// Summary of the others.
pub const READY: &str = "Ready";

/// An ApprovalRequest's terminal condition: enough approvers agreed.
pub const APPROVED: &str = "Approved";
/// An ApprovalRequest's terminal condition: somebody refused.
pub const DENIED: &str = "Denied";
/// An ApprovalRequest's terminal condition: nobody decided in time.
pub const EXPIRED: &str = "Expired";
/// An ApprovalRequest's terminal condition: the client went away or cancelled.
pub const WITHDRAWN: &str = "Withdrawn";
/// After `Approved`: the command ran. An approval is consumed once.
pub const CONSUMED: &str = "Consumed";
