//! The database that a drill restores into: made as the source's was, as far as the server can.

use crate::error::{Error, Result};
use crate::postgres::Connection;
use crate::postgres::identifier::{quote_identifier, quote_literal};
use crate::repository::format::manifest::Source;

/// Its name in a server of the drill's own.
pub(super) const DATABASE: &str = "drill";

/// Creates the database with the source's encoding and locale; a note when the locale is not there.
///
/// # Errors
/// The server's.
pub(super) fn create(connection: &mut Connection, name: &str, source: &Source) -> Result<Option<String>> {
    let statement = |encoding: &str, collate: &str, ctype: &str| {
        format!(
            "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}",
            quote_identifier(name),
            quote_literal(encoding),
            quote_literal(collate),
            quote_literal(ctype)
        )
    };
    match connection.execute(&statement(&source.encoding, &source.collate, &source.ctype)) {
        Ok(_) => return Ok(None),
        // A right that lacks, a lost connection: with another locale it would be the same.
        Err(error) if error.is_lost() || error.code() == Some("42501") => return Err(error.into()),
        Err(_) => {}
    }
    connection
        .execute(&statement(&source.encoding, "C", "C"))
        .map_err(|error| Error::from(error).context("the database of the drill"))?;
    Ok(Some(format!(
        "locale {} is not on the drill's server: text was compared byte by byte there",
        source.collate
    )))
}
