//! Keeps key material out of swap and core dumps, as far as the platform allows.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, geteuid, getrlimit, set_dumpable_behavior, setrlimit,
};

/// What the platform allowed.
#[derive(Clone, Copy, Debug)]
pub struct Hardening {
    /// Memory is never written to swap.
    pub memory_locked: bool,
    /// The process leaves no core dump and cannot be traced by its user.
    pub undumpable: bool,
}

/// Applies what can be applied. `lock_memory` is left out for development servers.
pub fn harden(lock_memory: bool) -> Hardening {
    let no_core = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let limited = setrlimit(Resource::Core, no_core).is_ok();
    let undumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok() && limited;
    raise_open_files();
    // ONFAULT: pages are locked as they come into use, not all that is reserved for thread stacks.
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    Hardening {
        memory_locked: lock_memory && may_lock_all() && mlockall(all).is_ok(),
        undumpable,
    }
}

/// Whether locked memory is unlimited. Under a finite limit a later allocation would fail, and with it
/// the process.
fn may_lock_all() -> bool {
    geteuid().is_root() || getrlimit(Resource::Memlock).current.is_none()
}

/// As many open files as the system allows: every connection is one.
fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // A system that refuses keeps its limit.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
}
