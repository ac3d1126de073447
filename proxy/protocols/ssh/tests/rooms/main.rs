//! The rooms that do no I/O, over corpora of real cases: one binary, which needs neither a gateway nor a server.

#![cfg(test)]

mod output;
mod terminal;
#[path = "../../../../shell/tests/it/victim.rs"]
mod victim;
