//! The harness itself: a throwaway PostgreSQL starts, answers and leaves nothing behind.

use e2e::postgres::Postgres;
use e2e::tools;

#[test]
fn a_throwaway_server_answers_and_is_gone_afterwards() {
    if tools::or_skip("postgres").is_none() {
        return;
    }
    let server = Postgres::start(&[]).unwrap();
    assert_eq!(server.sql("postgres", "select 6 * 7").unwrap(), "42");
    let directory = server.directory().to_owned();
    drop(server);
    assert!(!directory.exists());
}
