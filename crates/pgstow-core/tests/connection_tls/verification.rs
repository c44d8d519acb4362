//! Every sslmode against every kind of server certificate.

use std::path::Path;
use std::process::Command;

use pgstow_core::interrupt::Interrupt;
use pgstow_core::postgres::Connection;
use pgstow_core::postgres::server::{DisposableServer, ServerOptions, ServerTls};
use pgstow_core::postgres::settings::{Secret, SslMode};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::ground::{
    Authority, Files, PASSWORD, assert_outcomes, authority_parameters, openssl, outcome, parameters,
    self_signed, server, settings,
};

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
    let (root, other) = (directory.join("root.crt"), directory.join("other.crt"));
    for version in ["TLSv1.2", "TLSv1.3"] {
        let server = server_up_to(version, tls.clone());
        assert_outcomes(&server, "db.test", Some(&root), ["plain", "plain", "tls", "tls", "tls", "tls"]);
        let unknown = "not signed by a root";
        assert_outcomes(
            &server,
            "db.test",
            Some(&other),
            ["plain", "plain", "plain", unknown, unknown, unknown],
        );
    }
}

/// Supabase's root exists twice under one subject, and so may any root that was renewed.
#[test]
fn a_root_file_may_hold_several_roots_of_one_name() {
    let (old, new) = (Authority::root("one name"), Authority::root("one name"));
    let files = Files::new();
    let both = files.write("both.crt", &format!("{}{}", old.pem, new.pem));
    let reversed = files.write("reversed.crt", &format!("words between\n{}\n{}", new.pem, old.pem));
    let old_only = files.write("old.crt", &old.pem);
    let mut leaf = parameters(&["db.test"], "x");
    // Without it OpenSSL tries one of the two only.
    leaf.use_authority_key_identifier_extension = true;
    for authority in [&old, &new] {
        let server = server(Some(authority.sign(&leaf)), &[]);
        for root in [&both, &reversed] {
            assert_eq!(outcome(&settings(&server, "db.test", SslMode::VerifyFull, Some(root))), "tls");
        }
        let found = outcome(&settings(&server, "db.test", SslMode::VerifyFull, Some(&old_only)));
        assert_eq!(found == "tls", std::ptr::eq(authority, &old), "{found}");
    }
}

#[test]
fn a_root_counts_only_at_its_time_and_a_valid_one_of_the_same_key_is_enough() {
    let pem = KeyPair::generate().expect("key").serialize_pem();
    let key = || KeyPair::from_pem(&pem).expect("key");
    let root = |from: i32, to: i32| {
        let mut parameters = authority_parameters("renewed root");
        parameters.not_before = rcgen::date_time_ymd(from, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(to, 1, 1);
        self_signed(&parameters, &key())
    };
    let (expired, valid, future) = (root(2001, 2002), root(2001, 2100), root(2090, 2100));
    let authority =
        Authority { issuer: Issuer::new(authority_parameters("renewed root"), key()), pem: valid.clone() };
    let server = server(Some(authority.sign(&parameters(&["db.test"], "x"))), &[]);
    let files = Files::new();
    let found = |name: &str, content: &str| {
        let root = files.write(name, content);
        outcome(&settings(&server, "db.test", SslMode::VerifyFull, Some(&root)))
    };
    assert_eq!(found("valid", &valid), "tls");
    assert_eq!(found("both", &format!("{expired}{valid}")), "tls");
    for (name, content) in [("expired", &expired), ("future", &future)] {
        let found = found(name, content);
        assert!(found.contains("root certificate is not valid at this time"), "{name}: {found}");
    }
}

/// An authority's certificate as a server's: OpenSSL takes it, webpki does not.
#[test]
fn a_servers_certificate_may_be_an_authoritys() {
    let root = Authority::root("own root");
    let middle = root.intermediate("own intermediate");
    let files = Files::new();
    let roots = files.write("root.crt", &root.pem);
    let other = files.write("other.crt", &Authority::root("own root").pem);
    let mut leaf = parameters(&["db.test"], "x");
    leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let direct = root.sign(&leaf);
    let mut chained = middle.sign(&leaf);
    chained.certificate.push_str(&middle.pem);
    for tls in [direct, chained] {
        let server = server(Some(tls), &[]);
        let found =
            |host: &str, root: &Path| outcome(&settings(&server, host, SslMode::VerifyFull, Some(root)));
        assert_eq!(found("db.test", &roots), "tls");
        assert!(found("other.test", &roots).contains("not for other.test"));
        assert!(found("db.test", &other).contains("not signed by a root"), "{}", found("db.test", &other));
    }
    // Used for what it says it is not for.
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let wrong_purpose = root.sign(&leaf);
    leaf.extended_key_usages = Vec::new();
    leaf.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let wrong_usage = root.sign(&leaf);
    for tls in [wrong_purpose, wrong_usage] {
        let server = server(Some(tls), &[]);
        let found = outcome(&settings(&server, "db.test", SslMode::VerifyCa, Some(&roots)));
        assert!(found.contains("cannot be trusted"), "{found}");
    }
}

/// A chain is followed only over authorities that may sign, within their number.
#[test]
fn a_chain_over_what_may_not_sign_is_not_followed() {
    let root = Authority::root("own root");
    let files = Files::new();
    let roots = files.write("root.crt", &root.pem);
    let mut leaf = parameters(&["db.test"], "x");
    leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issued = |between: rcgen::CertificateParams| {
        let key = KeyPair::generate().expect("key");
        let pem = between.signed_by(&key, &root.issuer).expect("certificate").pem();
        Authority { issuer: Issuer::new(between, key), pem }
    };
    let server_of = |authorities: &[&Authority]| {
        let mut tls = authorities[0].sign(&leaf);
        authorities.iter().for_each(|authority| tls.certificate.push_str(&authority.pem));
        server(Some(tls), &[])
    };
    let mut no_authority = parameters(&["no-authority.test"], "no authority");
    no_authority.is_ca = IsCa::ExplicitNoCa;
    let mut no_signer = authority_parameters("no signer");
    no_signer.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let mut limited = authority_parameters("limited");
    limited.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let limited = issued(limited);
    let below = limited.intermediate("below the limited");
    for server in [
        server_of(&[&issued(no_authority)]),
        server_of(&[&issued(no_signer)]),
        server_of(&[&below, &limited]),
    ] {
        let found = outcome(&settings(&server, "db.test", SslMode::VerifyCa, Some(&roots)));
        assert!(found.contains("not signed by a root"), "{found}");
    }
    let server = server_of(&[&limited]);
    assert_eq!(outcome(&settings(&server, "db.test", SslMode::VerifyCa, Some(&roots))), "tls");
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

fn server_up_to(version: &str, tls: ServerTls) -> DisposableServer {
    let options = ServerOptions {
        password: Some(Secret::new(PASSWORD)),
        tcp: true,
        tls: Some(tls),
        configuration: vec![format!("ssl_max_protocol_version = '{version}'")],
        ..ServerOptions::default()
    };
    DisposableServer::start(&options).expect("a server")
}

#[test]
fn an_old_protocol_version_still_verifies() {
    let authority = Authority::root("own root");
    let server = server_up_to("TLSv1.2", authority.sign(&parameters(&["db.test"], "x")));
    let files = Files::new();
    let root = files.write("root.crt", &authority.pem);
    assert_eq!(outcome(&settings(&server, "db.test", SslMode::VerifyFull, Some(&root))), "tls");
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
