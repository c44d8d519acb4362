//! Reads where the sequences stand, after the snapshot was taken: they may be ahead of it, never
//! behind.

use super::scope::Scope;
use crate::error::{Error, Result};
use crate::platform::{Hosting, Keeper};
use crate::postgres::catalog::sequences::{self, Positions};
use crate::postgres::connection::Connection;
use crate::postgres::identifier::{display_name, quote_qualified};
use crate::repository::format::manifest::Sequence;

/// What was read of the sequences.
#[derive(Debug, Default)]
pub(super) struct ReadSequences {
    pub(super) known: Vec<Sequence>,
    /// Those that a standby cannot read because they are unlogged (schema, name).
    pub(super) unread: Vec<(String, String)>,
}

/// Reads all positions, unless rows are not wanted.
///
/// # Errors
/// A sequence this role may not read, by name.
pub(super) fn read(connection: &mut Connection, scope: &Scope) -> Result<ReadSequences> {
    if !scope.wants_rows() {
        return Ok(ReadSequences::default());
    }
    let mut positions = sequences::positions(connection)?;
    keep_users(&mut positions, scope.hosting());
    if !scope.on_standby() {
        require_readable(&positions.unreadable)?;
    }
    let known = positions.known.into_iter().map(|position| Sequence {
        schema: position.schema,
        name: position.name,
        last_value: position.last_value,
        is_called: position.is_called,
    });
    Ok(ReadSequences { known: known.collect(), unread: positions.unreadable })
}

/// Drops the platform's own sequences: no rows that count by them are carried.
pub(super) fn keep_users(positions: &mut Positions, hosting: &Hosting) {
    let is_users = |schema: &str| hosting.keeper(schema) == Keeper::User;
    positions.known.retain(|position| is_users(&position.schema));
    positions.unreadable.retain(|(schema, _)| is_users(schema));
}

/// # Errors
/// Names the first sequence in the list and the grant that helps.
pub(super) fn require_readable(unreadable: &[(String, String)]) -> Result<()> {
    let Some((schema, name)) = unreadable.first() else { return Ok(()) };
    let more = match unreadable.len() {
        1 => String::new(),
        count => format!(" and {} more sequences", count - 1),
    };
    Err(Error::failed(format!("{}{more} cannot be read: permission denied", display_name(schema, name)))
        .why("the position of a sequence needs SELECT or USAGE on it")
        .hint(format!(
            "GRANT SELECT ON SEQUENCE {} TO …;  and so on for each",
            quote_qualified(schema, name)
        )))
}
