//! One binary of all integration tests.

#![cfg(test)]
