//! One binary of all integration tests.

#![cfg(test)]
#![expect(clippy::wildcard_enum_match_arm, reason = "tests look for one thing")]

mod channels;
mod exec;
mod files;
mod gateway;
mod holds;
mod hosts;
mod identity;
mod russh_client;
mod shells;
mod sshd;
