//! What only a store on disk can promise: one owner, and damage that is reported.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ltvstream::config::{Config, Mode, Sources};
use ltvstream::service::Stores;
use ltvstream::state::StateError;
use ltvstream::store::rocks::{Opened, RocksSettings, RocksShared, RocksStore};
use ltvstream::store::{Batch, Durability, Store, StoreError, Table};
use tempfile::TempDir;

const COMMITS: u8 = 3;

fn open(dir: &Path, durability: Durability) -> Result<RocksStore, StoreError> {
    let shared = RocksShared::new(8 << 20, 8 << 20);
    RocksStore::open(dir, &RocksSettings { shared, durability })
}

/// Commit `n` writes row `n`, and itself to the row `last`.
fn commit(store: &RocksStore, n: u8) {
    let mut batch = Batch::default();
    // Not compressible, so that each byte on disk matters.
    let value = std::array::from_fn::<u8, 16, _>(|i| {
        n.wrapping_mul(91).wrapping_add((i as u8).wrapping_mul(37))
    });
    batch.put(Table::Facts, vec![n], value);
    batch.put(Table::Meta, b"last", vec![n]);
    store.commit(batch, Durability::Process).unwrap();
}

/// A closed store with [`COMMITS`] commits, in table files or still in its log.
fn written(flushed: bool) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Durability::Process).unwrap();
    (1..=COMMITS).for_each(|n| commit(&store, n));
    if flushed {
        store.flush().unwrap();
    }
    store.close().unwrap();
    dir
}

/// Number of commits in the store; fails the test when it holds parts of one.
fn commits_in(store: &dyn Store) -> Result<u8, StoreError> {
    let last = store.get(Table::Meta, b"last")?.map_or(0, |value| value[0]);
    let mut rows = Vec::new();
    store.scan(Table::Facts, b"", &mut |key, _| {
        rows.push(key[0]);
        Ok(())
    })?;
    assert_eq!(rows, (1..=last).collect::<Vec<_>>(), "not whole commits, in order");
    Ok(last)
}

fn copy_of(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

/// The files of an extension that hold anything.
fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .filter(|path| fs::metadata(path).unwrap().len() > 0)
        .collect()
}

/// A copy of the store with one file's bytes changed.
fn damaged(dir: &Path, file: &Path, damage: impl FnOnce(&mut Vec<u8>)) -> TempDir {
    let copy = copy_of(dir);
    let path = copy.path().join(file.file_name().unwrap());
    let mut bytes = fs::read(&path).unwrap();
    damage(&mut bytes);
    fs::write(path, bytes).unwrap();
    copy
}

#[test]
fn a_directory_has_one_owner_until_it_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Durability::Process).unwrap();
    commit(&store, 1);
    let second = open(dir.path(), Durability::Process).err().unwrap();
    assert!(matches!(&second, StoreError::InUse(_)), "{second}");
    assert!(second.to_string().contains(dir.path().to_str().unwrap()), "{second}");

    store.close().unwrap();
    let store = open(dir.path(), Durability::Process).unwrap();
    assert_eq!((store.opened(), commits_in(&store).unwrap()), (&Opened::Whole, 1));
}

#[test]
fn a_store_that_comes_back_is_opened_when_the_last_reader_has_let_go_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_string_lossy().into_owned();
    let flags = vec![("--data-dir", "service.data_dir", data)];
    let sources = Sources { file: None, environment: Vec::new(), flags };
    let config = Config::load(&sources, Mode::Embedded).unwrap();
    let stores = Stores::new(&config);
    let held = stores.open_shard(0, &config).unwrap();
    // Who has never held it does not wait.
    let other = Stores::new(&config).open_shard(0, &config).err().unwrap();
    assert!(matches!(&other, StateError::Store(StoreError::InUse(_))), "{other}");
    let reader = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        drop(held);
    });
    stores.open_shard(0, &config).unwrap();
    reader.join().unwrap();
}

#[test]
fn a_path_that_cannot_be_a_store_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"not a directory").unwrap();
    for path in [&file, &file.join("below")] {
        let error = open(path, Durability::Process).err().unwrap();
        assert!(matches!(error, StoreError::Failed { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn missing_directories_are_created() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("data/shard-0"), Durability::Process).unwrap();
    assert_eq!((store.opened(), commits_in(&store).unwrap()), (&Opened::Whole, 0));
}

#[test]
fn a_damaged_row_in_a_table_file_is_reported() {
    let dir = written(true);
    let tables = files(dir.path(), "sst");
    assert_eq!(tables.len(), 2, "of meta and of facts");
    for file in tables {
        // The rows come first in a table file; the last row's value is here.
        let value_end = fs::read(&file).unwrap().len().min(60);
        for at in 0..value_end {
            let copy = damaged(dir.path(), &file, |bytes| bytes[at] ^= 0x10);
            let read = open(copy.path(), Durability::Process).and_then(|store| commits_in(&store));
            let error = read.expect_err(&format!("byte {at} of {file:?}"));
            assert!(!matches!(error, StoreError::InUse(_)), "{error}");
        }
    }
}

#[test]
fn a_damaged_row_is_named_by_table_and_key() {
    let dir = written(true);
    let outcomes = files(dir.path(), "sst").into_iter().map(|file| {
        let copy = damaged(dir.path(), &file, |bytes| bytes[10] ^= 1);
        let store = open(copy.path(), Durability::Process).unwrap();
        let single = store.get(Table::Facts, &[3]).err();
        let many = store.get_many(Table::Facts, &[&[3]]).err();
        assert_eq!(single.as_ref().map(ToString::to_string), many.map(|error| error.to_string()));
        single
    });
    let errors: Vec<_> = outcomes.flatten().collect();
    match &errors[..] {
        [StoreError::Corrupt { table: "facts", key, .. }] => assert_eq!(key, "03"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_damaged_byte_anywhere_in_a_table_file_never_changes_an_answer() {
    let dir = written(true);
    for file in files(dir.path(), "sst") {
        for at in (0..fs::metadata(&file).unwrap().len() as usize).step_by(13) {
            let copy = damaged(dir.path(), &file, |bytes| bytes[at] ^= 0x80);
            let read = open(copy.path(), Durability::Process).and_then(|store| commits_in(&store));
            assert!(matches!(read, Ok(COMMITS) | Err(_)), "byte {at} of {file:?}");
        }
    }
}

#[test]
fn a_missing_table_file_is_reported() {
    let dir = written(true);
    for file in files(dir.path(), "sst") {
        let copy = copy_of(dir.path());
        fs::remove_file(copy.path().join(file.file_name().unwrap())).unwrap();
        let read = open(copy.path(), Durability::Process).and_then(|store| commits_in(&store));
        assert!(read.is_err(), "{file:?}");
    }
}

#[test]
fn files_of_a_store_without_its_beginning_are_neither_nothing_nor_removed() {
    for flushed in [true, false] {
        let dir = written(flushed);
        let current = dir.path().join("CURRENT");
        let beginning = fs::read(&current).unwrap();
        fs::remove_file(&current).unwrap();
        for durability in [Durability::Process, Durability::Machine] {
            let error = open(dir.path(), durability).err().unwrap();
            assert!(error.to_string().contains("none named CURRENT"), "{error}");
            assert!(error.to_string().contains(dir.path().to_str().unwrap()), "{error}");
        }
        fs::write(&current, beginning).unwrap();
        let store = open(dir.path(), Durability::Process).unwrap();
        assert_eq!((store.opened(), commits_in(&store).unwrap()), (&Opened::Whole, COMMITS));
    }
}

#[test]
fn a_damaged_log_is_an_error_when_commits_were_promised_to_survive_the_machine() {
    let dir = written(false);
    let [log] = &files(dir.path(), "log")[..] else { panic!("one log") };
    let bytes = fs::read(log).unwrap();
    let (mut refused, mut shortened) = (0, 0);
    for at in (0..bytes.len()).step_by(2) {
        let copy = damaged(dir.path(), log, |bytes| bytes[at] ^= 1);
        match open(copy.path(), Durability::Machine) {
            Err(error) => {
                assert!(matches!(error, StoreError::Failed { action: "open", .. }), "{error}");
                refused += 1;
            }
            // A length that points beyond the end looks as a cut end does: said, not hidden.
            Ok(store) => {
                assert!(matches!(store.opened(), Opened::Shortened(_)), "byte {at}");
                assert!(commits_in(&store).unwrap() < COMMITS, "byte {at}");
                shortened += 1;
            }
        }
    }
    assert!(shortened * 10 < refused, "{shortened} shortened, {refused} refused");
}

#[test]
fn a_damaged_log_gives_whole_earlier_commits_when_a_log_behind_us_replays_the_rest() {
    let dir = written(false);
    let [log] = &files(dir.path(), "log")[..] else { panic!("one log") };
    let mut seen = [0; COMMITS as usize + 1];
    for at in (0..fs::metadata(log).unwrap().len() as usize).step_by(2) {
        let copy = damaged(dir.path(), log, |bytes| bytes[at] ^= 1);
        let store = open(copy.path(), Durability::Process).unwrap();
        assert!(matches!(store.opened(), Opened::Shortened(_)), "byte {at}");
        seen[usize::from(commits_in(&store).unwrap())] += 1;

        // What is committed after it stays, and the next start finds nothing to say.
        let next = commits_in(&store).unwrap() + 1;
        commit(&store, next);
        store.close().unwrap();
        let store = open(copy.path(), Durability::Process).unwrap();
        assert_eq!((store.opened(), commits_in(&store).unwrap()), (&Opened::Whole, next));
    }
    assert_eq!(seen[usize::from(COMMITS)], 0, "a damaged commit was taken for whole");
    assert!(seen[..usize::from(COMMITS)].iter().all(|starts| *starts > 0), "{seen:?}");
}

#[test]
fn a_log_cut_anywhere_gives_the_commits_before_the_cut() {
    let dir = written(false);
    let [log] = &files(dir.path(), "log")[..] else { panic!("one log") };
    let length = fs::metadata(log).unwrap().len() as usize;
    for durability in [Durability::Process, Durability::Machine] {
        let mut before = 0;
        for end in (0..length).step_by(5) {
            let copy = damaged(dir.path(), log, |bytes| bytes.truncate(end));
            let store = open(copy.path(), durability).unwrap();
            let commits = commits_in(&store).unwrap();
            assert!(commits == before || commits == before + 1, "{commits} after {before}");
            before = commits;
        }
        assert_eq!(before, COMMITS - 1);
    }
}

#[test]
fn a_checkpoint_is_a_store_with_the_state_of_its_moment() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("shard"), Durability::Process).unwrap();
    commit(&store, 1);
    commit(&store, 2);
    let checkpoint = dir.path().join("checkpoint");
    store.checkpoint(&checkpoint).unwrap();
    commit(&store, 3);

    assert!(store.checkpoint(&checkpoint).is_err(), "an older checkpoint is not overwritten");
    let copy = open(&checkpoint, Durability::Process).unwrap();
    assert_eq!((copy.opened(), commits_in(&copy).unwrap()), (&Opened::Whole, 2));
    commit(&copy, 3);
    commit(&copy, 4);
    assert_eq!(commits_in(&store).unwrap(), 3);
}

#[test]
fn properties_follow_rows_from_memory_to_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Durability::Process).unwrap();
    let mut batch = Batch::default();
    batch.put(Table::History, b"k", vec![1; 1 << 20]);
    store.commit(batch, Durability::Process).unwrap();
    let in_memory = store.properties().unwrap();
    assert!(in_memory.memtable_bytes >= 1 << 20, "{in_memory:?}");
    assert_eq!(in_memory.sst_bytes, 0);

    store.flush().unwrap();
    let on_disk = store.properties().unwrap();
    assert!(on_disk.memtable_bytes < 1 << 20, "{on_disk:?}");
    assert!(on_disk.sst_bytes > 0, "{on_disk:?}");
    assert_eq!(on_disk.pending_compaction_bytes, 0);
}
