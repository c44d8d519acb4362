//! What every store must do: one list of checks, each a test for each store.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use pgstow_core::repository::Repository;
use pgstow_core::repository::store::StoreError;

use crate::ground::{Ground, noise, paths, put, read};

const MEBIBYTE: usize = 1 << 20;

macro_rules! on_every_store {
    ($($check:ident),* $(,)?) => {
        on_every_store! { @store local_disk $($check)* }
        on_every_store! { @store radosgw $($check)* }
        on_every_store! { @store s3s_fs $($check)* }
        on_every_store! { @store azurite $($check)* }
    };
    (@store $store:ident $($check:ident)*) => {
        mod $store {
            $(#[test] fn $check() { super::$check(&crate::ground::Ground::$store()); })*
        }
    };
}

on_every_store![
    a_file_appears_with_its_commit_and_is_never_replaced,
    files_of_every_length_come_back_as_they_were,
    a_file_that_is_dropped_leaves_nothing,
    what_is_missing_is_told_apart_from_what_is_empty,
    a_file_longer_than_the_limit_is_not_read,
    lengths_come_in_the_order_of_the_questions,
    a_listing_shows_all_of_more_files_than_one_page_holds,
    a_listing_shows_files_of_nested_folders_and_of_no_other,
    a_listing_tells_lengths_and_times_that_do_not_run_backwards,
    a_listing_while_files_are_written_shows_all_that_were_there,
    a_folder_is_free_until_something_lies_in_it,
    a_file_is_replaced_whole,
    a_file_that_is_replaced_all_the_time_is_always_read_whole,
    of_two_writers_of_one_path_one_wins_whole,
    a_removed_file_is_gone_and_may_be_removed_again,
    paths_that_lead_elsewhere_are_refused_by_every_operation,
    what_a_store_can_do_is_tried_out_and_recorded,
];

/// Raises a flag when a test is done with it, also when it fails.
struct Raised<'f>(&'f AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn a_file_appears_with_its_commit_and_is_never_replaced(ground: &Ground) {
    let store = ground.store();
    let mut file = store.create().unwrap();
    file.write_all(b"first").unwrap();
    assert_eq!(ground.store().size("a/b/c").unwrap(), None);
    assert!(file.commit("a/b/c").unwrap());
    assert!(!put(store.as_ref(), "a/b/c", b"second").unwrap());
    assert!(!put(store.as_ref(), "a/b/c", &noise(9 * MEBIBYTE, 1)).unwrap(), "a large one neither");
    let other = ground.store();
    assert_eq!(other.read_all("a/b/c", 5).unwrap(), b"first");
    assert_eq!(other.size("a/b/c").unwrap(), Some(5));
    assert_eq!(paths(other.as_ref(), "a"), ["a/b/c"]);
}

fn files_of_every_length_come_back_as_they_were(ground: &Ground) {
    let store = ground.store();
    let lengths = [0, 1, MEBIBYTE, 8 * MEBIBYTE, 8 * MEBIBYTE + 1, 16 * MEBIBYTE, 40 * MEBIBYTE + 7];
    for (number, length) in lengths.into_iter().enumerate() {
        let content = noise(length, number as u64);
        let path = format!("objects/{number}");
        let mut file = store.create().unwrap();
        for piece in content.chunks(999_999) {
            file.write_all(piece).unwrap();
        }
        assert!(file.commit(&path).unwrap());
        assert_eq!(store.size(&path).unwrap(), Some(length as u64), "{length} bytes");
        if length > 8 * MEBIBYTE && !ground.reads_parts {
            assert_eq!(store.list(&path[..7]).unwrap().len(), number + 1);
            continue;
        }
        assert!(read(store.as_ref(), &path).unwrap() == content, "{length} bytes");
        assert!(store.read_all(&path, length as u64).unwrap() == content, "{length} bytes");
    }
}

fn a_file_that_is_dropped_leaves_nothing(ground: &Ground) {
    let store = ground.store();
    put(store.as_ref(), "objects/there", b"x").unwrap();
    for length in [10, 20 * MEBIBYTE] {
        let mut file = store.create().unwrap();
        file.write_all(&noise(length, 2)).unwrap();
        drop(file);
    }
    assert_eq!(paths(store.as_ref(), "objects"), ["objects/there"]);
    assert_eq!(paths(store.as_ref(), "tmp"), [""; 0]);
    store.remove_abandoned().unwrap();
    assert_eq!(paths(store.as_ref(), "objects"), ["objects/there"]);
}

fn what_is_missing_is_told_apart_from_what_is_empty(ground: &Ground) {
    let store = ground.store();
    assert_eq!(store.names().unwrap(), [""; 0]);
    assert!(matches!(store.read("absent"), Err(StoreError::NotFound { .. })));
    assert!(matches!(store.read_all("absent", 10), Err(StoreError::NotFound { .. })));
    assert_eq!(store.size("absent").unwrap(), None);
    assert_eq!(store.list("absent").unwrap(), []);
    assert_eq!(store.folders("absent").unwrap(), [""; 0]);
    put(store.as_ref(), "there/empty", b"").unwrap();
    assert_eq!(store.read_all("there/empty", 0).unwrap(), b"");
    assert_eq!(store.size("there/empty").unwrap(), Some(0));
    assert_eq!(paths(store.as_ref(), "there"), ["there/empty"]);
    put(store.as_ref(), "pgstow.json", b"{}").unwrap();
    let names = store.names().unwrap();
    // Only a disk has a folder for files that are being written.
    assert_eq!(names.iter().filter(|name| *name != "tmp").collect::<Vec<_>>(), ["pgstow.json", "there"]);
}

fn a_file_longer_than_the_limit_is_not_read(ground: &Ground) {
    let store = ground.store();
    put(store.as_ref(), "file", b"0123456789").unwrap();
    assert_eq!(store.read_all("file", 10).unwrap(), b"0123456789");
    let error = store.read_all("file", 9).unwrap_err();
    assert!(matches!(&error, StoreError::Io { source, .. } if source.to_string().contains("9 bytes")));
}

fn lengths_come_in_the_order_of_the_questions(ground: &Ground) {
    let store = ground.store();
    for length in 0..50 {
        put(store.as_ref(), &format!("files/{length}"), &noise(length, 3)).unwrap();
    }
    let paths: Vec<String> = (0..100).rev().map(|number| format!("files/{number}")).collect();
    let expected: Vec<Option<u64>> = (0..100).rev().map(|number| (number < 50).then_some(number)).collect();
    assert_eq!(store.sizes(&paths).unwrap(), expected);
    assert!(store.sizes(&["files/1".to_owned(), "../files".to_owned()]).is_err());
}

fn a_listing_shows_all_of_more_files_than_one_page_holds(ground: &Ground) {
    let count = ground.page + 100;
    let store = ground.store();
    let path = |number: usize| format!("objects/{:02x}/{number:05}", number % 7);
    thread::scope(|scope| {
        for worker in 0..8 {
            let store = store.as_ref();
            scope.spawn(move || {
                for number in (worker..count).step_by(8) {
                    store.replace(&path(number), b"x").unwrap();
                }
            });
        }
    });
    let mut expected: Vec<String> = (0..count).map(path).collect();
    expected.sort_unstable();
    assert_eq!(paths(store.as_ref(), "objects"), expected);
    assert_eq!(store.folders("objects").unwrap(), ["00", "01", "02", "03", "04", "05", "06"]);
}

fn a_listing_shows_files_of_nested_folders_and_of_no_other(ground: &Ground) {
    let store = ground.store();
    for path in ["a/b/1", "a/b/c/d/2", "a/bc/3", "a/b.json", "ab/4", "a/5"] {
        put(store.as_ref(), path, b"x").unwrap();
    }
    assert_eq!(paths(store.as_ref(), "a/b"), ["a/b/1", "a/b/c/d/2"]);
    assert_eq!(paths(store.as_ref(), "a"), ["a/5", "a/b.json", "a/b/1", "a/b/c/d/2", "a/bc/3"]);
    assert_eq!(store.folders("a").unwrap(), ["b", "bc"]);
    assert_eq!(store.folders("a/b").unwrap(), ["c"]);
}

fn a_listing_tells_lengths_and_times_that_do_not_run_backwards(ground: &Ground) {
    let store = ground.store();
    put(store.as_ref(), "marks/older", b"123").unwrap();
    put(store.as_ref(), "marks/newer", &noise(9 * MEBIBYTE, 4)).unwrap();
    let mut listed = store.list("marks").unwrap();
    listed.sort_by_key(|file| file.bytes);
    let [older, newer] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!((older.path.as_str(), older.bytes), ("marks/older", 3));
    assert_eq!((newer.path.as_str(), newer.bytes), ("marks/newer", 9 << 20));
    assert!(older.modified.unwrap() <= newer.modified.unwrap(), "{listed:?}");
}

fn a_listing_while_files_are_written_shows_all_that_were_there(ground: &Ground) {
    let (store, other) = (ground.store(), ground.store());
    let before: Vec<String> = (0..50).map(|number| format!("objects/before-{number:02}")).collect();
    for path in &before {
        put(store.as_ref(), path, b"x").unwrap();
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                other.replace(&format!("objects/after-{number}"), b"x").unwrap();
            }
        });
        let _stops = Raised(&stop);
        for _ in 0..20 {
            let listed = paths(store.as_ref(), "objects");
            let seen: Vec<&String> = listed.iter().filter(|path| path.contains("before")).collect();
            assert_eq!(seen, before.iter().collect::<Vec<_>>());
        }
    });
}

fn a_folder_is_free_until_something_lies_in_it(ground: &Ground) {
    let store = ground.store();
    assert!(store.create_folder("backups/one").unwrap());
    put(store.as_ref(), "backups/one/deep/file", b"x").unwrap();
    put(store.as_ref(), "backups/one-more/file", b"x").unwrap();
    assert!(!store.create_folder("backups/one").unwrap());
    assert!(store.remove_folder("backups/one").is_err(), "something is in it");
    assert_eq!(paths(store.as_ref(), "backups/one"), ["backups/one/deep/file"]);
    store.remove("backups/one/deep/file").unwrap();
    store.remove_folder("backups/one/deep").unwrap();
    store.remove_folder("backups/one").unwrap();
    store.remove_folder("backups/one").unwrap();
    assert!(store.create_folder("backups/one").unwrap());
}

fn a_file_is_replaced_whole(ground: &Ground) {
    let (store, other) = (ground.store(), ground.store());
    for content in [&b"first"[..], b"second, and longer", b"", b"third"] {
        store.replace("locks/mark", content).unwrap();
        assert_eq!(other.read_all("locks/mark", 100).unwrap(), content);
    }
    assert_eq!(paths(other.as_ref(), "locks"), ["locks/mark"]);
}

fn a_file_that_is_replaced_all_the_time_is_always_read_whole(ground: &Ground) {
    // Of its own length each, so that a mixture of two shows.
    let content = |round: u8| vec![round; 1000 + 37 * usize::from(round)];
    let store = ground.store();
    store.replace("locks/mark", &content(0)).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let other = ground.store();
            for round in (0..=u8::MAX).cycle() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                other.replace("locks/mark", &content(round)).unwrap();
            }
        });
        let mut seen = BTreeSet::new();
        let _stops = Raised(&stop);
        while seen.len() < 30 {
            let found = read(store.as_ref(), "locks/mark").unwrap();
            let is_whole = found == content(found[0]);
            assert!(is_whole || !ground.replaces_at_once, "{} bytes of {}", found.len(), found[0]);
            seen.insert(found[0]);
        }
    });
}

fn of_two_writers_of_one_path_one_wins_whole(ground: &Ground) {
    let contents = [noise(300_000, 7), noise(300_000, 8)];
    for round in 0..10 {
        let path = format!("backups/{round}/header");
        let won = thread::scope(|scope| {
            let writers = contents.each_ref().map(|content| {
                let (store, path) = (ground.store(), &path);
                scope.spawn(move || put(store.as_ref(), path, content).unwrap())
            });
            writers.map(|writer| writer.join().unwrap())
        });
        let found = read(ground.store().as_ref(), &path).unwrap();
        let winners = won.iter().filter(|won| **won).count();
        assert!(winners == 1 || (winners == 2 && !ground.is_exclusive), "{won:?}");
        let there = contents.iter().position(|content| *content == found).expect("no mixture");
        assert!(won[there], "what is there was said to be dropped");
    }
}

fn a_removed_file_is_gone_and_may_be_removed_again(ground: &Ground) {
    let store = ground.store();
    put(store.as_ref(), "objects/one", b"x").unwrap();
    put(store.as_ref(), "objects/two", b"x").unwrap();
    store.remove("objects/one").unwrap();
    assert_eq!(ground.store().size("objects/one").unwrap(), None);
    assert_eq!(paths(store.as_ref(), "objects"), ["objects/two"]);
    store.remove("objects/one").unwrap();
    assert!(put(store.as_ref(), "objects/one", b"again").unwrap());
}

fn paths_that_lead_elsewhere_are_refused_by_every_operation(ground: &Ground) {
    let store = ground.store();
    for path in ["", "/", "/etc", "..", "../x", "a/../x", "a/..", ".", "./a", "a//b", "a/", "a\\b", "a\0b"] {
        assert!(store.read(path).is_err(), "read {path:?}");
        assert!(store.read_all(path, 10).is_err(), "read_all {path:?}");
        assert!(store.size(path).is_err(), "size {path:?}");
        assert!(put(store.as_ref(), path, b"x").is_err(), "commit {path:?}");
        assert!(store.replace(path, b"x").is_err(), "replace {path:?}");
        assert!(store.list(path).is_err(), "list {path:?}");
        assert!(store.folders(path).is_err(), "folders {path:?}");
        assert!(store.create_folder(path).is_err(), "create_folder {path:?}");
        assert!(store.remove_folder(path).is_err(), "remove_folder {path:?}");
        assert!(store.remove(path).is_err(), "remove {path:?}");
        assert!(store.refuses_another(path).is_err(), "refuses_another {path:?}");
    }
    assert_eq!(store.names().unwrap().iter().filter(|name| *name != "tmp").count(), 0);
}

fn what_a_store_can_do_is_tried_out_and_recorded(ground: &Ground) {
    let now = "2026-11-21T00:00:00Z".parse().unwrap();
    Repository::init(ground.store(), now).unwrap();
    let found = Repository::open(ground.store()).unwrap().capabilities().unwrap();
    assert!(found.lists_at_once && found.overwrites && found.deletes, "{found:?}");
    assert_eq!(found.refuses_another, ground.refuses_another);
    assert_eq!(paths(ground.store().as_ref(), "tmp"), [""; 0], "nothing is left of it");
}
