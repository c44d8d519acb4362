//! PostgreSQL servers of versions 13 to 18. Tests share one of each as long as any of them uses it;
//! the last one that ends stops it. A test that harms its server starts one of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use pgstow_core::postgres::server::{DisposableServer, ServerOptions, ServerTls};
use pgstow_core::postgres::settings::Secret;
use tempfile::TempDir;

use super::certificates;
use super::psql::Database;

/// The superuser's password: everything that has to be escaped somewhere.
pub(crate) const PASSWORD: &str = "p@ss/w:rd '\\\"%20#?&=$x`é";

/// The version most tests use.
pub(crate) const DEFAULT_MAJOR: u32 = 15;

/// A running server with SCRAM and TLS on TCP.
pub(crate) struct Server {
    pub(crate) process: DisposableServer,
    pub(crate) major: u32,
    /// Holds the authority's certificate, `authority.pem`.
    directory: TempDir,
    databases: AtomicUsize,
}

/// Folder of the programs that `scripts/set-up-tests` has linked under `.test/servers`.
pub(crate) fn programs(name: &str) -> PathBuf {
    let link = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.test/servers").join(name);
    match link.canonicalize() {
        Ok(folder) => folder.join("bin"),
        Err(error) => panic!("{}: {error}; run scripts/set-up-tests", link.display()),
    }
}

/// Folder of stock client programs that suit a server: its own version's, or newer.
pub(crate) fn client_programs(major: u32) -> PathBuf {
    programs(if major <= 15 { "client" } else { "client-18" })
}

/// The shared server of a version.
pub(crate) fn shared(major: u32) -> Arc<Server> {
    static SHARED: Mutex<BTreeMap<u32, Weak<Server>>> = Mutex::new(BTreeMap::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.get(&major).and_then(Weak::upgrade) {
        return server;
    }
    let server = Arc::new(Server::start(major, &[]));
    shared.insert(major, Arc::downgrade(&server));
    server
}

impl Server {
    /// A server of its own, with lines added to `postgresql.conf`.
    pub(crate) fn start(major: u32, configuration: &[&str]) -> Self {
        Self::start_with(major, |options| {
            options.configuration.extend(configuration.iter().map(|&line| line.to_owned()));
        })
    }

    /// A server of its own that takes connections without TLS, into which a proxy can look.
    pub(crate) fn start_without_tls(major: u32) -> Self {
        Self::start_with(major, |options| options.host_based_authentication.clear())
    }

    /// A server of its own, with options changed by `change`.
    pub(crate) fn start_with(major: u32, change: impl FnOnce(&mut ServerOptions)) -> Self {
        let certificates = certificates::make(&["localhost", "127.0.0.1"]);
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("authority.pem"), certificates.authority).expect("a file");
        let configuration = [
            "shared_buffers = 64MB",
            "max_wal_size = 4GB",
            "checkpoint_timeout = 1h",
            "max_connections = 60",
            "password_encryption = 'scram-sha-256'",
        ];
        let mut options = ServerOptions {
            binaries: Some(programs(&major.to_string())),
            password: Some(Secret::new(PASSWORD)),
            tcp: true,
            tls: Some(ServerTls {
                certificate: certificates.server,
                key: Secret::new(certificates.server_key),
            }),
            configuration: configuration.map(str::to_owned).to_vec(),
            host_based_authentication: vec!["hostnossl all all all reject".to_owned()],
            ..ServerOptions::default()
        };
        change(&mut options);
        let process = DisposableServer::start(&options)
            .unwrap_or_else(|error| panic!("PostgreSQL {major}: {error}: {:?}", error.reason()));
        Self { process, major, directory, databases: AtomicUsize::new(0) }
    }

    /// A new, empty database; `purpose` is part of its name.
    pub(crate) fn database(self: &Arc<Self>, purpose: &str) -> Database {
        self.database_from(purpose, "template0")
    }

    /// A new database that is a copy of another.
    pub(crate) fn database_from(self: &Arc<Self>, purpose: &str, template: &str) -> Database {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("{purpose}_{number}");
        self.existing("postgres").run(&format!("CREATE DATABASE {name} TEMPLATE {template}"));
        self.existing(&name)
    }

    /// A database that is there already.
    pub(crate) fn existing(self: &Arc<Self>, name: &str) -> Database {
        Database { server: Arc::clone(self), name: name.to_owned() }
    }

    /// URL through TCP with SCRAM and verified TLS.
    pub(crate) fn url(&self, database: &str) -> String {
        self.url_as("postgres", PASSWORD, database)
    }

    /// The same as another role.
    pub(crate) fn url_as(&self, role: &str, password: &str, database: &str) -> String {
        let port = self.process.tcp_port().expect("test servers listen on TCP");
        self.url_through(port, role, password, database)
    }

    /// The same through a proxy on another port.
    pub(crate) fn url_through(&self, port: u16, role: &str, password: &str, database: &str) -> String {
        let authority = self.directory.path().join("authority.pem");
        format!(
            "postgresql://{}:{}@localhost:{port}/{}?sslmode=verify-full&sslrootcert={}",
            percent(role),
            percent(password),
            percent(database),
            percent(&authority.to_string_lossy())
        )
    }

    /// URL through a proxy without TLS, which this server must allow ([`Server::start_without_tls`]).
    pub(crate) fn open_url_through(&self, port: u16, database: &str) -> String {
        let (password, database) = (percent(PASSWORD), percent(database));
        format!("postgresql://postgres:{password}@localhost:{port}/{database}?sslmode=disable")
    }

    /// URL through the Unix socket, trusted.
    pub(crate) fn socket_url(&self, database: &str) -> String {
        let directory = self.process.socket_directory().to_string_lossy();
        let port = self.process.socket_port();
        format!("postgresql://postgres@/{}?host={}&port={port}", percent(database), percent(&directory))
    }
}

/// Percent-encodes everything but letters, digits and `-._~`.
pub(crate) fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}
