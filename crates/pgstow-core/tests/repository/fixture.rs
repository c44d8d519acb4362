//! Repositories of released formats, kept as files: every later version must still read them.
//! That the files are also written like this is tested beside the formats.

use std::fs;
use std::path::{Path, PathBuf};

use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::Silent;
use pgstow_core::verify::{Reading, verify};

use crate::sample::*;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/format-1")
}

#[test]
#[ignore = "writes the fixture: only for a new format version"]
fn write_fixture() {
    assert!(!fixture().exists(), "a released fixture never changes");
    store_all(&fixture());
    fs::remove_dir(fixture().join("tmp")).unwrap();
}

#[test]
fn format_1_still_reads_and_verifies() {
    let repository = open(&fixture());
    let listing = repository.list().unwrap();
    assert_eq!(listing.damaged, []);
    let ids: Vec<&str> = listing.backups.iter().map(|header| header.id.as_str()).collect();
    let expected =
        ["dev_2026-11-19T00-00-00Z", "prod_2026-11-20T02-00-00Z", "prod_2026-11-21T09-12-04Z_pre-upgrade"];
    assert_eq!(ids, expected);
    for header in &listing.backups {
        let report = verify(&repository, header, &Reading::All, &Silent, &Interrupt::new()).unwrap();
        assert!(report.is_good(), "{report:?}");
        let manifest = repository.manifest(header).unwrap();
        assert_eq!(manifest.tables[1].name, HOSTILE_NAME);
        assert_eq!(manifest.tables[0].chunks[0].end_page, Some(10));
        assert_eq!(repository.catalog(&manifest).unwrap(), catalog());
    }
    let header = &listing.backups[1];
    assert_eq!(header.note.as_deref(), Some("a \"note\" over\ntwo lines"));
    assert_eq!(header.finished_at, time("2026-11-20T02:00:09Z"));
    let receipts = repository.receipts(&header.id).unwrap();
    assert_eq!(receipts.receipts, [receipt(&header.id, time("2026-11-22T00:00:00Z"))]);
}
