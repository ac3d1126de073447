//! PostgreSQL through the gate: SQL analysed by the real grammar, the wire protocol, masks over what comes back.

pub mod analyze;
pub mod catalogue;
