//! Relations as a backup and a restore handle them: where their rows are, how they travel, and
//! whether this role may read them.

use std::collections::HashMap;

use super::question::{oid_array, role, user_schema};
use crate::postgres::connection::Connection;
use crate::postgres::error::QueryError;

/// A table, view, materialized view, foreign table or sequence outside the system's schemas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relation {
    /// OID.
    pub oid: u32,
    /// Schema, unquoted.
    pub schema: String,
    /// Name, unquoted.
    pub name: String,
    /// `pg_class.relkind`: `r`, `p`, `f`, `m`, `v` or `S`.
    pub kind: char,
    /// `pg_class.relpersistence`: `p` or `u`.
    pub persistence: char,
    /// Table access method, such as `heap`.
    pub access_method: Option<String>,
    /// `pg_class.relfilenode` in the session's snapshot; 0 where there is no storage.
    pub filenode: u32,
    /// `pg_relation_filenode()`, which reads the current catalog: `None` where there is no storage
    /// or the relation is gone by now.
    pub current_filenode: Option<u32>,
    /// Pages of the main fork, now; 0 unless [`Sizes::Read`].
    pub pages: u32,
    /// Bytes with TOAST and maps, without indexes, now; 0 unless [`Sizes::Read`].
    pub table_bytes: u64,
    /// The extension it is a member of.
    pub extension: Option<Membership>,
    /// Schema and name of the top of the partition tree it is a part of.
    pub parent_root: Option<(String, String)>,
    /// Its rows have to go through `parent_root`: the target may put them into another partition.
    pub load_through_root: bool,
    /// Row-level security hides rows from this role (with `row_security=off`: reading fails).
    pub row_security_active: bool,
    /// This role may SELECT from it. Column privileges are not looked at.
    pub selectable: bool,
    /// Owning role.
    pub owner: String,
    /// `pg_class.relispopulated`: false for a materialized view that holds no rows yet.
    pub populated: bool,
}

/// What a relation is to the extension that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Name of the extension.
    pub extension: String,
    /// `Some` for a configuration table, whose rows a backup carries: `WHERE …`, or empty for all.
    pub condition: Option<String>,
}

/// Whether sizes are asked for. That opens each relation, and so waits for whoever holds it in
/// ACCESS EXCLUSIVE mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizes {
    /// Ask.
    Read,
    /// Leave them at 0.
    Skip,
}

/// A column that COPY moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name, unquoted.
    pub name: String,
    /// `format_type()`.
    pub type_name: String,
}

/// Lists all relations in the order of schema and name (by bytes).
///
/// # Errors
/// The server's.
pub fn list(connection: &mut Connection, sizes: Sizes) -> Result<Vec<Relation>, QueryError> {
    let rows = connection.query(&list_query(sizes))?;
    let mut relations = Vec::with_capacity(rows.len());
    for row in rows.iter() {
        let extension = match row.get::<Option<String>>(10)? {
            Some(extension) => Some(Membership { extension, condition: row.get(11)? }),
            None => None,
        };
        let parent_root = row.get::<Option<String>>(12)?.zip(row.get(13)?);
        relations.push(Relation {
            oid: row.get(0)?,
            schema: row.get(1)?,
            name: row.get(2)?,
            kind: row.get(3)?,
            persistence: row.get(4)?,
            access_method: row.get(5)?,
            filenode: row.get(6)?,
            current_filenode: row.get(7)?,
            pages: row.get(8)?,
            table_bytes: row.get(9)?,
            extension,
            parent_root,
            load_through_root: row.get(14)?,
            row_security_active: row.get(15)?,
            selectable: row.get(16)?,
            owner: row.get(17)?,
            populated: row.get(18)?,
        });
    }
    relations.sort_unstable_by(|one, other| (&one.schema, &one.name).cmp(&(&other.schema, &other.name)));
    Ok(relations)
}

/// `pg_table_size` gives NULL for a relation that is gone by now, `pg_relation_filenode` too.
fn list_query(sizes: Sizes) -> String {
    let (pages, bytes) = match sizes {
        Sizes::Read => (
            "CASE WHEN c.relkind IN ('r', 'm', 'S') THEN pg_catalog.pg_relation_size(c.oid) \
                  / pg_catalog.current_setting('block_size')::bigint END",
            "CASE WHEN c.relkind IN ('r', 'm', 'S') THEN pg_catalog.pg_table_size(c.oid) END",
        ),
        Sizes::Skip => ("0", "0"),
    };
    format!(
        "WITH RECURSIVE {PARTITION_TREES}
         SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, am.amname, c.relfilenode,
                pg_catalog.pg_relation_filenode(c.oid), coalesce({pages}, 0), coalesce({bytes}, 0),
                e.extname, CASE WHEN place.place IS NOT NULL THEN coalesce(e.extcondition[place.place], '') END,
                root_schema.nspname, root.relname, coalesce(tree.through_root, false),
                coalesce(pg_catalog.row_security_active(c.oid), false),
                coalesce(pg_catalog.has_table_privilege(c.oid, 'SELECT'), true)
                    AND coalesce(pg_catalog.has_schema_privilege(n.oid, 'USAGE'), true),
                {owner}, c.relispopulated
           FROM pg_catalog.pg_class c
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
           LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
           LEFT JOIN tree ON tree.leaf = c.oid
           LEFT JOIN pg_catalog.pg_class root ON root.oid = tree.root
           LEFT JOIN pg_catalog.pg_namespace root_schema ON root_schema.oid = root.relnamespace
           LEFT JOIN pg_catalog.pg_depend link
                  ON link.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND link.objid = c.oid
                 AND link.objsubid = 0 AND link.deptype = 'e'
           LEFT JOIN pg_catalog.pg_extension e ON e.oid = link.refobjid
           LEFT JOIN LATERAL (SELECT pg_catalog.array_position(e.extconfig, c.oid) AS place) place ON true
          WHERE c.relkind IN ('r', 'p', 'f', 'm', 'v', 'S') AND c.relpersistence <> 't' AND {user}",
        owner = role("c.relowner"),
        user = user_schema("n"),
    )
}

/// For each partition, the top of its tree, and whether its rows may belong elsewhere on another
/// server: below a hash-partitioned table (hash values depend on platform and collation), below
/// ranges ordered by a collation other than C, and below lists whose collation is not
/// deterministic.
const PARTITION_TREES: &str = "
    parent AS (
        SELECT link.inhrelid AS child, link.inhparent AS parent, p.partstrat = 'h'
                    OR EXISTS (SELECT FROM pg_catalog.unnest(p.partcollation::pg_catalog.oid[]) key
                                 JOIN pg_catalog.pg_collation collated ON collated.oid = key
                                WHERE CASE p.partstrat WHEN 'l' THEN NOT collated.collisdeterministic
                                      ELSE collated.collname NOT IN ('C', 'POSIX') END)
                    AS uncertain
          FROM pg_catalog.pg_inherits link
          JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = link.inhparent
          JOIN pg_catalog.pg_class c ON c.oid = link.inhrelid AND c.relkind IN ('r', 'p', 'f')),
    climb AS (
        SELECT child AS leaf, parent AS ancestor, uncertain FROM parent
        UNION ALL
        SELECT climb.leaf, parent.parent, parent.uncertain OR climb.uncertain
          FROM climb JOIN parent ON parent.child = climb.ancestor),
    tree AS (
        SELECT leaf, ancestor AS root, uncertain AS through_root
          FROM climb WHERE NOT EXISTS (SELECT FROM parent WHERE parent.child = climb.ancestor))";

/// Condition: COPY moves this column, a row `a` of `pg_attribute`: neither dropped nor generated.
pub(super) const MOVED_BY_COPY: &str = "a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''";

/// The columns that COPY moves (neither dropped nor generated), in their order, of the given
/// relations. A relation without such columns, or that is gone, has no entry.
///
/// # Errors
/// The server's.
pub fn columns(connection: &mut Connection, oids: &[u32]) -> Result<HashMap<u32, Vec<Column>>, QueryError> {
    let rows = connection.query_with(
        &format!(
            "SELECT a.attrelid, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)
               FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = ANY ($1::pg_catalog.oid[]) AND {MOVED_BY_COPY}
              ORDER BY a.attrelid, a.attnum"
        ),
        &[Some(&oid_array(oids))],
    )?;
    let mut columns: HashMap<u32, Vec<Column>> = HashMap::with_capacity(oids.len());
    for row in rows.iter() {
        columns.entry(row.get(0)?).or_default().push(Column { name: row.get(1)?, type_name: row.get(2)? });
    }
    Ok(columns)
}
