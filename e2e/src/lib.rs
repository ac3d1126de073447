//! The harness of whole-system tests, the demo and the benchmarks: real servers, the real binaries.
//!
//! Everything listens on a free loopback port, lives in a temporary directory, and ends with the value that started it.

pub mod age;
pub mod azure;
pub mod certificates;
pub mod cluster;
pub mod collector;
pub mod gateway;
pub mod hosts;
pub mod image;
pub mod issuer;
pub mod leaks;
pub mod loki;
pub mod mounts;
pub mod operator;
pub mod postgres;
pub mod process;
pub mod random;
pub mod replayed;
pub mod rest;
pub mod s3;
pub mod shop;
pub mod sshd;
pub mod tools;
