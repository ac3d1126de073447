//! The operator against a real API server. Nothing runs pods here.

#![cfg(test)]

mod approvals;
mod kill_points;
mod reconcile;
mod stage;
