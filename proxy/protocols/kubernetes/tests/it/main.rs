//! One binary of all integration tests.

#![cfg(test)]

mod blocking;
mod reads;
mod request_oracle;
