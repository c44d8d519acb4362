//! What counts as unchanged, case by case.

use std::collections::BTreeSet;

use super::*;
use crate::platform::Platform;
use crate::postgres::catalog::system_catalogs::CatalogRows;

fn source() -> Source {
    Source {
        endpoint: "localhost:5432".into(),
        database: "shop".into(),
        database_oid: 16_384,
        database_xmin: Some(700),
        server_version_num: 150_018,
        server_version: "15.18".into(),
        system_identifier: Some("7".into()),
        timeline: Some(1),
        postmaster_started_us: 1,
        in_recovery: false,
        encoding: "UTF8".into(),
        collate: "C".into(),
        ctype: "C".into(),
        role: "owner".into(),
    }
}

static PLAIN: Hosting =
    Hosting { platform: Platform::Plain, managed: BTreeSet::new(), internal: BTreeSet::new() };

fn circumstances<'a>(source: &'a Source, exclude: &'a [(String, String)]) -> Circumstances<'a> {
    Circumstances {
        source,
        user: "owner",
        pg_dump_version: Some("15.18"),
        sections: Sections::All,
        encoding: "UTF8",
        exclude,
        hosting: &PLAIN,
        managed: b"[]",
    }
}

fn catalog(name: &str, rows: u64) -> CatalogRows {
    CatalogRows { name: name.into(), filenode: 7, rows, newer: 0 }
}

fn catalogs() -> SystemCatalogs {
    SystemCatalogs {
        counted: vec![catalog("pg_class", 400), catalog("pg_proc", 3000)],
        hidden: Vec::new(),
        uncounted: [1; 32],
        age: Some(10),
    }
}

/// The decision on what was found, against a backup with W = 1000 that found [`catalogs`].
fn decision(xmin: u64, found: &SystemCatalogs) -> Result<(), Doubt> {
    let source = source();
    let circumstances = circumstances(&source, &[]);
    let earlier = proof(&circumstances, &catalogs()).expect("a proof");
    unchanged(&earlier, 1000, xmin, &circumstances, found)
}

fn decision_with(change: impl FnOnce(&mut SystemCatalogs)) -> Result<(), Doubt> {
    let mut found = catalogs();
    change(&mut found);
    decision(1010, &found)
}

#[test]
fn equal_catalogs_without_newer_rows_are_unchanged() {
    assert_eq!(decision(1010, &catalogs()), Ok(()));
    assert_eq!(decision(1000, &SystemCatalogs { age: Some(0), ..catalogs() }), Ok(()));
}

#[test]
fn a_newer_row_a_missing_row_or_a_moved_catalog_is_a_doubt_that_names_it() {
    let changed = |names: &[&str]| Err(Doubt::Changed(names.iter().map(ToString::to_string).collect()));
    assert_eq!(decision_with(|found| found.counted[1].newer = 1), changed(&["pg_proc"]));
    assert_eq!(decision_with(|found| found.counted[0].rows -= 1), changed(&["pg_class"]));
    assert_eq!(decision_with(|found| found.counted[0].rows += 1), changed(&["pg_class"]));
    let rewritten = decision_with(|found| found.counted[0].filenode = 8);
    assert_eq!(rewritten, Err(Doubt::Rewritten(vec!["pg_class".into()])));
    let both = decision_with(|found| found.counted.iter_mut().for_each(|catalog| catalog.newer = 1));
    assert_eq!(both.unwrap_err().to_string(), "definitions changed (pg_class, pg_proc)");
}

#[test]
fn other_catalogs_than_then_are_a_doubt() {
    let other = Err(Doubt::OtherCatalogs);
    assert_eq!(decision_with(|found| found.counted.truncate(1)), other);
    assert_eq!(decision_with(|found| found.counted.push(catalog("pg_type", 1))), other);
    assert_eq!(decision_with(|found| found.counted[1].name = "pg_type".into()), other);
    let nothing = SystemCatalogs { counted: Vec::new(), ..catalogs() };
    let source = source();
    let circumstances = circumstances(&source, &[]);
    let earlier = proof(&circumstances, &nothing).unwrap();
    assert_eq!(unchanged(&earlier, 1000, 1010, &circumstances, &nothing), other);
}

#[test]
fn ages_are_only_trusted_within_2_to_the_31_transactions() {
    let at = |xmin: u64, age: Option<i32>| decision(xmin, &SystemCatalogs { age, ..catalogs() });
    let limit = 1 << 31;
    assert_eq!(at(1000 + limit - 1, Some(i32::MAX)), Ok(()));
    for (xmin, age) in [
        (999, Some(10)),
        (1000 + limit, Some(10)),
        // One turn of the 32-bit counter later: the age looks small again.
        (1000 + (1 << 32), Some(10)),
        (1010, Some(-1)),
        (1010, Some(i32::MIN)),
        (1010, None),
    ] {
        assert_eq!(at(xmin, age), Err(Doubt::Transactions), "{xmin} {age:?}");
    }
}

#[test]
fn a_catalog_that_nothing_stands_for_proves_nothing() {
    let hidden = SystemCatalogs { hidden: vec!["pg_secret".into()], ..catalogs() };
    assert_eq!(decision(1010, &hidden), Err(Doubt::Hidden(vec!["pg_secret".into()])));
    assert_eq!(proof(&circumstances(&source(), &[]), &hidden), None);
}

#[test]
fn each_circumstance_counts() {
    let source = source();
    let other_server = Source { server_version: "15.19".into(), ..source.clone() };
    let other_role = Source { role: "reader".into(), ..source.clone() };
    let exclude = [("s".to_owned(), "t".to_owned())];
    let platform = Hosting { platform: Platform::Supabase, ..Hosting::default() };
    let internal = Hosting { internal: ["cron".to_owned()].into(), ..Hosting::default() };
    let managed = Hosting { managed: ["cron".to_owned()].into(), ..Hosting::default() };
    let same = || circumstances(&source, &[]);
    let earlier = proof(&same(), &catalogs()).unwrap();
    let judged = |now: &Circumstances<'_>| unchanged(&earlier, 1000, 1010, now, &catalogs());
    assert_eq!(judged(&same()), Ok(()));
    for now in [
        circumstances(&other_server, &[]),
        circumstances(&other_role, &[]),
        circumstances(&source, &exclude),
        Circumstances { user: "reader", ..same() },
        Circumstances { pg_dump_version: Some("16.0"), ..same() },
        Circumstances { pg_dump_version: None, ..same() },
        Circumstances { sections: Sections::SchemaOnly, ..same() },
        Circumstances { encoding: "SQL_ASCII", ..same() },
        Circumstances { hosting: &platform, ..same() },
        Circumstances { hosting: &internal, ..same() },
        Circumstances { managed: b"[1]", ..same() },
    ] {
        assert_eq!(judged(&now), Err(Doubt::Circumstances));
    }
    let of_internal = proof(&Circumstances { hosting: &internal, ..same() }, &catalogs()).unwrap();
    let as_managed = Circumstances { hosting: &managed, ..same() };
    assert_eq!(unchanged(&of_internal, 1000, 1010, &as_managed, &catalogs()), Err(Doubt::Circumstances));
    assert_eq!(decision_with(|found| found.uncounted[31] ^= 1), Err(Doubt::Circumstances));
}
