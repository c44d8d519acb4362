//! Secrets of the vault of a hosted project. Its key does not leave the project, so only deciphered values
//! mean something elsewhere.

use crate::inventory::catalog::VaultSecret;
use crate::postgres::connection::Connection;
use crate::postgres::error::QueryError;
use crate::postgres::rows::Row;

/// Whether this role may see deciphered values. The view must be the vault's own: it runs code.
const READABLE: &str = "
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = 'vault' AND c.relname = 'decrypted_secrets'
       AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
       AND EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
                    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e'
                      AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND e.extname = 'supabase_vault')
       AND (SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = c.oid AND NOT a.attisdropped AND a.attnum > 0
               AND a.attname IN ('id', 'name', 'description', 'decrypted_secret', 'created_at')) = 5)";

/// Sessions that read forbid views; servers of older minor versions know no such setting.
const ALLOW_VIEWS: &str = "
SELECT pg_catalog.set_config(s.name, '', true) FROM pg_catalog.pg_settings s
 WHERE s.name = 'restrict_nonsystem_relation_kind'";

const SECRETS: &str = "
SELECT s.name::pg_catalog.text, s.description::pg_catalog.text, s.decrypted_secret::pg_catalog.text
  FROM vault.decrypted_secrets s ORDER BY s.created_at, s.id";

/// Whether this role may see deciphered values and make secrets.
const WRITABLE: &str = "
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
     WHERE n.nspname = 'vault' AND p.proname = 'create_secret' AND p.pronargs >= 3
       AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE'))";

/// Reads all secrets; `None` where this role may not, or one of them cannot be deciphered. Needs a
/// transaction.
///
/// # Errors
/// The server's, when it cannot be asked.
pub fn read_secrets(connection: &mut Connection) -> Result<Option<Vec<VaultSecret>>, QueryError> {
    if !is_readable(connection)? {
        return Ok(None);
    }
    connection.execute("SAVEPOINT pgstow_vault")?;
    let rows = connection.query(ALLOW_VIEWS).and_then(|_| connection.query(SECRETS));
    // Forbids views again, and goes on where a secret could not be deciphered.
    connection.execute("ROLLBACK TO SAVEPOINT pgstow_vault; RELEASE SAVEPOINT pgstow_vault")?;
    // What the server says may hold what it could not decipher.
    let Ok(rows) = rows else { return Ok(None) };
    let secret = |row: Row<'_>| {
        let value: Option<String> = row.get(2)?;
        let (name, description) = (row.get(0)?, row.get(1)?);
        Ok(value.map(|value| VaultSecret { name, description, value }))
    };
    rows.iter().map(secret).collect()
}

/// Whether this role may make secrets and compare them with those that are there.
///
/// # Errors
/// The server's.
pub fn is_writable(connection: &mut Connection) -> Result<bool, QueryError> {
    Ok(is_readable(connection)? && connection.query(WRITABLE)?.only()?.get(0)?)
}

fn is_readable(connection: &mut Connection) -> Result<bool, QueryError> {
    connection.query(READABLE)?.only()?.get(0)
}
