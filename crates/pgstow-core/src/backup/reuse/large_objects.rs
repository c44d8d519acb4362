//! Large objects, all at once: their bytes are rows of `pg_largeobject`. A role that may read that
//! catalog can have it counted as a table is.

use super::doubt::Doubt;
use super::earlier::Since;
use super::probe::newer;
use crate::postgres::connection::Connection;
use crate::postgres::error::QueryError;
use crate::repository::format::manifest::{LargeObject, Manifest};
use crate::repository::format::proof::SystemCatalog;

/// `pg_largeobject` as the snapshot shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backup) struct LargeObjectRows {
    /// What a later backup compares with.
    pub(in crate::backup) catalog: SystemCatalog,
    /// Rows that may be newer than the earlier snapshot, if there is one.
    pub(super) newer: Option<u64>,
}

/// Counts the rows of `pg_largeobject`; `None` where this role may not read it.
///
/// # Errors
/// The server's.
pub(in crate::backup) fn read(
    connection: &mut Connection,
    since: Option<Since>,
) -> Result<Option<LargeObjectRows>, QueryError> {
    let allowed: bool = connection
        .query("SELECT pg_catalog.has_table_privilege('pg_catalog.pg_largeobject', 'SELECT')")?
        .only()?
        .get(0)?;
    if !allowed {
        return Ok(None);
    }
    let newer = match since {
        Some(since) => newer(since),
        None => "NULL::pg_catalog.int8".to_owned(),
    };
    let rows = connection.query(&format!(
        "SELECT pg_catalog.pg_relation_filenode('pg_catalog.pg_largeobject'), pg_catalog.count(*), {newer} \
         FROM pg_catalog.pg_largeobject"
    ))?;
    let row = rows.only()?;
    let name = "pg_largeobject".to_owned();
    let catalog = SystemCatalog { name, filenode: row.get(0)?, rows: row.get(1)? };
    Ok(Some(LargeObjectRows { catalog, newer: row.get(2)? }))
}

/// Shows that the large objects are those of `base`.
///
/// # Errors
/// The doubt.
pub(super) fn unchanged(
    base: &Manifest,
    now: &[LargeObject],
    rows: Option<&LargeObjectRows>,
) -> Result<(), Doubt> {
    let then = base.proof.as_ref().and_then(|proof| proof.large_objects.as_ref());
    let (Some(then), Some(rows)) = (then, rows) else { return Err(Doubt::LargeObjects) };
    let key = |object: &LargeObject| (object.oid, object.bytes);
    let same_list = base.large_objects.list.iter().map(key).eq(now.iter().map(key));
    if same_list && *then == rows.catalog && rows.newer == Some(0) { Ok(()) } else { Err(Doubt::Changed) }
}
