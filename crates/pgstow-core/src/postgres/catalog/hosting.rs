//! Who runs the server, as its roles and schemas tell.

use crate::platform::{Hosting, Signs};
use crate::postgres::connection::Connection;
use crate::postgres::error::QueryError;

/// Recognises the platform of the connected database.
///
/// # Errors
/// The server's.
pub fn read(connection: &mut Connection) -> Result<Hosting, QueryError> {
    let mut signs = Signs::default();
    for row in connection.query("SELECT rolname FROM pg_catalog.pg_roles")?.iter() {
        signs.roles.insert(row.get(0)?);
    }
    let schemas = connection.query(
        "SELECT nspname, pg_catalog.pg_get_userbyid(nspowner) FROM pg_catalog.pg_namespace \
         WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY nspname",
    )?;
    for row in schemas.iter() {
        signs.schemas.push((row.get(0)?, row.get(1)?));
    }
    Ok(Hosting::recognise(&signs))
}
