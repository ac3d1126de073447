//! Command lines and what they do, over corpora of real cases.

#![cfg(test)]

mod destructive;
mod everyday;
mod lines;
mod paths;
mod properties;
mod ran;
mod victim;
