//! A real Kubernetes for tests, built from Go modules: an API server alone, or a whole node.

mod api_server;
mod component;
mod control_plane;
mod credentials;
mod directory;
mod kubectl;
mod place;
pub mod programs;
mod skip;

pub use api_server::ApiServer;
pub use credentials::{ADMIN, USERS};
pub use kubectl::Kubectl;
