//! Lists large objects and divides them into pieces for the readers.
//!
//! Large objects follow the snapshot like rows do. Their bytes are read with `lo_get`, which
//! needs no more than SELECT on each: `pg_largeobject` itself is closed to ordinary roles.

use std::ops::Range;

use super::plan::{CHUNK_BYTES, Task};
use super::reader::{LARGE_OBJECT_ROW_BYTES, Piece};
use crate::error::{Error, Result};
use crate::postgres::connection::Connection;
use crate::postgres::error::QueryError;
use crate::repository::format::manifest::LargeObject;

/// Pieces in one COPY statement at most.
const PIECES_PER_TASK: usize = 4096;

/// Refuses to start when this role may not read a large object.
///
/// # Errors
/// Names the first ones.
pub(super) fn require_readable(connection: &mut Connection, role: &str) -> Result<()> {
    let rows = connection.query(
        "SELECT m.oid FROM pg_catalog.pg_largeobject_metadata m \
         WHERE NOT (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = CURRENT_USER) \
         AND pg_catalog.current_setting('lo_compat_privileges') = 'off' \
         AND NOT pg_catalog.pg_has_role(m.lomowner, 'USAGE') \
         AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(m.lomacl) a WHERE a.privilege_type = 'SELECT' \
         AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE'))) ORDER BY m.oid LIMIT 11",
    )?;
    if rows.is_empty() {
        return Ok(());
    }
    let oids: Vec<String> = rows.iter().map(|row| row.get(0)).collect::<Result<_, QueryError>>()?;
    let named = oids.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if oids.len() > 10 { " and more" } else { "" };
    Err(Error::failed(format!("large objects {named}{more} cannot be read: permission denied"))
        .why(format!("role {role} lacks SELECT on them"))
        .hint("GRANT SELECT ON LARGE OBJECT … TO …;  for each, as their owner or a superuser"))
}

/// All large objects as the snapshot shows them.
///
/// # Errors
/// The server's.
pub(super) fn list(connection: &mut Connection) -> Result<Vec<LargeObject>> {
    let rows = connection.query(
        "SELECT m.oid, pg_catalog.pg_get_userbyid(m.lomowner), pg_catalog.obj_description(m.oid, 'pg_largeobject'), \
         pg_catalog.lo_lseek64(o.fd, 0, 2), pg_catalog.lo_close(o.fd) \
         FROM pg_catalog.pg_largeobject_metadata m \
         CROSS JOIN LATERAL (SELECT pg_catalog.lo_open(m.oid, 262144) AS fd OFFSET 0) o ORDER BY m.oid",
    )?;
    let list = rows.iter().map(|row| {
        Ok(LargeObject { oid: row.get(0)?, owner: row.get(1)?, comment: row.get(2)?, bytes: row.get(3)? })
    });
    Ok(list.collect::<Result<_, QueryError>>()?)
}

/// Divides large objects into pieces, and the pieces into tasks of about a chunk's size.
pub(super) fn divide(list: &[LargeObject]) -> (Vec<Piece>, Vec<Task>) {
    let pieces: Vec<Piece> = list.iter().flat_map(pieces_of).collect();
    let mut tasks = Vec::new();
    let mut current: Range<usize> = 0..0;
    let mut bytes = 0;
    for (index, piece) in pieces.iter().enumerate() {
        let size = piece.end - piece.first;
        if !current.is_empty() && (bytes + size > CHUNK_BYTES || current.len() >= PIECES_PER_TASK) {
            tasks.push(Task::LargeObjects { pieces: current.clone(), bytes });
            current = index..index;
            bytes = 0;
        }
        current.end = index + 1;
        bytes += size;
    }
    if !current.is_empty() {
        tasks.push(Task::LargeObjects { pieces: current, bytes });
    }
    (pieces, tasks)
}

fn pieces_of(object: &LargeObject) -> impl Iterator<Item = Piece> + use<> {
    let (oid, bytes) = (object.oid, object.bytes);
    let step = CHUNK_BYTES / LARGE_OBJECT_ROW_BYTES * LARGE_OBJECT_ROW_BYTES;
    (0..bytes.div_ceil(step)).map(move |index| {
        let first = index * step;
        Piece { oid, first, end: bytes.min(first + step) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_every_large_object_is_in_one_piece_and_every_piece_in_one_task() {
        let sizes = [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * CHUNK_BYTES + 7, 3, 3];
        let list: Vec<LargeObject> = sizes
            .iter()
            .zip(1..)
            .map(|(bytes, oid)| LargeObject { oid, bytes: *bytes, owner: String::new(), comment: None })
            .collect();
        let (pieces, tasks) = divide(&list);
        for object in &list {
            let mut next = 0;
            for piece in pieces.iter().filter(|piece| piece.oid == object.oid) {
                assert_eq!(piece.first, next);
                assert!(piece.end > piece.first && piece.end - piece.first <= CHUNK_BYTES);
                next = piece.end;
            }
            assert_eq!(next, object.bytes);
        }
        let mut next = 0;
        for task in &tasks {
            let Task::LargeObjects { pieces, bytes } = task else { panic!("{task:?}") };
            assert_eq!(pieces.start, next);
            assert!(*bytes <= CHUNK_BYTES);
            next = pieces.end;
        }
        assert_eq!(next, pieces.len());
    }
}
