//! Killing one gateway of a database, a host and a cluster at random moments, while clients of all three change things
//! through it: whatever was changed is on record, whatever is on record as done was done, its client was told, and
//! every log verifies.

mod clients;
mod seen;

use crate::whole::Whole;
use e2e::random::{Random, kills};
use seen::{KINDS, Seen};
use std::time::Duration;

#[test]
fn a_gateway_that_is_killed_under_the_load_of_every_protocol_has_recorded_everything_that_ran() {
    let Some(mut whole) = Whole::start() else { return };
    let kills = kills(6);
    let mut random = Random::printed();
    let mut told = Vec::new();
    // rounds in which the kill waited for an effect of every protocol
    let mut waited = 0;
    for round in 0..kills {
        // many kills take longer than a token lives
        whole.renew();
        let clients = clients::start(&whole, round);
        // now and then it meets clients that have not even logged in
        let at_once = random.below(4) == 0;
        if !at_once {
            clients::wait_for_effects(&whole, round);
            waited += 1;
        }
        std::thread::sleep(Duration::from_millis(random.below(if at_once { 1_500 } else { 500 })));
        let twice = (random.below(3) == 0).then(|| Duration::from_millis(random.below(200)));
        whole.crash(twice);
        told.extend(clients.into_iter().map(clients::Client::told));
    }
    whole.stop();
    let seen = Seen::of(&whole, told);
    seen.judge();
    let rounds = seen.rounds_of_every_kind();
    assert!(rounds >= waited, "effects of every protocol in {rounds} rounds, not in {waited}");
    let logs = whole.verify();
    println!("{seen}; {kills} kills, {rounds} of them amid effects of every protocol; {logs} logs verified");
    finds_what_no_gateway_saw(&whole);
}

/// A judge that finds nothing has to be one that would.
fn finds_what_no_gateway_saw(whole: &Whole) {
    let past = KINDS.map(|kind| format!("{kind}-past-the-gateway"));
    whole.change_directly(&past);
    let seen = Seen::of(whole, Vec::new());
    let found: Vec<&str> = seen.unrecorded();
    assert_eq!(found.len(), past.len(), "{found:?}");
    assert!(past.iter().all(|name| found.contains(&name.as_str())), "{found:?}");
}
