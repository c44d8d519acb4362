//! Password files: `host:port:database:user:password`, one a line.
//! Rules: PostgreSQL manual, libpq, "The Password File".

use super::settings::{PassEntry, Secret};

/// Permission bits that let the group or others at a file.
const EXPOSING_BITS: u32 = 0o077;

/// Whether a file with these `st_mode` bits is open to others, so that no password in it counts.
pub(super) fn is_exposed(mode: u32) -> bool {
    mode & EXPOSING_BITS != 0
}

/// All entries; lines that are none (comments, blank ones, too few fields) are skipped, as in libpq.
pub(super) fn parse(content: &str) -> Vec<PassEntry> {
    content.lines().filter_map(entry).collect()
}

fn entry(line: &str) -> Option<PassEntry> {
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (host, rest) = field(line)?;
    let (port, rest) = field(rest)?;
    let (database, rest) = field(rest)?;
    let (user, rest) = field(rest)?;
    // Whatever follows another colon is not part of the password.
    let password = field(rest).map_or_else(|| unescape(rest), |(password, _)| unescape(password));
    let matcher = |field: &str| (field != "*").then(|| unescape(field));
    Some(PassEntry {
        host: matcher(host),
        port: matcher(port),
        database: matcher(database),
        user: matcher(user),
        password: Secret::new(password),
    })
}

/// The raw text before the first colon without a backslash, and what follows it.
fn field(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (position, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ':' => return Some((&text[..position], &text[position + 1..])),
            _ => {}
        }
    }
    None
}

/// A backslash makes the next character stand for itself; the last one of a text stands alone.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        plain.push(if character == '\\' { rest.next().unwrap_or('\\') } else { character });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::settings::{ConnectionSettings, Host};

    fn password(content: &str, host: &str, port: u16, user: &str, database: &str) -> Option<String> {
        let host = if host.starts_with('/') {
            Host::Socket { directory: host.into(), port }
        } else {
            Host::Tcp { host: host.to_owned(), address: None, port }
        };
        let mut settings = ConnectionSettings::new(host.clone(), user, database);
        settings.pass_entries = parse(content);
        settings.password_for(&host).map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn the_first_matching_line_gives_the_password() {
        let content = "# comment\n\nh:5432:db:u:one\nh:*:*:u:two\n*:*:*:*:three\r\nshort:line\n";
        assert_eq!(password(content, "h", 5432, "u", "db").as_deref(), Some("one"));
        assert_eq!(password(content, "h", 5433, "u", "db").as_deref(), Some("two"));
        assert_eq!(password(content, "h", 5432, "v", "db").as_deref(), Some("three"));
        assert_eq!(password("h:1:d:u:p", "other", 1, "u", "d"), None);
    }

    #[test]
    fn backslashes_make_colons_stars_and_backslashes_literal() {
        assert_eq!(password(r"h\:x:1:d:u:a\:b\\c", "h:x", 1, "u", "d").as_deref(), Some(r"a:b\c"));
        assert_eq!(password(r"\*:1:d:u:p", "h", 1, "u", "d"), None);
        assert_eq!(password(r"\*:1:d:u:p", "*", 1, "u", "d").as_deref(), Some("p"));
        assert_eq!(password(r"h:1:d:u:end:more", "h", 1, "u", "d").as_deref(), Some("end"));
        assert_eq!(password(r"h:1:d:u:end\", "h", 1, "u", "d").as_deref(), Some(r"end\"));
    }

    #[test]
    fn localhost_means_the_default_socket_directory_too() {
        assert_eq!(
            password("localhost:*:*:*:p", "/var/run/postgresql", 5432, "u", "d").as_deref(),
            Some("p")
        );
        assert_eq!(password("localhost:*:*:*:p", "/elsewhere", 5432, "u", "d"), None);
        assert_eq!(password("/elsewhere:*:*:*:p", "/elsewhere", 5432, "u", "d").as_deref(), Some("p"));
    }

    #[test]
    fn a_file_open_to_group_or_others_is_exposed() {
        assert!(!is_exposed(0o100_600));
        assert!(is_exposed(0o100_640));
        assert!(is_exposed(0o100_604));
    }
}
