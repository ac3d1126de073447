//! SSH through the gate.
//!
//! The life of a connection: [`server`] accepts it, `door` finds out who it is and opens the gate, then every channel
//! gets a task of its own in `relay`, and a connection of its own to the host in `upstream`. What a channel starts is
//! a command that policies judge (`proxy-shell`, `acts`); what it says is masked and recorded before the client gets it.

mod acts;
mod authentication;
mod certificate;
mod display;
mod door;
mod flow;
mod paths;
mod place;
mod refusals;
mod relay;
mod session;
mod socket;
mod upstream;

pub mod keys;
pub mod line;
pub mod mask;
pub mod options;
pub mod scp;
pub mod server;
pub mod sftp;

pub use authentication::Authenticate;
pub use place::Place;
pub use server::{SessionError, SetupError, Ssh};
