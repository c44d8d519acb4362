//! Connects and says whether a backup would work, and why not. Changes nothing.

use super::scope::Scope;
use super::{Ability, BackupOptions, CheckLine, CheckReport, abilities, large_objects, preflight};
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::platform::Hosting;
use crate::postgres::capabilities;
use crate::postgres::catalog::relations::{self, Relation, Sizes};
use crate::postgres::catalog::{hosting, sequences};
use crate::postgres::client_tools::{PgDump, ToolPlaces, server_major};
use crate::postgres::connection::Connection;
use crate::postgres::pooler;
use crate::postgres::session::{self, Purpose};
use crate::repository::format::manifest::Source;

/// Gathers lines; a failed one never hides the next that can still be looked at.
#[derive(Default)]
struct Lines {
    lines: Vec<CheckLine>,
    hosting: Option<Hosting>,
    abilities: Vec<Ability>,
}

impl Lines {
    /// Notes the outcome of one look; the value when it passed.
    fn note<T>(
        &mut self,
        what: &str,
        outcome: Result<T>,
        found: impl FnOnce(&T) -> String,
    ) -> Result<Option<T>> {
        match outcome {
            Ok(value) => {
                let found = found(&value);
                self.lines.push(CheckLine { what: what.to_owned(), passed: true, found, hints: Vec::new() });
                Ok(Some(value))
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let found = error.in_one_line();
                let hints = error.hints().to_vec();
                self.lines.push(CheckLine { what: what.to_owned(), passed: false, found, hints });
                Ok(None)
            }
        }
    }
}

impl Lines {
    /// Notes who runs the server and what the role may do there; also how the session got there,
    /// now that it is known to stay.
    fn platform(&mut self, connection: &mut Connection, role: &str) -> Result<Option<Hosting>> {
        let hosting = hosting::read(connection).map_err(Error::from);
        let Some(hosting) = self.note("platform", hosting, abilities::platform)? else { return Ok(None) };
        let process = connection.query("SELECT pg_catalog.pg_backend_pid()").map_err(Error::from)?;
        let direct = process.only()?.get::<i32>(0)? == connection.process_id();
        if let Some(line) = self.lines.iter_mut().find(|line| line.what == "pooler") {
            (line.found, line.hints) = abilities::pooler(direct, &hosting, connection.endpoint());
        }
        self.hosting = Some(hosting.clone());
        match capabilities::probe(connection).map_err(Error::from) {
            Ok(found) => self.abilities = abilities::abilities(&found, role),
            failed => {
                self.note("abilities", failed, |_| String::new())?;
            }
        }
        Ok(Some(hosting))
    }
}

pub(super) fn run(options: &BackupOptions, interrupt: &Interrupt) -> Result<CheckReport> {
    let mut lines = Lines::default();
    look(options, interrupt, &mut lines)?;
    let Lines { lines, hosting, abilities } = lines;
    Ok(CheckReport { lines, hosting, abilities })
}

fn look(options: &BackupOptions, interrupt: &Interrupt, lines: &mut Lines) -> Result<()> {
    let opened = Connection::open(&options.connection, interrupt).map_err(Error::from);
    let described = |connection: &Connection| {
        let safety = if connection.is_encrypted() { "encrypted by TLS" } else { "not encrypted" };
        format!("{}, {safety}", connection.endpoint())
    };
    let Some(mut connection) = lines.note("connection", opened, described)? else { return Ok(()) };
    let own = pooler::refuse_transaction_pooler(&mut connection, interrupt);
    if lines.note("pooler", own, |()| "the session keeps its server process".to_owned())?.is_none() {
        return Ok(());
    }
    let encoding = session::client_encoding(&connection);
    let pinned = session::pin(&mut connection, Purpose::Read, encoding).map_err(Error::from);
    if lines.note("session", pinned, |()| "settings can be pinned".to_owned())?.is_none() {
        return Ok(());
    }
    let source = preflight::source(&mut connection);
    let described = |source: &Source| {
        let standby = if source.in_recovery { ", a standby" } else { "" };
        format!("PostgreSQL {}, {}{standby}, as {}", source.server_version, source.encoding, source.role)
    };
    let Some(source) = lines.note("server", source, described)? else { return Ok(()) };
    let Some(hosting) = lines.platform(&mut connection, &source.role)? else { return Ok(()) };
    let places = ToolPlaces { configured: options.pg_dump.clone(), search_path: options.search_path.clone() };
    let tool = PgDump::find(&places, server_major(&connection));
    lines.note("pg_dump", tool, |tool| format!("{} at {}", tool.version, tool.program.display()))?;
    let scope =
        Scope::new(&options.selection, source.in_recovery, hosting, options.auth_users.unwrap_or_default())?;
    let listed = relations::list(&mut connection, Sizes::Read).map_err(Error::from);
    let Some(listed) = lines.note("tables", listed, |relations| size_of(relations, &scope))? else {
        return Ok(());
    };
    let readable = preflight::require_readable(&listed, &scope, &source.role);
    lines.note("privileges", readable, |()| "every table can be read in full".to_owned())?;
    let positions = sequences::positions(&mut connection).map_err(Error::from);
    let sequences = positions.and_then(|mut positions| {
        super::sequences::keep_users(&mut positions, scope.hosting());
        super::sequences::require_readable(&positions.unreadable)
    });
    lines.note("sequences", sequences, |()| "every sequence can be read".to_owned())?;
    let objects = large_objects::require_readable(&mut connection, &source.role);
    lines.note("large objects", objects, |()| "every large object can be read".to_owned())?;
    lines.note("snapshot", snapshot(&mut connection), |()| "can be shared between sessions".to_owned())?;
    Ok(())
}

fn size_of(relations: &[Relation], scope: &Scope) -> String {
    let tables: Vec<&Relation> = relations.iter().filter(|relation| scope.reads(relation)).collect();
    let bytes: u64 = tables.iter().map(|relation| relation.table_bytes).sum();
    format!("{} with rows to read, {} MiB on disk", tables.len(), bytes >> 20)
}

fn snapshot(connection: &mut Connection) -> Result<()> {
    connection.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")?;
    let exported = connection.query("SELECT pg_catalog.pg_export_snapshot()");
    connection.execute("ROLLBACK")?;
    exported.map(|_| ()).map_err(Error::from)
}
