//! Which tables and rows are carried.

use pgstow_core::backup::{self, BackupOptions};
use pgstow_core::interrupt::Interrupt;
use pgstow_core::platform::AuthUsers;
use pgstow_core::repository::format::manifest::{Sections, Selection, TableData};

use crate::ground::{Ground, columns, tables};

fn the_users_rows_are_carried_and_the_platforms_are_not(major: u32) {
    let ground = Ground::new(major);
    let report = ground.back_up(AuthUsers::Full);
    assert!(report.is_complete(), "{:#?}", report.not_carried);
    let manifest = ground.manifest(&report.header);
    let tables = tables(&manifest);
    let found: Vec<(&str, bool, u64)> = tables
        .iter()
        .map(|(name, table)| (name.as_str(), table.data == TableData::Carried, table.rows))
        .collect();
    let expected = [
        ("auth.identities", true, 2),
        ("auth.mfa_factors", true, 2),
        ("auth.refresh_tokens", false, 0),
        ("auth.sessions", false, 0),
        ("auth.users", true, 2),
        ("public.profiles", true, 2),
        ("storage.buckets", true, 1),
        ("storage.objects", true, 1),
    ];
    assert_eq!(found, expected, "PostgreSQL {major}");
    let sequences: Vec<&str> = manifest.sequences.iter().map(|sequence| sequence.name.as_str()).collect();
    assert_eq!(sequences, ["counter"]);
    assert!(manifest.materialized_views.is_empty());
    let stored = ground.stored();
    let holds = |text: &str| stored.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("hash-of-one") && holds("factor-of-somebody"));
    for kept in ["session-of-somebody", "refresh-of-somebody", "passing-message", "ciphertext"] {
        assert!(!holds(kept), "PostgreSQL {major}: {kept}");
    }
}

#[test]
fn the_users_rows_are_carried_and_the_platforms_are_not_on_15() {
    the_users_rows_are_carried_and_the_platforms_are_not(15);
}

#[test]
fn the_users_rows_are_carried_and_the_platforms_are_not_on_17() {
    the_users_rows_are_carried_and_the_platforms_are_not(17);
}

#[test]
fn what_stays_behind_is_told() {
    let ground = Ground::new(15);
    let report = ground.back_up(AuthUsers::Metadata);
    let told: Vec<&str> = report.not_carried.iter().map(|item| item.what.as_str()).collect();
    assert_eq!(
        told,
        [
            "2 secrets of the vault",
            "1 stored file",
            "passwords and tokens in auth.users",
            "rows of 3 tables of schema auth",
            "rows of auth.mfa_factors",
            "rows of storage.migrations",
            "schemas \"_odd \"\"name.*\", cron, extensions, realtime, vault",
        ]
    );
    assert!(report.is_complete() && report.remarks.is_empty());
}

#[test]
fn a_table_of_the_user_in_a_schema_of_the_platform_is_told_as_missing() {
    let ground = Ground::new(15);
    ground.execute(
        "CREATE TABLE auth.mine (x integer); ALTER TABLE auth.mine OWNER TO postgres;
         CREATE TABLE extensions.mine (x integer); ALTER TABLE extensions.mine OWNER TO postgres",
    );
    let report = ground.back_up(AuthUsers::Metadata);
    let missing: Vec<&str> =
        report.not_carried.iter().filter(|item| !item.expected).map(|item| item.what.as_str()).collect();
    assert_eq!(missing, ["rows of auth.mine", "table extensions.mine"]);
    assert!(!report.is_complete());
}

#[test]
fn a_table_whose_rows_are_the_users_must_be_readable() {
    let ground = Ground::new(15);
    ground.execute("REVOKE SELECT ON auth.identities FROM postgres");
    let error = ground.try_back_up(&ground.options(AuthUsers::Metadata)).unwrap_err();
    assert!(error.message().starts_with("auth.identities cannot be read"), "{error}");
    for remedy in ["GRANT SELECT ON \"auth\".\"identities\" TO \"postgres\"", "--auth-users none"] {
        assert!(error.hints().iter().any(|hint| hint.contains(remedy)), "{:?}", error.hints());
    }
    let report = ground.back_up(AuthUsers::None);
    assert!(report.is_complete());
    assert!(!tables(&ground.manifest(&report.header)).contains_key("auth.identities"));
    let archive = ground.file(&report.header, "schema.sql").unwrap();
    assert!(archive.contains("CREATE TABLE auth.users") && !archive.contains("auth.identities"), "{archive}");
}

#[test]
fn patterns_go_before_the_platforms_rules() {
    let ground = Ground::new(15);
    let selection = |tables: &[&str], exclude_data: &[&str], sections| Selection {
        tables: tables.iter().map(|&pattern| pattern.to_owned()).collect(),
        exclude_data: exclude_data.iter().map(|&pattern| pattern.to_owned()).collect(),
        sections,
        ..Selection::default()
    };
    let back_up = |selection| {
        let options = BackupOptions { selection, ..ground.options(AuthUsers::Full) };
        let report = ground.try_back_up(&options).unwrap();
        let told: Vec<String> = report.not_carried.iter().map(|item| item.what.clone()).collect();
        let manifest = ground.manifest(&report.header);
        (told, tables(&manifest).iter().map(|(name, table)| (name.clone(), table.rows)).collect::<Vec<_>>())
    };
    let (told, tables) = back_up(selection(&["public.*"], &[], Sections::All));
    assert_eq!((told, tables), (vec!["7 tables".to_owned()], vec![("public.profiles".to_owned(), 2)]));
    let (told, tables) = back_up(selection(&[], &["auth.sessions", "users"], Sections::All));
    assert!(told.contains(&"rows of 2 tables".to_owned()), "{told:?}");
    assert!(told.contains(&"rows of 2 tables of schema auth".to_owned()), "{told:?}");
    assert!(tables.contains(&("auth.users".to_owned(), 0)), "{tables:?}");
    let (told, tables) = back_up(selection(&[], &[], Sections::SchemaOnly));
    assert!(tables.iter().all(|(_, rows)| *rows == 0));
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn check_names_the_platform_and_passes() {
    let ground = Ground::new(15);
    let report = backup::check(&ground.options(AuthUsers::Metadata), &Interrupt::new()).unwrap();
    assert!(report.lines.iter().all(|line| line.passed), "{:#?}", report.lines);
    let platform = report.lines.iter().find(|line| line.what == "platform").unwrap();
    let begins = "Supabase; of auth, storage the rows that are yours are carried; its own schemas: ";
    assert!(platform.found.starts_with(begins), "{}", platform.found);
    assert!(platform.found.ends_with("cron, extensions, realtime, vault"), "{}", platform.found);
}

#[test]
fn generated_columns_are_no_columns_of_the_rows() {
    let ground = Ground::new(15);
    let report = ground.back_up(AuthUsers::Full);
    let manifest = ground.manifest(&report.header);
    assert_eq!(
        columns(tables(&manifest)["auth.users"]),
        ["id", "email", "encrypted_password", "confirmation_token", "raw_user_meta_data", "phone"]
    );
}
