//! Which server is asked next.
//!
//! A server on this host is preferred; otherwise a round begins at a random one. A server that failed is
//! left out for half a minute, and then gets one request at a time until one succeeds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::endpoint::Locality;
use crate::base::clock::Clock;

/// How long a server that failed is left out.
const BENCH_TIME: Duration = Duration::from_secs(30);

/// Knows which servers failed of late.
pub(super) struct Balancer {
    /// Indices of the servers, the nearest first.
    by_nearness: Vec<usize>,
    prefers_first: bool,
    states: Mutex<Vec<State>>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Healthy,
    BenchedUntil(Duration),
    Probed,
}

/// The right to ask a server once. Dropped without a result, it counts for nothing.
pub(super) struct Turn<'a> {
    balancer: &'a Balancer,
    pub(super) index: usize,
    is_probe: bool,
}

impl Balancer {
    /// For servers that are this near, in the order of their indices.
    pub(super) fn new(localities: &[Locality], clock: Arc<dyn Clock>) -> Self {
        let mut by_nearness: Vec<usize> = (0..localities.len()).collect();
        by_nearness.sort_by_key(|&index| localities[index]);
        Self {
            prefers_first: localities.contains(&Locality::Localhost),
            states: Mutex::new(vec![State::Healthy; localities.len()]),
            by_nearness,
            clock,
        }
    }

    /// The servers to ask, one after the other; `start` says where the round begins. May name the first
    /// one twice.
    pub(super) fn round(&self, start: usize) -> Vec<usize> {
        let count = self.by_nearness.len().max(1);
        let around = (0..self.by_nearness.len()).map(|step| (start % count + step) % count);
        let preferred = self.prefers_first.then_some(0);
        preferred
            .into_iter()
            .chain(around)
            .map(|place| self.by_nearness[place])
            .collect()
    }

    /// A turn for the server `index`, unless it is left out at present.
    pub(super) fn admit(&self, index: usize) -> Option<Turn<'_>> {
        let now = self.clock.elapsed();
        let mut states = self.lock();
        let is_probe = match states[index] {
            State::Healthy => false,
            State::BenchedUntil(end) if end <= now => true,
            State::BenchedUntil(_) | State::Probed => return None,
        };
        if is_probe {
            states[index] = State::Probed;
        }
        Some(Turn {
            balancer: self,
            index,
            is_probe,
        })
    }

    /// A turn for the server `index`, left out or not.
    pub(super) fn force(&self, index: usize) -> Turn<'_> {
        Turn {
            balancer: self,
            index,
            is_probe: false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Tells how it went.
    pub(super) fn finish(mut self, succeeded: bool) {
        let state = match succeeded {
            true => State::Healthy,
            false => State::BenchedUntil(self.balancer.clock.elapsed() + BENCH_TIME),
        };
        self.balancer.lock()[self.index] = state;
        self.is_probe = false;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            let now = self.balancer.clock.elapsed();
            self.balancer.lock()[self.index] = State::BenchedUntil(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::ManualClock;

    fn balancer(localities: &[Locality]) -> (Balancer, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        let shared: Arc<dyn Clock> = clock.clone();
        (Balancer::new(localities, shared), clock)
    }

    #[test]
    fn a_round_begins_on_this_host_or_anywhere() {
        let (remote, _) = balancer(&[Locality::Remote; 3]);
        assert_eq!(remote.round(0), [0, 1, 2]);
        assert_eq!(remote.round(2), [2, 0, 1]);
        assert_eq!(remote.round(usize::MAX).len(), 3);
        let (mixed, _) = balancer(&[Locality::Remote, Locality::Local, Locality::Localhost]);
        assert_eq!(mixed.round(0), [2, 2, 1, 0]);
        assert_eq!(mixed.round(1), [2, 1, 0, 2]);
    }

    #[test]
    fn a_failed_server_is_left_out_and_then_probed_once() {
        let (balancer, clock) = balancer(&[Locality::Remote; 2]);
        balancer.admit(0).expect("healthy").finish(false);
        assert!(balancer.admit(0).is_none());
        assert!(balancer.admit(1).is_some());
        clock.advance(BENCH_TIME - Duration::from_nanos(1));
        assert!(balancer.admit(0).is_none());
        clock.advance(Duration::from_nanos(1));
        let probe = balancer.admit(0).expect("a probe");
        assert!(balancer.admit(0).is_none(), "one probe at a time");
        probe.finish(false);
        assert!(balancer.admit(0).is_none());
        clock.advance(BENCH_TIME);
        balancer.admit(0).expect("a probe").finish(true);
        let turns = (balancer.admit(0), balancer.admit(0));
        assert!(turns.0.is_some() && turns.1.is_some());
    }

    #[test]
    fn a_cancelled_probe_lets_the_next_one_through() {
        let (balancer, clock) = balancer(&[Locality::Remote; 2]);
        balancer.admit(0).expect("healthy").finish(false);
        clock.advance(BENCH_TIME);
        drop(balancer.admit(0).expect("a probe"));
        assert!(balancer.admit(0).is_some());
    }

    #[test]
    fn a_forced_turn_needs_no_admission_and_can_heal() {
        let (balancer, _) = balancer(&[Locality::Remote; 2]);
        balancer.admit(0).expect("healthy").finish(false);
        drop(balancer.force(0));
        assert!(balancer.admit(0).is_none());
        balancer.force(0).finish(true);
        assert!(balancer.admit(0).is_some());
    }
}
