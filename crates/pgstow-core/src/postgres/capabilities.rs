//! What a role may do at a server, found out by asking and trying rather than by names. Nothing is
//! written: what is tried either is taken back, or fails for another reason once it is permitted.

use super::connection::Connection;
use super::error::QueryError;

/// What the session's role may do. `None`: the server does not know such a thing, or cannot tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// It is a superuser.
    pub superuser: bool,
    /// Set `session_replication_role`, which silences triggers and foreign keys.
    pub silence_triggers: bool,
    /// CREATEROLE.
    pub create_roles: bool,
    /// CREATE on the database.
    pub create_schemas: bool,
    /// BYPASSRLS.
    pub bypass_row_security: bool,
    /// Create event triggers.
    pub create_event_triggers: Option<bool>,
    /// Create publications `FOR ALL TABLES`.
    pub publish_all_tables: Option<bool>,
    /// Has the rights of `pg_read_all_data` (PostgreSQL 14 on).
    pub read_all_data: Option<bool>,
    /// Ask for the server's identity and timeline.
    pub read_control_data: bool,
    /// Read `pg_authid`, where renamed roles leave a trace.
    pub read_role_catalog: bool,
    /// Something can be written: no standby, and not read-only for this role.
    pub writable: bool,
}

/// Asks and tries. Call it outside of a transaction.
///
/// # Errors
/// The server's.
pub fn probe(connection: &mut Connection) -> Result<Capabilities, QueryError> {
    let major = connection.server_version_num() / 10_000;
    let read_all_data = if major >= 14 {
        "pg_catalog.pg_has_role('pg_read_all_data', 'USAGE')"
    } else {
        "NULL::pg_catalog.bool"
    };
    let rows = connection.query(&format!(
        "SELECT r.rolsuper, r.rolcreaterole, r.rolbypassrls, \
         pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'), {read_all_data}, \
         pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') \
         AND pg_catalog.has_function_privilege('pg_catalog.pg_control_checkpoint()', 'EXECUTE'), \
         pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT'), \
         NOT pg_catalog.pg_is_in_recovery() \
         AND pg_catalog.current_setting('default_transaction_read_only') = 'off' \
         FROM pg_catalog.pg_roles r WHERE r.rolname = CURRENT_USER"
    ))?;
    let row = rows.only()?;
    let superuser: bool = row.get(0)?;
    let writable: bool = row.get(7)?;
    let read_control_data = row.get::<bool>(5)? && answers_control_data(connection)?;
    let tried = |connection: &mut Connection, statement: &str| match (writable, superuser) {
        (false, _) => Ok(None),
        (true, true) => Ok(Some(true)),
        (true, false) => is_permitted(connection, statement).map(Some),
    };
    Ok(Capabilities {
        superuser,
        silence_triggers: may_silence_triggers(connection)?,
        create_roles: superuser || row.get(1)?,
        create_schemas: row.get(3)?,
        bypass_row_security: superuser || row.get(2)?,
        create_event_triggers: tried(connection, EVENT_TRIGGER)?,
        publish_all_tables: tried(connection, PUBLICATION)?,
        read_all_data: row.get(4)?,
        read_control_data,
        read_role_catalog: row.get(6)?,
        writable,
    })
}

/// Names a function that does not exist, so that it fails for everybody; permission is looked at
/// first.
const EVENT_TRIGGER: &str =
    "CREATE EVENT TRIGGER pgstow_probe ON ddl_command_start EXECUTE FUNCTION pg_catalog.pgstow_probe()";
/// Has a parameter that does not exist, likewise.
const PUBLICATION: &str = "CREATE PUBLICATION pgstow_probe FOR ALL TABLES WITH (pgstow_probe = 1)";

/// Whether a statement passes, or fails for another reason than missing rights. It is taken back. Call
/// it outside of a transaction.
///
/// # Errors
/// The session is lost.
pub fn is_permitted(connection: &mut Connection, statement: &str) -> Result<bool, QueryError> {
    connection.execute("BEGIN")?;
    let tried = connection.execute(statement).map(drop);
    connection.execute("ROLLBACK")?;
    match tried {
        Err(QueryError::Server(error)) => Ok(error.code.as_str() != "42501"),
        other => other.map(|()| true),
    }
}

/// Whether the session may set `session_replication_role`: hosting platforms permit it by ways that
/// no privilege function knows, so it is tried and taken back. Call it outside of a transaction.
///
/// # Errors
/// The server's.
pub fn may_silence_triggers(connection: &mut Connection) -> Result<bool, QueryError> {
    connection.execute("BEGIN")?;
    let tried = connection.execute("SET LOCAL session_replication_role = replica").map(drop);
    connection.execute("ROLLBACK")?;
    match tried {
        Err(QueryError::Server(_)) => Ok(false),
        other => other.map(|()| true),
    }
}

/// Some hosts permit the functions and answer with an error all the same.
fn answers_control_data(connection: &mut Connection) -> Result<bool, QueryError> {
    let asked = connection.query(
        "SELECT s.system_identifier, c.timeline_id \
         FROM pg_catalog.pg_control_system() s, pg_catalog.pg_control_checkpoint() c",
    );
    match asked {
        Err(QueryError::Server(_)) => Ok(false),
        other => other.map(|rows| rows.len() == 1),
    }
}
