//! Damaged backups: what is lost is named, and nothing wrong is left behind.

use std::fs;
use std::path::PathBuf;

use pgstow_core::archive;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::format::manifest::Selection;
use pgstow_core::repository::format::receipt::Outcome;
use pgstow_core::restore::RestoreOptions;
use proptest::prelude::*;

use crate::ground::{EVERYTHING, Ground, assert_same_dump, told};

const TABLES: &str = "CREATE TABLE good AS SELECT g AS id FROM generate_series(1, 1000) g; \
     CREATE TABLE bad AS SELECT g AS id, md5(g::text) || md5((g * 7)::text) AS filler \
     FROM generate_series(1, 300000) g; ALTER TABLE bad ADD PRIMARY KEY (id)";

/// The stored file of one of the objects that hold the rows of `table`.
fn object_file(ground: &Ground, header: &Header, table: &str) -> PathBuf {
    let manifest = ground.manifest(header);
    let found = manifest.tables.iter().find(|found| found.name == table).expect("the table");
    let chunk = found.chunks.last().expect("a chunk");
    let id = manifest.objects[chunk.object as usize].id.to_string();
    ground.folder_path().join("objects").join(&id[..2]).join(format!("{id}.zst"))
}

/// Changes the content of an object's file: valid zstd of other bytes of the same length.
fn falsify(path: &PathBuf) {
    let content = zstd::decode_all(fs::File::open(path).expect("the object")).expect("zstd");
    let mut changed = content.clone();
    let middle = changed.len() / 2;
    let digit = (middle..changed.len()).find(|&at| changed[at].is_ascii_digit()).expect("a digit");
    changed[digit] = if changed[digit] == b'7' { b'8' } else { b'7' };
    fs::write(path, zstd::encode_all(changed.as_slice(), 19).expect("zstd")).expect("written");
}

#[test]
fn a_missing_object_is_refused_before_the_target_is_touched() {
    let ground = Ground::new(TABLES);
    let header = ground.back_up(Selection::default());
    fs::remove_file(object_file(&ground, &header, "bad")).expect("removed");
    let before = ground.dump("target");
    let error = ground.restore(&header, &ground.options()).unwrap_err();
    assert!(
        error.message().contains("public.bad") && error.message().contains("missing"),
        "{}",
        told(&error)
    );
    assert_same_dump(&ground.dump("target"), &before);
}

#[test]
fn rows_of_a_falsified_object_are_not_kept_and_the_rest_is_restored() {
    let ground = Ground::new(TABLES);
    let header = ground.back_up(Selection::default());
    let manifest = ground.manifest(&header);
    let path = object_file(&ground, &header, "bad");
    let stored = fs::metadata(&path).expect("the object").len();
    falsify(&path);
    // The same stored length keeps the damage hidden until the object is read.
    let mut file = fs::read(&path).expect("the object");
    let padding = stored as usize - file.len() - 8;
    file.extend([0x50, 0x2a, 0x4d, 0x18]);
    file.extend(u32::try_from(padding).unwrap().to_le_bytes());
    file.extend(vec![0; padding]);
    fs::write(&path, file).expect("written");
    assert_eq!(fs::metadata(&path).expect("the object").len(), stored);
    let receipt =
        ground.restore(&header, &ground.options()).unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!(receipt.outcome, Outcome::Differs);
    assert!(receipt.remarks.iter().any(|remark| remark.contains("public.bad")), "{:#?}", receipt.remarks);
    let chunks = &manifest.tables.iter().find(|table| table.name == "bad").unwrap().chunks;
    let kept: u64 = chunks.iter().rev().skip(1).map(|chunk| chunk.rows).sum();
    assert_eq!(ground.value("target", "SELECT count(*) FROM bad"), kept.to_string());
    assert_eq!(ground.value("target", "SELECT count(*) FROM good"), "1000");
}

#[test]
fn a_truncated_object_takes_a_clean_restore_back() {
    let ground = Ground::new(TABLES);
    let header = ground.back_up(Selection::default());
    ground.restore_exactly(&header, &ground.options());
    ground.execute("target", "INSERT INTO good VALUES (-1)");
    let before = ground.dump("target");
    let path = object_file(&ground, &header, "bad");
    let file = fs::read(&path).expect("the object");
    let mut damaged = file.clone();
    let end = damaged.len() - 40;
    damaged[end..].fill(0xaa);
    fs::write(&path, damaged).expect("written");
    let options = RestoreOptions { clean: true, ..ground.options() };
    let error = ground.restore(&header, &options).unwrap_err();
    assert!(told(&error).contains("public.bad"), "{}", told(&error));
    assert_same_dump(&ground.dump("target"), &before);
    fs::write(&path, file).expect("repaired");
    ground.restore_exactly(&header, &options);
}

#[test]
fn a_damaged_archive_is_an_error_and_never_a_panic() {
    let ground = Ground::new(EVERYTHING);
    let header = ground.back_up(Selection::default());
    let repository = ground.repository();
    let whole = repository.file(&ground.manifest(&header), "schema.dump").expect("the archive");
    let entries = archive::read(&whole).expect("it is whole");
    assert!(entries.len() > 100);
    for end in (0..whole.len()).step_by(97) {
        assert!(archive::read(&whole[..end]).is_err(), "cut at {end}");
    }
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(3000));
    runner
        .run(&(any::<prop::sample::Index>(), any::<u8>(), 0..300_usize), |(at, byte, near)| {
            let mut damaged = whole.clone();
            let anywhere = at.index(damaged.len());
            damaged[anywhere] = byte;
            let _ = archive::read(&damaged);
            damaged[near] = byte;
            let _ = archive::read(&damaged);
            Ok(())
        })
        .expect("no panic");
    assert!(archive::read(b"").is_err());
    assert!(archive::read(b"-- PostgreSQL database dump").is_err());
}
