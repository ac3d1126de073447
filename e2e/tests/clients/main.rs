//! Do unchanged clients work? Real drivers of several languages and the command-line tools, each through the gateway
//! to a real PostgreSQL, compared with what the same client sees when it talks to the server itself.
//!
//! The programs are in `e2e/clients`; what the policies here allow is in [`stage`].

#![cfg(test)]

mod observed;
mod programs;
mod stage;

mod collector;
mod drivers;
mod issuer;
mod pg_dump;
mod pgbench;
mod psql;
mod regression;
mod rust_driver;
