//! One binary of all integration tests.

#![cfg(test)]

mod request_oracle;
