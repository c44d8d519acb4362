//! Several threads and processes in one repository at the same time.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::sync::Barrier;

use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::Silent;
use pgstow_core::verify::{Reading, verify};
use tempfile::tempdir;

use crate::children;
use crate::sample::*;

#[test]
fn threads_that_store_the_same_objects_get_each_stored_once() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let barrier = Barrier::new(8);
    let written: Vec<_> = std::thread::scope(|scope| {
        let store = || {
            barrier.wait();
            (0..20)
                .map(|seed| write_object(&repository, rows(seed, 50).as_bytes()).unwrap())
                .collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(store)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for object in 0..20 {
        let of_all = || written.iter().map(|of_thread| &of_thread[object]);
        assert_eq!(of_all().filter(|written| written.new).count(), 1);
        assert_eq!(of_all().map(|written| written.object.id).collect::<BTreeSet<_>>().len(), 1);
        read_through(&repository, &written[0][object].object).unwrap();
    }
}

#[test]
fn backups_begun_in_the_same_second_get_ids_of_their_own() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let barrier = Barrier::new(8);
    let begin = || {
        barrier.wait();
        store_backup(&repository, &environment("prod"), None, time("2026-12-01T00:00:00Z"), 5).unwrap().id
    };
    let ids: BTreeSet<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(begin)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().to_string()).collect()
    });
    let expected: BTreeSet<String> =
        (0..8).map(|second| format!("prod_2026-12-01T00-00-0{second}Z")).collect();
    assert_eq!(ids, expected);
}

/// Waits for its input to end, then creates or opens the repository and backs up into it.
#[test]
#[ignore = "run by processes_share_a_repository_that_none_of_them_found"]
fn one_of_many() {
    std::io::stdin().read_to_string(&mut String::new()).unwrap();
    let store = pgstow_core::repository::store::LocalStore::new(&children::folder());
    let at = time("2026-12-01T00:00:00Z");
    let repository = pgstow_core::repository::Repository::open_or_init(Box::new(store), at).unwrap();
    for seed in 0..5 {
        store_backup(&repository, &environment("prod"), Some(&label("x")), at, seed).unwrap();
    }
}

#[test]
fn processes_share_a_repository_that_none_of_them_found() {
    let place = tempdir().unwrap();
    let root = place.path().join("backups");
    let mut children: Vec<_> =
        (0..4).map(|_| children::start("concurrency::one_of_many", &[], &root)).collect();
    for child in &mut children {
        // Closing the input of all is what starts them.
        child.stdin.take().unwrap().flush().unwrap();
    }
    children.into_iter().for_each(children::expect_success);
    let repository = open(&root);
    let listing = repository.list().unwrap();
    assert_eq!((listing.backups.len(), listing.damaged.len(), listing.unfinished.len()), (20, 0, 0));
    for header in &listing.backups {
        let report = verify(&repository, header, &Reading::All, &Silent, &Interrupt::new()).unwrap();
        assert!(report.is_good(), "{report:?}");
    }
    assert!(files(&root.join("tmp")).is_empty());
}
