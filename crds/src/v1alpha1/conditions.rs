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
/// The operator has just seen the API server refuse a decision in another name. While it is not True, no approval
/// counts.
pub const APPROVER_BINDING: &str = "ApproverBinding";
/// The gateway may act as its agents in the cluster in which it runs. Only where a Resource is about that cluster.
pub const IMPERSONATION: &str = "Impersonation";
/// On the way to what the spec says; True only while something is expected to happen by itself (kstatus).
pub const RECONCILING: &str = "Reconciling";
/// Somebody has to change something first (kstatus).
pub const STALLED: &str = "Stalled";
