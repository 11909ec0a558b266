//! The one ordered path to the disk: a thread that writes, syncs, and only then says so.
//!
//! Whatever the log and the vote are changed by is a [`Job`] of this thread, in the order in which
//! the jobs came. Jobs that come while an fsync runs are written together and share the next one.
//! The applied state is written beside it ([`Disk::write_aside`]), since it may always lag behind.
//!
//! The first failure of a write or an fsync is the last thing that happens: the storage is *failed*
//! from then on, writes nothing more, and acknowledges nothing more.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot, watch};

use super::db::{DurableDb, Tables};
use super::error::DbError;
use super::figures::DiskFigures;
use super::hooks::{DiskFile, DiskHooks, Step};
use crate::base::limits::{DISK_GROUP_MAX, DISK_QUEUE};

/// Changes to the database.
type Work = Box<dyn FnOnce(&Tables) -> Result<(), DbError> + Send>;

/// What is told once a job is durable, or has failed. Runs on the disk thread.
type Durable = Box<dyn FnOnce(Result<(), DbError>) + Send>;

/// Why the storage failed, once it has.
pub(super) type Failed = Option<Arc<str>>;

/// Something for the disk thread to do.
struct Job {
    work: Work,
    /// Told when the changes can be read.
    written: oneshot::Sender<Result<(), DbError>>,
    /// Told when they are durable. Without it they become durable with a later job.
    durable: Option<Durable>,
}

/// A handle of the disk. Clones share it; the thread ends with the last of them.
#[derive(Clone)]
pub(super) struct Disk {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
}

struct Shared {
    /// `None` once it is closed. Closing waits for what is under way.
    db: RwLock<Option<DurableDb>>,
    failed: watch::Sender<Failed>,
    hooks: Arc<dyn DiskHooks>,
    figures: DiskFigures,
}

impl Disk {
    /// Starts the disk thread.
    pub(super) fn start(db: DurableDb, hooks: Arc<dyn DiskHooks>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            db: RwLock::new(Some(db)),
            failed: watch::Sender::new(None),
            hooks,
            figures: DiskFigures::default(),
        });
        let (jobs, queue) = mpsc::channel(DISK_QUEUE);
        let thread_shared = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("disk".to_owned())
            .spawn(move || run(&thread_shared, queue))?;
        Ok(Self { shared, jobs })
    }

    /// Performs `work`, and returns as soon as its changes can be read. They become durable with
    /// the next barrier.
    pub(super) async fn write(
        &self,
        work: impl FnOnce(&Tables) -> Result<(), DbError> + Send + 'static,
    ) -> Result<(), DbError> {
        self.submit(Box::new(work), None).await
    }

    /// Performs `work`, and returns as soon as its changes can be read. Calls `durable` once they
    /// are durable or if anything failed, possibly before this returns.
    pub(super) async fn write_then(
        &self,
        work: impl FnOnce(&Tables) -> Result<(), DbError> + Send + 'static,
        durable: impl FnOnce(Result<(), DbError>) + Send + 'static,
    ) -> Result<(), DbError> {
        self.submit(Box::new(work), Some(Box::new(durable))).await
    }

    /// Performs `work`, and returns when its changes are durable.
    pub(super) async fn write_durably(
        &self,
        work: impl FnOnce(&Tables) -> Result<(), DbError> + Send + 'static,
    ) -> Result<(), DbError> {
        self.write_durably_then(work, |outcome| outcome).await
    }

    /// Performs `work`, calls `then` on the disk thread when its changes are durable or have failed,
    /// and returns what that gives.
    pub(super) async fn write_durably_then(
        &self,
        work: impl FnOnce(&Tables) -> Result<(), DbError> + Send + 'static,
        then: impl FnOnce(Result<(), DbError>) -> Result<(), DbError> + Send + 'static,
    ) -> Result<(), DbError> {
        let (done, wait) = oneshot::channel();
        self.write_then(work, move |outcome| {
            // Who asked may have gone.
            let _ = done.send(then(outcome));
        })
        .await?;
        wait.await.unwrap_or(Err(DbError::Closed))
    }

    /// Returns when everything is durable that was written before.
    pub(super) async fn barrier(&self) -> Result<(), DbError> {
        self.write_durably(|_| Ok(())).await
    }

    /// Writes beside the disk thread, on a thread that may block. Not ordered with its jobs.
    pub(super) async fn write_aside<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Tables) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, DbError> {
        let shared = Arc::clone(&self.shared);
        blocking(action, move || shared.write(action, work)).await
    }

    /// Reads, on a thread that may block.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Tables) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, DbError> {
        let shared = Arc::clone(&self.shared);
        blocking(action, move || {
            shared.with_db(action, |db| work(db.tables()))
        })
        .await
    }

    /// Does `work` with the open database, on this thread.
    pub(super) fn with_db<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&DurableDb) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        self.shared.with_db(action, work)
    }

    /// Marks the storage as failed.
    pub(super) fn fail(&self, error: &DbError) {
        self.shared.fail(error);
    }

    /// Why the storage failed, as soon as it has.
    pub(super) fn failed(&self) -> watch::Receiver<Failed> {
        self.shared.failed.subscribe()
    }

    /// Whether anything may still be written.
    pub(super) fn ensure_healthy(&self) -> Result<(), DbError> {
        self.shared.ensure_healthy()
    }

    pub(super) fn figures(&self) -> &DiskFigures {
        &self.shared.figures
    }

    /// Tells the hooks that `step` is done.
    pub(super) fn reached(&self, step: Step) {
        self.shared.hooks.reached(step);
    }

    /// Makes everything durable, then closes the database and unlocks the directory. What comes
    /// later is answered with [`DbError::Closed`]. Closing twice does no harm.
    pub(super) async fn close(&self) -> Result<(), DbError> {
        let synced = match self.barrier().await {
            Err(DbError::Closed) => return Ok(()),
            synced => synced,
        };
        let shared = Arc::clone(&self.shared);
        let closed = blocking("close the database", move || shared.close()).await;
        synced.and(closed)
    }

    async fn submit(&self, work: Work, durable: Option<Durable>) -> Result<(), DbError> {
        let (written, wait) = oneshot::channel();
        let job = Job {
            work,
            written,
            durable,
        };
        self.jobs.send(job).await.map_err(|_| DbError::Closed)?;
        wait.await.unwrap_or(Err(DbError::Closed))
    }
}

impl Shared {
    fn ensure_healthy(&self) -> Result<(), DbError> {
        match &*self.failed.borrow() {
            Some(reason) => Err(DbError::Failed(Arc::clone(reason))),
            None => Ok(()),
        }
    }

    fn fail(&self, error: &DbError) {
        if matches!(error, DbError::Closed | DbError::Failed(_)) {
            return;
        }
        let first = self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            if first {
                *failed = Some(error.to_string().into());
            }
            first
        });
        if first {
            tracing::error!(%error, "the storage failed: this node must stop");
        }
    }

    fn with_db<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&DurableDb) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        // Poisoned means that closing panicked: then there is no database any more.
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let db = db.as_ref().ok_or(DbError::Closed)?;
        catch_unwind(AssertUnwindSafe(|| work(db))).unwrap_or(Err(DbError::Panicked(action)))
    }

    fn write<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Tables) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        self.ensure_healthy()?;
        let outcome = self.with_db(action, |db| {
            let allowed = self.hooks.before_write(DiskFile::Database);
            allowed.map_err(DbError::io(action))?;
            work(db.tables())
        });
        outcome.inspect_err(|error| self.fail(error))
    }

    fn barrier(&self) -> Result<(), DbError> {
        self.ensure_healthy()?;
        let started = Instant::now();
        let outcome = self.with_db("sync the database", |db| {
            let allowed = self.hooks.before_fsync(DiskFile::Database);
            allowed.map_err(DbError::io("sync the database"))?;
            db.barrier()
        });
        self.figures.synced(started.elapsed());
        outcome.inspect_err(|error| self.fail(error))
    }

    fn close(&self) -> Result<(), DbError> {
        let db = self
            .db
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        db.map_or(Ok(()), DurableDb::close)
    }
}

fn run(shared: &Shared, mut queue: mpsc::Receiver<Job>) {
    let mut group = Vec::new();
    while queue.blocking_recv_many(&mut group, DISK_GROUP_MAX) > 0 {
        let mut waiting = Vec::new();
        for job in group.drain(..) {
            let outcome = shared.write("write to the database", job.work);
            // Who asked may have gone.
            let _ = job.written.send(outcome.clone());
            match (job.durable, outcome) {
                (Some(durable), Ok(())) => waiting.push(durable),
                (Some(durable), failed) => durable(failed),
                (None, _) => {}
            }
        }
        if waiting.is_empty() {
            continue;
        }
        let outcome = shared.barrier();
        for durable in waiting {
            durable(outcome.clone());
        }
    }
}

/// Runs `work` where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    action: &'static str,
    work: impl FnOnce() -> Result<T, DbError> + Send + 'static,
) -> Result<T, DbError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => Err(DbError::Panicked(action)),
        // The runtime is shutting down.
        Err(_) => Err(DbError::Closed),
    }
}

#[cfg(test)]
mod tests;
