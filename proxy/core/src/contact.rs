//! How long ago the policies in force were last known to be the newest.
//!
//! Where policies are watched from afar, whoever watches says so with [`Contact::made`]. Past the limit the gate lets
//! nothing run: a policy withdrawn meanwhile would still be taken for good.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Contact with where the policies come from. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Contact(Option<Arc<Watched>>);

#[derive(Debug)]
struct Watched {
    since: Instant,
    /// Milliseconds from `since` to the last contact.
    last: AtomicU64,
    limit: Duration,
}

impl Contact {
    /// Policies that come from the same machine: they are never out of date.
    pub const fn here() -> Self {
        Self(None)
    }

    /// Contact is made now, and lost when it was not made again for longer than `limit`.
    pub fn with_limit(limit: Duration) -> Self {
        Self(Some(Arc::new(Watched { since: Instant::now(), last: AtomicU64::new(0), limit })))
    }

    /// At that moment the policies in force were the newest. An earlier moment than one already known is ignored.
    pub fn made(&self, at: Instant) {
        if let Some(watched) = &self.0 {
            let since = at.saturating_duration_since(watched.since).as_millis();
            watched.last.fetch_max(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// Time since the last contact.
    pub fn age(&self) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, |watched| {
            let last = Duration::from_millis(watched.last.load(Ordering::Relaxed));
            watched.since.elapsed().saturating_sub(last)
        })
    }

    /// Whether the policies may be out of date by more than the limit.
    pub fn is_lost(&self) -> bool {
        self.0.as_ref().is_some_and(|watched| self.age() > watched.limit)
    }

    /// The limit, where there is one.
    pub fn limit(&self) -> Option<Duration> {
        self.0.as_ref().map(|watched| watched.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::Contact;
    use std::time::Duration;
    use tokio::time::{Instant, advance};

    #[tokio::test(start_paused = true)]
    async fn contact_is_lost_past_the_limit_and_regained_with_the_next() {
        let contact = Contact::with_limit(Duration::from_secs(10));
        let began = Instant::now();
        advance(Duration::from_secs(10)).await;
        assert!(!contact.is_lost());
        advance(Duration::from_millis(1)).await;
        assert!(contact.is_lost());
        contact.made(began);
        assert!(contact.is_lost(), "an earlier moment proves nothing");
        contact.made(Instant::now());
        assert_eq!((contact.is_lost(), contact.age()), (false, Duration::ZERO));
        assert!(!Contact::here().is_lost());
    }
}
