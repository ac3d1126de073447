//! One binary of all integration tests.

#![cfg(test)]

mod blocking;
mod bodies;
mod exec;
mod gateway;
mod holds;
mod inputs;
mod known;
mod partings;
mod reads;
mod request_oracle;
mod requests;
mod server;
mod spdy;
mod streams;
mod watches;
