//! Tests of what becomes of uploads.

use super::*;

fn slot(id: RestoreId) -> Arc<Slot> {
    let file = tempfile::tempfile().expect("a file");
    Arc::new(Mutex::new(Some(Upload::new(id, file))))
}

#[tokio::test(start_paused = true)]
async fn an_idle_upload_is_given_up() {
    let slot = slot(1);
    let began = tokio::time::Instant::now();
    let watch = tokio::spawn(give_up_when_idle(Arc::downgrade(&slot), 1));
    let most = RESTORE_IDLE_TIMEOUT / 3 * 2;
    // Whatever comes puts it off.
    tokio::task::yield_now().await;
    tokio::time::advance(most).await;
    let taken = slot
        .lock()
        .await
        .as_mut()
        .map(|upload| upload.take(0, b"piece"));
    assert!(matches!(taken, Some(Ok(()))));
    watch.await.expect("an end");
    assert!(slot.lock().await.is_none());
    assert_eq!(
        began.elapsed().as_secs(),
        (most + RESTORE_IDLE_TIMEOUT).as_secs()
    );
}

#[tokio::test(start_paused = true)]
async fn the_watch_of_an_upload_leaves_the_next_alone() {
    let slot = slot(2);
    give_up_when_idle(Arc::downgrade(&slot), 1).await;
    assert!(slot.lock().await.is_some());
    let gone = Arc::downgrade(&slot);
    drop(slot);
    give_up_when_idle(gone, 2).await;
}
