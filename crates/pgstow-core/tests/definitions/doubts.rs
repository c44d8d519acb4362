//! When in doubt, definitions are read anew.

use std::fs;

use pgstow_core::backup::BackupOptions;
use pgstow_core::monitor::Silent;
use pgstow_core::postgres::server::ServerOptions;
use pgstow_core::repository::format::manifest::{Sections, Selection};

use crate::ground::{Ground, OWNER, SUPERUSER};

#[test]
fn a_damaged_or_missing_file_of_the_earlier_backup_is_made_anew() {
    let ground = Ground::new(15);
    let mut base = ground.back_up(SUPERUSER).header;
    let whole = ground.files(&base);
    for name in whole.keys() {
        for damage in ["changed", "cut", "gone"] {
            let path = ground.path(&base, name);
            let mut content = fs::read(&path).expect("a file");
            match damage {
                "changed" => {
                    let middle = content.len() / 2;
                    content[middle] ^= 1;
                    fs::write(&path, &content).expect("written");
                }
                "cut" => fs::write(&path, &content[..content.len() - 1]).expect("written"),
                _ => fs::remove_file(&path).expect("removed"),
            }
            let runs = ground.pg_dump_runs();
            let next = ground.back_up(SUPERUSER);
            assert!(!next.reuse.definitions_reused, "{name} {damage}");
            let why = next.reuse.definitions_read.expect("a reason");
            assert!(why.contains(name.as_str()), "{name} {damage}: {why}");
            assert_eq!(ground.pg_dump_runs(), runs + 1, "{name} {damage}");
            base = next.header;
        }
    }
    assert!(ground.takes_over(SUPERUSER, "a whole backup"));
    ground.assert_like_a_full_backup(SUPERUSER);
    ground.restore(&base);
}

#[test]
fn a_full_backup_another_role_or_another_pg_dump_reads_anew() {
    let ground = Ground::new(15);
    let _ = ground.back_up(SUPERUSER);
    let _ = ground.back_up_fully(SUPERUSER);
    assert!(ground.takes_over(SUPERUSER, "after a full backup"));
    assert!(!ground.takes_over(OWNER, "another role"));
    assert!(ground.takes_over(OWNER, "the same role"));
    let other = ground.write_pg_dump("pg_dump_other", Some("15.99"));
    let options = BackupOptions { pg_dump: Some(other), ..ground.options(OWNER) };
    assert!(!ground.run(&options, &Silent).reuse.definitions_reused);
    assert!(ground.run(&options, &Silent).reuse.definitions_reused);
}

#[test]
fn sections_are_compared_with_their_like() {
    let ground = Ground::new(15);
    let of = |sections| {
        let selection = Selection { sections, ..Selection::default() };
        let options = BackupOptions { selection, ..ground.options(SUPERUSER) };
        ground.run(&options, &Silent)
    };
    for sections in [Sections::All, Sections::SchemaOnly, Sections::DataOnly] {
        let first = of(sections);
        assert!(!first.reuse.definitions_reused, "{sections:?}");
        let next = of(sections);
        assert!(next.reuse.definitions_reused, "{sections:?}");
        assert_eq!(ground.files(&next.header), ground.files(&first.header), "{sections:?}");
    }
    assert!(of(Sections::All).reuse.definitions_reused, "a backup of all before other sections");
}

#[test]
fn tables_that_become_unreadable_are_left_out_by_reading_anew() {
    let ground = Ground::new(15);
    ground.execute("source", "CREATE TABLE closed (x int); GRANT SELECT ON closed TO passing, owner");
    ground.execute("source", "GRANT passing TO owner");
    let selection = Selection { exclude_tables: vec!["closed".into()], ..Selection::default() };
    let options = BackupOptions { selection, ..ground.options(OWNER) };
    let archive = |report: &pgstow_core::backup::BackupReport| {
        let content = fs::read(ground.path(&report.header, "schema.sql")).expect("a file");
        String::from_utf8(content).expect("UTF-8")
    };
    let first = ground.run(&options, &Silent);
    assert!(archive(&first).contains("CREATE TABLE public.closed"));
    assert!(ground.run(&options, &Silent).reuse.definitions_reused);
    ground.execute("source", "REVOKE SELECT ON closed FROM owner, passing");
    let next = ground.run(&options, &Silent);
    assert!(!next.reuse.definitions_reused);
    assert!(!archive(&next).contains("CREATE TABLE public.closed"));
}

#[test]
fn without_fsync_nothing_is_taken_over() {
    let ground = Ground::with_options(15, ServerOptions::default());
    let _ = ground.back_up(SUPERUSER);
    assert!(!ground.takes_over(SUPERUSER, "fsync is off"));
}

#[test]
fn a_temporary_table_spoils_while_it_lives() {
    let ground = Ground::new(15);
    let _ = ground.back_up(SUPERUSER);
    let mut session = ground.connect("source");
    session.execute("CREATE TEMPORARY TABLE passing (x int)").expect("a table");
    assert!(!ground.takes_over(SUPERUSER, "a temporary table"));
    assert!(ground.takes_over(SUPERUSER, "the same temporary table"));
    session.execute("DROP TABLE passing").expect("dropped");
    assert!(!ground.takes_over(SUPERUSER, "no temporary table"));
    assert!(ground.takes_over(SUPERUSER, "nothing"));
}
