//! When a node may be dialed again: at once at first, then after pauses that double, until a
//! connection has held for a while. A node that accepts and hangs up is not dialed in a loop.

use tokio::time::Instant;

use crate::base::limits::{CLUSTER_REDIAL_PAUSE_MAX, CLUSTER_REDIAL_PAUSE_MIN};

/// How the last attempts to dial a node went.
#[derive(Default)]
pub(super) struct Pause {
    /// Attempts in a row after which no connection held.
    attempts: u32,
    /// When the last one succeeded.
    opened_at: Option<Instant>,
}

impl Pause {
    /// Counts an attempt. It is to begin at the returned time.
    pub(super) fn next(&mut self, now: Instant) -> Instant {
        let opened_at = self.opened_at.take();
        if opened_at.is_some_and(|opened_at| now - opened_at > CLUSTER_REDIAL_PAUSE_MAX) {
            self.attempts = 0;
        }
        let doublings = self.attempts.checked_sub(1);
        self.attempts = self.attempts.saturating_add(1);
        match doublings {
            None => now,
            Some(doublings) => {
                let factor = 1 << doublings.min(16);
                now + (CLUSTER_REDIAL_PAUSE_MIN * factor).min(CLUSTER_REDIAL_PAUSE_MAX)
            }
        }
    }

    /// The attempt succeeded.
    pub(super) fn opened(&mut self, now: Instant) {
        self.opened_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut pause = Pause::default();
        let now = Instant::now();
        let waits: Vec<Duration> = (0..8).map(|_| pause.next(now) - now).collect();
        let millis = [0, 20, 40, 80, 160, 320, 500, 500];
        assert_eq!(waits, millis.map(Duration::from_millis));
    }

    #[test]
    fn only_a_connection_that_held_ends_the_pauses() {
        let mut pause = Pause::default();
        let now = Instant::now();
        for _ in 0..3 {
            pause.next(now);
        }
        pause.opened(now);
        assert_eq!(pause.next(now), now + Duration::from_millis(80));
        pause.opened(now);
        let later = now + Duration::from_secs(1);
        assert_eq!(pause.next(later), later);
    }
}
