//! Client certificates: how a login with one goes, and what is said where it cannot.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pgstow_core::interrupt::Interrupt;
use pgstow_core::postgres::Connection;
use pgstow_core::postgres::client_tools::{PgDump, SchemaDump, ToolPlaces};
use pgstow_core::postgres::server::{DisposableServer, ServerOptions};
use pgstow_core::postgres::settings::{
    CertificateMode, ClientCertificate, ConnectionSettings, Secret, SslMode,
};
use rcgen::KeyPair;

use crate::ground::{Authority, Files, PASSWORD, openssl, outcome, own_outcome, parameters, settings};

/// A server that trusts an authority's client certificates, and that authority.
struct Ground {
    server: DisposableServer,
    authority: Authority,
    files: Files,
}

impl Ground {
    fn new(rules: &[&str], configuration: &[&str]) -> Self {
        let authority = Authority::root("authority of clients");
        let files = Files::new();
        let trusted = files.write("clients.crt", &authority.pem);
        let mut lines = vec![format!("ssl_ca_file = '{}'", trusted.display())];
        lines.extend(configuration.iter().map(ToString::to_string));
        let options = ServerOptions {
            password: Some(Secret::new(PASSWORD)),
            tcp: true,
            tls: Some(Authority::root("authority of servers").sign(&parameters(&["db.test"], "x"))),
            configuration: lines,
            host_based_authentication: rules.iter().map(ToString::to_string).collect(),
            ..ServerOptions::default()
        };
        Self { server: DisposableServer::start(&options).expect("a server"), authority, files }
    }

    /// The certificate of a role and its key, of `authority`.
    fn certificate(&self, authority: &Authority, role: &str) -> ClientCertificate {
        let signed = authority.sign(&parameters(&[], role));
        let certificate = self.files.write("client.crt", &signed.certificate);
        ClientCertificate { certificate, key: self.key(signed.key.expose().as_bytes()) }
    }

    fn key(&self, content: &[u8]) -> PathBuf {
        let path = self.files.0.path().join("client.key");
        std::fs::write(&path, content).expect("written");
        allow(&path, 0o600);
        path
    }

    /// Without a password.
    fn settings(&self, client: Option<ClientCertificate>) -> ConnectionSettings {
        ConnectionSettings {
            password: None,
            ssl_client: client,
            ..settings(&self.server, "db.test", SslMode::Require, None)
        }
    }

    fn outcome(&self, client: Option<ClientCertificate>) -> String {
        outcome(&self.settings(client))
    }
}

fn allow(path: &Path, bits: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(bits)).expect("permissions");
}

const CERTIFICATE_ONLY: &[&str] = &["hostssl all all all cert", "host all all all reject"];

#[test]
fn a_client_certificate_logs_its_role_in_and_no_other() {
    for version in ["TLSv1.2", "TLSv1.3"] {
        let configuration = format!("ssl_max_protocol_version = '{version}'");
        let ground = Ground::new(CERTIFICATE_ONLY, &[&configuration]);
        let own = ground.certificate(&ground.authority, "postgres");
        assert_eq!(ground.outcome(Some(own)), "tls", "{version}");
        assert_eq!(ground.outcome(None), "28000", "{version}");
        let another = ground.certificate(&ground.authority, "somebody");
        assert_eq!(ground.outcome(Some(another)), "28000", "{version}");
        let stranger = ground.certificate(&Authority::root("strangers"), "postgres");
        let found = ground.outcome(Some(stranger));
        assert!(found.contains("client certificate") && found.contains("trust"), "{version}: {found}");
    }
}

#[test]
fn a_certificate_may_be_asked_for_beside_the_password() {
    let ground = Ground::new(&["hostssl all all all scram-sha-256 clientcert=verify-full"], &[]);
    let client = ground.certificate(&ground.authority, "postgres");
    let mut settings = ground.settings(Some(client));
    assert!(own_outcome(&settings).contains("NoPassword"), "{}", own_outcome(&settings));
    settings.password = Some(Secret::new(PASSWORD));
    assert_eq!(outcome(&settings), "tls");
    settings.ssl_client = None;
    assert_eq!(outcome(&settings), "28000");
}

#[test]
fn keys_of_every_usual_kind_and_form_are_read() {
    let ground = Ground::new(CERTIFICATE_ONLY, &[]);
    let files = Files::new();
    let directory = files.0.path();
    for kind in [
        &["-algorithm", "RSA"][..],
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
        &["-algorithm", "ED25519"],
    ] {
        openssl(directory, &[&["genpkey", "-out", "pkcs8.pem"], kind].concat());
        let pem = std::fs::read_to_string(directory.join("pkcs8.pem")).expect("key");
        let signing = match kind[1] {
            "RSA" => KeyPair::from_pem_and_sign_algo(&pem, &rcgen::PKCS_RSA_SHA256),
            _ => KeyPair::from_pem(&pem),
        };
        let certificate = parameters(&[], "postgres")
            .signed_by(&signing.expect("key"), &ground.authority.issuer)
            .expect("certificate");
        let certificate = ground.files.write("client.crt", &certificate.pem());
        let mut forms = vec![pem.into_bytes()];
        if kind[1] != "ED25519" {
            openssl(directory, &["pkey", "-in", "pkcs8.pem", "-traditional", "-out", "traditional.pem"]);
            openssl(
                directory,
                &["pkey", "-in", "pkcs8.pem", "-traditional", "-outform", "DER", "-out", "key.der"],
            );
            forms.push(std::fs::read(directory.join("traditional.pem")).expect("key"));
            forms.push(std::fs::read(directory.join("key.der")).expect("key"));
        }
        for form in forms {
            let client = ClientCertificate { certificate: certificate.clone(), key: ground.key(&form) };
            let shown = String::from_utf8_lossy(&form[..20]).into_owned();
            assert_eq!(ground.outcome(Some(client)), "tls", "{kind:?} {shown:?}");
        }
    }
}

/// What `openssl x509 -req` writes without further options.
#[test]
fn a_version_1_certificate_and_one_with_its_chain_are_sent() {
    let ground = Ground::new(CERTIFICATE_ONLY, &[]);
    let files = Files::new();
    let directory = files.0.path();
    files.write("ca.crt", &ground.authority.pem);
    files.write("ca.key", &ground.authority.issuer.key().serialize_pem());
    let request = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=postgres"];
    openssl(directory, &[&request[..], &["-keyout", "client.key", "-out", "client.csr"]].concat());
    let sign = ["x509", "-req", "-in", "client.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"];
    openssl(directory, &[&sign[..], &["-out", "client.crt", "-days", "3650"]].concat());
    let key = std::fs::read(directory.join("client.key")).expect("key");
    let client = ClientCertificate { certificate: directory.join("client.crt"), key: ground.key(&key) };
    assert_eq!(ground.outcome(Some(client)), "tls");

    let middle = ground.authority.intermediate("between");
    let mut signed = middle.sign(&parameters(&[], "postgres"));
    let key = ground.key(signed.key.expose().as_bytes());
    let alone = ground.files.write("alone.crt", &signed.certificate);
    signed.certificate.push_str(&middle.pem);
    let chained = ground.files.write("chained.crt", &signed.certificate);
    assert_eq!(ground.outcome(Some(ClientCertificate { certificate: chained, key: key.clone() })), "tls");
    assert_ne!(ground.outcome(Some(ClientCertificate { certificate: alone, key })), "tls");
}

#[test]
fn what_cannot_be_used_is_named_before_anything_is_sent() {
    let ground = Ground::new(CERTIFICATE_ONLY, &[]);
    let good = ground.certificate(&ground.authority, "postgres");
    let found = |client: &ClientCertificate| ground.outcome(Some(client.clone()));
    allow(&good.key, 0o644);
    assert!(found(&good).contains("chmod 600"), "{}", found(&good));
    // A key of root may be open to a group.
    allow(&good.key, 0o640);
    assert_eq!(found(&good) == "tls", rustix::process::geteuid().is_root());
    allow(&good.key, 0o600);
    assert_eq!(found(&good), "tls");
    let missing = ClientCertificate { key: "/nonexistent.key".into(), ..good.clone() };
    assert!(found(&missing).contains("/nonexistent.key cannot be read"), "{}", found(&missing));
    let garbage = ClientCertificate { certificate: ground.files.write("garbage", "words"), ..good.clone() };
    assert!(found(&garbage).contains("no certificate in it"), "{}", found(&garbage));
    let pem = KeyPair::generate().expect("key").serialize_pem();
    let other = ground.files.write("other.key", &pem);
    allow(&other, 0o600);
    let mismatch = ClientCertificate { key: other.clone(), ..good.clone() };
    assert!(found(&mismatch).contains("is not that of the client certificate"), "{}", found(&mismatch));
    let encrypt = ["pkey", "-in", "other.key", "-aes256", "-passout", "pass:MARKER", "-out", "encrypted.key"];
    openssl(ground.files.0.path(), &encrypt);
    let encrypted = ground.files.0.path().join("encrypted.key");
    allow(&encrypted, 0o600);
    let encrypted = ClientCertificate { key: encrypted, ..good };
    assert!(own_outcome(&ground.settings(Some(encrypted.clone()))).contains("is encrypted; `openssl pkey"));
}

#[test]
fn a_certificate_is_sent_as_sslcertmode_says() {
    let asking = Ground::new(CERTIFICATE_ONLY, &[]);
    let client = asking.certificate(&asking.authority, "postgres");
    let with = |ground: &Ground, mode, client: Option<&ClientCertificate>| {
        own_outcome(&ConnectionSettings {
            ssl_cert_mode: mode,
            password: Some(Secret::new(PASSWORD)),
            ..ground.settings(client.cloned())
        })
    };
    assert_eq!(with(&asking, CertificateMode::Require, Some(&client)), "tls");
    assert!(with(&asking, CertificateMode::Require, None).contains("sslcertmode=require"));
    let options = ServerOptions {
        password: Some(Secret::new(PASSWORD)),
        tcp: true,
        tls: Some(Authority::root("authority of servers").sign(&parameters(&["db.test"], "x"))),
        ..ServerOptions::default()
    };
    let silent = Ground { server: DisposableServer::start(&options).expect("a server"), ..asking };
    assert_eq!(with(&silent, CertificateMode::Allow, Some(&client)), "tls");
    let found = with(&silent, CertificateMode::Require, Some(&client));
    assert!(found.contains("did not ask for the client's certificate"), "{found}");
}

/// Writes down what the program was given, and becomes it.
const SPY: &str = "#!/bin/sh\nif [ -n \"$PGSERVICEFILE\" ]; then cat \"$PGSERVICEFILE\" > DIRECTORY/service; fi\nexec REAL \"$@\"\n";

#[test]
fn pg_dump_connects_with_the_same_certificate_and_keepalives() {
    let ground = Ground::new(CERTIFICATE_ONLY, &[]);
    let client = ground.certificate(&ground.authority, "postgres");
    let mut settings = ground.settings(Some(client));
    settings.keepalives.idle = Some(std::time::Duration::from_secs(77));
    settings.keepalives.user_timeout = Some(std::time::Duration::from_millis(123_456));
    let mut connection = Connection::open(&settings, &Interrupt::new()).expect("a connection");
    connection.execute("CREATE TABLE of_the_certificate (n integer)").expect("a table");
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").expect("a transaction");
    let rows = connection.query("SELECT pg_catalog.pg_export_snapshot()").expect("a snapshot");
    let snapshot: String = rows.only().expect("one row").get(0).expect("a name");
    let dump = SchemaDump {
        snapshot: &snapshot,
        encoding: "UTF8",
        lock_timeout_ms: 10_000,
        ..SchemaDump::default()
    };

    let real = ground.server.binaries().program("pg_dump");
    let directory = ground.files.0.path();
    let spy = SPY
        .replace("DIRECTORY", &directory.display().to_string())
        .replace("REAL", &real.display().to_string());
    let spy = ground.files.write("pg_dump", &spy);
    allow(&spy, 0o755);
    let places = ToolPlaces { configured: Some(spy), search_path: None };
    let pg_dump = PgDump::find(&places, 15).expect("pg_dump");
    let archive =
        pg_dump.schema_archive(connection.settings(), &dump, &Interrupt::new()).expect("an archive");
    let found = archive.windows(18).any(|window| window == b"of_the_certificate");
    assert!(found, "the archive holds the table");
    let service = std::fs::read_to_string(directory.join("service")).expect("the spy wrote it");
    assert!(service.contains("keepalives_idle=77\n"), "{service}");
    assert!(service.contains("tcp_user_timeout=123456\n"), "{service}");
}
