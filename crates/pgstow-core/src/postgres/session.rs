//! Session settings that pgstow pins, so that bytes depend on the data alone.

use std::fmt::Write as _;

use super::connection::Connection;
use super::error::QueryError;
use super::identifier::quote_literal;

/// What the session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Reading rows and definitions for a backup or a comparison.
    Read,
    /// Creating objects and loading rows.
    Restore,
}

/// Client encoding that carries this database's text unharmed: UTF-8, or no conversion at all
/// where the server itself does not know what its bytes mean. Known from the login, so that the
/// session can be pinned before its first query.
pub fn client_encoding(connection: &Connection) -> &'static str {
    if connection.parameter("server_encoding") == Some("SQL_ASCII") { "SQL_ASCII" } else { "UTF8" }
}

/// What decides how values and definitions are written as text, and what could end or steer a long
/// session from outside. `pg_dump` pins the same but for TimeZone, bytea_output and lc_monetary.
const PINNED: [(&str, &str); 15] = [
    ("datestyle", "ISO"),
    ("intervalstyle", "postgres"),
    ("timezone", "UTC"),
    ("bytea_output", "hex"),
    ("lc_monetary", "C"),
    ("extra_float_digits", "3"),
    ("synchronize_seqscans", "off"),
    ("row_security", "off"),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("transaction_timeout", "0"),
    // Catalog queries are long and run once: with 10,000 tables, compiling them doubled their time.
    ("jit", "off"),
];

/// No view or foreign table that stands where a table was may run code or fetch rows while we read
/// (CVE-2024-7348). Not for restoring: refreshing a materialized view reads views.
const PINNED_FOR_READ: [(&str, &str); 1] = [("restrict_nonsystem_relation_kind", "view, foreign-table")];

/// What lets definitions be replayed in an order and a place they were not written for.
const PINNED_FOR_RESTORE: [(&str, &str); 3] =
    [("check_function_bodies", "off"), ("xmloption", "content"), ("client_min_messages", "warning")];

/// Pins the settings with SET, after connecting (poolers ignore or reject start-up parameters).
/// `encoding` is the client encoding: `UTF8`, or `SQL_ASCII` for a database of that encoding.
/// Call it outside of a transaction: a rollback would take the settings back.
///
///
/// # Errors
/// The server's.
pub fn pin(connection: &mut Connection, purpose: Purpose, encoding: &str) -> Result<(), QueryError> {
    connection.execute(&pin_statement(purpose, encoding)).map(drop)
}

/// What [`pin`] pins for reading, names and values in order: whatever is told apart by it was written
/// under other settings.
pub fn pinned_for_reading(encoding: &str) -> String {
    pin_statement(Purpose::Read, encoding)
}

fn pin_statement(purpose: Purpose, encoding: &str) -> String {
    let more: &[(&str, &str)] = match purpose {
        Purpose::Read => &PINNED_FOR_READ,
        Purpose::Restore => &PINNED_FOR_RESTORE,
    };
    let mut values = String::new();
    for (name, value) in PINNED.iter().chain(more) {
        let separator = if values.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(values, "{separator}({}, {})", quote_literal(name), quote_literal(value));
    }
    format!(
        "SELECT pg_catalog.set_config('search_path', '', false), \
                pg_catalog.set_config('client_encoding', {}, false); \
         SELECT pg_catalog.set_config(pinned.name, pinned.value, false) \
         FROM (VALUES {values}) AS pinned(name, value) \
         WHERE pinned.name IN (SELECT pg_catalog.lower(known.name) FROM pg_catalog.pg_settings AS known)",
        quote_literal(encoding)
    )
}
