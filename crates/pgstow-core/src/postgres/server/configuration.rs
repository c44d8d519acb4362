//! The text of a disposable server's configuration files. Pure.

use std::fmt::Write as _;
use std::path::Path;

use super::ServerOptions;

/// Lines to add to `postgresql.conf`.
pub(super) fn settings(options: &ServerOptions, socket_directory: &Path, port: u16) -> String {
    let directory = socket_directory.to_string_lossy();
    let mut lines = vec![
        format!("unix_socket_directories = {}", quote(&directory)),
        "unix_socket_permissions = 0700".to_owned(),
        format!("listen_addresses = {}", quote(if options.tcp { "127.0.0.1" } else { "" })),
        format!("port = {port}"),
        "logging_collector = off".to_owned(),
        "log_destination = 'stderr'".to_owned(),
    ];
    if !options.durable {
        // Commits still reach the system's cache, so a crash of the server alone loses nothing.
        lines.extend(["fsync", "full_page_writes"].map(|name| format!("{name} = off")));
    }
    if options.tls.is_some() {
        lines.push("ssl = on".to_owned());
    }
    lines.extend(options.configuration.iter().cloned());
    joined(&lines)
}

/// The whole of `pg_hba.conf`: `first`, then trust on the private socket and a password over TCP.
pub(super) fn authentication(first: &[String]) -> String {
    let mut lines = first.to_vec();
    lines.extend(
        [
            "local all all trust",
            "local replication all trust",
            "host all all 127.0.0.1/32 scram-sha-256",
            "host replication all 127.0.0.1/32 scram-sha-256",
        ]
        .map(str::to_owned),
    );
    joined(&lines)
}

/// A value as `postgresql.conf` takes it.
fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

fn joined(lines: &[String]) -> String {
    lines.iter().fold(String::new(), |mut text, line| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{line}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_tcp_listens_nowhere() {
        let text = settings(&ServerOptions::default(), Path::new("/tmp/it's"), 5432);
        assert!(text.contains("listen_addresses = ''\n"), "{text}");
        assert!(text.contains("unix_socket_directories = '/tmp/it''s'\n"), "{text}");
        assert!(text.contains("fsync = off\n"), "{text}");
    }

    #[test]
    fn lines_of_the_caller_come_after_the_servers_own_settings() {
        let configuration = vec!["fsync = on".to_owned()];
        let text =
            settings(&ServerOptions { configuration, ..ServerOptions::default() }, Path::new("/tmp"), 1);
        assert!(text.ends_with("fsync = on\n"), "{text}");
    }

    #[test]
    fn rules_of_the_caller_are_looked_at_first() {
        let text = authentication(&["host all all 127.0.0.1/32 md5".to_owned()]);
        assert!(text.starts_with("host all all 127.0.0.1/32 md5\n"), "{text}");
    }
}
