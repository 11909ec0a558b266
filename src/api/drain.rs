//! Whether the node is going down: asked by every request, waited for by every open connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// The reading end. Clones share it.
#[derive(Clone)]
pub struct Draining {
    /// What `told` tells, without its lock.
    flag: Arc<AtomicBool>,
    told: watch::Receiver<bool>,
}

/// The writing end; there is one.
pub struct DrainSignal {
    flag: Arc<AtomicBool>,
    tell: watch::Sender<bool>,
}

/// Both ends for a node that is not going down.
pub fn drain_signal() -> (DrainSignal, Draining) {
    let flag = Arc::new(AtomicBool::new(false));
    let (tell, told) = watch::channel(false);
    let signal = DrainSignal {
        flag: Arc::clone(&flag),
        tell,
    };
    (signal, Draining { flag, told })
}

impl DrainSignal {
    /// Tells everybody that the node is going down.
    pub fn begin(&self) {
        self.flag.store(true, Ordering::Release);
        self.tell.send_replace(true);
    }
}

impl Draining {
    /// Whether the node is going down.
    ///
    /// Hot path: one atomic load.
    pub fn has_begun(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }

    /// Waits until the node is going down; one whose signal is gone is.
    pub async fn begun(mut self) {
        let _ = self.told.wait_for(|begun| *begun).await;
    }
}
