//! Certificates of every kind, servers that show them, and how a connection ends: ours, and that of
//! stock psql, which must end the same way.

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use pgstow_core::interrupt::Interrupt;
use pgstow_core::postgres::server::{DisposableServer, ServerOptions, ServerTls};
use pgstow_core::postgres::settings::{ConnectionSettings, Host, Secret, SslMode};
use pgstow_core::postgres::{ConnectError, Connection};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SigningKey,
};

pub(crate) const PASSWORD: &str = "hunter2 @/?#";
pub(crate) const MODES: [SslMode; 6] = [
    SslMode::Disable,
    SslMode::Allow,
    SslMode::Prefer,
    SslMode::Require,
    SslMode::VerifyCa,
    SslMode::VerifyFull,
];

pub(crate) struct Authority {
    pub(crate) issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

pub(crate) fn parameters(names: &[&str], common: &str) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut parameters = CertificateParams::new(names).expect("names");
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, common);
    parameters
}

pub(crate) fn authority_parameters(common: &str) -> CertificateParams {
    let mut parameters = parameters(&[], common);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}

impl Authority {
    pub(crate) fn root(common: &str) -> Self {
        let key = KeyPair::generate().expect("key");
        let parameters = authority_parameters(common);
        let pem = parameters.self_signed(&key).expect("certificate").pem();
        Self { issuer: Issuer::new(parameters, key), pem }
    }

    pub(crate) fn intermediate(&self, common: &str) -> Self {
        let key = KeyPair::generate().expect("key");
        let parameters = authority_parameters(common);
        let pem = parameters.signed_by(&key, &self.issuer).expect("certificate").pem();
        Self { issuer: Issuer::new(parameters, key), pem }
    }

    pub(crate) fn sign(&self, parameters: &CertificateParams) -> ServerTls {
        let key = KeyPair::generate().expect("key");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("certificate").pem();
        ServerTls { certificate, key: Secret::new(key.serialize_pem()) }
    }
}

pub(crate) fn self_signed(parameters: &CertificateParams, key: &impl SigningKey) -> String {
    parameters.self_signed(key).expect("certificate").pem()
}

pub(crate) fn server(tls: Option<ServerTls>, rules: &[&str]) -> DisposableServer {
    let options = ServerOptions {
        password: Some(Secret::new(PASSWORD)),
        tcp: true,
        tls,
        host_based_authentication: rules.iter().map(ToString::to_string).collect(),
        ..ServerOptions::default()
    };
    DisposableServer::start(&options).expect("a server")
}

/// A directory for files of certificates, which the server's account can read.
pub(crate) struct Files(pub(crate) tempfile::TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).expect("permissions");
        Self(directory)
    }
    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).expect("written");
        path
    }
}

pub(crate) fn settings(
    server: &DisposableServer,
    host: &str,
    mode: SslMode,
    root: Option<&Path>,
) -> ConnectionSettings {
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

/// `tls`, `plain`, or why there is no connection. libpq must get as far, and no farther.
#[track_caller]
pub(crate) fn outcome(settings: &ConnectionSettings) -> String {
    let found = own_outcome(settings);
    let ours = if matches!(found.as_str(), "tls" | "plain") { found.as_str() } else { "nothing" };
    for programs in ["client", "client-18"] {
        let (theirs, said) = libpq_outcome(programs, settings);
        assert_eq!(ours, theirs, "we: {found:?}; psql of {programs}: {said}; {settings:?}");
    }
    found
}

/// `tls`, `plain` or `nothing`, and what stock psql said.
pub(crate) fn libpq_outcome(programs: &str, settings: &ConnectionSettings) -> (String, String) {
    let program =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.test/servers").join(programs).join("bin/psql");
    let none = Path::new("/nonexistent");
    let Some(Host::Tcp { host, address, port }) = settings.hosts.first() else { panic!("no TCP host") };
    let client = settings.ssl_client.as_ref();
    let mut command = Command::new(&program);
    command.env_clear().env("HOME", none).env("PGCONNECT_TIMEOUT", "20").env("PGGSSENCMODE", "disable");
    command.env("PGHOST", host).env("PGPORT", port.to_string());
    command.env("PGHOSTADDR", address.map(|address| address.to_string()).unwrap_or_default());
    command.env("PGUSER", &settings.user).env("PGDATABASE", &settings.database);
    command.env("PGPASSWORD", settings.password.as_ref().map(Secret::expose).unwrap_or_default());
    command.env("PGSSLMODE", mode_name(settings.ssl_mode));
    command.env("PGSSLROOTCERT", settings.ssl_root_cert.as_deref().unwrap_or(none));
    command.env("PGSSLCERT", client.map_or(none, |client| &client.certificate));
    command.env("PGSSLKEY", client.map_or(none, |client| &client.key));
    command.env("PGCHANNELBINDING", format!("{:?}", settings.channel_binding).to_lowercase());
    let sql = "SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()";
    let output = command.args(["-XAtwc", sql]).output().expect("psql; run scripts/set-up-tests");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let found = match String::from_utf8_lossy(&output.stdout).trim() {
        "t" => "tls",
        "f" => "plain",
        _ => "nothing",
    };
    (found.to_owned(), said)
}

fn mode_name(mode: SslMode) -> &'static str {
    match mode {
        SslMode::Disable => "disable",
        SslMode::Allow => "allow",
        SslMode::Prefer => "prefer",
        SslMode::Require => "require",
        SslMode::VerifyCa => "verify-ca",
        SslMode::VerifyFull => "verify-full",
    }
}

/// The same of our own connection alone.
pub(crate) fn own_outcome(settings: &ConnectionSettings) -> String {
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
pub(crate) fn outcomes(server: &DisposableServer, host: &str, root: Option<&Path>) -> Vec<String> {
    MODES.iter().map(|mode| outcome(&settings(server, host, *mode, root))).collect()
}

#[track_caller]
pub(crate) fn assert_outcomes(
    server: &DisposableServer,
    host: &str,
    root: Option<&Path>,
    expected: [&str; 6],
) {
    let found = outcomes(server, host, root);
    for ((mode, found), expected) in MODES.iter().zip(&found).zip(expected) {
        let fits =
            if matches!(expected, "tls" | "plain") { found == expected } else { found.contains(expected) };
        assert!(fits, "{mode:?} to {host} with {root:?}: expected {expected:?}, got {found:?}");
    }
}

pub(crate) fn openssl(directory: &Path, arguments: &[&str]) {
    let output =
        Command::new("openssl").current_dir(directory).args(arguments).output().expect("openssl runs");
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
