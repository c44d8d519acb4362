//! Names in a schema: which are taken, and which a copy's parts get.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::postgres::QueryError;
use crate::postgres::identifier::{quote_identifier, quote_literal};
use crate::restore::session::Session;

/// Bytes of a name, as servers are built.
pub(super) const NAME_BYTES: usize = 63;

/// Something with a name in a schema, and the table it belongs to.
pub(super) struct Named {
    /// As ALTER calls it.
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) table: String,
}

/// Tables, indexes, sequences, statistics and other relations of a schema, and the names of types there.
pub(super) fn named_in(session: &mut Session, schema: &str) -> Result<Vec<Named>> {
    let rows = session
        .connection
        .query(&format!(
            "SELECT CASE WHEN c.relkind IN ('i', 'I') THEN 'INDEX' WHEN c.relkind = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.relname, \
               COALESCE((SELECT t.relname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class t ON t.oid = i.indrelid WHERE i.indexrelid = c.oid), \
                 (SELECT t.relname FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class t ON t.oid = d.refobjid \
                   WHERE c.relkind = 'S' AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid \
                     AND d.refclassid = d.classid AND d.deptype IN ('a', 'i')), c.relname) \
             FROM pg_catalog.pg_class c WHERE c.relnamespace = {schema}::pg_catalog.regnamespace \
             UNION ALL SELECT 'STATISTICS', s.stxname, t.relname FROM pg_catalog.pg_statistic_ext s \
               JOIN pg_catalog.pg_class t ON t.oid = s.stxrelid WHERE s.stxnamespace = {schema}::pg_catalog.regnamespace \
             UNION ALL SELECT 'TYPE', t.typname, '' FROM pg_catalog.pg_type t \
               WHERE t.typnamespace = {schema}::pg_catalog.regnamespace AND t.typrelid = 0 AND t.typelem = 0 \
             ORDER BY 1, 2",
            schema = quote_literal(&quote_identifier(schema))
        ))
        .map_err(Error::from)?;
    rows.iter()
        .map(|row| Ok(Named { kind: row.get(0)?, name: row.get(1)?, table: row.get(2)? }))
        .collect::<std::result::Result<_, QueryError>>()
        .map_err(Error::from)
}

/// A name that nothing has: that of the backup where it is free, or with the new table's name in it.
pub(super) fn free_name(name: &str, table: &str, new_table: &str, taken: &BTreeSet<String>) -> String {
    if !taken.contains(name) {
        return name.to_owned();
    }
    let base = match name.strip_prefix(table) {
        Some(rest) => format!("{new_table}{rest}"),
        None => format!("{new_table}_{name}"),
    };
    let cut = |text: &str, bytes: usize| {
        let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.get(..end).unwrap_or_default().to_owned()
    };
    let first = cut(&base, NAME_BYTES);
    if !taken.contains(&first) {
        return first;
    }
    (1..=taken.len() + 1)
        .map(|number| {
            let suffix = format!("_{number}");
            format!("{}{suffix}", cut(&base, NAME_BYTES - suffix.len()))
        })
        .find(|name| !taken.contains(name))
        .unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_where_they_are_free_and_are_short_enough_elsewhere() {
        let taken: BTreeSet<String> =
            ["orders_pkey", "by_day", "orders_old_by_day"].into_iter().map(str::to_owned).collect();
        assert_eq!(free_name("free", "orders", "orders_old", &taken), "free");
        assert_eq!(free_name("orders_pkey", "orders", "orders_old", &taken), "orders_old_pkey");
        assert_eq!(free_name("by_day", "orders", "orders_old", &taken), "orders_old_by_day_1");
        let long = "ü".repeat(31);
        let taken = BTreeSet::from([format!("{long}x")]);
        let found = free_name(&format!("{long}x"), "t", &long, &taken);
        assert!(found.len() <= NAME_BYTES && !taken.contains(&found), "{found}");
    }
}
