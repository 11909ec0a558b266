//! The order of checks, and every combination of a conflict with a flag.

use super::*;
use crate::cli::args::Command;
use crate::cli::output::Palette;
use crate::keystore::memory::MemoryStore;
use crate::keystore::{Page, StoreDescription, StoreFuture};

fn checked(line: &str) -> Result<(), String> {
    let line = format!("kes migrate {line}");
    let words: Vec<_> = line.split_whitespace().map(Into::into).collect();
    let command = super::super::usage::parse(&words)
        .expect("arguments")
        .command;
    let Some(Command::Migrate(args)) = command else {
        panic!("not migrate");
    };
    Plan::check(&args)
        .map(drop)
        .map_err(|failure| failure.to_string())
}

#[test]
fn checks_come_in_order() {
    for (line, message) in [
        ("a b", "too many arguments"),
        (
            "--to t -f --merge",
            "no source specified. Use '--from' flag",
        ),
        (
            "--from f --to t -s h -e e",
            "cannot use '-s / --server' and '--to' flag",
        ),
        (
            "--from f --to t -e e -a a",
            "cannot use '-e / --enclave' and '--to' flag",
        ),
        (
            "--from f --to t -a a -k",
            "cannot use '-a / --api-key' and '--to' flag",
        ),
        (
            "--from f --to t -k -f --merge",
            "cannot use '-k / --insecure' and '--to' flag",
        ),
        (
            "--from f -f --merge",
            "missing migration target. Use '--to' or '--server'",
        ),
        ("--from f -s h", "no KMS enclave specified. Use '--enclave'"),
        (
            "--from f -s h -e e",
            "no KMS API key specified. Use '--api-key'",
        ),
        (
            "--from f -s h -e e -a a -f --merge",
            "'--force' and '--merge' flags are mutually exclusive",
        ),
        (
            "--from f --to t -f --merge",
            "'--force' and '--merge' flags are mutually exclusive",
        ),
        ("--from f --to t [", "syntax error in pattern"),
    ] {
        assert_eq!(checked(line), Err(message.to_owned()), "{line}");
    }
    assert!(checked("--from f -s h -e e -a a").is_err_and(|text| text.contains("another product")));
    assert_eq!(checked("--from f --to t --merge my*"), Ok(()));
}

fn name(text: &str) -> KeyName<'_> {
    KeyName::parse(text).expect(text)
}

async fn store(entries: &[(&str, &str)]) -> MemoryStore {
    let store = MemoryStore::new();
    for (key, value) in entries {
        store
            .create(name(key), value.as_bytes().to_vec().into())
            .await
            .expect("created");
    }
    store
}

async fn value(store: &dyn KeyStore, key: &str) -> Option<String> {
    let value = store.get(name(key)).await.ok()?;
    String::from_utf8(value.expose().to_vec()).ok()
}

async fn migrate(
    from: &dyn KeyStore,
    to: &dyn KeyStore,
    pattern: &str,
    on_conflict: OnConflict,
) -> Result<u64, String> {
    let glob = Glob::parse(pattern).expect("a pattern");
    let (migrated, stopping) = (Cell::new(0), Cell::new(false));
    let migration = Migration {
        from,
        to,
        glob,
        on_conflict,
        migrated,
        stopping,
    };
    migration
        .run()
        .await
        .map_err(|failure| failure.to_string())?;
    Ok(migration.migrated.get())
}

#[tokio::test]
async fn copies_what_the_pattern_selects_on_all_pages() {
    let names: Vec<String> = (0..2 * PAGE_NAMES + 1)
        .map(|n| format!("key-{n:05}"))
        .collect();
    let entries: Vec<(&str, &str)> = names
        .iter()
        .map(|name| (name.as_str(), name.as_str()))
        .collect();
    let from = store(&entries).await;
    from.create(name("other"), b"x".to_vec().into())
        .await
        .expect("created");
    let to = MemoryStore::new();
    let count = u64::try_from(names.len()).expect("a count");
    assert_eq!(
        migrate(&from, &to, "key-*", OnConflict::Fail).await,
        Ok(count)
    );
    let last = names.last().expect("a name");
    assert_eq!(value(&to, last).await.as_ref(), Some(last));
    assert_eq!(value(&to, "other").await, None);
}

#[tokio::test]
async fn a_conflict_stops_skips_or_replaces() {
    let entries = [("a", "1"), ("b", "2"), ("c", "3")];
    let from = store(&entries).await;

    let to = store(&[("b", "old")]).await;
    let stopped = migrate(&from, &to, "*", OnConflict::Fail).await;
    assert_eq!(stopped, Err("key already exists".to_owned()));
    assert_eq!(value(&to, "a").await.as_deref(), Some("1"));
    assert_eq!(value(&to, "b").await.as_deref(), Some("old"));
    assert_eq!(value(&to, "c").await, None);

    assert_eq!(migrate(&from, &to, "*", OnConflict::Skip).await, Ok(1));
    assert_eq!(value(&to, "b").await.as_deref(), Some("old"));
    assert_eq!(migrate(&from, &to, "*", OnConflict::Skip).await, Ok(0));

    assert_eq!(migrate(&from, &to, "*", OnConflict::Replace).await, Ok(3));
    assert_eq!(value(&to, "b").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_store_migrated_onto_itself_stays_as_it_is() {
    let both = store(&[("a", "1"), ("b", "2")]).await;
    assert_eq!(migrate(&both, &both, "*", OnConflict::Replace).await, Ok(2));
    assert_eq!(value(&both, "a").await.as_deref(), Some("1"));
}

/// A store that fails or lies when the new value is written.
struct Faulty {
    inner: MemoryStore,
    refuses: Option<&'static str>,
    garbles: bool,
}

impl KeyStore for Faulty {
    fn describe(&self) -> StoreDescription {
        self.inner.describe()
    }
    fn has_atomic_create(&self) -> bool {
        true
    }
    fn status(&self) -> StoreFuture<'_, Duration> {
        self.inner.status()
    }
    fn create<'a>(&'a self, name: KeyName<'a>, value: SecretBytes) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let present = self.inner.get(name).await.is_ok();
            if !present
                && self
                    .refuses
                    .is_some_and(|refused| value.expose() == refused.as_bytes())
            {
                return Err(StoreError::Failed {
                    store: "faulty",
                    source: "disk full".into(),
                });
            }
            let value = if self.garbles {
                SecretBytes::new(b"garbled".to_vec())
            } else {
                value
            };
            self.inner.create(name, value).await
        })
    }
    fn get<'a>(&'a self, name: KeyName<'a>) -> StoreFuture<'a, SecretBytes> {
        self.inner.get(name)
    }
    fn delete<'a>(&'a self, name: KeyName<'a>) -> StoreFuture<'a, ()> {
        self.inner.delete(name)
    }
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start: Option<&'a str>,
        limit: usize,
    ) -> StoreFuture<'a, Page> {
        self.inner.list(prefix, start, limit)
    }
    fn close(&self) -> StoreFuture<'_, ()> {
        self.inner.close()
    }
}

#[tokio::test]
async fn the_old_value_comes_back_if_the_new_one_cannot_be_written() {
    let from = store(&[("a", "new")]).await;
    let to = Faulty {
        inner: store(&[("a", "old")]).await,
        refuses: Some("new"),
        garbles: false,
    };
    let failure = migrate(&from, &to, "*", OnConflict::Replace).await;
    assert_eq!(failure, Err("key 'a': faulty: disk full".to_owned()));
    assert_eq!(value(&to, "a").await.as_deref(), Some("old"));
}

#[tokio::test]
async fn a_copy_that_differs_is_reported() {
    let from = store(&[("a", "new")]).await;
    let to = Faulty {
        inner: MemoryStore::new(),
        refuses: None,
        garbles: true,
    };
    let failure = migrate(&from, &to, "*", OnConflict::Fail).await;
    assert_eq!(
        failure,
        Err("key 'a': the target returns another value than was written".to_owned())
    );
}

#[test]
fn progress_counts_in_six_columns() {
    let plain = Output {
        terminal: false,
        palette: Palette::None,
    };
    assert_eq!(progress(&plain, 1), "Migrated      1 key  ...\n");
    assert_eq!(progress(&plain, 12), "Migrated     12 keys ...\n");
    let terminal = Output {
        terminal: true,
        ..plain
    };
    assert_eq!(progress(&terminal, 2), "\r\x1b[2KMigrated      2 keys ...");
}
