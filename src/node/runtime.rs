//! Threads: one multi-thread runtime for background work, and the actors on the main thread.
//!
//! The HTTP workers bring threads of their own.

use std::future::Future;

use tokio::runtime::Builder;

use super::error::NodeError;

/// Threads of the background runtime: probes, keystore calls, predefined keys.
const BACKGROUND_THREADS: usize = 2;

/// Runs `main` on an actix system over a multi-thread runtime, until it ends.
///
/// # Errors
///
/// [`NodeError::System`] if the runtime cannot be built.
pub fn run_system<T>(main: impl Future<Output = T>) -> Result<T, NodeError> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(BACKGROUND_THREADS)
        .thread_name("kes-core")
        .enable_all()
        .build()
        .map_err(|source| NodeError::System {
            what: "the runtime",
            source,
        })?;
    let mut runtime = Some(runtime);
    // `with_tokio_rt` calls the closure once, on this thread.
    let system = actix::System::with_tokio_rt(move || match runtime.take() {
        Some(runtime) => runtime,
        None => unreachable!("the runtime is asked for once"),
    });
    let outcome = system.block_on(main);
    // The process ends now. Dropping the runtime would wait for file operations, which on a volume
    // that hangs is for ever.
    std::mem::forget(system);
    Ok(outcome)
}
