//! What every session needs that is not one protocol.
//!
//! The order of a command is in [`gate`]; everything else here serves it.

pub mod approval;
pub mod authn;
pub mod contact;
pub mod gate;
pub mod mask;
pub mod metrics;
pub mod refusal;
pub mod secret;
pub mod session;
