//! URLs: `postgres://user:password@host1:port1,host2:port2/database?name=value&…`.
//!
//! Unlike libpq, raw special characters are taken in the user part. What makes that possible: the
//! user part ends at an `@` after which the rest can be read as hosts, database and parameters.

use super::parameters::{Parameters, treatment};
use super::usage;
use crate::error::Result;

/// What follows `postgres://`, if `text` begins so.
pub(super) fn without_scheme(text: &str) -> Option<&str> {
    text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"))
}

/// The part of a URL after the user part.
struct Place<'t> {
    hosts: &'t str,
    database: Option<&'t str>,
    query: Option<&'t str>,
}

/// Reads what follows the scheme.
pub(super) fn read(text: &str) -> Result<Parameters> {
    let (user_part, place) = split_user_part(text);
    let place = Place::split(place);
    let mut parameters = Parameters::default();
    if let Some(user_part) = user_part {
        let (user, password) = match user_part.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (user_part, None),
        };
        if !user.is_empty() {
            parameters.set("user", decode(user))?;
        }
        if let Some(password) = password.filter(|password| !password.is_empty()) {
            parameters.set("password", decode(password))?;
        }
    }
    let (hosts, ports) = read_hosts(place.hosts)?;
    if !hosts.is_empty() {
        parameters.set("host", hosts)?;
    }
    if !ports.is_empty() {
        parameters.set("port", ports)?;
    }
    if let Some(database) = place.database.filter(|database| !database.is_empty()) {
        parameters.set("dbname", decode(database))?;
    }
    read_query(place.query.unwrap_or_default(), &mut parameters)?;
    Ok(parameters)
}

impl<'t> Place<'t> {
    fn split(text: &'t str) -> Self {
        let (before, query) = match text.split_once('?') {
            Some((before, query)) => (before, Some(query)),
            None => (text, None),
        };
        let (hosts, database) = match before.split_once('/') {
            Some((hosts, database)) => (hosts, Some(database)),
            None => (before, None),
        };
        Self { hosts, database, query }
    }

    /// Whether nothing in it looks like a piece of a user part. An `@` may stand in the value of a
    /// parameter only, and then all parameters must be known ones.
    fn is_plausible(&self) -> bool {
        let database_fits = self.database.is_none_or(|database| !database.contains(['@', '/']));
        let query_fits = self.query.is_none_or(|query| {
            !query.contains('@')
                || query
                    .split('&')
                    .all(|pair| pair.split_once('=').is_some_and(|(name, _)| treatment(name).is_some()))
        });
        database_fits && query_fits && read_hosts(self.hosts).is_ok()
    }
}

/// User part and the rest. Where no `@` leaves a plausible rest, the last one divides, so that the
/// rest holds as little of the user part as can be.
fn split_user_part(text: &str) -> (Option<&str>, &str) {
    let mut last = None;
    for (position, _) in text.match_indices('@') {
        let place = &text[position + 1..];
        last = Some((Some(&text[..position]), place));
        if Place::split(place).is_plausible() {
            break;
        }
    }
    last.unwrap_or((None, text))
}

/// Hosts and ports, each joined by commas, as the parameters `host` and `port` want them.
fn read_hosts(text: &str) -> Result<(String, String)> {
    let mut hosts = Vec::new();
    let mut ports = Vec::new();
    for host in text.split(',') {
        let (name, port) = match host.strip_prefix('[') {
            Some(bracketed) => {
                let (address, after) = bracketed.split_once(']').ok_or_else(|| {
                    usage("an IPv6 address in the URL has no closing bracket").hint("write [::1]:5432")
                })?;
                if !after.is_empty() && !after.starts_with(':') {
                    return Err(bad_host());
                }
                (address.to_owned(), after.strip_prefix(':').unwrap_or_default())
            }
            None => {
                let (name, port) = host.split_once(':').unwrap_or((host, ""));
                (decode(name), port)
            }
        };
        if host.contains(['@', '#', '\\']) || host.contains(char::is_whitespace) {
            return Err(bad_host());
        }
        if !port.is_empty() && !port.parse::<u16>().is_ok_and(|port| port > 0) {
            // The text stays out: without an `@` it could be a password.
            return Err(usage("the port in the URL is not a number from 1 to 65535").hint(
                "the form is postgres://user:password@host:5432/database; IPv6 addresses need brackets",
            ));
        }
        hosts.push(name);
        ports.push(port);
    }
    let joined_ports = if ports.iter().all(|port| port.is_empty()) { String::new() } else { ports.join(",") };
    let joined_hosts = if hosts.iter().all(String::is_empty) { String::new() } else { hosts.join(",") };
    Ok((joined_hosts, joined_ports))
}

fn bad_host() -> crate::error::Error {
    usage("the host in the URL cannot be read")
        .hint("the form is postgres://user:password@host:5432/database")
}

fn read_query(query: &str, parameters: &mut Parameters) -> Result<()> {
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(usage("a parameter in the URL has no value")
                .hint("after ? the form is name=value&name=value; a ? in a password may be written %3F"));
        };
        let name = decode(name);
        if !parameters.set(&name, decode(value))? {
            parameters.unknown.push(name);
        }
    }
    Ok(())
}

/// Decodes every valid `%XX`; anything else stands for itself. Where that would not be text (or
/// hold a zero byte), the whole is taken as it stands.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped =
            after.split_first_chunk::<2>().filter(|_| *first == b'%').and_then(|(digits, after)| {
                let value = char::from(digits[0]).to_digit(16)? * 16 + char::from(digits[1]).to_digit(16)?;
                Some((u8::try_from(value).ok()?, after))
            });
        let (byte, after) = escaped.unwrap_or((*first, after));
        bytes.push(byte);
        rest = after;
    }
    match String::from_utf8(bytes) {
        Ok(decoded) if !decoded.contains('\0') => decoded,
        _ => text.to_owned(),
    }
}
