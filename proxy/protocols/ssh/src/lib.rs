//! SSH through the gate.
