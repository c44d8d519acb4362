//! Channel binding: with every signature that has a hash, and where it cannot be had.

use pgstow_core::interrupt::Interrupt;
use pgstow_core::postgres::Connection;
use pgstow_core::postgres::server::ServerTls;
use pgstow_core::postgres::settings::{ChannelBinding, Secret, SslMode};
use rcgen::KeyPair;

use crate::ground::{
    Authority, Files, openssl, outcome, own_outcome, parameters, self_signed, server, settings,
};

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

/// RSA-PSS names its hash in the signature's parameters.
#[test]
fn scram_is_bound_with_certificates_signed_with_rsa_pss() {
    for hash in ["sha256", "sha384", "sha512"] {
        let files = Files::new();
        let digest = format!("-{hash}");
        let request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=db.test", &digest];
        let pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:-1"];
        let out = ["-keyout", "server.key", "-out", "server.crt"];
        openssl(files.0.path(), &[&request[..], &pss, &out].concat());
        let read = |name: &str| std::fs::read_to_string(files.0.path().join(name)).expect("file");
        let tls = ServerTls { certificate: read("server.crt"), key: Secret::new(read("server.key")) };
        let server = server(Some(tls), &[]);
        let root = files.0.path().join("server.crt");
        let mut settings = settings(&server, "db.test", SslMode::VerifyFull, Some(&root));
        for binding in [ChannelBinding::Require, ChannelBinding::Prefer] {
            settings.channel_binding = binding;
            assert_eq!(outcome(&settings), "tls", "{hash} {binding:?}");
        }
    }
}

/// Ed25519 has no hash of its own, so binding is not defined. libpq fails there unless it is told
/// not to try; a login of ours does without, and tells pg_dump's libpq.
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
    let mut settings = settings(&server, "db.test", SslMode::Require, None);
    assert_eq!(own_outcome(&settings), "tls");
    let connection = Connection::open(&settings, &Interrupt::new()).expect("a connection");
    let told = connection.settings();
    assert_eq!(told.channel_binding, ChannelBinding::Disable);
    assert_eq!(outcome(told), "tls");
    settings.channel_binding = ChannelBinding::Require;
    assert!(outcome(&settings).contains("Ed25519"), "{}", outcome(&settings));
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
