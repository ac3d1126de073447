//! The operator: Resources become gateways, Policies and ApprovalRequests get their status.
//!
//! Three controllers share one set of caches ([`stores`]). Each has a driver file whose steps are the files of the
//! folder beside it:
//!
//! * [`resource`]: dereference → validate → build → apply → status
//! * [`policy`]: compile with the gateway's own compiler, compare with what gateways report → status
//! * [`approval_request`]: count decisions, prove that they are bound to their approvers → status
//!
//! An object is reconciled whenever something that its outcome depends on changed ([`triggers`]); a reconcile that
//! finds everything as it should be writes nothing.

pub mod admin;
pub mod approval_request;
pub mod args;
pub mod authority;
pub mod binding;
pub mod conditions;
pub mod context;
pub mod leader;
pub mod metrics;
pub mod names;
pub mod policy;
pub mod resource;
pub mod run;
pub mod stores;
pub mod telemetry;
pub mod triggers;
pub mod unreadable;
