//! proxy/protocols/postgres
