//! openraft's own tests of a storage, on ours.

use std::sync::Arc;

use openraft::testing::{StoreBuilder, Suite};
use tempfile::TempDir;

use super::{LogStore, RealDisk, StateStore, Storage, StorageError, TypeConfig};

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateStore, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateStore), StorageError> {
        let folder = tempfile::tempdir().expect("folder");
        let storage = Storage::open(folder.path(), Arc::new(RealDisk)).expect("storage");
        Ok((folder, storage.log.lenient(), storage.state.lenient()))
    }
}

#[test]
fn the_storage_is_what_openraft_expects() {
    Suite::test_all(Builder).expect("suite");
}
