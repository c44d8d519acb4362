//! Reads the definitions in the backup's snapshot: the schema archive by pg_dump, the catalog by
//! a session of our own.

use std::time::Duration;

use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::inventory::catalog::Catalog;
use crate::postgres::catalog::inventory;
use crate::postgres::client_tools::{PgDump, SchemaDump};
use crate::postgres::connection::Connection;
use crate::postgres::identifier::quote_literal;
use crate::postgres::session::{self, Purpose};
use crate::postgres::{ConnectionSettings, QueryError};

/// How to read the definitions, beside the rows.
pub(super) struct DefinitionsOptions<'a> {
    pub(super) connection: &'a ConnectionSettings,
    /// `None` when only the catalog is wanted.
    pub(super) pg_dump: Option<&'a PgDump>,
    /// Tables that pg_dump must leave alone (schema, name).
    pub(super) exclude: &'a [(String, String)],
    /// Client encoding.
    pub(super) encoding: &'a str,
    /// How long pg_dump waits for a lock: a queued exclusive lock would block it for ever.
    pub(super) lock_timeout: Duration,
}

/// The definitions as read.
pub(super) struct Definitions {
    pub(super) catalog: Catalog,
    pub(super) archive: Option<SchemaArchive>,
    /// Names of this database's subscriptions.
    pub(super) subscriptions: Vec<String>,
}

/// What pg_dump gave.
pub(super) struct SchemaArchive {
    pub(super) content: Vec<u8>,
    pub(super) pg_dump_version: String,
}

/// Reads the definitions in the exported snapshot.
///
/// # Errors
/// pg_dump's or the server's; interrupted when `stop` is raised.
pub(super) fn read(
    options: &DefinitionsOptions<'_>,
    snapshot: &str,
    stop: &Interrupt,
) -> Result<Definitions> {
    let dump = SchemaDump {
        snapshot,
        encoding: options.encoding,
        exclude: options.exclude,
        lock_timeout_ms: u64::try_from(options.lock_timeout.as_millis()).unwrap_or(u64::MAX),
    };
    let archive = match options.pg_dump {
        Some(pg_dump) => Some(SchemaArchive {
            content: pg_dump.schema_archive(options.connection, &dump, stop)?,
            pg_dump_version: pg_dump.version.clone(),
        }),
        None => None,
    };
    let mut connection = Connection::open(options.connection, stop)?;
    session::pin(&mut connection, Purpose::Read, options.encoding)?;
    connection.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")?;
    connection.execute(&format!("SET TRANSACTION SNAPSHOT {}", quote_literal(snapshot)))?;
    let catalog = inventory::read_catalog(&mut connection)?;
    let subscriptions = subscriptions(&mut connection)?;
    Ok(Definitions { catalog, archive, subscriptions })
}

fn subscriptions(connection: &mut Connection) -> Result<Vec<String>> {
    let rows = connection.query(
        "SELECT s.subname FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid \
         WHERE d.datname = pg_catalog.current_database() ORDER BY s.subname",
    )?;
    Ok(rows.iter().map(|row| row.get(0)).collect::<Result<_, QueryError>>()?)
}
