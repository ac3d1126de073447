//! Tests of PostgreSQL through the gate, against real parts where a user would have them.

mod analyze_corpus;
