//! A disposable server: a private cluster made by the installed `initdb`, on a Unix socket in a
//! private directory, removed when dropped.
//!
//! Owns the cluster's directory, its configuration and the postmaster's life; what is put into the
//! databases is the caller's. Everything is done through `initdb` and `pg_ctl` on this one data
//! directory: no process is ever sought by name. The socket directory is open to one account only,
//! so its connections are trusted; TCP listens on 127.0.0.1 and always asks for a password.
//!
//! A server outlives its program when that is ended by SIGKILL, since nothing runs then. It goes
//! on in `pgstow-server-…`, out of reach of other accounts; `pg_ctl -D …/data stop` ends it. Where it
//! lies in a [`Folder`], whoever comes next can tell that it is dead, and removes it.

mod account;
mod binaries;
mod configuration;
mod isolation;
mod leftover;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::settings::{ConnectionSettings, Host, Secret, SslMode};
use crate::error::{Error, Result};
use account::Account;
pub use binaries::ServerBinaries;
pub use leftover::{Folder, Purpose, remove_leftovers};

/// Port in the socket's name of a server without TCP; its directory is its own.
const SOCKET_PORT: u16 = 5432;
/// `sun_path` holds 108 bytes, the closing NUL included.
const SOCKET_PATH_LIMIT: usize = 107;
/// A port can be taken by another program between being found free and being used.
const PORT_ATTEMPTS: usize = 5;
/// How long `pg_ctl` waits for a start or stop, in seconds.
const WAIT_SECONDS: &str = "60";
/// How much of the server's log is looked at, in bytes.
const LOG_TAIL_BYTES: u64 = 16 * 1024;
/// How many lines of the log an error shows.
const LOG_ERROR_LINES: usize = 12;

/// What kind of server to start. The default: newest installed version, socket only, UTF8, no
/// fsync, superuser `postgres`.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Folder that holds `initdb`, `pg_ctl` and `postgres`; looked for when `None`.
    pub binaries: Option<PathBuf>,
    /// `PATH` of the process, to look for the programs.
    pub search_path: Option<OsString>,
    /// Where the server's private directory is made. A short path: it becomes the socket's.
    pub parent_directory: PathBuf,
    /// Name of the superuser.
    pub superuser: String,
    /// Password of the superuser, needed over TCP.
    pub password: Option<Secret>,
    /// Listen on a free port of 127.0.0.1 too.
    pub tcp: bool,
    /// Certificate and key; TLS is off when `None`.
    pub tls: Option<ServerTls>,
    /// Lines added to `postgresql.conf`; they win over the server's own.
    pub configuration: Vec<String>,
    /// Lines of `pg_hba.conf` that are looked at before the server's own.
    pub host_based_authentication: Vec<String>,
    /// Locale of the cluster, such as `C.UTF-8`, `C` or `de_DE.UTF-8`.
    pub locale: String,
    /// Encoding of the cluster, such as `UTF8`, `LATIN1` or `SQL_ASCII`.
    pub encoding: String,
    /// Survive a crash of the machine (`fsync` and the like); slower.
    pub durable: bool,
    /// Neither the server nor a program that it starts can open a connection to anything. Linux only.
    pub isolated: bool,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            binaries: None,
            search_path: None,
            parent_directory: PathBuf::from("/tmp"),
            superuser: "postgres".to_owned(),
            password: None,
            tcp: false,
            tls: None,
            configuration: Vec::new(),
            host_based_authentication: Vec::new(),
            locale: "C.UTF-8".to_owned(),
            encoding: "UTF8".to_owned(),
            durable: false,
            isolated: false,
        }
    }
}

/// What a server with TLS shows and holds.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// Certificate chain, PEM, the server's own first.
    pub certificate: String,
    /// Private key, PEM.
    pub key: Secret,
}

/// A running (or stopped) private server. Dropping it stops it at once and removes its directory.
pub struct DisposableServer {
    binaries: ServerBinaries,
    account: Option<Account>,
    superuser: String,
    password: Option<Secret>,
    encrypted: bool,
    port: u16,
    tcp: bool,
    isolated: bool,
    data: PathBuf,
    /// `None` once the server has been given away by [`DisposableServer::keep`].
    directory: Option<TempDir>,
}

impl DisposableServer {
    /// Makes a cluster and starts its server; returns when it takes connections.
    ///
    /// # Errors
    /// No server programs found, no account to run them as, or a start that failed; the last says
    /// how the server's log ends.
    pub fn start(options: &ServerOptions) -> Result<Self> {
        let binaries = ServerBinaries::find(options.binaries.as_deref(), options.search_path.as_deref())?;
        let account = Account::for_server()?;
        let directory = private_directory(&options.parent_directory, account.as_ref())?;
        let data = directory.path().join("data");
        let mut server = Self {
            binaries,
            account,
            superuser: options.superuser.clone(),
            password: options.password.clone(),
            encrypted: options.tls.is_some(),
            port: SOCKET_PORT,
            tcp: options.tcp,
            isolated: options.isolated,
            data,
            directory: Some(directory),
        };
        server.initialise(options)?;
        server.start_on_free_port(options)?;
        Ok(server)
    }

    /// How to reach `database` as the superuser through the socket.
    pub fn settings(&self, database: &str) -> ConnectionSettings {
        let host = Host::Socket { directory: self.socket_directory().to_owned(), port: self.port };
        self.settings_for(host, database, SslMode::Disable)
    }

    /// How to reach `database` as the superuser through TCP; `None` without [`ServerOptions::tcp`].
    pub fn tcp_settings(&self, database: &str) -> Option<ConnectionSettings> {
        let port = self.tcp_port()?;
        let address = Ipv4Addr::LOCALHOST;
        let host = Host::Tcp { host: address.to_string(), address: Some(address.into()), port };
        let ssl_mode = if self.encrypted { SslMode::Require } else { SslMode::Disable };
        Some(self.settings_for(host, database, ssl_mode))
    }

    /// Port on 127.0.0.1; `None` without [`ServerOptions::tcp`].
    pub fn tcp_port(&self) -> Option<u16> {
        self.tcp.then_some(self.port)
    }

    /// Port in the name of the socket.
    pub fn socket_port(&self) -> u16 {
        self.port
    }

    /// Directory of the socket, as `psql -h` takes it.
    pub fn socket_directory(&self) -> &Path {
        self.data.parent().unwrap_or(&self.data)
    }

    /// The cluster's data directory.
    pub fn data_directory(&self) -> &Path {
        &self.data
    }

    /// The programs it runs with.
    pub fn binaries(&self) -> &ServerBinaries {
        &self.binaries
    }

    /// The end of the server's log; empty when there is none.
    pub fn log(&self) -> String {
        tail(&self.log_file())
    }

    /// Stops the server in an orderly way; open sessions are ended.
    ///
    /// # Errors
    /// When it does not stop within a minute.
    pub fn stop(&self) -> Result<()> {
        self.control(&["stop", "-m", "fast"], "cannot stop the disposable server")
    }

    /// Stops the server as a crash would: nothing is flushed, sessions break off.
    ///
    /// # Errors
    /// As [`DisposableServer::stop`].
    pub fn stop_immediately(&self) -> Result<()> {
        self.control(&["stop", "-m", "immediate"], "cannot stop the disposable server")
    }

    /// Starts the server again, stopping it first if it runs; same port, same data.
    ///
    /// # Errors
    /// When it does not start; says how the log ends.
    pub fn restart(&self) -> Result<()> {
        self.launch("restart")
    }

    /// Leaves the server running and its directory in place, and returns the command that stops it.
    #[must_use]
    pub fn keep(mut self) -> String {
        if let Some(directory) = self.directory.take() {
            let _path = directory.keep();
        }
        let program = self.binaries.program("pg_ctl");
        let command = format!("{} -D {} stop", program.display(), self.data.display());
        match &self.account {
            Some(account) => format!("runuser -u {} -- {command}", account.name),
            None => command,
        }
    }

    fn settings_for(&self, host: Host, database: &str, ssl_mode: SslMode) -> ConnectionSettings {
        ConnectionSettings {
            password: self.password.clone(),
            ssl_mode,
            ..ConnectionSettings::new(host, &self.superuser, database)
        }
    }

    fn log_file(&self) -> PathBuf {
        self.socket_directory().join("log")
    }

    /// Runs `initdb` and writes what does not depend on the port.
    fn initialise(&self, options: &ServerOptions) -> Result<()> {
        let mut arguments: Vec<OsString> = vec![
            "-D".into(),
            self.data.clone().into(),
            "-U".into(),
            self.superuser.clone().into(),
            "--encoding".into(),
            options.encoding.clone().into(),
            "--locale".into(),
            options.locale.clone().into(),
            "--auth-local=trust".into(),
            "--auth-host=scram-sha-256".into(),
            "--no-sync".into(),
        ];
        let password_file = self.socket_directory().join("password");
        if let Some(password) = &options.password {
            self.write_private(&password_file, &format!("{}\n", password.expose()))?;
            arguments.push("--pwfile".into());
            arguments.push(password_file.clone().into());
        }
        let made = self.run("initdb", arguments, "cannot make a disposable cluster");
        if options.password.is_some() {
            fs::remove_file(&password_file).map_err(|error| {
                Error::failed(format!("cannot remove {}", password_file.display())).source(error)
            })?;
        }
        made?;
        if let Some(tls) = &options.tls {
            self.write_private(&self.data.join("server.crt"), &tls.certificate)?;
            self.write_private(&self.data.join("server.key"), tls.key.expose())?;
        }
        let authentication = configuration::authentication(&options.host_based_authentication);
        self.write_private(&self.data.join("pg_hba.conf"), &authentication)
    }

    fn start_on_free_port(&mut self, options: &ServerOptions) -> Result<()> {
        let file = self.data.join("postgresql.conf");
        let original = fs::read_to_string(&file)
            .map_err(|error| Error::failed(format!("cannot read {}", file.display())).source(error))?;
        let mut attempt = 1;
        loop {
            if options.tcp {
                self.port = free_port()?;
            }
            let settings = configuration::settings(options, self.socket_directory(), self.port);
            self.write_private(&file, &format!("{original}\n{settings}"))?;
            match self.launch("start") {
                Err(_) if options.tcp && attempt < PORT_ATTEMPTS && self.port_was_taken() => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    fn port_was_taken(&self) -> bool {
        self.log().contains("Address already in use")
    }

    fn launch(&self, action: &str) -> Result<()> {
        // The log of an earlier start would be mistaken for this one's.
        let log = self.log_file();
        if action == "start" && log.exists() {
            let _ = fs::remove_file(&log);
        }
        let log_argument = log.to_string_lossy();
        let started = self.control(&["-l", &log_argument, action], "cannot start the disposable server");
        started.map_err(|error| match last_lines(&self.log()) {
            lines if lines.is_empty() => error,
            lines => error.why(format!("its log ends with:\n{lines}")),
        })?;
        if self.isolated { isolation::check(&self.data) } else { Ok(()) }
    }

    fn control(&self, arguments: &[&str], failure: &str) -> Result<()> {
        let mut all: Vec<OsString> = vec!["-D".into(), self.data.clone().into(), "-w".into()];
        all.extend(["-t", WAIT_SECONDS, "-s"].map(OsString::from));
        all.extend(arguments.iter().map(OsString::from));
        self.run("pg_ctl", all, failure)
    }

    /// Runs one of the server's programs as the server's account, with an environment of its own.
    fn run(&self, program: &str, arguments: Vec<OsString>, failure: &str) -> Result<()> {
        let path = self.binaries.program(program);
        let mut command = Command::new(&path);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C")
            .current_dir(self.socket_directory())
            .stdin(Stdio::null());
        if let Some(account) = &self.account {
            command.uid(account.user_id).gid(account.group_id);
        }
        // Only what runs on: `initdb` may have to ask the system's services for the account's name.
        let output =
            if self.isolated && program == "pg_ctl" { isolation::output(command) } else { command.output() };
        let output = output
            .map_err(|error| Error::failed(failure).why(format!("cannot run {}: {error}", path.display())))?;
        if output.status.success() {
            return Ok(());
        }
        let mut said = String::from_utf8_lossy(&output.stderr).into_owned();
        if said.trim().is_empty() {
            said = String::from_utf8_lossy(&output.stdout).into_owned();
        }
        Err(Error::failed(failure).why(format!("{program} failed: {}", last_lines(&said))))
    }

    fn write_private(&self, path: &Path, content: &str) -> Result<()> {
        let write = || -> std::io::Result<()> {
            let mut options = fs::File::options();
            let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(path)?;
            file.write_all(content.as_bytes())?;
            match &self.account {
                Some(account) => account.own(path),
                None => Ok(()),
            }
        };
        write().map_err(|error| Error::failed(format!("cannot write {}", path.display())).source(error))
    }
}

impl Drop for DisposableServer {
    fn drop(&mut self) {
        // Nothing can be done about a failure here; the directory is removed in any case.
        if self.directory.is_some() && self.data.join("postmaster.pid").exists() {
            let _ = self.stop_immediately();
        }
    }
}

/// A directory that only the server's account (and root) can enter, with room for a socket's path.
fn private_directory(parent: &Path, account: Option<&Account>) -> Result<TempDir> {
    let failed = |error| {
        Error::failed(format!("cannot make a private directory in {}", parent.display())).source(error)
    };
    let private = fs::Permissions::from_mode(0o700);
    let mut builder = tempfile::Builder::new();
    let directory =
        builder.prefix("pgstow-server-").permissions(private).tempdir_in(parent).map_err(failed)?;
    let socket = directory.path().join(".s.PGSQL.65535");
    let length = socket.as_os_str().as_encoded_bytes().len();
    if length > SOCKET_PATH_LIMIT {
        return Err(Error::failed(format!("{} is too long for a Unix socket", socket.display()))
            .why(format!("it has {length} bytes; the system allows {SOCKET_PATH_LIMIT}"))
            .hint("choose a shorter parent directory, such as /tmp"));
    }
    if let Some(account) = account {
        account.own(directory.path()).map_err(failed)?;
    }
    Ok(directory)
}

fn free_port() -> Result<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| Error::failed("cannot find a free port on 127.0.0.1").source(error))
}

/// The end of a text file, from the beginning of a line on.
fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LOG_ERROR_LINES)..].join("\n")
}

/// The folders of a `PATH`.
fn folders(search_path: Option<&OsStr>) -> Vec<PathBuf> {
    search_path.map(|path| std::env::split_paths(path).collect()).unwrap_or_default()
}
