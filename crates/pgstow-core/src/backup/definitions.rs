//! The definitions of a backup: taken over from an earlier one when the system catalogs are proven
//! unchanged, or else read in the backup's snapshot, the catalog by a session of our own, the schema
//! archive by pg_dump. What the catalog holds of a platform's rows is read in any case.

use std::collections::BTreeMap;
use std::time::Duration;

use super::managed::{ManagedRows, ManagedTables};
use super::reuse::definitions::{self, Circumstances, Doubt};
use super::reuse::{DefinitionsBase, Flush};
use super::sidecars;
use crate::archive;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::inventory::ObjectKind;
use crate::inventory::catalog::Catalog;
use crate::platform::Hosting;
use crate::postgres::catalog::inventory;
use crate::postgres::catalog::system_catalogs::{self, SystemCatalogs};
use crate::postgres::client_tools::{PgDump, SchemaDump};
use crate::postgres::connection::Connection;
use crate::postgres::identifier::quote_literal;
use crate::postgres::session::{self, Purpose};
use crate::postgres::{ConnectionSettings, QueryError};
use crate::repository::format::layout::{self, SCHEMA_ARCHIVE};
use crate::repository::format::manifest::{Sections, Snapshot, Source};
use crate::repository::format::proof::DefinitionsProof;
use crate::repository::{BackupDraft, Repository, StoredFile};

/// How to come by the definitions, beside the rows.
pub(super) struct DefinitionsOptions<'a> {
    pub(super) connection: &'a ConnectionSettings,
    /// The server and the role.
    pub(super) source: &'a Source,
    /// `None` when only the catalog is wanted.
    pub(super) pg_dump: Option<&'a PgDump>,
    /// What is wanted.
    pub(super) sections: Sections,
    /// Tables that pg_dump must leave alone (schema, name).
    pub(super) exclude: &'a [(String, String)],
    /// Which schemas are the platform's: pg_dump leaves the internal ones alone.
    pub(super) hosting: &'a Hosting,
    /// Tables of the platform to look into.
    pub(super) managed: &'a ManagedTables,
    /// Client encoding.
    pub(super) encoding: &'a str,
    /// How long pg_dump waits for a lock: a queued exclusive lock would block it for ever.
    pub(super) lock_timeout: Duration,
    /// Where the earlier backup lies.
    pub(super) repository: &'a Repository,
    /// How far the server's log has to be on disk.
    pub(super) flush: Flush,
    /// A backup of the same history, to compare with.
    pub(super) earlier: Option<&'a DefinitionsBase>,
}

/// The definitions, ready to be written.
pub(super) struct Definitions {
    content: Content,
    /// What was found in tables of the platform.
    pub(super) managed: ManagedRows,
    /// Names of this database's subscriptions.
    pub(super) subscriptions: Vec<String>,
    /// What lets a later backup take them over.
    pub(super) proof: Option<DefinitionsProof>,
    /// Why they were not taken over although there was something to compare with.
    pub(super) doubt: Option<String>,
}

enum Content {
    /// Of the earlier backup; the counts are those of its header.
    TakenOver { files: Vec<StoredFile>, counts: BTreeMap<ObjectKind, usize> },
    /// Read anew.
    Read { catalog: Box<Catalog>, archive: Option<Vec<u8>> },
}

impl Definitions {
    /// Whether they are those of the earlier backup.
    pub(super) fn are_taken_over(&self) -> bool {
        matches!(self.content, Content::TakenOver { .. })
    }

    /// Number of objects of each kind.
    pub(super) fn counts(&self) -> BTreeMap<ObjectKind, usize> {
        match &self.content {
            Content::TakenOver { counts, .. } => counts.clone(),
            Content::Read { catalog, .. } => catalog.inventory.counts(),
        }
    }

    /// Writes their files.
    ///
    /// # Errors
    /// The store's; a schema archive that is none.
    pub(super) fn write(&self, draft: &mut BackupDraft<'_>) -> Result<()> {
        if let Some(users) = self.managed.sidecar() {
            draft.write_file(users.name, users.content.as_bytes())?;
        }
        let (catalog, archive) = match &self.content {
            Content::TakenOver { files, .. } => {
                return files.iter().try_for_each(|file| draft.adopt_file(file));
            }
            Content::Read { catalog, archive } => (catalog, archive),
        };
        let entries = archive.as_deref().map(archive::read).transpose()?.unwrap_or_default();
        for sidecar in sidecars::of_definitions(catalog, &entries) {
            draft.write_file(sidecar.name, sidecar.content.as_bytes())?;
        }
        if let Some(archive) = archive {
            draft.write_file(SCHEMA_ARCHIVE, archive)?;
        }
        draft.write_catalog(catalog)
    }
}

/// Takes the definitions over or reads them in the exported snapshot.
///
/// # Errors
/// pg_dump's or the server's; interrupted when `stop` is raised.
pub(super) fn read(
    options: &DefinitionsOptions<'_>,
    snapshot: &Snapshot,
    stop: &Interrupt,
) -> Result<Definitions> {
    let mut connection = open(options, stop)?;
    // Early, so that nobody waits for it at the end, and what is finished can be kept meanwhile.
    options.flush.nudge(&mut connection)?;
    connection.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")?;
    connection.execute(&format!("SET TRANSACTION SNAPSHOT {}", quote_literal(&snapshot.id)))?;
    // Behind a queued exclusive lock on a table that the leader holds it would wait for ever.
    connection.execute(&format!("SET LOCAL lock_timeout = {}", options.lock_timeout.as_millis()))?;
    let managed = options.managed.read(&mut connection)?;
    let described = managed.described()?;
    let circumstances = options.circumstances(&described);
    let subscriptions = subscriptions(&mut connection)?;
    let since = options.earlier.map(|earlier| earlier.manifest.snapshot.xmin);
    let catalogs = system_catalogs::read(&mut connection, since)?;
    let proof = definitions::proof(&circumstances, &catalogs);
    let taken_over =
        options.earlier.map(|earlier| take_over(options, earlier, snapshot, &circumstances, &catalogs));
    let doubt = match taken_over {
        Some(Ok(files)) => {
            let counts = options.earlier.map(|earlier| earlier.counts.clone()).unwrap_or_default();
            let content = Content::TakenOver { files, counts };
            return Ok(Definitions { content, managed, subscriptions, proof, doubt: None });
        }
        Some(Err(doubt)) => Some(doubt.to_string()),
        None => None,
    };
    let mut catalog = Box::new(inventory::read_catalog(&mut connection, options.hosting)?);
    managed.complete(&mut catalog);
    drop(connection);
    let archive = options.pg_dump.map(|pg_dump| archive(options, pg_dump, snapshot, stop)).transpose()?;
    // What shows no xmin must not have changed while it was read; a later backup could not tell.
    let steady =
        proof.is_some() && system_catalogs::read_uncounted(&mut open(options, stop)?)? == catalogs.uncounted;
    let proof = proof.filter(|_| steady);
    Ok(Definitions { content: Content::Read { catalog, archive }, managed, subscriptions, proof, doubt })
}

impl DefinitionsOptions<'_> {
    fn circumstances<'b>(&'b self, managed: &'b [u8]) -> Circumstances<'b> {
        Circumstances {
            source: self.source,
            user: &self.connection.user,
            pg_dump_version: self.pg_dump.map(|pg_dump| pg_dump.version.as_str()),
            sections: self.sections,
            encoding: self.encoding,
            exclude: self.exclude,
            hosting: self.hosting,
            managed,
        }
    }

    /// Names of all files that come from definitions.
    fn file_names(&self) -> Vec<&'static str> {
        let mut names = vec![layout::CATALOG_FILE];
        names.extend(sidecars::OF_CATALOG);
        if self.pg_dump.is_some() {
            names.push(SCHEMA_ARCHIVE);
            names.extend(sidecars::OF_ARCHIVE);
        }
        names
    }
}

fn open(options: &DefinitionsOptions<'_>, stop: &Interrupt) -> Result<Connection> {
    let mut connection = Connection::open(options.connection, stop)?;
    session::pin(&mut connection, Purpose::Read, options.encoding)?;
    Ok(connection)
}

/// The earlier backup's files, when they are proven to be what would be read now. They are all
/// read here, where it is not too late to make them anew.
fn take_over(
    options: &DefinitionsOptions<'_>,
    earlier: &DefinitionsBase,
    snapshot: &Snapshot,
    circumstances: &Circumstances<'_>,
    catalogs: &SystemCatalogs,
) -> Result<Vec<StoredFile>, Doubt> {
    let manifest = &earlier.manifest;
    let proof = manifest.proof.as_ref().and_then(|proof| proof.definitions.as_ref());
    let proof = proof.ok_or(Doubt::OtherCatalogs)?;
    definitions::unchanged(proof, manifest.snapshot.xmin, snapshot.xmin, circumstances, catalogs)?;
    let names = options.file_names().into_iter();
    let files = names.map(|name| options.repository.stored_file(manifest, name)).collect::<Result<_>>();
    files.map_err(|error| Doubt::File(error.to_string()))
}

fn archive(
    options: &DefinitionsOptions<'_>,
    pg_dump: &PgDump,
    snapshot: &Snapshot,
    stop: &Interrupt,
) -> Result<Vec<u8>> {
    let exclude_schemas: Vec<String> = options.hosting.internal.iter().cloned().collect();
    let dump = SchemaDump {
        snapshot: &snapshot.id,
        encoding: options.encoding,
        exclude: options.exclude,
        exclude_schemas: &exclude_schemas,
        lock_timeout_ms: u64::try_from(options.lock_timeout.as_millis()).unwrap_or(u64::MAX),
    };
    pg_dump.schema_archive(options.connection, &dump, stop)
}

fn subscriptions(connection: &mut Connection) -> Result<Vec<String>> {
    let rows = connection.query(
        "SELECT s.subname FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid \
         WHERE d.datname = pg_catalog.current_database() ORDER BY s.subname",
    )?;
    Ok(rows.iter().map(|row| row.get(0)).collect::<Result<_, QueryError>>()?)
}
