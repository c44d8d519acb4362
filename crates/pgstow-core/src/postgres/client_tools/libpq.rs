//! Our settings as libpq takes them, so that a program of PostgreSQL connects exactly as we do.
//!
//! Everything is said: where we have nothing, libpq must not find something of its own, such as a
//! certificate in the home directory. What has no variable goes into a service file, the password
//! into a password file, both in a private folder.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::postgres::settings::{
    CertificateMode, ChannelBinding, ConnectionSettings, Host, Keepalives, Secret, SslMode,
};
use crate::postgres::tls;

/// The service's name in its file.
const SERVICE: &str = "pgstow";
/// libpq knows `sslrootcert=system` from here on.
const FIRST_MAJOR_WITH_SYSTEM_ROOTS: u32 = 16;

type Variables = Vec<(&'static str, OsString)>;

/// Variables for a cleared environment; writes files into `folder`, which must be private and
/// outlive the program. `major` is the version of the program's libpq.
///
/// # Errors
/// When a file cannot be written.
pub(super) fn environment(
    connection: &ConnectionSettings,
    major: u32,
    folder: &Path,
) -> io::Result<Variables> {
    let mut variables: Variables = vec![
        ("LC_ALL", "C".into()),
        ("HOME", folder.into()),
        ("PGUSER", connection.user.as_str().into()),
        ("PGDATABASE", connection.database.as_str().into()),
        ("PGAPPNAME", connection.application_name.as_str().into()),
        ("PGCHANNELBINDING", channel_binding(connection.channel_binding).into()),
        ("PGGSSENCMODE", "disable".into()),
    ];
    match connection.hosts.first() {
        Some(Host::Socket { directory, port }) => {
            variables.push(("PGHOST", directory.into()));
            variables.push(("PGPORT", port.to_string().into()));
        }
        Some(Host::Tcp { host, address, port }) => {
            variables.push(("PGHOST", host.into()));
            variables.push(("PGPORT", port.to_string().into()));
            if let Some(address) = address {
                variables.push(("PGHOSTADDR", address.to_string().into()));
            }
            let service = folder.join("service");
            write_private(&service, &service_file(&connection.keepalives))?;
            variables.push(("PGSERVICEFILE", service.into()));
            variables.push(("PGSERVICE", SERVICE.into()));
        }
        None => {}
    }
    if let Some(timeout) = connection.connect_timeout {
        // libpq rounds a time-out of one second up to two.
        variables.push(("PGCONNECT_TIMEOUT", timeout.as_secs().max(2).to_string().into()));
    }
    if let Some(options) = &connection.options {
        variables.push(("PGOPTIONS", options.into()));
    }
    variables.extend(encryption(connection, major, folder)?);
    let password = connection.hosts.first().and_then(|host| connection.password_for(host));
    let pass_file = folder.join("password");
    write_private(&pass_file, &password_file(password.as_ref()))?;
    variables.push(("PGPASSFILE", pass_file.into()));
    Ok(variables)
}

fn encryption(connection: &ConnectionSettings, major: u32, folder: &Path) -> io::Result<Variables> {
    let nothing = || folder.join("nothing");
    let root = connection.ssl_root_cert.clone().unwrap_or_else(nothing);
    let is_unknown_name = root == Path::new(tls::SYSTEM_ROOTS) && major < FIRST_MAJOR_WITH_SYSTEM_ROOTS;
    let root = if is_unknown_name { written_system_roots(folder)? } else { root };
    let (certificate, key) = match &connection.ssl_client {
        Some(client) => (client.certificate.clone(), client.key.clone()),
        None => (nothing(), nothing()),
    };
    let server_name = if connection.ssl_server_name { "1" } else { "0" };
    let mut variables: Variables = vec![
        ("PGSSLMODE", ssl_mode(connection.ssl_mode).into()),
        ("PGSSLROOTCERT", root.into()),
        ("PGSSLCERT", certificate.into()),
        ("PGSSLKEY", key.into()),
        ("PGSSLCRL", nothing().into()),
        ("PGSSLSNI", server_name.into()),
    ];
    if connection.ssl_cert_mode == CertificateMode::Require {
        variables.push(("PGSSLCERTMODE", "require".into()));
    }
    Ok(variables)
}

fn written_system_roots(folder: &Path) -> io::Result<PathBuf> {
    let path = folder.join("roots");
    write_private(&path, &tls::system_roots_as_pem())?;
    Ok(path)
}

fn ssl_mode(mode: SslMode) -> &'static str {
    match mode {
        SslMode::Disable => "disable",
        SslMode::Allow => "allow",
        SslMode::Prefer => "prefer",
        SslMode::Require => "require",
        SslMode::VerifyCa => "verify-ca",
        SslMode::VerifyFull => "verify-full",
    }
}

fn channel_binding(binding: ChannelBinding) -> &'static str {
    match binding {
        ChannelBinding::Disable => "disable",
        ChannelBinding::Prefer => "prefer",
        ChannelBinding::Require => "require",
    }
}

/// What is left to the system is left out.
fn service_file(keepalives: &Keepalives) -> String {
    let seconds = |time: Option<std::time::Duration>| time.map(|time| u128::from(time.as_secs()));
    let lines = [
        ("keepalives", Some(u128::from(keepalives.enabled))),
        ("keepalives_idle", seconds(keepalives.idle)),
        ("keepalives_interval", seconds(keepalives.interval)),
        ("keepalives_count", keepalives.probes.map(u128::from)),
        ("tcp_user_timeout", keepalives.user_timeout.map(|time| time.as_millis())),
    ];
    let lines = lines.iter().filter_map(|(name, value)| Some(format!("{name}={}\n", (*value)?)));
    format!("[{SERVICE}]\n{}", lines.collect::<String>())
}

/// Without a password the file is empty: libpq must not look for another one.
fn password_file(password: Option<&Secret>) -> String {
    let Some(password) = password else { return String::new() };
    format!("*:*:*:*:{}\n", password.expose().replace('\\', "\\\\").replace(':', "\\:"))
}

fn write_private(path: &Path, content: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;
    use crate::postgres::settings::ClientCertificate;

    fn settings() -> ConnectionSettings {
        let host = Host::Tcp { host: "db.example.com".into(), address: None, port: 5432 };
        ConnectionSettings {
            password: Some(Secret::new("pa55:w\\ord-marker")),
            ssl_mode: SslMode::Require,
            ..ConnectionSettings::new(host, "reader", "shop")
        }
    }

    fn variables(connection: &ConnectionSettings, major: u32, folder: &Path) -> BTreeMap<String, String> {
        let variables = environment(connection, major, folder).expect("files");
        variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_string_lossy().into_owned()))
            .collect()
    }

    #[test]
    fn the_password_is_in_a_private_escaped_file_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let variables = variables(&settings(), 15, folder.path());
        assert_eq!(variables["PGHOST"], "db.example.com");
        assert!(variables.values().all(|value| !value.contains("marker")), "{variables:?}");
        let file = Path::new(&variables["PGPASSFILE"]);
        assert_eq!(fs::read_to_string(file).unwrap(), "*:*:*:*:pa55\\:w\\\\ord-marker\n");
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!fs::read_to_string(&variables["PGSERVICEFILE"]).unwrap().contains("marker"));
    }

    #[test]
    fn everything_that_has_a_variable_is_said_in_one() {
        let folder = tempfile::tempdir().unwrap();
        let connection = ConnectionSettings {
            ssl_root_cert: Some("/r.pem".into()),
            ssl_client: Some(ClientCertificate { certificate: "/c.pem".into(), key: "/k.pem".into() }),
            ssl_cert_mode: CertificateMode::Require,
            ssl_server_name: false,
            channel_binding: ChannelBinding::Require,
            connect_timeout: Some(Duration::from_secs(9)),
            options: Some("-c geqo=off".into()),
            ..settings()
        };
        let variables = variables(&connection, 18, folder.path());
        for (name, value) in [
            ("PGSSLMODE", "require"),
            ("PGSSLROOTCERT", "/r.pem"),
            ("PGSSLCERT", "/c.pem"),
            ("PGSSLKEY", "/k.pem"),
            ("PGSSLCERTMODE", "require"),
            ("PGSSLSNI", "0"),
            ("PGCHANNELBINDING", "require"),
            ("PGCONNECT_TIMEOUT", "9"),
            ("PGOPTIONS", "-c geqo=off"),
            ("PGSERVICE", "pgstow"),
        ] {
            assert_eq!(variables[name], value, "{name}");
        }
    }

    #[test]
    fn nothing_of_the_users_home_is_found_where_we_have_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let variables = variables(&settings(), 15, folder.path());
        for name in ["PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGSSLCRL"] {
            let path = Path::new(&variables[name]);
            assert!(path.starts_with(folder.path()) && !path.exists(), "{name}: {}", path.display());
        }
        assert_eq!(Path::new(&variables["HOME"]), folder.path());
    }

    #[test]
    fn keepalives_go_into_the_service_file() {
        let own = "[pgstow]\nkeepalives=1\nkeepalives_idle=60\nkeepalives_interval=15\nkeepalives_count=6\n";
        assert_eq!(service_file(&Keepalives::default()), own);
        let other = Keepalives {
            enabled: false,
            idle: None,
            interval: None,
            probes: None,
            user_timeout: Some(Duration::from_millis(1500)),
        };
        assert_eq!(service_file(&other), "[pgstow]\nkeepalives=0\ntcp_user_timeout=1500\n");
    }

    #[test]
    fn an_old_libpq_gets_the_roots_of_the_system_as_a_file() {
        let connection = ConnectionSettings { ssl_root_cert: Some("system".into()), ..settings() };
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(variables(&connection, 16, folder.path())["PGSSLROOTCERT"], "system");
        let folder = tempfile::tempdir().unwrap();
        let file = variables(&connection, 15, folder.path())["PGSSLROOTCERT"].clone();
        let written = fs::read_to_string(file).unwrap();
        let known = rustls_native_certs::load_native_certs().certs.len();
        assert_eq!(written.matches("-----BEGIN CERTIFICATE-----").count(), known);
    }
}
