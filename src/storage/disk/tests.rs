//! Order, grouping and failure of the disk thread.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::super::dir::DataDir;
use super::super::log_store::put;
use super::*;

/// A disk whose fsyncs tell that they begin, and wait to be let through.
struct Gate {
    begun: Sender<()>,
    released: Mutex<Receiver<std::io::Result<()>>>,
}

impl DiskHooks for Gate {
    fn before_fsync(&self, _file: DiskFile) -> std::io::Result<()> {
        self.begun.send(()).expect("test");
        self.released.lock().expect("lock").recv().expect("test")
    }
}

struct Gated {
    _folder: tempfile::TempDir,
    disk: Disk,
    begun: Receiver<()>,
    release: Sender<std::io::Result<()>>,
}

fn gated() -> Gated {
    let folder = tempfile::tempdir().expect("folder");
    let dir = DataDir::open(folder.path()).expect("dir");
    let (begun_sender, begun) = channel();
    let (release, released) = channel();
    let gate = Gate {
        begun: begun_sender,
        released: Mutex::new(released),
    };
    let db = DurableDb::open(dir).expect("db");
    let disk = Disk::start(db, Arc::new(gate)).expect("disk");
    Gated {
        _folder: folder,
        disk,
        begun,
        release,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_come_during_an_fsync_share_the_next_one() {
    let gated = gated();
    let disk = gated.disk.clone();
    let first = tokio::spawn(async move { disk.barrier().await });
    gated.begun.recv().expect("first fsync");
    let mut waiting = Vec::new();
    for number in 0..20_u8 {
        let (done, wait) = oneshot::channel();
        let (written, _) = oneshot::channel();
        let job = Job {
            work: Box::new(move |tables| put(&tables.meta, &[number], b"x")),
            written,
            durable: Some(Box::new(move |outcome| done.send(outcome).expect("test"))),
        };
        assert!(gated.disk.jobs.try_send(job).is_ok());
        waiting.push(wait);
    }
    assert!(!first.is_finished());
    gated.release.send(Ok(())).expect("thread");
    first.await.expect("task").expect("durable");
    gated.begun.recv().expect("second fsync");
    for wait in &mut waiting {
        assert!(wait.try_recv().is_err(), "acknowledged before its fsync");
    }
    gated.release.send(Ok(())).expect("thread");
    for wait in waiting {
        wait.await.expect("told").expect("durable");
    }
    assert_eq!(gated.disk.figures().load().syncs, 2);
    gated.release.send(Ok(())).expect("thread");
    gated.disk.close().await.expect("close");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_fsync_is_the_end() {
    let gated = gated();
    gated
        .release
        .send(Err(std::io::ErrorKind::StorageFull.into()))
        .expect("thread");
    let failed = gated
        .disk
        .write_durably(|tables| put(&tables.meta, b"a", b"x"))
        .await;
    assert!(matches!(failed, Err(DbError::Io { .. })), "{failed:?}");
    // The gate would let the next one through: it is not tried.
    gated.release.send(Ok(())).expect("thread");
    let refused = gated.disk.barrier().await;
    assert!(matches!(refused, Err(DbError::Failed(_))), "{refused:?}");
    let refused = gated
        .disk
        .write(|tables| put(&tables.meta, b"b", b"x"))
        .await;
    assert!(matches!(refused, Err(DbError::Failed(_))), "{refused:?}");
    let refused = gated.disk.write_aside("write", |_| Ok(())).await;
    assert!(matches!(refused, Err(DbError::Failed(_))), "{refused:?}");
    assert_eq!(gated.disk.figures().load().syncs, 1);
    let read = gated
        .disk
        .read("read", |tables| tables.meta.get(b"b"))
        .await;
    assert_eq!(read.expect("still readable"), None);
    assert!(gated.disk.failed().borrow().is_some());
    assert!(matches!(gated.disk.close().await, Err(DbError::Failed(_))));
    assert!(matches!(
        gated.disk.barrier().await,
        Err(DbError::Failed(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_the_database_fails_the_storage() {
    let gated = gated();
    let failed = gated.disk.write(|_| panic!("as sled does")).await;
    assert!(matches!(failed, Err(DbError::Panicked(_))), "{failed:?}");
    assert!(gated.disk.ensure_healthy().is_err());
    assert!(gated.disk.close().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_closing_everything_says_so() {
    let gated = gated();
    gated.release.send(Ok(())).expect("thread");
    gated.disk.close().await.expect("close");
    gated.disk.close().await.expect("close again");
    assert!(matches!(gated.disk.barrier().await, Err(DbError::Closed)));
    let read = gated.disk.read("read", |_| Ok(())).await;
    assert!(matches!(read, Err(DbError::Closed)));
}
