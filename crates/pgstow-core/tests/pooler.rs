//! A real pgbouncer: transaction pooling is refused before any setting is sent, session pooling works.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pgstow_core::backup::{self, BackupOptions};
use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::Silent;
use pgstow_core::postgres::server::{DisposableServer, ServerOptions};
use pgstow_core::postgres::settings::{Host, SslMode};
use pgstow_core::postgres::{Connection, ConnectionSettings};
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::id::EnvironmentName;
use pgstow_core::repository::store::LocalStore;
use pgstow_core::{Error, ErrorKind};

/// A pgbouncer before a disposable server; both end with it.
struct Pooler {
    process: Child,
    port: u16,
    server: DisposableServer,
    folder: tempfile::TempDir,
}

impl Pooler {
    fn start(mode: &str) -> Self {
        let server = DisposableServer::start(&ServerOptions::default()).expect("a server");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let users = folder.path().join("users");
        std::fs::write(&users, "\"postgres\" \"\"\n").unwrap();
        let configuration = folder.path().join("pgbouncer.ini");
        let lines = format!(
            "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = {mode}\ndefault_pool_size = 6\n",
            server.socket_directory().display(),
            server.socket_port(),
            users.display(),
        );
        std::fs::write(&configuration, lines).unwrap();
        let mut command = Command::new("/usr/sbin/pgbouncer");
        // It refuses to run as root, and has to reach the server's private socket.
        if Command::new("id").arg("-u").output().unwrap().stdout == b"0\n" {
            command.args(["-u", "postgres"]);
        }
        command.arg(&configuration).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("pgbouncer; run scripts/set-up-tests");
        let pooler = Self { process, port, server, folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(Instant::now() < deadline, "pgbouncer listens");
            std::thread::sleep(Duration::from_millis(20));
        }
        pooler
    }

    fn settings(&self) -> ConnectionSettings {
        let host = Host::Tcp { host: "127.0.0.1".into(), address: None, port: self.port };
        ConnectionSettings {
            ssl_mode: SslMode::Disable,
            ..ConnectionSettings::new(host, "postgres", "postgres")
        }
    }

    fn options(&self) -> BackupOptions {
        BackupOptions {
            jobs: 2,
            pg_dump: Some(self.server.binaries().program("pg_dump")),
            lock_timeout: Duration::from_secs(10),
            ..BackupOptions::new(EnvironmentName::new("test").unwrap(), self.settings())
        }
    }

    fn back_up(&self) -> Result<u64, Error> {
        let store = LocalStore::new(&self.folder.path().join("repository"));
        let repository = Repository::open_or_init(Box::new(store), jiff::Timestamp::now())?;
        Ok(backup::run(&repository, &self.options(), &Silent, &Interrupt::new())?.header.rows)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // It may have ended by itself; waiting collects it either way.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_transaction_pooler_is_refused_and_other_clients_keep_their_settings() {
    let pooler = Pooler::start("transaction");
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| {
                let mut client = Connection::open(&pooler.settings(), &Interrupt::new()).expect("a client");
                while !over.load(Ordering::SeqCst) {
                    client.query("SELECT count(*) FROM generate_series(1, 100)").expect("the load goes on");
                }
            });
        }
        let outcomes: Vec<Result<u64, Error>> = (0..20).map(|_| pooler.back_up()).collect();
        over.store(true, Ordering::SeqCst);
        for outcome in outcomes {
            let error = outcome.expect_err("a transaction pooler is refused");
            assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
            assert!(error.message().contains("transaction pooler"), "{error}");
        }
    });
    let mut clients: Vec<Connection> =
        (0..5).map(|_| Connection::open(&pooler.settings(), &Interrupt::new()).expect("a client")).collect();
    for client in &mut clients {
        client.execute("BEGIN").expect("a transaction holds a server process");
        let rows = client.query("SHOW search_path").unwrap();
        assert_eq!(rows.only().unwrap().get::<&str>(0).unwrap(), "\"$user\", public");
    }
}

#[test]
fn a_session_pooler_works() {
    let pooler = Pooler::start("session");
    let mut owner = Connection::open(&pooler.server.settings("postgres"), &Interrupt::new()).unwrap();
    owner.execute("CREATE TABLE t AS SELECT generate_series(1, 100) AS x").unwrap();
    assert_eq!(pooler.back_up().expect("a backup"), 100);
    let report = backup::check(&pooler.options(), &Interrupt::new()).expect("a check");
    let line = report.lines.iter().find(|line| line.what == "pooler").expect("a line");
    assert_eq!(line.found, "a session pooler: the session keeps its server process");
    assert!(line.passed && !report.abilities.is_empty(), "{report:#?}");
}
