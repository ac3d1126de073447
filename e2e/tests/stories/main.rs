//! Stories of the whole: real clients, a real PostgreSQL, the real binaries. One file per story.

#![cfg(test)]
#![expect(clippy::string_slice, clippy::format_collect, reason = "tests cut texts that they know")]

mod archive;
mod backends;
mod crash;
mod demo;
mod encryption;
mod first_session;
mod forensics;
mod full_disk;
mod identity;
mod policy_reload;
mod retention;
mod scene;
mod secrets_nowhere;
mod sizes;
mod witness;
