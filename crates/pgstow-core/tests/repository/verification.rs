//! What `verify` says of good and bad backups.

use std::fs;

use pgstow_core::ErrorKind;
use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::{Event, Monitor, Silent};
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::format::manifest::{Manifest, Sections};
use pgstow_core::verify::{VerifyReport, verify};
use tempfile::tempdir;

use crate::sample::*;

fn run(repository: &Repository, header: &Header, read_data: bool) -> VerifyReport {
    verify(repository, header, read_data, &Silent, &Interrupt::new()).unwrap()
}

fn found<'r>(report: &'r VerifyReport, what: &str) -> (bool, &'r str) {
    let line = report.lines.iter().find(|line| line.what == what).unwrap();
    (line.passed, &line.found)
}

/// Stores a backup whose manifest is changed by `change` before it is committed.
fn store_changed(repository: &Repository, base: &Header, change: impl FnOnce(&mut Manifest)) -> Header {
    let at = time("2026-12-01T00:00:00Z");
    let mut manifest = repository.manifest(base).unwrap();
    change(&mut manifest);
    let mut draft = repository.begin_backup(&environment("prod"), None, at).unwrap();
    draft.write_catalog(&catalog()).unwrap();
    draft.commit(manifest, base.clone(), at).unwrap()
}

#[test]
fn a_good_backup_passes_every_line() {
    let place = tempdir().unwrap();
    let headers = store_all(place.path());
    let repository = open(place.path());
    let quick = run(&repository, &headers[0], false);
    assert!(quick.is_good(), "{quick:?}");
    let whats: Vec<&str> = quick.lines.iter().map(|line| line.what.as_str()).collect();
    assert_eq!(whats, ["header", "manifest", "files", "object list", "schema archive", "catalog", "objects"]);
    assert_eq!(quick.read_bytes, 0);
    let full = run(&repository, &headers[0], true);
    assert!(full.is_good(), "{full:?}");
    assert_eq!(full.read_bytes, headers[0].content_bytes);
    assert_eq!(found(&full, "rows"), (true, "109 rows, every chunk of text counted"));
}

#[test]
fn a_missing_object_is_named_with_the_tables_that_need_it() {
    let place = tempdir().unwrap();
    let headers = store_all(place.path());
    let repository = open(place.path());
    let id = repository.manifest(&headers[0]).unwrap().objects[2].id.to_string();
    fs::remove_file(place.path().join(format!("objects/{}/{id}.zst", &id[..2]))).unwrap();
    for read_data in [false, true] {
        let report = run(&repository, &headers[0], read_data);
        let (passed, text) = found(&report, "objects");
        assert!(!passed && !report.is_good());
        assert!(text.starts_with("1 of 4 objects"), "{text}");
        for expected in [id.as_str(), "public.orders", "large objects", HOSTILE_NAME] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        assert!(!text.contains("public.events"), "{text}");
    }
    assert!(run(&repository, &headers[1], true).is_good(), "the other backup does not use it");
}

#[test]
fn a_chunk_with_another_number_of_rows_is_named() {
    let place = tempdir().unwrap();
    let headers = store_all(place.path());
    let repository = open(place.path());
    let wrong = store_changed(&repository, &headers[0], |manifest| {
        manifest.tables[2].rows += 1;
        manifest.tables[2].chunks[0].rows += 1;
    });
    assert!(run(&repository, &wrong, false).is_good(), "only reading the data shows it");
    let report = run(&repository, &wrong, true);
    assert_eq!(found(&report, "rows"), (false, "public.orders: a chunk holds 5 rows instead of 6"));
    assert!(found(&report, "objects").0);
}

#[test]
fn a_backup_with_definitions_must_have_its_schema_archive() {
    let place = tempdir().unwrap();
    let headers = store_all(place.path());
    let repository = open(place.path());
    let without =
        store_changed(&repository, &headers[0], |manifest| manifest.selection.sections = Sections::All);
    let report = run(&repository, &without, false);
    let (passed, text) = found(&report, "schema archive");
    assert!(!passed && text.contains("schema.dump"), "{text}");
}

#[test]
fn a_schema_archive_that_is_none_is_named() {
    let place = tempdir().unwrap();
    let headers = store_all(place.path());
    let repository = open(place.path());
    let manifest = repository.manifest(&headers[0]).unwrap();
    let at = time("2026-12-01T00:00:00Z");
    let mut draft = repository.begin_backup(&environment("prod"), None, at).unwrap();
    draft.write_catalog(&catalog()).unwrap();
    draft.write_file("schema.dump", b"PGDMP\x01\x0f\0 and then nothing that pg_dump would write").unwrap();
    let header = draft.commit(manifest, headers[0].clone(), at).unwrap();
    let report = run(&repository, &header, false);
    let (passed, text) = found(&report, "schema archive");
    assert!(!passed && text.contains("schema.dump cannot be read"), "{text}");
    assert!(found(&report, "files").0, "its hash is right");
}

#[test]
fn a_long_list_of_faults_is_cut() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let base =
        store_backup(&repository, &environment("prod"), None, time("2026-11-01T00:00:00Z"), 1).unwrap();
    let extra: Vec<_> =
        (100..130).map(|seed| write_object(&repository, rows(seed, 2).as_bytes()).unwrap().object).collect();
    let header = store_changed(&repository, &base, |manifest| manifest.objects.extend(extra));
    fs::remove_dir_all(place.path().join("objects")).unwrap();
    let report = run(&repository, &header, true);
    let (passed, text) = found(&report, "objects");
    assert!(!passed);
    assert!(text.starts_with("34 of 34 objects") && text.contains("and 14 more"), "{text}");
    assert!(!found(&report, "rows").0);
}

#[test]
fn an_interrupt_ends_it() {
    struct Interrupting(Interrupt);
    impl Monitor for Interrupting {
        fn event(&self, event: Event<'_>) {
            if matches!(event, Event::Steps { .. }) {
                self.0.trigger();
            }
        }
    }
    let place = tempdir().unwrap();
    let headers = store_all(place.path());
    let repository = open(place.path());
    for read_data in [false, true] {
        let interrupt = Interrupt::new();
        let monitor = Interrupting(interrupt.clone());
        let error = verify(&repository, &headers[0], read_data, &monitor, &interrupt).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
    }
}
