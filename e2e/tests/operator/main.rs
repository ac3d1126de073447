//! The operator against a real API server. Nothing runs pods here.

#![cfg(test)]

mod approvals;
mod command_line;
mod kill_points;
mod reconcile;
mod stage;
