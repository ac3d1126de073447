//! The Kubernetes API through the gate: requests understood as the API server does, answers masked, streams recorded.
//!
//! ```text
//! client                          gateway                                       API server
//!   │ TLS, HTTP/1.1 or HTTP/2 ──► server, connection: a session per token
//!   │ request ──────────────────► request: canonical; analyze: Command
//!   │                             relay::clear: Gate::decide, hold or refusal
//!   │                             upstream: as the agent, by impersonation ───────►│
//!   │ ◄── masked, recorded ────── relay::answer, mask ◄── JSON, YAML, Table, log ──│
//!   │ exec, attach, port-forward ► streams: WebSocket, SPDY/3.1; channel by channel ─►│
//! ```
//!
//! What was decided, and where it is explained:
//!
//! * *The canonical request* is judged, and the canonical request is sent ([`request`]).
//! * *A body* is read whole before anything is decided: what is written is judged by what it says ([`analyze`]).
//! * *The agent* is who acts in the cluster: its own RBAC and audit log apply (`agent`).
//! * *A refusal* is a `Status`; *a hold* waits a bounded time, then asks the client to repeat (`relay::clear`).
//! * *Answers* are never compressed and never protobuf where a mask is needed: that is negotiated away ([`mask`]).
//! * *An upgrade* is taken apart into channels, on both transports (`streams`).

mod agent;
pub mod analyze;
mod connection;
mod credential;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod mask;
pub mod options;
mod protobuf;
mod relay;
pub mod request;
pub mod rights;
mod running;
mod server;
mod session;
mod status;
mod streams;
mod upstream;
mod yaml;

pub use server::{Authenticate, ConnectionError, Kubernetes};
pub use status::answer_of;

/// The JSON of an object in protobuf (`application/vnd.kubernetes.protobuf`), of a built-in kind. `None`: it is not
/// understood.
pub fn json_of_protobuf(body: &[u8]) -> Option<serde_json::Value> {
    protobuf::to_json(body).ok()
}
