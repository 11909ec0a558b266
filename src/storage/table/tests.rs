//! Values in parts.

use super::*;

fn table() -> (tempfile::TempDir, sled::Db, Table) {
    let folder = tempfile::tempdir().expect("folder");
    let db = sled::Config::new().path(folder.path()).open().expect("db");
    let table = Table::new("t", db.open_tree("t").expect("tree"));
    (folder, db, table)
}

fn value(bytes: usize) -> Vec<u8> {
    (0..=250).cycle().take(bytes).collect()
}

fn put(table: &Table, key: &[u8], value: &[u8]) {
    let mut batch = Batch::default();
    batch.put(table, key, value).expect("put");
    table.apply(batch).expect("apply");
}

#[test]
fn values_of_any_length_come_back_and_stored_ones_are_small() {
    let (_folder, _db, table) = table();
    let lengths = [0, 1, 4093, 4094, 4095, 8188, 8189, 48 << 10, 1 << 20];
    for (key, length) in (0..).zip(&lengths) {
        put(&table, &[key], &value(*length));
    }
    for (key, length) in (0..).zip(&lengths) {
        let found = table.get(&[key]).expect("get");
        assert_eq!(found, Some(value(*length)));
    }
    let scanned: Vec<usize> = table
        .scan(&[3])
        .expect("scan")
        .map(|stored| stored.expect("value").1.len())
        .collect();
    assert_eq!(scanned, lengths[3..]);
    assert_eq!(table.last_key().expect("key"), Some(vec![8]));
    for part in &table.tree {
        assert!(part.expect("part").1.len() <= DB_VALUE_BYTES_MAX);
    }
    let too_long = Batch::default().put(&table, b"x", &value((1 << 20) + 1));
    assert!(matches!(too_long, Err(DbError::TooLarge { .. })));
}

#[test]
fn a_shorter_value_leaves_nothing_of_a_longer_one() {
    let (_folder, _db, table) = table();
    put(&table, b"key", &value(20_000));
    put(&table, b"key", b"short");
    assert_eq!(table.tree.len(), 1);
    assert_eq!(table.get(b"key").expect("get"), Some(b"short".to_vec()));
    let mut batch = Batch::default();
    batch.remove(&table, b"key").expect("remove");
    batch.remove(&table, b"other").expect("remove");
    table.apply(batch).expect("apply");
    assert!(table.tree.is_empty());
}

#[test]
fn keys_that_continue_each_other_stay_apart() {
    let (_folder, _db, table) = table();
    let keys: [&[u8]; 5] = [b"", b"a", b"a\0\0", b"a\0\x01", b"ab"];
    for key in keys {
        put(&table, key, &[value(9000), key.to_vec()].concat());
    }
    for key in keys {
        let found = table.get(key).expect("get");
        assert_eq!(found, Some([value(9000), key.to_vec()].concat()));
    }
    assert_eq!(table.get(b"a\0").expect("get"), None);
    assert_eq!(table.scan_all().count(), keys.len());
}

#[test]
fn a_missing_part_is_damage() {
    let (_folder, _db, table) = table();
    for missing in 0..3 {
        put(&table, b"key", &value(10_000));
        put(&table, b"kez", &value(10_000));
        let removed = stored_key(b"key", missing).expect("key");
        table.tree.remove(removed).expect("remove");
        let damaged = table.scan_all().find_map(Result::err);
        assert!(matches!(damaged, Some(DbError::Damaged(_))), "{missing}");
        table.tree.clear().expect("clear");
    }
}
