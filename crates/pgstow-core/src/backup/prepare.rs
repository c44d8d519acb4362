//! Before anything is locked: connect, look at the server, at what may be read, and at earlier backups.

use super::reuse::Bases;
use super::scope::Scope;
use super::{BackupOptions, large_objects, preflight};
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::monitor::{Event, Monitor};
use crate::platform::{AuthUsers, Keeper};
use crate::postgres::ConnectionSettings;
use crate::postgres::catalog::hosting;
use crate::postgres::catalog::relations::{self, Sizes};
use crate::postgres::client_tools::{PgDump, ToolPlaces, server_major};
use crate::postgres::connection::Connection;
use crate::postgres::pooler;
use crate::postgres::session::{self, Purpose};
use crate::repository::Repository;
use crate::repository::format::manifest::Source;

/// What was found before anything was locked.
pub(super) struct Start {
    /// Narrowed to the host that answered: all sessions of a backup belong to one server.
    pub(super) settings: ConnectionSettings,
    /// Client encoding of all sessions.
    pub(super) encoding: &'static str,
    pub(super) source: Source,
    pub(super) scope: Scope,
    pub(super) pg_dump: Option<PgDump>,
    /// Earlier backups to compare with.
    pub(super) bases: Bases,
    /// Tables that pg_dump must leave alone: not taken in, and not readable. Those of schemas that it
    /// leaves out altogether are not listed.
    pub(super) closed: Vec<(String, String)>,
}

/// Connects and refuses whatever would fail later; the session comes with it.
///
/// # Errors
/// What stands in the way, each by name.
pub(super) fn prepare(
    repository: &Repository,
    options: &BackupOptions,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<(Start, Connection)> {
    // What cannot be stored need not be read.
    repository.encrypts_to()?;
    let mut connection = Connection::open(&options.connection, interrupt)?;
    pooler::refuse_transaction_pooler(&mut connection, interrupt)?;
    // Before any other query: the role's own settings (time-outs, say) must not apply to us.
    let encoding = session::client_encoding(&connection);
    session::pin(&mut connection, Purpose::Read, encoding)?;
    let source = preflight::source(&mut connection)?;
    let endpoint = format!("{}/{}", source.endpoint, source.database);
    let server = format!("PostgreSQL {}", source.server_version);
    monitor.event(Event::Connected { endpoint: &endpoint, server: &server });
    let hosting = hosting::read(&mut connection)?;
    let by_protection = if repository.is_encrypted() { AuthUsers::Full } else { AuthUsers::Metadata };
    let users = options.auth_users.unwrap_or(by_protection);
    let scope = Scope::new(&options.selection, source.in_recovery, hosting, users)?;
    let scope = scope.with_rows_of(&options.rows_of)?.into_encrypted(repository.is_encrypted());
    let relations = relations::list(&mut connection, Sizes::Skip)?;
    scope.require_matches(&relations)?;
    preflight::require_readable(&relations, &scope, &source.role)?;
    if scope.wants_large_objects() {
        large_objects::require_readable(&mut connection, &source.role)?;
    }
    let places = ToolPlaces { configured: options.pg_dump.clone(), search_path: options.search_path.clone() };
    let pg_dump =
        scope.wants_definitions().then(|| PgDump::find(&places, server_major(&connection))).transpose()?;
    let closed = relations
        .iter()
        .filter(|relation| {
            matches!(relation.kind, 'r' | 'p')
                && !relation.selectable
                && !scope.locks(relation)
                && scope.hosting().keeper(&relation.schema) != Keeper::Internal
        })
        .map(|relation| (relation.schema.clone(), relation.name.clone()))
        .collect();
    let settings = connection.settings().clone();
    let (environment, database) = (&options.environment, options.connection.database.as_str());
    let bases = Bases::read(repository, environment, database, options.selection.sections)?;
    Ok((Start { settings, encoding, source, scope, pg_dump, bases, closed }, connection))
}
