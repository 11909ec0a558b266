//! What to drop when a timer fires. Pure.

use std::time::Duration;

use super::Expiry;

/// A timer spins no faster than this, however small an expiry is configured.
const INTERVAL_MIN: Duration = Duration::from_millis(1);

/// The free-running timers of the cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Timer {
    /// [`Expiry::any`].
    Any,
    /// Half of [`Expiry::unused`].
    Unused,
    /// [`Expiry::offline`].
    Offline,
}

/// What to drop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sweep {
    /// Nothing.
    Nothing,
    /// Every key.
    All,
    /// The keys that were not used since the last such sweep.
    Unused,
}

impl Timer {
    pub(super) const ALL: [Self; 3] = [Self::Any, Self::Unused, Self::Offline];

    /// How often this timer fires; `None` if it is off.
    pub(super) fn interval(self, expiry: &Expiry) -> Option<Duration> {
        let (configured, interval) = match self {
            Self::Any => (expiry.any, expiry.any),
            Self::Unused => (expiry.unused, expiry.unused / 2),
            Self::Offline => (expiry.offline, expiry.offline),
        };
        (!configured.is_zero()).then(|| interval.max(INTERVAL_MIN))
    }
}

/// What to drop when `timer` fires while the last probe of the keystore said `offline` or not.
pub(super) fn decide(expiry: &Expiry, offline: bool, timer: Timer) -> Sweep {
    let offline_mode = offline && !expiry.offline.is_zero();
    match (timer, offline_mode) {
        (Timer::Any, false) | (Timer::Offline, true) => Sweep::All,
        (Timer::Unused, false) => Sweep::Unused,
        (Timer::Any | Timer::Unused, true) | (Timer::Offline, false) => Sweep::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expiry(any: u64, unused: u64, offline: u64) -> Expiry {
        Expiry {
            any: Duration::from_secs(any),
            unused: Duration::from_secs(unused),
            offline: Duration::from_secs(offline),
        }
    }

    #[test]
    fn offline_mode_suspends_the_usual_expiry() {
        let with = expiry(300, 30, 3600);
        assert_eq!(decide(&with, false, Timer::Any), Sweep::All);
        assert_eq!(decide(&with, false, Timer::Unused), Sweep::Unused);
        assert_eq!(decide(&with, false, Timer::Offline), Sweep::Nothing);
        assert_eq!(decide(&with, true, Timer::Any), Sweep::Nothing);
        assert_eq!(decide(&with, true, Timer::Unused), Sweep::Nothing);
        assert_eq!(decide(&with, true, Timer::Offline), Sweep::All);
    }

    #[test]
    fn without_offline_caching_an_unreachable_store_changes_nothing() {
        let without = expiry(300, 30, 0);
        for offline in [false, true] {
            assert_eq!(decide(&without, offline, Timer::Any), Sweep::All);
            assert_eq!(decide(&without, offline, Timer::Unused), Sweep::Unused);
            assert_eq!(decide(&without, offline, Timer::Offline), Sweep::Nothing);
        }
    }

    #[test]
    fn zero_turns_a_timer_off() {
        for timer in Timer::ALL {
            assert_eq!(timer.interval(&expiry(0, 0, 0)), None);
        }
        let all = expiry(300, 30, 3600);
        let seconds = |timer: Timer| timer.interval(&all).map(|interval| interval.as_secs());
        assert_eq!(Timer::ALL.map(seconds), [Some(300), Some(15), Some(3600)]);
        let tiny = Expiry {
            unused: Duration::from_nanos(1),
            ..all
        };
        assert_eq!(Timer::Unused.interval(&tiny), Some(INTERVAL_MIN));
    }
}
