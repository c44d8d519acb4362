//! Sees a backup's snapshot with a session of its own, so that the backup can be compared with it.
//!
//! While the backup's leader holds its locks, the witness imports the snapshot and locks every table
//! too: whatever happens to the tables later, the witness still reads what the snapshot shows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;

use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::{Event, Monitor};
use pgstow_core::platform::Hosting;
use pgstow_core::postgres::catalog::inventory;
use pgstow_core::postgres::identifier::quote_qualified;
use pgstow_core::postgres::session::{self, Purpose};
use pgstow_core::postgres::{Connection, ConnectionSettings};
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::manifest::{Manifest, Table};

use crate::archive;
use crate::contents::{Contents, is_carried};

type Failure = Box<dyn std::error::Error>;

/// Takes a look at each snapshot of a backup; the last one counts.
pub(crate) struct Witness<'a> {
    settings: &'a ConnectionSettings,
    also: &'a (dyn Fn(&Event<'_>) + Sync),
    view: Mutex<Option<Result<View, String>>>,
}

/// A session that sees what a backup's snapshot shows.
struct View {
    snapshot: String,
    connection: Connection,
    /// Tables of the snapshot by OID: schema, name and columns.
    tables: BTreeMap<u32, (String, String, Vec<String>)>,
    /// Those that could be locked.
    locked: BTreeSet<u32>,
}

/// What a comparison found.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// Tables that were compared.
    pub(crate) compared: usize,
    /// Tables that were not, since another session already waited to change them.
    pub(crate) skipped: Vec<String>,
    pub(crate) differences: Vec<String>,
}

impl Comparison {
    #[track_caller]
    pub(crate) fn assert_equal(&self) {
        assert!(
            self.differences.is_empty(),
            "the backup does not hold what its snapshot shows:\n{}",
            self.differences.join("\n")
        );
    }
}

impl<'a> Witness<'a> {
    /// `also` hears of every event after the witness.
    pub(crate) fn new(settings: &'a ConnectionSettings, also: &'a (dyn Fn(&Event<'_>) + Sync)) -> Self {
        Self { settings, also, view: Mutex::default() }
    }

    /// Compares a backup with its snapshot, except for tables of the names that `passed_over` takes.
    #[track_caller]
    pub(crate) fn compare(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        passed_over: &dyn Fn(&str) -> bool,
    ) -> Comparison {
        self.try_compare(repository, manifest, passed_over).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Compares the definitions of a backup with those that the snapshot shows.
    ///
    /// # Errors
    /// When the witness lost its session, or never had one.
    pub(crate) fn compare_definitions(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        pg_dump: &Path,
    ) -> Result<Vec<String>, Failure> {
        let mut view = self.view.lock().unwrap();
        let view = view.as_mut().ok_or("there was no snapshot")?.as_mut().map_err(|error| error.clone())?;
        let live = inventory::read_catalog(&mut view.connection, &Hosting::default())?;
        let mut found = Vec::new();
        if repository.catalog(manifest)? != live {
            found.push("the catalog of the backup is not that of its snapshot".to_owned());
        }
        let rows = view.connection.query("SELECT pg_catalog.pg_export_snapshot()")?;
        let snapshot: String = rows.only()?.get(0)?;
        let live = archive::script(pg_dump, &archive::dump(pg_dump, self.settings, &snapshot));
        let stored = archive::script(pg_dump, &repository.file(manifest, "schema.dump")?);
        if stored != live {
            let only = |these: &str, those: &str| -> Vec<String> {
                these
                    .lines()
                    .filter(|line| !those.lines().any(|other| other == *line))
                    .map(str::to_owned)
                    .collect()
            };
            found.push(format!(
                "the schema archive differs; only in the backup: {:#?}; only in the snapshot: {:#?}",
                only(&stored, &live),
                only(&live, &stored)
            ));
        }
        Ok(found)
    }

    /// # Errors
    /// When the witness lost its session, or never had one.
    pub(crate) fn try_compare(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        passed_over: &dyn Fn(&str) -> bool,
    ) -> Result<Comparison, Failure> {
        let view = self.view.lock().unwrap().take().ok_or("there was no snapshot")?;
        view?.compare(repository, manifest, passed_over)
    }
}

impl Monitor for Witness<'_> {
    fn event(&self, event: Event<'_>) {
        if let Event::Snapshot { id, .. } = &event {
            let mut view = self.view.lock().unwrap();
            // The view of an attempt that was given up lets go of its locks first.
            *view = None;
            *view = Some(View::open(self.settings, id).map_err(|error| error.to_string()));
        }
        (self.also)(&event);
    }
}

impl View {
    fn open(settings: &ConnectionSettings, snapshot: &str) -> Result<Self, Failure> {
        let mut connection = Connection::open(settings, &Interrupt::new())?;
        let encoding = session::client_encoding(&connection);
        session::pin(&mut connection, Purpose::Read, encoding)?;
        connection.execute(&format!(
            "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET TRANSACTION SNAPSHOT '{snapshot}'"
        ))?;
        let rows = connection.query(
            "SELECT c.oid, n.nspname, c.relname, a.attname || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod)
               FROM pg_catalog.pg_class c
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               LEFT JOIN pg_catalog.pg_attribute a
                      ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
              WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
                AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
              ORDER BY c.oid, a.attnum",
        )?;
        let mut tables: BTreeMap<u32, (String, String, Vec<String>)> = BTreeMap::new();
        for row in rows.iter() {
            let empty = (row.get(1)?, row.get(2)?, Vec::new());
            let (_, _, columns) = tables.entry(row.get(0)?).or_insert(empty);
            columns.extend(row.get::<Option<String>>(3)?);
        }
        let mut locked = BTreeSet::new();
        for (oid, (schema, name, _)) in &tables {
            let name = quote_qualified(schema, name);
            let lock = format!("SAVEPOINT here; LOCK TABLE ONLY {name} IN ACCESS SHARE MODE NOWAIT");
            if connection.execute(&lock).is_ok() {
                locked.insert(*oid);
                connection.execute("RELEASE here")?;
            } else {
                connection.execute("ROLLBACK TO here; RELEASE here")?;
            }
        }
        Ok(Self { snapshot: snapshot.to_owned(), connection, tables, locked })
    }

    fn compare(
        mut self,
        repository: &Repository,
        manifest: &Manifest,
        passed_over: &dyn Fn(&str) -> bool,
    ) -> Result<Comparison, Failure> {
        assert_eq!(self.snapshot, manifest.snapshot.id, "the witness saw the backup's snapshot");
        let mut found = Comparison { differences: self.other_tables(manifest), ..Comparison::default() };
        let mut contents = Contents::new(repository, manifest);
        for table in manifest.tables.iter().filter(|table| is_carried(table)) {
            if passed_over(&table.name) {
                continue;
            }
            if !self.locked.contains(&table.oid) {
                found.skipped.push(table.name.clone());
                continue;
            }
            found.differences.extend(contents.differences(&mut self.connection, table)?);
            found.compared += 1;
        }
        found.differences.extend(contents.large_object_differences(&mut self.connection)?);
        Ok(found)
    }

    /// Tables and columns that only the manifest or only the snapshot has.
    fn other_tables(&self, manifest: &Manifest) -> Vec<String> {
        let expected: BTreeSet<(u32, String)> = self
            .tables
            .iter()
            .map(|(oid, (schema, name, columns))| (*oid, format!("{schema}.{name} {columns:?}")))
            .collect();
        let held: BTreeSet<(u32, String)> =
            manifest.tables.iter().map(|table| (table.oid, described(table))).collect();
        let missing =
            expected.difference(&held).map(|(oid, table)| format!("only in the snapshot: {table} ({oid})"));
        let extra =
            held.difference(&expected).map(|(oid, table)| format!("only in the backup: {table} ({oid})"));
        missing.chain(extra).collect()
    }
}

fn described(table: &Table) -> String {
    let columns: Vec<String> =
        table.columns.iter().map(|column| format!("{} {}", column.name, column.type_name)).collect();
    format!("{}.{} {columns:?}", table.schema, table.name)
}
