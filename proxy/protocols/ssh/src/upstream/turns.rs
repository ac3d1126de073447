//! Who may log in to a host when: hosts refuse more than a few logins at once (`MaxStartups`).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

/// Logins under way at one host, all sessions together.
#[derive(Debug)]
pub(crate) struct Turns {
    room: Semaphore,
    /// When the host last let anybody in.
    let_in: Mutex<Option<Instant>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { room: Semaphore::new(AT_ONCE), let_in: Mutex::default() }
    }
}

impl Turns {
    /// Waits for a turn, which lasts until its permit is dropped, and says until when the host may take to let in who
    /// has it. That is one limit for both: a host that answers nobody lets nobody wait longer for those before. While it
    /// lets others in, it is not silent, and the time begins anew with each.
    ///
    /// Cancel safe.
    pub(super) async fn take(&self, limit: Duration) -> Option<(SemaphorePermit<'_>, Instant)> {
        let mut until = Instant::now() + limit;
        let mut turn = std::pin::pin!(self.room.acquire());
        loop {
            let taken = timeout_at(until, &mut turn).await;
            let let_in = *self.let_in.lock().unwrap_or_else(PoisonError::into_inner);
            let later = let_in.map_or(until, |at| until.max(at + limit));
            match taken {
                Ok(turn) => return Some((turn.ok()?, later)),
                Err(_) if later > until => until = later,
                Err(_) => return None,
            }
        }
    }

    /// The host has let somebody in.
    pub(super) fn let_in(&self) {
        *self.let_in.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// Half of what OpenSSH begins to refuse at (`MaxStartups 10:30:100`): others log in as well.
const AT_ONCE: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn behind_a_host_that_answers_nobody_nobody_waits_longer_than_the_limit() {
        let (turns, began) = (Turns::default(), Instant::now());
        let mut first = Vec::new();
        for _ in 0..AT_ONCE {
            first.push(turns.take(LIMIT).await.unwrap());
        }
        assert!(first.iter().all(|(_, until)| *until == began + LIMIT));
        assert!(turns.take(LIMIT).await.is_none());
        assert_eq!(began.elapsed(), LIMIT);
        // whoever came later has what is left of its own time, though the others gave up
        let late = async {
            tokio::time::sleep(Duration::from_secs(4)).await;
            turns.take(LIMIT).await.unwrap().1
        };
        let give_up = async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            drop(first);
        };
        assert_eq!(tokio::join!(late, give_up).0, began + Duration::from_secs(10 + 4 + 10));
    }

    #[tokio::test(start_paused = true)]
    async fn behind_others_that_are_let_in_everybody_has_its_turn() {
        let (turns, began) = (std::sync::Arc::new(Turns::default()), Instant::now());
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE * 8 {
            let turns = std::sync::Arc::clone(&turns);
            all.spawn(async move {
                let (_turn, until) = turns.take(LIMIT).await.unwrap();
                assert!(until >= Instant::now() + LIMIT, "a turn is as long as the first ones'");
                tokio::time::sleep(Duration::from_secs(3)).await;
                turns.let_in();
            });
        }
        assert_eq!(all.join_all().await.len(), AT_ONCE * 8);
        assert_eq!(began.elapsed(), Duration::from_secs(24));
    }
}
