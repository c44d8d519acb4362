//! Logging in: every method, every way to be refused, hosts that do not answer or talk nonsense.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use pgstow_core::interrupt::Interrupt;
use pgstow_core::postgres::conninfo::{self, Surroundings};
use pgstow_core::postgres::server::{DisposableServer, ServerOptions};
use pgstow_core::postgres::settings::{ConnectionSettings, Host, Secret, SslMode};
use pgstow_core::postgres::{ConnectError, Connection};
use pgstow_core::{Error, ErrorKind};

/// Nothing is set but the variables given.
#[derive(Default)]
struct Desk(BTreeMap<&'static str, String>);

impl Surroundings for Desk {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }
    fn user(&self) -> Option<String> {
        None
    }
    fn home(&self) -> Option<PathBuf> {
        None
    }
    fn read(&self, path: &Path) -> std::io::Result<Option<String>> {
        std::fs::read_to_string(path).map(Some)
    }
    fn mode(&self, path: &Path) -> Option<u32> {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(path).ok().map(|metadata| metadata.mode())
    }
}

fn server() -> DisposableServer {
    let rules = ["host all plain all password", "host all md5 all md5", "host all barred all reject"];
    let options = ServerOptions {
        tcp: true,
        password: Some(Secret::new("p")),
        host_based_authentication: rules.map(str::to_owned).to_vec(),
        ..ServerOptions::default()
    };
    DisposableServer::start(&options).expect("a server")
}

fn administer(server: &DisposableServer) -> Connection {
    Connection::open(&server.settings("postgres"), &Interrupt::new()).expect("a connection")
}

fn literal(text: &str) -> String {
    pgstow_core::postgres::identifier::quote_literal(text)
}

fn tcp(port: u16, user: &str, password: Option<&str>) -> ConnectionSettings {
    let host = Host::Tcp { host: "127.0.0.1".to_owned(), address: None, port };
    ConnectionSettings {
        password: password.map(Secret::new),
        ..ConnectionSettings::new(host, user, "postgres")
    }
}

fn open(settings: &ConnectionSettings) -> Result<Connection, ConnectError> {
    Connection::open(settings, &Interrupt::new())
}

/// A port of 127.0.0.1 where nothing listens.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("address").port()
}

/// A host that answers every connection with `answer` once it has heard something.
fn impostor(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("address").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut heard = [0; 1024];
            let _ = stream.read(&mut heard);
            let _ = stream.write_all(answer);
        }
    });
    port
}

/// Everything a person could be shown of an error.
fn shown(error: ConnectError) -> String {
    let debug = format!("{error:?}");
    let error = Error::from(error);
    format!("{error}|{}|{}|{error:?}|{debug}", error.reason().unwrap_or_default(), error.hints().join("|"))
}

#[test]
fn every_method_takes_any_password_from_a_url() {
    let server = server();
    let mut administrator = administer(&server);
    let port = server.tcp_port().expect("TCP");
    for (role, encryption) in [("plain", "scram-sha-256"), ("md5", "md5"), ("scram", "scram-sha-256")] {
        administrator.execute(&format!("CREATE ROLE {role} LOGIN")).expect("role");
        for password in
            ["simple", "a@b#c?d/e:f%g h", "ü€😀", "'\"\\$`", "%41", "  spaces  ", "ﬁ²", "@", "a\tb"]
        {
            administrator
                .execute(&format!(
                    "SET password_encryption = '{encryption}'; ALTER ROLE {role} PASSWORD {}",
                    literal(password)
                ))
                .expect("password");
            let encoded: String = password.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let raw = password.replace("%41", "%2541");
            for written in [&encoded, &raw] {
                let url = format!("postgres://{role}:{written}@127.0.0.1:{port}/postgres?sslmode=disable");
                let settings = conninfo::parse(&url, &Desk::default()).expect("a URL");
                let mut connection =
                    open(&settings).unwrap_or_else(|error| panic!("{role} {password:?}: {error:?}"));
                assert_eq!(connection.query("SELECT 1").expect("rows").len(), 1);
            }
            let wrong = tcp(port, role, Some("another"));
            let refused = open(&wrong).expect_err("a wrong password");
            assert!(
                matches!(&refused, ConnectError::Refused { source, .. } if source.code.as_str() == "28P01")
            );
        }
    }
}

#[test]
fn a_password_file_is_asked_by_host() {
    let server = server();
    let port = server.tcp_port().expect("TCP");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("pass");
    std::fs::write(&path, format!("127.0.0.1:{port}:postgres:postgres:p\n")).expect("written");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&path, private).expect("private");
    let desk = Desk(BTreeMap::from([("PGPASSFILE", path.display().to_string())]));
    let settings =
        conninfo::parse(&format!("host=127.0.0.1 port={port} user=postgres"), &desk).expect("settings");
    open(&settings).expect("a connection");
}

#[test]
fn refusals_name_the_cause_and_the_next_step_and_no_secret() {
    let server = server();
    let mut administrator = administer(&server);
    administrator
        .execute("CREATE ROLE bob LOGIN PASSWORD 'right' CONNECTION LIMIT 0; CREATE ROLE barred LOGIN")
        .expect("roles");
    let port = server.tcp_port().expect("TCP");
    let missing = ConnectionSettings { database: "no\"such".to_owned(), ..tcp(port, "postgres", Some("p")) };
    for (settings, parts) in [
        (tcp(port, "postgres", Some("hunter2MARKER")), vec!["127.0.0.1", "role postgres", "password"]),
        (tcp(port, "postgres", None), vec!["asks for the password of role postgres", "PGPASSWORD"]),
        (missing, vec!["no\"such", "does not exist", "CREATE DATABASE"]),
        (tcp(port, "bob", Some("right")), vec!["too many connections", "fewer jobs"]),
        (tcp(port, "barred", Some("hunter2MARKER")), vec!["role barred", "sslmode=require"]),
    ] {
        let shown = shown(open(&settings).expect_err("refused"));
        for part in parts {
            assert!(shown.contains(part), "{part} is missing in {shown}");
        }
        assert!(shown.contains(&port.to_string()), "{shown}");
        assert!(!format!("{shown}{settings:?}").contains("MARKER"), "{shown}");
    }
}

#[test]
fn unreachable_hosts_are_named_with_the_next_step() {
    let closed = closed_port();
    let directory = tempfile::tempdir().expect("a directory");
    let socket = Host::Socket { directory: directory.path().to_owned(), port: 5432 };
    let nameless = Host::Tcp { host: "no-such-host.invalid".to_owned(), address: None, port: 5432 };
    for (settings, parts) in [
        (tcp(closed, "u", None), vec!["127.0.0.1", "nothing listens there", "is the server running"]),
        (ConnectionSettings::new(socket, "u", "d"), vec!["no such socket", "host name"]),
        (ConnectionSettings::new(nameless, "u", "d"), vec!["no-such-host.invalid", "spelling"]),
    ] {
        let error = open(&settings).expect_err("unreachable");
        assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
        let shown = shown(error);
        for part in parts {
            assert!(shown.contains(part), "{part} is missing in {shown}");
        }
    }
}

/// An address of the range for documentation: unreachable, or without an answer, everywhere.
#[test]
fn a_supabase_project_that_only_ipv6_leads_to_is_said_to_have_a_session_pooler() {
    let address = Some("2001:db8::1".parse().expect("an address"));
    let host = Host::Tcp { host: "db.abcdefghij.supabase.co".to_owned(), address, port: 5432 };
    let mut settings = ConnectionSettings::new(host, "postgres", "postgres");
    settings.connect_timeout = Some(Duration::from_secs(1));
    let error = open(&settings).expect_err("unreachable");
    assert!(matches!(error, ConnectError::Unreachable { only_ipv6: true, .. }), "{error:?}");
    let shown = shown(error);
    for part in ["IPv6", "session pooler", "port 5432", "user postgres.abcdefghij"] {
        assert!(shown.contains(part), "{part} is missing in {shown}");
    }
}

#[test]
fn a_service_file_leads_to_the_server_and_its_password() {
    let server = server();
    let port = server.tcp_port().expect("TCP");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("services");
    let service =
        format!("[shop]\nhost=127.0.0.1\nport={port}\nuser=postgres\npassword=p\ndbname=postgres\n");
    std::fs::write(&path, service).expect("written");
    let desk = Desk(BTreeMap::from([
        ("PGSERVICEFILE", path.display().to_string()),
        ("PGSERVICE", "shop".to_owned()),
        ("PGPORT", closed_port().to_string()),
    ]));
    let settings = conninfo::parse("", &desk).expect("settings");
    let mut connection = open(&settings).expect("a connection");
    assert_eq!(connection.query("SELECT 1").expect("rows").len(), 1);
}

#[test]
fn the_next_host_is_tried_when_one_cannot_be_reached_but_not_after_a_refusal() {
    let server = server();
    let port = server.tcp_port().expect("TCP");
    let host = |port| Host::Tcp { host: "127.0.0.1".to_owned(), address: None, port };
    let with = |ports: &[u16], password| ConnectionSettings {
        hosts: ports.iter().map(|port| host(*port)).collect(),
        ssl_mode: SslMode::Disable,
        ..tcp(port, "postgres", Some(password))
    };
    let starting = impostor(b"E\0\0\0\x1fSFATAL\0VFATAL\0C57P03\0Mwait\0\0");
    let connection = open(&with(&[closed_port(), starting, port], "p")).expect("the third host");
    assert_eq!(connection.endpoint(), format!("127.0.0.1:{port}"));
    assert_eq!(connection.settings().hosts.len(), 1);
    let other = impostor(b"");
    let refused = open(&with(&[port, other], "wrong")).expect_err("a wrong password");
    assert!(matches!(refused, ConnectError::Refused { .. }), "{refused:?}");
    let last = open(&with(&[closed_port(), starting], "p")).expect_err("nobody is ready");
    assert!(shown(last).contains("starts up or shuts down"));
}

#[test]
fn a_name_with_several_addresses_is_tried_at_each() {
    let server = server();
    let mut settings = tcp(server.tcp_port().expect("TCP"), "postgres", Some("p"));
    // Where it has two addresses, nothing listens at the first, ::1.
    settings.hosts = vec![Host::Tcp {
        host: "localhost".to_owned(),
        address: None,
        port: server.tcp_port().expect("TCP"),
    }];
    open(&settings).expect("a connection");
}

#[test]
fn hosts_that_talk_nonsense_are_no_servers() {
    for (answer, part) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "does not answer as a PostgreSQL server"),
        (b"R\xff\xff\xff\xff", "does not answer as a PostgreSQL server"),
        (b"R\x7f\xff\xff\xff", "does not answer as a PostgreSQL server"),
        (b"R\0\0\0\x04", "malformed"),
        (b"R\0\0\0\x08\0\0\0\x07", "Kerberos"),
        (b"d\0\0\0\x08\0\0\0\x07", "unexpected data"),
        (b"Z\0\0\0\x05I", "unexpected message"),
        (b"R\0\0\0\x08\0\0\0\0K\0\0\0\x05\0", "cancel key"),
        (b"", "closed the connection during the login"),
        (b"R\0\0", "closed the connection during the login"),
    ] {
        let mut settings = tcp(impostor(answer), "u", Some("p"));
        settings.ssl_mode = SslMode::Disable;
        let shown = shown(open(&settings).expect_err("nonsense"));
        assert!(shown.contains(part), "{}: {shown}", answer.escape_ascii());
    }
}

/// A listener whose queue is full: the system drops whoever knocks.
fn deaf_host() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    rustix::net::listen(&listener, 0).expect("a short queue");
    let address = listener.local_addr().expect("address");
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        waiting.push(stream);
    }
    (listener, waiting)
}

#[test]
fn the_connect_timeout_covers_connecting_and_logging_in() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("bound");
    let (deaf, _waiting) = deaf_host();
    for listener in [&silent, &deaf] {
        let mut settings = tcp(listener.local_addr().expect("address").port(), "u", None);
        settings.connect_timeout = Some(Duration::from_millis(300));
        let error = open(&settings).expect_err("no answer");
        assert!(
            matches!(&error, ConnectError::Unreachable { source, .. } if source.kind() == std::io::ErrorKind::TimedOut),
            "{error:?}"
        );
        assert!(shown(error).contains("connect_timeout"));
    }
}

#[test]
fn an_interrupt_ends_connecting_and_logging_in() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("bound");
    let (deaf, _waiting) = deaf_host();
    let interrupt = Interrupt::new();
    let attempts: Vec<_> = [&silent, &deaf]
        .map(|listener| {
            let settings = tcp(listener.local_addr().expect("address").port(), "u", None);
            let interrupt = interrupt.clone();
            thread::spawn(move || Connection::open(&settings, &interrupt).map(drop))
        })
        .into_iter()
        .collect();
    // Once accepted and heard, the first attempt waits for an answer that never comes.
    let (mut stream, _) = silent.accept().expect("accepted");
    let mut heard = [0; 8];
    stream.read_exact(&mut heard).expect("a request");
    interrupt.trigger();
    for attempt in attempts {
        let error = attempt.join().expect("no panic").expect_err("interrupted");
        assert!(matches!(error, ConnectError::Interrupted), "{error:?}");
        assert_eq!(Error::from(error).kind(), ErrorKind::Interrupted);
    }
    let after =
        Connection::open(&tcp(closed_port(), "u", None), &interrupt).map(drop).expect_err("interrupted");
    assert!(matches!(after, ConnectError::Interrupted), "{after:?}");
}
