//! TLS against real servers: every sslmode against every kind of certificate, and channel binding.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use pgstow_core::interrupt::Interrupt;
use pgstow_core::postgres::server::{DisposableServer, ServerOptions, ServerTls};
use pgstow_core::postgres::settings::{ChannelBinding, ConnectionSettings, Host, Secret, SslMode};
use pgstow_core::postgres::{ConnectError, Connection};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SigningKey,
};

const PASSWORD: &str = "hunter2 @/?#";
const MODES: [SslMode; 6] = [
    SslMode::Disable,
    SslMode::Allow,
    SslMode::Prefer,
    SslMode::Require,
    SslMode::VerifyCa,
    SslMode::VerifyFull,
];

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

fn parameters(names: &[&str], common: &str) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut parameters = CertificateParams::new(names).expect("names");
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, common);
    parameters
}

fn authority_parameters(common: &str) -> CertificateParams {
    let mut parameters = parameters(&[], common);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}

impl Authority {
    fn root(common: &str) -> Self {
        let key = KeyPair::generate().expect("key");
        let parameters = authority_parameters(common);
        let pem = parameters.self_signed(&key).expect("certificate").pem();
        Self { issuer: Issuer::new(parameters, key), pem }
    }

    fn intermediate(&self, common: &str) -> Self {
        let key = KeyPair::generate().expect("key");
        let parameters = authority_parameters(common);
        let pem = parameters.signed_by(&key, &self.issuer).expect("certificate").pem();
        Self { issuer: Issuer::new(parameters, key), pem }
    }

    fn sign(&self, parameters: &CertificateParams) -> ServerTls {
        let key = KeyPair::generate().expect("key");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("certificate").pem();
        ServerTls { certificate, key: Secret::new(key.serialize_pem()) }
    }
}

fn self_signed(parameters: &CertificateParams, key: &impl SigningKey) -> String {
    parameters.self_signed(key).expect("certificate").pem()
}

fn server(tls: Option<ServerTls>, rules: &[&str]) -> DisposableServer {
    let options = ServerOptions {
        password: Some(Secret::new(PASSWORD)),
        tcp: true,
        tls,
        host_based_authentication: rules.iter().map(ToString::to_string).collect(),
        ..ServerOptions::default()
    };
    DisposableServer::start(&options).expect("a server")
}

/// A directory for root files.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }
    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).expect("written");
        path
    }
}

fn settings(server: &DisposableServer, host: &str, mode: SslMode, root: Option<&Path>) -> ConnectionSettings {
    let port = server.tcp_port().expect("TCP");
    let address = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let host = Host::Tcp { host: host.to_owned(), address, port };
    ConnectionSettings {
        password: Some(Secret::new(PASSWORD)),
        ssl_mode: mode,
        ssl_root_cert: root.map(Path::to_owned),
        ..ConnectionSettings::new(host, "postgres", "postgres")
    }
}

/// `tls`, `plain`, or why there is no connection.
fn outcome(settings: &ConnectionSettings) -> String {
    match Connection::open(settings, &Interrupt::new()) {
        Ok(mut connection) => {
            let sql = "SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()";
            let rows = connection.query(sql).expect("pg_stat_ssl");
            let encrypted: bool = rows.only().expect("one row").get(0).expect("a boolean");
            assert_eq!(encrypted, connection.is_encrypted());
            if encrypted { "tls".to_owned() } else { "plain".to_owned() }
        }
        Err(ConnectError::Tls { reason, .. }) => reason,
        Err(ConnectError::Refused { source, .. }) => source.code.to_string(),
        Err(other) => format!("{other:?}"),
    }
}

/// Outcomes of all modes in order.
fn outcomes(server: &DisposableServer, host: &str, root: Option<&Path>) -> Vec<String> {
    MODES.iter().map(|mode| outcome(&settings(server, host, *mode, root))).collect()
}

#[track_caller]
fn assert_outcomes(server: &DisposableServer, host: &str, root: Option<&Path>, expected: [&str; 6]) {
    let found = outcomes(server, host, root);
    for ((mode, found), expected) in MODES.iter().zip(&found).zip(expected) {
        let fits =
            if matches!(expected, "tls" | "plain") { found == expected } else { found.contains(expected) };
        assert!(fits, "{mode:?} to {host} with {root:?}: expected {expected:?}, got {found:?}");
    }
}

#[test]
fn a_server_without_tls_is_used_only_where_the_mode_allows() {
    let server = server(None, &[]);
    let files = Files::new();
    let root = files.write("root.crt", &Authority::root("any").pem);
    let none = "does not offer TLS";
    assert_outcomes(&server, "db.test", Some(&root), ["plain", "plain", "plain", none, none, none]);
}

#[test]
fn a_certificate_of_an_own_authority_is_verified_as_the_mode_says() {
    let authority = Authority::root("own root");
    let server = server(Some(authority.sign(&parameters(&["db.test", "*.wild.test"], "ignored.test"))), &[]);
    let files = Files::new();
    let root = files.write("root.crt", &authority.pem);
    let other = files.write("other.crt", &Authority::root("other root").pem);
    let missing = files.0.path().join("missing.crt");
    assert_outcomes(&server, "db.test", Some(&root), ["plain", "plain", "tls", "tls", "tls", "tls"]);
    assert_outcomes(&server, "a.wild.test", Some(&root), ["plain", "plain", "tls", "tls", "tls", "tls"]);
    let wrong_name = "is for db.test, *.wild.test, not for ignored.test";
    assert_outcomes(
        &server,
        "ignored.test",
        Some(&root),
        ["plain", "plain", "tls", "tls", "tls", wrong_name],
    );
    let needed = "no root certificate is given";
    assert_outcomes(&server, "db.test", None, ["plain", "plain", "tls", "tls", needed, needed]);
    let unknown = "not signed by a root in";
    // A root file that exists makes `prefer` and `require` verify, too; `prefer` then goes on in plain.
    assert_outcomes(&server, "db.test", Some(&other), ["plain", "plain", "plain", unknown, unknown, unknown]);
    let gone = "missing.crt cannot be read";
    assert_outcomes(&server, "db.test", Some(&missing), ["plain", "plain", "tls", "tls", gone, gone]);
    let garbage = files.write("garbage.crt", "no certificate");
    let settings = settings(&server, "db.test", SslMode::Require, Some(&garbage));
    assert!(outcome(&settings).contains("no certificate in it"), "{}", outcome(&settings));
}

#[test]
fn a_self_signed_certificate_is_trusted_when_it_is_the_root_itself() {
    let key = KeyPair::generate().expect("key");
    for is_ca in [IsCa::Ca(BasicConstraints::Unconstrained), IsCa::NoCa] {
        let mut parameters = parameters(&["db.test"], "db.test");
        parameters.is_ca = is_ca;
        let certificate = self_signed(&parameters, &key);
        let tls = ServerTls { certificate: certificate.clone(), key: Secret::new(key.serialize_pem()) };
        let server = server(Some(tls), &[]);
        let files = Files::new();
        let root = files.write("root.crt", &certificate);
        let bundle = files.write("bundle.crt", &format!("{}{certificate}", Authority::root("x").pem));
        for root in [&root, &bundle] {
            assert_outcomes(&server, "db.test", Some(root), ["plain", "plain", "tls", "tls", "tls", "tls"]);
        }
        // The same names, but another certificate.
        let other = files.write("other.crt", &self_signed(&parameters, &KeyPair::generate().expect("key")));
        let found = outcome(&settings(&server, "db.test", SslMode::VerifyCa, Some(&other)));
        assert_ne!(found, "tls");
    }
}

#[test]
fn an_expired_certificate_is_not_trusted() {
    let key = KeyPair::generate().expect("key");
    let mut parameters = parameters(&["db.test"], "db.test");
    parameters.not_before = rcgen::date_time_ymd(2001, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2002, 1, 1);
    let certificate = self_signed(&parameters, &key);
    let tls = ServerTls { certificate: certificate.clone(), key: Secret::new(key.serialize_pem()) };
    let server = server(Some(tls), &[]);
    let files = Files::new();
    let root = files.write("root.crt", &certificate);
    assert!(outcome(&settings(&server, "db.test", SslMode::VerifyFull, Some(&root))).contains("expired"));
    assert_eq!(outcome(&settings(&server, "db.test", SslMode::Require, None)), "tls");
}

#[test]
fn addresses_and_common_names_are_compared_as_libpq_does() {
    let authority = Authority::root("own root");
    let files = Files::new();
    let root = files.write("root.crt", &authority.pem);
    for (names, common, host, expected) in [
        (vec!["127.0.0.1"], "x", "127.0.0.1", "tls"),
        (vec!["127.0.0.2"], "127.0.0.1", "127.0.0.1", "not for 127.0.0.1"),
        (vec!["db.test"], "x", "127.0.0.1", "not for 127.0.0.1"),
        (vec![], "db.test", "db.test", "tls"),
        (vec![], "*.test", "db.test", "tls"),
        (vec![], "db.test", "other.test", "is for db.test, not for other.test"),
        (vec!["under_score.test"], "x", "under_score.test", "tls"),
    ] {
        let server = server(Some(authority.sign(&parameters(&names, common))), &[]);
        let found = outcome(&settings(&server, host, SslMode::VerifyFull, Some(&root)));
        assert!(found.contains(expected), "{names:?} CN={common} for {host}: {found}");
    }
}

#[test]
fn intermediates_may_come_from_the_server_or_the_root_file() {
    let root = Authority::root("own root");
    let middle = root.intermediate("own intermediate");
    let files = Files::new();
    let root_only = files.write("root.crt", &root.pem);
    let both = files.write("both.crt", &format!("{}{}", middle.pem, root.pem));
    let middle_only = files.write("middle.crt", &middle.pem);
    let mut tls = middle.sign(&parameters(&["db.test"], "x"));
    let bare = server(Some(tls.clone()), &[]);
    tls.certificate.push_str(&middle.pem);
    let chained = server(Some(tls), &[]);
    let verify = |server: &DisposableServer, root: &Path| {
        outcome(&settings(server, "db.test", SslMode::VerifyFull, Some(root)))
    };
    assert_eq!(verify(&bare, &both), "tls");
    assert_eq!(verify(&chained, &root_only), "tls");
    assert_eq!(verify(&chained, &both), "tls");
    assert!(verify(&bare, &root_only).contains("not signed by a root"), "{}", verify(&bare, &root_only));
    assert!(
        verify(&chained, &middle_only).contains("an intermediate alone"),
        "{}",
        verify(&chained, &middle_only)
    );
}

fn openssl(directory: &Path, arguments: &[&str]) {
    let output =
        Command::new("openssl").current_dir(directory).args(arguments).output().expect("openssl runs");
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The recipe of PostgreSQL's manual makes such certificates with OpenSSL before 3.2.
#[test]
fn a_version_1_certificate_signed_by_a_root_is_trusted() {
    let files = Files::new();
    let directory = files.0.path();
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).expect("file");
    let root = |prefix: &str| {
        let (key, certificate) = (format!("{prefix}.key"), format!("{prefix}.crt"));
        openssl(
            directory,
            &[
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-keyout",
                &key,
                "-out",
                &certificate,
                "-subj",
                "/CN=root",
                "-days",
                "3650",
            ],
        );
    };
    root("root");
    root("other");
    openssl(
        directory,
        &[
            "req",
            "-new",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "server.key",
            "-out",
            "server.csr",
            "-subj",
            "/CN=db.test",
        ],
    );
    openssl(
        directory,
        &[
            "x509",
            "-req",
            "-in",
            "server.csr",
            "-CA",
            "root.crt",
            "-CAkey",
            "root.key",
            "-CAcreateserial",
            "-out",
            "server.crt",
            "-days",
            "3650",
        ],
    );
    let shown = Command::new("openssl")
        .current_dir(directory)
        .args(["x509", "-in", "server.crt", "-noout", "-text"])
        .output()
        .expect("openssl runs");
    assert!(
        String::from_utf8_lossy(&shown.stdout).contains("Version: 1 "),
        "this openssl writes no version 1 certificates"
    );
    let tls = ServerTls { certificate: read("server.crt"), key: Secret::new(read("server.key")) };
    let server = server(Some(tls), &[]);
    let (root, other) = (directory.join("root.crt"), directory.join("other.crt"));
    assert_outcomes(&server, "db.test", Some(&root), ["plain", "plain", "tls", "tls", "tls", "tls"]);
    let unknown = "not signed by a root";
    assert_outcomes(&server, "db.test", Some(&other), ["plain", "plain", "plain", unknown, unknown, unknown]);
}

#[test]
fn a_server_that_insists_on_or_forbids_tls_is_met_halfway() {
    let authority = Authority::root("own root");
    let tls = || Some(authority.sign(&parameters(&["db.test"], "x")));
    let insisting = server(tls(), &["hostnossl all all all reject"]);
    assert_outcomes(&insisting, "db.test", None, ["28000", "tls", "tls", "tls", "no root", "no root"]);
    let refusing = server(tls(), &["hostssl all all all reject"]);
    assert_outcomes(&refusing, "db.test", None, ["plain", "plain", "plain", "28000", "no root", "no root"]);
}

#[test]
fn an_old_protocol_version_still_verifies() {
    let authority = Authority::root("own root");
    let options = ServerOptions {
        password: Some(Secret::new(PASSWORD)),
        tcp: true,
        tls: Some(authority.sign(&parameters(&["db.test"], "x"))),
        configuration: vec!["ssl_max_protocol_version = 'TLSv1.2'".to_owned()],
        ..ServerOptions::default()
    };
    let server = DisposableServer::start(&options).expect("a server");
    let files = Files::new();
    let root = files.write("root.crt", &authority.pem);
    assert_eq!(outcome(&settings(&server, "db.test", SslMode::VerifyFull, Some(&root))), "tls");
}

/// With every hash that certificates are signed with, a login that insists on binding works: the
/// server checks the same hash of its certificate.
#[test]
fn scram_is_bound_to_the_channel() {
    let files = Files::new();
    openssl(files.0.path(), &["genpkey", "-algorithm", "RSA", "-out", "rsa.key"]);
    let rsa = std::fs::read_to_string(files.0.path().join("rsa.key")).expect("key");
    let keys = [
        KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        KeyPair::from_pem_and_sign_algo(&rsa, &rcgen::PKCS_RSA_SHA512),
    ];
    for key in keys {
        let key = key.expect("key");
        let certificate = self_signed(&parameters(&["db.test"], "x"), &key);
        let server = server(Some(ServerTls { certificate, key: Secret::new(key.serialize_pem()) }), &[]);
        let mut settings = settings(&server, "db.test", SslMode::Require, None);
        for binding in [ChannelBinding::Require, ChannelBinding::Prefer, ChannelBinding::Disable] {
            settings.channel_binding = binding;
            assert_eq!(outcome(&settings), "tls", "{binding:?}");
        }
        settings.ssl_mode = SslMode::Disable;
        settings.channel_binding = ChannelBinding::Require;
        assert!(outcome(&settings).contains("channel_binding=require"), "{}", outcome(&settings));
    }
}

/// Ed25519 has no hash of its own, so binding is not defined: a login must do without.
#[test]
fn a_certificate_without_a_hash_still_lets_scram_pass() {
    let files = Files::new();
    let request = ["req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=db.test"];
    openssl(files.0.path(), &[&request[..], &["-keyout", "server.key", "-out", "server.crt"]].concat());
    let read = |name: &str| std::fs::read_to_string(files.0.path().join(name)).expect("file");
    let server = server(
        Some(ServerTls { certificate: read("server.crt"), key: Secret::new(read("server.key")) }),
        &[],
    );
    assert_eq!(outcome(&settings(&server, "db.test", SslMode::Require, None)), "tls");
}

#[test]
fn channel_binding_cannot_be_had_from_a_server_that_only_asks_for_the_password() {
    let authority = Authority::root("own root");
    let server = server(Some(authority.sign(&parameters(&["db.test"], "x"))), &["host all all all password"]);
    let mut settings = settings(&server, "db.test", SslMode::Require, None);
    assert_eq!(outcome(&settings), "tls");
    settings.channel_binding = ChannelBinding::Require;
    assert!(outcome(&settings).contains("channel_binding=require"), "{}", outcome(&settings));
}

#[test]
fn a_session_over_tls_moves_large_data_and_can_be_cancelled() {
    use std::io::Write;
    let authority = Authority::root("own root");
    let server = server(Some(authority.sign(&parameters(&["db.test"], "x"))), &[]);
    let settings = settings(&server, "db.test", SslMode::Require, None);
    let mut connection = Connection::open(&settings, &Interrupt::new()).expect("a connection");
    connection.execute("CREATE TABLE a AS SELECT i, repeat(md5(i::text), 20) AS t FROM generate_series(1, 60000) AS i; CREATE TABLE b (LIKE a)").expect("tables");
    let mut data = Vec::new();
    let rows = connection.copy_out("COPY a TO STDOUT", &mut |piece| {
        data.extend_from_slice(piece);
        Ok(())
    });
    assert_eq!(rows.expect("rows"), 60_000);
    let mut writer = connection.copy_in("COPY b FROM STDIN").expect("copy in");
    writer.write_all(&data).expect("written");
    assert_eq!(writer.finish().expect("rows"), 60_000);
    let different =
        connection.query("SELECT count(*) FROM (TABLE a EXCEPT ALL TABLE b) AS d").expect("compared");
    assert_eq!(different.only().expect("one").get::<i64>(0).expect("a number"), 0);
    let endless = "COPY (SELECT generate_series(1, 9000000000000)) TO STDOUT";
    let stop = connection.copy_out(endless, &mut |_| Err(std::io::Error::other("full")));
    assert!(matches!(stop, Err(pgstow_core::postgres::QueryError::Sink(_))), "{stop:?}");
    assert_eq!(connection.query("SELECT 1").expect("in sync").len(), 1);
}
