//! The cached keys by name.
//!
//! Hot path: readers take no lock and allocate nothing. Writers must not overlap for one name; who
//! calls [`KeyMap::insert`] and [`KeyMap::remove`] holds a lock for that.

use std::sync::Arc;

use papaya::{Guard, HashMap};

use super::entry::CachedKey;

/// Entries that an insertion into a full map looks at.
const EVICTION_SCAN: usize = 1024;

/// Entries that an insertion into a full map drops at most.
const EVICTION_BATCH: usize = 64;

/// Keys by name, at most a fixed number.
pub(super) struct KeyMap {
    entries: HashMap<Box<str>, Arc<CachedKey>>,
    capacity: usize,
}

impl KeyMap {
    /// An empty map for `capacity` keys.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: HashMap::new(),
            capacity,
        }
    }

    /// Calls `f` with the key `name` of `generation`, and marks the key used.
    ///
    /// Hot path.
    pub(super) fn with<R>(
        &self,
        name: &str,
        generation: u64,
        f: impl FnOnce(&Arc<CachedKey>) -> R,
    ) -> Option<R> {
        let entries = self.entries.pin();
        let entry = entries.get(name)?;
        if entry.generation() != generation {
            return None;
        }
        entry.mark_used();
        Some(f(entry))
    }

    /// Inserts a key, unless the map is full of keys in use.
    pub(super) fn insert(&self, name: &str, entry: Arc<CachedKey>) {
        let guard = self.entries.guard();
        let is_new = !self.entries.contains_key(name, &guard);
        if is_new && self.entries.len() >= self.capacity && !self.make_room(&guard) {
            return;
        }
        self.entries.insert(name.into(), entry, &guard);
        guard.flush();
    }

    /// Drops the key `name`.
    pub(super) fn remove(&self, name: &str) {
        let guard = self.entries.guard();
        self.entries.remove(name, &guard);
        guard.flush();
    }

    /// Drops every key.
    pub(super) fn clear(&self) {
        let guard = self.entries.guard();
        self.entries.clear(&guard);
        guard.flush();
    }

    /// Drops the keys that were not used since the last sweep.
    pub(super) fn drop_unused(&self) {
        let guard = self.entries.guard();
        self.entries.retain(|_, entry| entry.take_used(), &guard);
        guard.flush();
    }

    /// Drops the keys of other generations than `generation`.
    pub(super) fn drop_stale(&self, generation: u64) {
        let guard = self.entries.guard();
        self.entries
            .retain(|_, entry| entry.generation() == generation, &guard);
        guard.flush();
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Drops some keys that are not in use. If there are none among those looked at, their marks
    /// are gone now, and the next call finds some.
    fn make_room(&self, guard: &impl Guard) -> bool {
        let mut dropped = 0;
        for (name, entry) in self.entries.iter(guard).take(EVICTION_SCAN) {
            if entry.take_used() {
                continue;
            }
            self.entries.remove(name, guard);
            dropped += 1;
            if dropped == EVICTION_BATCH {
                break;
            }
        }
        dropped > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::crypto::cipher::Cipher;
    use crate::crypto::key_version::KeyVersion;

    fn entry(generation: u64) -> Arc<CachedKey> {
        let key = KeyVersion::generate(Cipher::Aes256, Timestamp::ZERO, "");
        Arc::new(CachedKey::new(key.expect("random bytes"), generation))
    }

    fn has(map: &KeyMap, name: &str) -> bool {
        map.with(name, 0, |_| ()).is_some()
    }

    #[test]
    fn a_key_of_another_store_is_a_miss() {
        let map = KeyMap::new(10);
        map.insert("old", entry(0));
        map.insert("new", entry(1));
        assert!(map.with("old", 1, |_| ()).is_none());
        assert!(map.with("new", 1, |_| ()).is_some());
        map.drop_stale(1);
        assert_eq!(map.len(), 1);
    }

    #[test]
    fn an_idle_key_outlives_one_sweep_and_not_two() {
        let map = KeyMap::new(10);
        map.insert("idle", entry(0));
        map.insert("busy", entry(0));
        map.drop_unused();
        assert_eq!(map.len(), 2);
        assert!(has(&map, "busy"));
        map.drop_unused();
        assert!(has(&map, "busy"));
        assert!(!has(&map, "idle"));
    }

    #[test]
    fn a_dropped_key_is_wiped_at_once() {
        let map = KeyMap::new(10);
        let drops: [fn(&KeyMap); 4] = [
            |map| map.remove("key"),
            |map| map.clear(),
            |map| map.drop_stale(1),
            |map| map.insert("key", entry(0)),
        ];
        for drop_key in drops {
            map.insert("key", entry(0));
            let key = map.with("key", 0, Arc::downgrade).expect("a key");
            assert!(key.upgrade().is_some());
            drop_key(&map);
            assert!(key.upgrade().is_none());
        }
    }

    #[test]
    fn a_full_map_lets_go_of_what_is_not_in_use() {
        let map = KeyMap::new(4);
        for name in ["a", "b", "c", "d"] {
            map.insert(name, entry(0));
        }
        map.insert("e", entry(0));
        assert!(!has(&map, "e"), "all others are in use");
        assert!(has(&map, "a") && has(&map, "b"));
        map.insert("e", entry(0));
        assert!(has(&map, "e") && has(&map, "a") && has(&map, "b"));
        assert_eq!(map.len(), 3);
        map.insert("a", entry(0));
        assert_eq!(map.len(), 3, "a replacement needs no room");
    }
}
