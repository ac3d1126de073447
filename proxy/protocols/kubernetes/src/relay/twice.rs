//! Clients that ask twice.
//!
//! kubectl asks for `exec`, `attach` and `port-forward` over a WebSocket, and takes any answer but 101 for a server that
//! speaks none: it asks again over SPDY, at once and on another connection. So a no over a WebSocket is a no over SPDY
//! for a moment, without anybody being asked anew, and who has waited does not wait twice.

use crate::streams::Upgrade;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Which try of its client a request may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Try {
    /// Clients ask for such things once.
    Only,
    /// There may be another at once.
    First,
    /// There may have been one.
    Second,
}

impl Try {
    /// That of a request that asks for this upgrade.
    pub(crate) const fn of(upgrade: Option<&Upgrade>) -> Self {
        match upgrade {
            Some(Upgrade::WebSocket { .. }) => Self::First,
            Some(Upgrade::Spdy { .. }) => Self::Second,
            Some(Upgrade::Events { .. }) | None => Self::Only,
        }
    }
}

/// Approvals that first tries have waited for in vain, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Waited(Mutex<VecDeque<(Instant, String)>>);

impl Waited {
    /// A first try has waited for this approval.
    pub(super) fn note(&self, approval: &str) {
        let mut waited = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waited.len() >= MOST {
            waited.pop_front();
        }
        waited.push_back((Instant::now(), approval.to_owned()));
    }

    /// Whether a first try has just done so: for one second try each.
    pub(super) fn take(&self, approval: &str) -> bool {
        let mut waited = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waited.retain(|(at, _)| at.elapsed() < AT_ONCE);
        let found = waited.iter().position(|(_, name)| name == approval);
        found.is_some_and(|at| waited.remove(at).is_some())
    }
}

/// Longer than a client takes to try again by itself.
const AT_ONCE: Duration = Duration::from_secs(30);
/// Most that are kept: what is forgotten waits twice.
const MOST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_try_takes_what_a_first_one_left_once() {
        let waited = Waited::default();
        assert!(!waited.take("a"));
        waited.note("a");
        waited.note("a");
        waited.note("b");
        assert!(waited.take("a") && waited.take("a") && !waited.take("a"));
        for number in 0..MOST {
            waited.note(&number.to_string());
        }
        assert!(!waited.take("b"), "more is kept than may be");
    }
}
