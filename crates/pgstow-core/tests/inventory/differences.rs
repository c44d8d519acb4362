//! A comparison of a backup with the live database, and of two backups, names exactly what changed:
//! one change for every kind of object, and the privileges.

use std::collections::BTreeSet;
use std::time::Duration;

use pgstow_core::backup::{self, BackupOptions};
use pgstow_core::diff::{self, Change, DiffOptions, DiffReport, ObjectChange, PrivilegeChange, State};
use pgstow_core::interrupt::Interrupt;
use pgstow_core::inventory::ObjectKind;
use pgstow_core::monitor::Silent;
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::format::id::EnvironmentName;
use pgstow_core::repository::store::LocalStore;

use crate::ground::Ground;
use crate::mutations::{MUTATIONS, Mutation};

/// The object of a difference as `inventory::compare` tells it, up to its name.
fn kind_of(difference: &str) -> String {
    let words: Vec<&str> = difference.split(' ').collect();
    let is_privilege = [" lacks ", " has "].iter().any(|verb| difference.contains(verb));
    if is_privilege {
        let target = difference.split(" on ").nth(1).unwrap_or_default();
        return format!("privilege on {}", target.split(' ').next().unwrap_or_default());
    }
    words
        .iter()
        .take_while(|word| !word.contains('.') && !matches!(**word, "is" | "differs" | "belongs"))
        .copied()
        .take(2)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Of all mutations those that change something for the first time, and those that change nothing.
fn chosen(major: u32) -> Vec<&'static Mutation> {
    let mut seen = BTreeSet::new();
    let is_new = |mutation: &&Mutation| {
        let (_, since, differences) = **mutation;
        let kinds: Vec<String> = differences.iter().map(|difference| kind_of(difference)).collect();
        let new = kinds.is_empty() || kinds.iter().any(|kind| !seen.contains(kind));
        seen.extend(kinds);
        major >= since && new
    };
    MUTATIONS.iter().filter(is_new).collect()
}

fn object(change: &ObjectChange) -> String {
    let link = if change.kind == ObjectKind::Comment { " on" } else { "" };
    let name = format!("{}{link} {}", change.kind, change.name);
    match change.change {
        Change::Added => format!("{name} is there, and the backup does not have it"),
        Change::Removed => format!("{name} is missing"),
        Change::Changed => {
            assert!(change.lines.iter().any(|line| line.starts_with(['-', '+'])), "{change:?}");
            format!("{name} differs")
        }
        Change::Owner => {
            let owner = |owner: &Option<String>| owner.clone().expect("an owner");
            format!(
                "{name} belongs to {} instead of {}",
                owner(&change.owner_after),
                owner(&change.owner_before)
            )
        }
    }
}

fn privilege(change: &PrivilegeChange) -> String {
    let who = change.grantee.clone().unwrap_or_else(|| "everyone (PUBLIC)".to_owned());
    let option = if change.grantable { " with grant option" } else { "" };
    let what = match &change.column {
        Some(column) => format!("column {column} of table {}", change.name),
        None if change.target == "DATABASE" => "the database".to_owned(),
        None => format!("{} {}", change.target.to_lowercase(), change.name),
    };
    match change.change {
        Change::Added => {
            format!("{who} has {}{option} on {what}, which the backup does not give", change.privilege)
        }
        _ => format!("{who} lacks {}{option} on {what}", change.privilege),
    }
}

fn shown(report: &DiffReport) -> Vec<String> {
    report.objects.iter().map(object).chain(report.privileges.iter().map(privilege)).collect()
}

struct Place<'g> {
    ground: &'g Ground,
    repository: Repository,
}

impl Place<'_> {
    fn back_up(&self) -> Header {
        let name = EnvironmentName::new("test").expect("a name");
        let options = BackupOptions {
            jobs: 1,
            pg_dump: Some(self.ground.pg_dump()),
            lock_timeout: Duration::from_secs(10),
            ..BackupOptions::new(name, self.ground.settings("source"))
        };
        backup::run(&self.repository, &options, &Silent, &Interrupt::new()).expect("a backup").header
    }

    fn compare(&self, before: &Header, after: State, tables: &[&str]) -> DiffReport {
        let options = DiffOptions {
            before: State::Backup(Box::new(before.clone())),
            after,
            tables: tables.iter().map(|&table| table.to_owned()).collect(),
            counts: false,
            rows: None,
        };
        diff::run(&self.repository, &options, &Silent, &Interrupt::new()).expect("a comparison")
    }

    fn live(&self) -> State {
        State::Live(Box::new(self.ground.settings("source")))
    }

    /// Makes the database as it was.
    fn reset(&self) {
        self.ground.run("postgres", "DROP DATABASE source");
        self.ground.run("postgres", "CREATE DATABASE source TEMPLATE origin");
        self.ground.run("postgres", "REVOKE TEMPORARY ON DATABASE source FROM PUBLIC");
    }
}

fn every_kind_of_change_is_named(major: u32) {
    let ground = Ground::with_fixture(major);
    ground.run("postgres", "CREATE DATABASE origin TEMPLATE source");
    let folder = tempfile::tempdir().expect("a folder");
    let store = LocalStore::new(&folder.path().join("repository"));
    let repository = Repository::open_or_init(Box::new(store), jiff::Timestamp::now()).expect("a repository");
    let place = Place { ground: &ground, repository };
    place.reset();
    let before = place.back_up();
    let unchanged = place.compare(&before, place.live(), &[]);
    assert!(unchanged.is_equal(), "{unchanged:#?}");
    let mutations = chosen(major);
    assert!(mutations.len() > 40, "{}", mutations.len());
    let mut failures = Vec::new();
    for (statement, _, differences) in mutations {
        ground.run("source", statement);
        let found = shown(&place.compare(&before, place.live(), &[]));
        if found != *differences {
            failures.push(format!("{statement}: {found:#?}"));
        }
        place.reset();
    }
    assert!(failures.is_empty(), "PostgreSQL {major}:\n{}", failures.join("\n"));

    // Two backups say the same as backup and live database, and a table narrows it to what is its own.
    ground.run(
        "source",
        "ALTER TABLE app.lines ALTER COLUMN note SET DEFAULT 'x'; CREATE INDEX lines_note ON app.lines (note); \
         COMMENT ON COLUMN app.lines.note IS 'a note'; GRANT SELECT ON app.lines TO inv_stranger; \
         DROP SEQUENCE app.unused; ALTER TABLE app.child REPLICA IDENTITY NOTHING",
    );
    let live = place.compare(&before, place.live(), &[]);
    let after = State::Backup(Box::new(place.back_up()));
    let between = place.compare(&before, after, &["app.lines"]);
    let expected = [
        "column app.lines.note differs",
        "index app.lines_note is there, and the backup does not have it",
        "comment on table column app.lines.note is there, and the backup does not have it",
        "inv_stranger has SELECT on table app.lines, which the backup does not give",
    ];
    assert_eq!(shown(&between), expected);
    let found = shown(&live);
    assert_eq!(found.len(), expected.len() + 2, "{found:#?}");
    assert!(expected.iter().all(|one| found.iter().any(|other| other == one)), "{found:#?}");
}

#[test]
fn every_kind_of_change_is_named_on_15() {
    every_kind_of_change_is_named(15);
}

#[test]
fn every_kind_of_change_is_named_on_18() {
    every_kind_of_change_is_named(18);
}
