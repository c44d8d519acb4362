//! Where one data set is measured: a server of its own, a folder for repositories and dumps, the
//! source database, and the database that restores fill. All of it is gone when dropped.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use pgstow_core::interrupt::Interrupt;
use pgstow_core::postgres::Connection;
use pgstow_core::postgres::server::{DisposableServer, ServerOptions};
use pgstow_core::postgres::settings::ConnectionSettings;
use pgstow_core::{Error, Result};
use tempfile::TempDir;

use crate::programs::Programs;

/// The database that is backed up.
pub(crate) const SOURCE: &str = "source";
/// The database that is restored into.
pub(crate) const RESTORED: &str = "restored";

/// What differs from a stock server, and why.
pub(crate) const CONFIGURATION: [(&str, &str); 7] = [
    ("autovacuum = off", "it would run during some measurements and not during others"),
    ("checkpoint_timeout = '1h'", "the same"),
    ("max_wal_size = '16GB'", "the same"),
    ("min_wal_size = '4GB'", "WAL files are used again, so that the first restore does not pay for all"),
    ("max_locks_per_transaction = 512", "pg_dump cannot dump 10,000 tables with less"),
    ("archive_mode = on", "pgbackrest needs it"),
    ("archive_command = '/bin/true'", "while pgbackrest does not run, nobody pays for its archive"),
];

/// A server with a source database, and a folder.
pub(crate) struct Stage {
    pub(crate) server: DisposableServer,
    pub(crate) programs: Programs,
    pub(crate) interrupt: Interrupt,
    folder: TempDir,
}

impl Stage {
    /// Starts the server and makes an empty source database.
    ///
    /// # Errors
    /// A server that does not start; a folder that cannot be made.
    pub(crate) fn set_up(directory: &Path, programs: &Programs, interrupt: &Interrupt) -> Result<Self> {
        let failed =
            |error| Error::failed(format!("cannot make a folder in {}", directory.display())).source(error);
        let folder =
            tempfile::Builder::new().prefix("pgstow-bench-").tempdir_in(directory).map_err(failed)?;
        // The server's account has to get through to its own folders.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).map_err(failed)?;
        let options = ServerOptions {
            binaries: Some(programs.postgres.clone()),
            parent_directory: folder.path().to_owned(),
            configuration: CONFIGURATION.map(|(line, _)| line.to_owned()).to_vec(),
            durable: true,
            ..ServerOptions::default()
        };
        let server = DisposableServer::start(&options)?;
        let stage = Self { server, programs: programs.clone(), interrupt: interrupt.clone(), folder };
        stage.new_folder("said")?;
        stage.execute("postgres", &format!("CREATE DATABASE {SOURCE} TEMPLATE template0"))?;
        Ok(stage)
    }

    /// Folder of that name, which may not be there.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes that folder anew, empty.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn new_folder(&self, name: &str) -> Result<PathBuf> {
        self.remove_folder(name)?;
        let path = self.folder(name);
        fs::create_dir(&path)
            .map_err(|error| Error::failed(format!("cannot make {}", path.display())).source(error))?;
        Ok(path)
    }

    /// Removes that folder if it is there.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn remove_folder(&self, name: &str) -> Result<()> {
        let path = self.folder(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::failed(format!("cannot remove {}", path.display())).source(error))
            }
            _ => Ok(()),
        }
    }

    /// Makes that folder anew and gives it to the server's account.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn new_server_folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.new_folder(name)?;
        let given = self.server_account().and_then(|(user, group)| {
            fs::set_permissions(&path, Permissions::from_mode(0o700))?;
            chown(&path, Some(user), Some(group))
        });
        given.map_err(|error| Error::failed(format!("cannot give {} away", path.display())).source(error))?;
        Ok(path)
    }

    /// A program, with this stage's folder as its home.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = self.programs.command(program);
        command.env("HOME", self.folder.path()).env("TMPDIR", self.folder.path());
        command.current_dir(self.folder.path());
        command
    }

    /// A program that runs as the server's account.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn server_command(&self, program: &str) -> Result<Command> {
        let (user, group) = self
            .server_account()
            .map_err(|error| Error::failed("cannot tell the server's account").source(error))?;
        if !rustix::process::geteuid().is_root() {
            return Ok(self.command(program));
        }
        let mut command = self.command("setpriv");
        command.arg(format!("--reuid={user}")).arg(format!("--regid={group}"));
        command.args(["--clear-groups", "--"]).arg(self.programs.path_of(program));
        Ok(command)
    }

    fn server_account(&self) -> std::io::Result<(u32, u32)> {
        let data = fs::metadata(self.server.data_directory())?;
        Ok((data.uid(), data.gid()))
    }

    /// Connection string of a database.
    pub(crate) fn url(&self, database: &str) -> String {
        let directory = self.server.socket_directory().display();
        format!("postgresql://postgres@/{database}?host={directory}&port={}", self.server.socket_port())
    }

    /// Process id of the postmaster.
    ///
    /// # Errors
    /// A server that does not run.
    pub(crate) fn postmaster(&self) -> Result<u32> {
        let file = self.server.data_directory().join("postmaster.pid");
        let text = fs::read_to_string(&file)
            .map_err(|error| Error::failed(format!("cannot read {}", file.display())).source(error))?;
        text.lines()
            .next()
            .and_then(|line| line.trim().parse().ok())
            .ok_or_else(|| Error::failed(format!("{} holds no process id", file.display())))
    }

    /// A session with a database.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub(crate) fn connect(&self, database: &str) -> Result<Connection> {
        connect(&self.server.settings(database), &self.interrupt)
    }

    /// Runs statements in a session of their own.
    ///
    /// # Errors
    /// The server's.
    pub(crate) fn execute(&self, database: &str, statements: &str) -> Result<()> {
        self.connect(database)?.execute(statements)?;
        Ok(())
    }

    /// Gets everything onto disk, so that no measurement pays for what was before it.
    ///
    /// # Errors
    /// The server's.
    pub(crate) fn quiesce(&self) -> Result<()> {
        self.execute("postgres", "CHECKPOINT")?;
        rustix::fs::sync();
        Ok(())
    }
}

/// A session.
///
/// # Errors
/// As [`Connection::open`].
pub(crate) fn connect(settings: &ConnectionSettings, interrupt: &Interrupt) -> Result<Connection> {
    Ok(Connection::open(settings, interrupt)?)
}
