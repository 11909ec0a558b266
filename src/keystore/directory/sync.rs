//! What makes the entries of a directory durable: one fsync for all who wait, and none after one
//! that failed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fd::AsFd;
use rustix::fs::{Mode, OFlags, fsync};
use rustix::io::{Errno, retry_on_intr};

/// The fsyncs of one directory.
///
/// An fsync that failed is not tried again: the kernel reports an error once, may have thrown away
/// what it could not write, and says yes to the next fsync although that wrote nothing of it. From
/// then on nobody knows which entries a power cut would undo, so every later call fails as well.
#[derive(Default)]
pub(super) struct Syncs {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    started: u64,
    /// The number of the last one that succeeded.
    completed: u64,
    is_running: bool,
    failure: Option<Errno>,
}

impl Syncs {
    /// Makes durable what happened to the directory before this call.
    ///
    /// Those who call while an fsync is under way share the next one: the one under way may have
    /// begun before their entry was there.
    pub(super) fn sync(&self, fsync: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
        let mut state = self.state();
        let enough = state.started + 1;
        loop {
            if let Some(failure) = state.failure {
                return Err(failure);
            }
            if state.completed >= enough {
                return Ok(());
            }
            if !state.is_running {
                return self.run(state, fsync);
            }
            state = self
                .ended
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Why one failed, if one did.
    pub(super) fn failure(&self) -> Option<Errno> {
        self.state().failure
    }

    fn run(
        &self,
        mut state: MutexGuard<'_, State>,
        fsync: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        state.started += 1;
        state.is_running = true;
        let number = state.started;
        drop(state);
        let result = fsync();
        let mut state = self.state();
        state.is_running = false;
        match result {
            Ok(()) => state.completed = number,
            Err(failure) => state.failure = Some(failure),
        }
        self.ended.notify_all();
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No panic can leave it half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many succeeded.
    #[cfg(test)]
    pub(super) fn completed(&self) -> u64 {
        self.state().completed
    }
}

/// Fsyncs a directory.
pub(super) fn sync_directory(directory: impl AsFd) -> Result<(), Errno> {
    retry_on_intr(|| fsync(directory.as_fd()))
}

/// Whether an fsync failed because the file system has none for directories: some that are
/// read-only.
pub(super) fn is_unsupported(error: Errno) -> bool {
    matches!(
        error,
        Errno::INVAL | Errno::ROFS | Errno::NOSYS | Errno::OPNOTSUPP
    )
}

/// The directories that get a new entry when the directory `path` is created with its parents.
pub(super) fn parents_to_change(path: &Path) -> Vec<PathBuf> {
    let missing = path
        .ancestors()
        .take_while(|path| !path.as_os_str().is_empty() && !path.exists());
    missing
        .filter_map(|path| match path.parent()? {
            here if here.as_os_str().is_empty() => Some(PathBuf::from(".")),
            parent => Some(parent.to_owned()),
        })
        .collect()
}

/// Makes new entries of the directory at `path` durable, as far as that can be done from here.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let synced = rustix::fs::open(path, flags, Mode::empty()).and_then(sync_directory);
    match synced {
        Ok(()) => Ok(()),
        // To create a directory there one need not be allowed to read what else is there.
        Err(error) if error == Errno::ACCESS || is_unsupported(error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn everybody_gets_an_fsync_that_began_after_the_call() {
        let syncs = Syncs::default();
        let (started, ended) = (AtomicU64::new(0), AtomicU64::new(0));
        let overlaps = AtomicU64::new(0);
        let fsync = || {
            let number = started.fetch_add(1, Ordering::SeqCst) + 1;
            if overlaps.fetch_add(1, Ordering::SeqCst) != 0 {
                return Err(Errno::BUSY);
            }
            std::thread::yield_now();
            overlaps.fetch_sub(1, Ordering::SeqCst);
            ended.store(number, Ordering::SeqCst);
            Ok(())
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let before = started.load(Ordering::SeqCst);
                        syncs.sync(fsync).expect("one at a time");
                        assert!(ended.load(Ordering::SeqCst) > before);
                    }
                });
            }
        });
        assert_eq!(syncs.completed(), started.load(Ordering::SeqCst));
        assert!(syncs.failure().is_none());
    }

    #[test]
    fn a_failure_is_final() {
        let syncs = Syncs::default();
        syncs.sync(|| Ok(())).expect("synced");
        assert_eq!(syncs.sync(|| Err(Errno::IO)), Err(Errno::IO));
        let again = syncs.sync(|| panic!("tried again"));
        assert_eq!(again, Err(Errno::IO));
        assert_eq!(syncs.failure(), Some(Errno::IO));
    }

    #[test]
    fn a_new_directory_changes_those_above_it() {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path();
        let parents = parents_to_change(&root.join("a/b/c"));
        assert_eq!(parents, [root.join("a/b"), root.join("a"), root.to_owned()]);
        assert!(parents_to_change(root).is_empty());
        let here = parents_to_change(Path::new("no-such-directory"));
        assert_eq!(here, [Path::new(".")]);
        sync_parent(root).expect("synced");
        sync_parent(&root.join("none")).expect_err("not there");
    }
}
