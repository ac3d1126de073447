//! The gateway's process: configuration, listeners, reload, drain. Wiring only.
//!
//! What a session does is in `proxy-core` and the protocols; [`protocols`] is the one table that names every
//! protocol. The life of the process is in [`run`], the way of a configuration in [`config`] and [`gateway`].

pub mod admin;
pub mod args;
pub mod config;
pub mod control;
pub mod gateway;
pub mod metrics;
pub mod protocols;
pub mod reload;
pub mod run;
pub mod serve;
pub mod state;
pub mod telemetry;
pub mod threads;
