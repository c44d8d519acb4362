//! Tells PostgREST, where a target has it, that its schema has changed.
//!
//! PostgREST keeps what it knows of a schema until somebody says that it has changed. On some
//! targets event triggers say so; a restore silences those, and an atomic one is to be noticed only
//! once it is committed. So it is said here, after the commit and never before.

use super::journal::Journal;
use super::session::{Session, describe};
use crate::platform::Platform;
use crate::postgres::catalog::hosting;
use crate::postgres::{Connection, QueryError};

/// Its roles, or its event triggers.
const SIGNS: &str = r"
SELECT (SELECT pg_catalog.count(*) = 2 FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticator'))
    OR EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtname ~ '^pgrst_')";

const STATEMENTS: &str = "NOTIFY pgrst, 'reload schema'; NOTIFY pgrst, 'reload config'";

/// Sends the notifications where the target shows signs of PostgREST. The restore is committed by
/// now, so a failure is a remark.
pub(super) fn notify(session: &mut Session, journal: &Journal) {
    let sent = is_there(&mut session.connection).and_then(|is_there| {
        if is_there {
            session.connection.execute(STATEMENTS)?;
        }
        Ok(is_there)
    });
    match sent {
        Ok(true) => journal.note("PostgREST was told to read schema and configuration again (NOTIFY pgrst)"),
        Ok(false) => {}
        Err(error) => journal.remark(format!(
            "PostgREST could not be told of the new schema ({}): run {STATEMENTS}",
            describe(&error)
        )),
    }
}

fn is_there(connection: &mut Connection) -> Result<bool, QueryError> {
    Ok(connection.query(SIGNS)?.only()?.get::<bool>(0)?
        || hosting::read(connection)?.platform == Platform::Supabase)
}
