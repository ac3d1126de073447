//! SSH through the gate: real clients, a real `sshd`, the real binaries.

#![cfg(test)]

mod scene;
mod ssh_day;
