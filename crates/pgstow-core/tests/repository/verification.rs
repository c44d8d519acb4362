//! What `verify` says of good and bad backups.

use std::fs;

use pgstow_core::ErrorKind;
use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::{Event, Monitor, Silent};
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::format::manifest::{LargeObjects, Manifest, Sections};
use pgstow_core::repository::format::receipt::{Outcome, Receipt};
use pgstow_core::verify::{Reading, Sample, Share, Verdict, VerifyReport, verify};
use tempfile::tempdir;

use crate::sample::*;

fn run(repository: &Repository, header: &Header, read_data: bool) -> VerifyReport {
    verify(repository, header, &reading(read_data), &Silent, &Interrupt::new()).unwrap()
}

fn reading(read_data: bool) -> Reading {
    if read_data { Reading::All } else { Reading::Sizes }
}

fn found<'r>(report: &'r VerifyReport, what: &str) -> (bool, &'r str) {
    let line = report.lines.iter().find(|line| line.what == what).unwrap();
    (line.verdict == Verdict::Passed, &line.found)
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
    let structure = ["header", "manifest", "not empty", "complete"];
    let files = ["files", "object list", "schema archive", "catalog"];
    assert_eq!(whats, [&structure[..], &files, &["objects", "restores"]].concat());
    assert!(quick.is_complete());
    assert_eq!(quick.read_bytes, 0);
    let full = run(&repository, &headers[0], true);
    assert!(full.is_good(), "{full:?}");
    assert_eq!(full.read_bytes, headers[0].content_bytes);
    assert_eq!(found(&full, "rows"), (true, "109 rows, every chunk of text counted"));
    assert_eq!(found(&full, "complete"), (true, "nothing is missing; 1 left out as asked or as always"));
    let (proven, text) = found(&full, "restores");
    assert!(
        proven && text.starts_with("1 recorded; equal at 2026-11-22 00:00:00 UTC in localhost"),
        "{text}"
    );
}

#[test]
fn a_backup_that_was_never_restored_or_not_equal_is_told_and_no_fault() {
    let place = tempdir().unwrap();
    let headers = store_all(place.path());
    let repository = open(place.path());
    let line = || run(&repository, &headers[1], false).lines.pop().unwrap();
    assert_eq!((line().verdict, line().found.as_str()), (Verdict::Noted, "never restored"));
    let at = time("2026-11-22T00:00:00Z");
    let differs = Receipt { outcome: Outcome::Differs, ..receipt(&headers[1].id, at) };
    repository.store_receipt(&differs).unwrap();
    assert_eq!(line().verdict, Verdict::Noted);
    repository.store_receipt(&receipt(&headers[1].id, at)).unwrap();
    assert_eq!(line().verdict, Verdict::Passed);
}

#[test]
fn what_was_not_carried_is_named_and_leaves_the_backup_open() {
    let place = tempdir().unwrap();
    let headers = store_all(place.path());
    let repository = open(place.path());
    let partial = store_changed(&repository, &headers[0], |manifest| {
        manifest.not_carried[0].expected = false;
    });
    let report = run(&repository, &partial, true);
    assert!(report.is_good() && !report.is_complete());
    let line = report.lines.iter().find(|line| line.what == "complete").unwrap();
    assert_eq!(line.verdict, Verdict::Open);
    assert_eq!(line.found, "1 not carried: foreign table public.remote: its rows are elsewhere");
}

#[test]
fn a_backup_of_nothing_fails() {
    let place = tempdir().unwrap();
    let headers = store_all(place.path());
    let repository = open(place.path());
    let empty = store_changed(&repository, &headers[0], |manifest| {
        manifest.tables.clear();
        manifest.objects.clear();
        manifest.large_objects = LargeObjects::default();
    });
    let (passed, text) = (run(&repository, &empty, true), "not empty");
    assert!(!found(&passed, text).0 && !passed.is_good(), "{passed:?}");
}

#[test]
fn a_sample_reads_a_part_tells_its_seed_and_can_be_repeated() {
    let place = tempdir().unwrap();
    let headers = store_all(place.path());
    let repository = open(place.path());
    let run =
        |reading: Reading| verify(&repository, &headers[0], &reading, &Silent, &Interrupt::new()).unwrap();
    let share: Share = "30%".parse().unwrap();
    let first = run(Reading::Sample(Sample::random(share).unwrap()));
    assert!(
        first.is_good() && first.read_bytes > 0 && first.read_bytes < headers[0].content_bytes,
        "{first:?}"
    );
    let seed = first.seed.unwrap();
    let again = run(Reading::Sample(Sample::new(share, seed)));
    assert_eq!(found(&again, "objects"), found(&first, "objects"), "seed {seed}");
    assert!(found(&again, "rows").0);
    let whole = run(Reading::Sample(Sample::new("100%".parse().unwrap(), seed)));
    assert_eq!(whole.read_bytes, headers[0].content_bytes);
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
        let error = verify(&repository, &headers[0], &reading(read_data), &monitor, &interrupt).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
    }
}

#[test]
fn without_a_key_what_needs_none_is_verified_and_the_rest_is_left_open() {
    let place = tempdir().unwrap();
    let headers = store_all_in(&Protection::Encrypted.init(place.path()));
    let repository = open(place.path());
    let report = run(&repository, &headers[1], true);
    let lines: Vec<(&str, Verdict)> =
        report.lines.iter().map(|line| (line.what.as_str(), line.verdict)).collect();
    let expected = [
        ("header", Verdict::Passed),
        ("manifest", Verdict::Passed),
        ("object list", Verdict::Passed),
        ("objects", Verdict::Passed),
        ("not verified", Verdict::Open),
        ("restores", Verdict::Noted),
    ];
    assert_eq!(lines, expected);
    assert!(report.is_good() && !report.is_complete());
    let object = files(&place.path().join("objects")).remove(0);
    fs::remove_file(place.path().join("objects").join(object)).unwrap();
    let good: Vec<bool> = headers.iter().map(|header| run(&repository, header, false).is_good()).collect();
    assert!(good.contains(&false), "{good:?}");
}
