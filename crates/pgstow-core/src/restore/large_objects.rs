//! Creates large objects with their owners and comments, and has their bytes loaded.

use super::data::Load;
use super::owners::Owners;
use super::session::{Session, describe, is_fatal};
use crate::error::{Error, Result};
use crate::postgres::QueryError;
use crate::postgres::identifier::{quote_identifier, quote_literal};
use crate::repository::format::manifest::LargeObject;

/// Large objects created in one statement.
const BATCH: usize = 1000;

/// Restores all large objects.
///
/// # Errors
/// Atomic: any failure. Otherwise what ends the restore; the rest is noted.
pub(super) fn restore(session: &mut Session, load: &Load<'_>, owners: &Owners) -> Result<()> {
    let large_objects = &load.manifest.large_objects;
    for batch in large_objects.list.chunks(BATCH) {
        session.interrupt.check()?;
        let oids: Vec<String> = batch.iter().map(|object| object.oid.to_string()).collect();
        let statement = format!(
            "SELECT pg_catalog.lo_create(oid) FROM pg_catalog.unnest(ARRAY[{}]::pg_catalog.oid[]) oid",
            oids.join(", ")
        );
        let created = session.unit(&statement);
        settle(session, load, created, || "large objects could not be created".to_owned())?;
    }
    for chunk in &large_objects.chunks {
        load.large_object_chunk(session, chunk)?;
    }
    for object in &large_objects.list {
        describe_object(session, load, owners, object)?;
    }
    Ok(())
}

fn describe_object(
    session: &mut Session,
    load: &Load<'_>,
    owners: &Owners,
    object: &LargeObject,
) -> Result<()> {
    let oid = object.oid;
    if let Some(comment) = &object.comment {
        let commented = session
            .unit(&format!("COMMENT ON LARGE OBJECT {oid} IS {}", quote_literal(comment).trim_start()));
        settle(session, load, commented, || format!("the comment of large object {oid} is not restored"))?;
    }
    let owner = owners.at_target(&object.owner);
    if owner != session.login {
        let given = session.unit(&format!("ALTER LARGE OBJECT {oid} OWNER TO {}", quote_identifier(owner)));
        settle(session, load, given, || format!("large object {oid} could not be given to role {owner}"))?;
    }
    Ok(())
}

fn settle(
    session: &Session,
    load: &Load<'_>,
    result: Result<(), QueryError>,
    what: impl FnOnce() -> String,
) -> Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(QueryError::Interrupted) => Err(Error::interrupted()),
        Err(error) if session.atomic || is_fatal(&error) => Err(Error::failed(what()).why(describe(&error))),
        Err(error) => {
            load.journal.problem(format!("{}: {}", what(), describe(&error)));
            Ok(())
        }
    }
}
