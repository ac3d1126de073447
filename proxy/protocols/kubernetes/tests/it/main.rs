//! One binary of all integration tests.

#![cfg(test)]

mod blocking;
mod request_oracle;
