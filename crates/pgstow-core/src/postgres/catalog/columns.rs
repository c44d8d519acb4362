//! Columns of tables and foreign tables.

use super::question::{Question, carried_schema, collation, masked_options, no_member, options};
use crate::inventory::ObjectKind;

pub(super) fn questions(major: u32) -> Vec<Question> {
    vec![Question::new(ObjectKind::Column, columns(major))]
}

/// A column's place is its rank among those that are left: a restored table has no dropped ones.
/// NOT NULL constraints, which have names from server 18 on, count as a flag of the column.
fn columns(major: u32) -> String {
    let compression = if major >= 14 {
        "'compression ' || CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END,"
    } else {
        ""
    };
    format!(
        "SELECT pg_catalog.format('%I.%I.%I', n.nspname, c.relname, a.attname), NULL,
                pg_catalog.concat_ws(' ',
                    pg_catalog.row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum),
                    pg_catalog.format_type(a.atttypid, a.atttypmod),
                    CASE WHEN a.attcollation <> 0 AND a.attcollation <> t.typcollation THEN {collation} END,
                    CASE WHEN a.attnotnull THEN 'not null' END,
                    CASE a.attidentity WHEN 'a' THEN 'identity always' WHEN 'd' THEN 'identity by default' END,
                    CASE a.attgenerated WHEN 's' THEN 'stored as' WHEN 'v' THEN 'computed as' ELSE 'default' END
                        || ' ' || pg_catalog.pg_get_expr(d.adbin, d.adrelid),
                    'storage ' || CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage::text END,
                    {compression}
                    'statistics ' || CASE WHEN a.attstattarget >= 0 THEN a.attstattarget END,
                    'options ' || CASE WHEN a.attoptions IS NOT NULL THEN {options} END,
                    'foreign options ' || CASE WHEN a.attfdwoptions IS NOT NULL THEN {foreign_options} END,
                    CASE WHEN a.attinhcount > 0 THEN
                        CASE WHEN a.attislocal THEN 'inherited and local' ELSE 'inherited' END END)
           FROM pg_catalog.pg_attribute a
           JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
           LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
          WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'f') AND {user} AND {own}",
        collation = collation("a.attcollation", "t.typcollation"),
        options = options("a.attoptions"),
        foreign_options = masked_options("a.attfdwoptions"),
        user = carried_schema("n"),
        own = no_member("pg_class", "c.oid"),
    )
}
