//! SSH through the gate: real clients, a real `sshd`, the real binaries.

#![cfg(test)]
#![expect(clippy::string_slice, reason = "tests cut texts that they know")]

mod alike;
mod ansible_alike;
mod scene;
mod ssh_alike;
mod ssh_certificate;
mod ssh_clients;
mod ssh_contents;
mod ssh_corpora;
mod ssh_crash;
mod ssh_day;
mod ssh_displays;
mod ssh_encryption;
mod ssh_everyday;
mod ssh_forwards;
mod ssh_load;
mod stage;
