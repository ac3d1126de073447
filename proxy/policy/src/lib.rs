//! Pure decisions: which identity may run which command on which resource, and what is masked on the way back.
//!
//! No I/O, no clock, no randomness: time arrives as an argument. The operator compiles policies with the very
//! code that the gateway runs.

pub mod approval;
mod command;
mod compile;
pub mod destination;
mod evaluate;
mod identity;
#[cfg(test)]
mod test_support;
mod verdict;

pub use command::{
    Access, ApiRequest, Arguments, ColumnName, Command, Detail, Effects, Flow, Outputs, Program, Provenance,
    Reading, Runs, Touch,
};
pub use compile::{PolicySet, Problem, ResourceFacts, compile, lets_record_only, selects};
pub use crds::v1alpha1::{Detector, Mask, MaskType, OnDisconnect, PatternMask, ReviewerRequirement};
pub use evaluate::Moment;
pub use identity::Identity;
pub use verdict::{
    ApprovalTerms, DetectorChoice, Evaluation, FieldChoice, MaskPlan, Observed, OutputMask, RuleRef, Verdict,
};
