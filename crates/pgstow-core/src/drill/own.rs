//! A server of the drill's own: found, made, shut off, filled with the backup's roles, gone at the end.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::Backup;
use super::database::{self, DATABASE};
use super::roles;
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::monitor::{Event, Monitor};
use crate::postgres::server::{
    DisposableServer, Folder, Purpose, ServerBinaries, ServerOptions, remove_leftovers,
};
use crate::postgres::{Connection, ConnectionSettings};

/// What an empty cluster takes, in bytes.
const CLUSTER_BYTES: u64 = 64 << 20;
/// Sessions beside those of the restore.
const MORE_SESSIONS: usize = 10;

/// Where the server is made.
#[derive(Debug, Clone)]
pub struct OwnServer {
    /// Its folder is made in here.
    pub folder: PathBuf,
    /// `PATH`, to look for the server's programs.
    pub search_path: Option<OsString>,
}

/// A running server. Dropping it stops the server and removes its folder.
pub(super) struct Running {
    // In this order: the server lies in the folder.
    server: DisposableServer,
    _folder: Folder,
    pub(super) notes: Vec<String>,
}

impl Running {
    /// Finds a suitable server, makes sure that the backup fits, and starts it.
    ///
    /// # Errors
    /// Refused: none installed that is new enough, not enough room, it cannot be shut off. Failed: it does
    /// not start.
    pub(super) fn start(
        own: &OwnServer,
        backup: &Backup,
        jobs: usize,
        monitor: &dyn Monitor,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let elsewhere = |error: Error| error.hint("or let another server do it: --drill-target URL");
        let major = backup.manifest.source.server_version_num / 10_000;
        let binaries = ServerBinaries::at_least(major, own.search_path.as_deref()).map_err(elsewhere)?;
        let mut notes = Vec::new();
        for path in remove_leftovers(&own.folder, Purpose::Drill) {
            notes.push(format!("removed {}, left by a drill that was killed", path.display()));
        }
        check_room(&own.folder, backup).map_err(elsewhere)?;
        interrupt.check()?;
        monitor.event(Event::Phase { name: "server" });
        let folder = Folder::make(&own.folder, Purpose::Drill)?;
        let names = backup.roles();
        let superuser = roles::superuser(&names);
        let options = ServerOptions {
            binaries: Some(binaries.directory().to_owned()),
            parent_directory: folder.path().to_owned(),
            superuser,
            configuration: configuration(jobs, binaries.major()),
            isolated: true,
            ..ServerOptions::default()
        };
        let server = DisposableServer::start(&options).map_err(|error| match error.kind() {
            ErrorKind::Refused => elsewhere(error),
            _ => error.hint("--drill-folder names another place for it; --drill-target URL another server"),
        })?;
        let running = Self { server, _folder: folder, notes };
        interrupt.check()?;
        running.fill(backup, &names, interrupt)
    }

    /// Makes the roles and the database.
    fn fill(mut self, backup: &Backup, names: &BTreeSet<String>, interrupt: &Interrupt) -> Result<Self> {
        let mut connection = Connection::open(&self.server.settings("postgres"), interrupt)?;
        let statements = roles::statements(names, &backup.catalog, &backup.entries);
        for statement in statements.create {
            connection.execute(&statement)?;
        }
        for statement in statements.grant {
            match connection.execute(&statement) {
                Err(error) if error.is_lost() => return Err(error.into()),
                _ => {}
            }
        }
        self.notes.extend(database::create(&mut connection, DATABASE, &backup.manifest.source)?);
        Ok(self)
    }

    pub(super) fn settings(&self) -> ConnectionSettings {
        self.server.settings(DATABASE)
    }
}

/// What a server that lives for minutes and is shut off needs.
fn configuration(jobs: usize, major: u32) -> Vec<String> {
    let mut lines = vec![
        format!("max_connections = {}", jobs + MORE_SESSIONS),
        "shared_buffers = 128MB".to_owned(),
        "max_locks_per_transaction = 256".to_owned(),
        "wal_level = minimal".to_owned(),
        "max_wal_senders = 0".to_owned(),
        "synchronous_commit = off".to_owned(),
        "autovacuum = off".to_owned(),
        "max_logical_replication_workers = 0".to_owned(),
    ];
    if major >= 17 {
        lines.push("event_triggers = off".to_owned());
    }
    lines
}

/// # Errors
/// Refused when what is free is less than the rows alone take.
fn check_room(folder: &Path, backup: &Backup) -> Result<()> {
    let found = rustix::fs::statvfs(folder).map_err(|error| {
        Error::failed(format!("cannot use {}", folder.display()))
            .source(std::io::Error::from(error))
            .hint("--drill-folder names another place")
    })?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let needed = backup.manifest.content_bytes().saturating_add(CLUSTER_BYTES);
    if free >= needed {
        return Ok(());
    }
    let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
    Err(Error::refused(format!(
        "the backup does not fit into {}: {} MiB are free, and at least {} MiB are needed",
        folder.display(),
        free >> 20,
        mebibytes(needed)
    ))
    .why("its rows alone take that much; indexes come on top")
    .hint("--drill-folder names another place"))
}
