//! The operator's steps on whole objects.
#![cfg(test)]

mod golden;
