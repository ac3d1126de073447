//! PostgreSQL through the gate: SQL analysed by the real grammar, the wire protocol, masks over what comes back.
//!
//! ```text
//! client                       gateway                                      server
//!   │ SSLRequest / direct TLS ─► startup                                      │
//!   │ StartupMessage, token ───► startup::authentication, Gate::open          │
//!   │                            upstream::connect ── TLS, SCRAM, parameters ─►│
//!   │ Query / Parse…Execute ───► relay::client: analyse, Gate::decide         │
//!   │ ◄─ NOTICE while it waits   relay::clear: permit, hold or refusal        │
//!   │                            relay: frames with their permits ───────────►│
//!   │                            relay::server, relay::results ◄── results ───│
//!   │ ◄────────── masked ─────── mask; Gate::record, Gate::finish             │
//! ```
//!
//! Protocol: <https://www.postgresql.org/docs/18/protocol.html>, 3.0 and 3.2 towards clients, 3.0 towards servers. What
//! is spoken is a closed table ([`messages`]); anything else is refused.
//!
//! What was decided, and where it is explained:
//!
//! * *Several statements in one `Query`* are one command: all are judged before any byte is sent.
//! * *Extended protocol*: `Parse` refuses a text that policy denies; `Execute` is what is judged, every time
//!   ([`relay::client`], [`relay::clear`]).
//! * *A refusal* leaves session and transaction usable ([`relay::clear`]).
//! * *A hold* stalls its session in order, within a transaction, a pipeline or a batch alike ([`relay::clear`]).
//! * *State*: what changes the meaning of later texts is awaited before they are analysed ([`relay::meaning`]).
//! * *Replication, function calls, other encodings than UTF-8, sessions without TLS* are refused ([`startup`]).

pub mod analyze;
mod cancel;
pub mod catalogue;
mod frame;
mod frontend;
#[cfg(fuzzing)]
pub mod fuzzing;
mod mask;
mod messages;
pub mod options;
mod relay;
mod session;
mod snapshot;
mod startup;
mod upstream;
pub mod value;
mod wire;

pub use session::{Postgres, SessionError};
pub use startup::Authenticate;
