//! PostgreSQL through the gate, between real clients and a real server where a user would have them.

#![cfg(test)]

mod analyze_corpus;
mod believed;
mod catalogue_blocking;
mod catalogue_masking;
mod client;
mod conversation;
mod corpus;
mod definitions;
mod extensions;
mod gateway;
mod holds;
mod hostile;
mod interference;
mod large_objects;
mod masks;
mod names;
mod paths;
mod refusals;
mod regress_corpus;
mod server;
mod sizes;
mod tool;
