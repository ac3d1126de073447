//! The rooms that do no I/O, over corpora of real cases: one binary, which needs neither a gateway nor a server.

#![cfg(test)]

mod destructive;
mod everyday;
mod lines;
mod output;
mod properties;
mod terminal;
