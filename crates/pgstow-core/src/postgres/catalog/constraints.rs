//! Constraints of tables and domains, indexes, extended statistics.

use super::question::{Question, carried_schema, no_member, options, qualified, role};
use crate::inventory::ObjectKind;

pub(super) fn questions() -> Vec<Question> {
    vec![
        Question::new(ObjectKind::Constraint, format!("{} UNION ALL {}", of_tables(), of_domains())),
        Question::new(ObjectKind::Index, indexes()),
        Question::new(ObjectKind::Statistics, statistics()),
    ]
}

/// What an index is beyond its definition; for the index `x`, `i` and its tablespace `space`.
const INDEX_STATE: &str = "'tablespace ' || pg_catalog.quote_ident(space.spcname),
     CASE WHEN NOT x.indisvalid THEN 'not valid' END,
     CASE WHEN x.indisclustered THEN 'clustered' END,
     CASE WHEN x.indisreplident THEN 'replica identity' END,
     'partition of ' || (SELECT parent.inhparent::pg_catalog.regclass::text
                           FROM pg_catalog.pg_inherits parent WHERE parent.inhrelid = x.indexrelid),
     (SELECT pg_catalog.string_agg(pg_catalog.format('column %s statistics %s', a.attnum, a.attstattarget), ', '
                 ORDER BY a.attnum)
        FROM pg_catalog.pg_attribute a WHERE a.attrelid = x.indexrelid AND a.attstattarget >= 0)";

/// Without the foreign keys that the server derives for the partitions on either side: those are
/// implied by the key they come from. An index that stands for a constraint is described here.
fn of_tables() -> String {
    format!(
        "SELECT pg_catalog.format('%I.%I.%I', n.nspname, c.relname, k.conname), NULL,
                pg_catalog.concat_ws(E'\\n',
                    pg_catalog.pg_get_constraintdef(k.oid),
                    CASE WHEN k.contype = 'c' AND k.coninhcount > 0 THEN
                        CASE WHEN k.conislocal THEN 'inherited and local' ELSE 'inherited' END END,
                    'with ' || {index_options},
                    {INDEX_STATE})
           FROM pg_catalog.pg_constraint k
           JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
           LEFT JOIN pg_catalog.pg_index x ON x.indexrelid = k.conindid AND k.contype IN ('p', 'u', 'x')
           LEFT JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
           LEFT JOIN pg_catalog.pg_tablespace space ON space.oid = i.reltablespace
          WHERE k.contype IN ('c', 'f', 'p', 'u', 'x') AND NOT (k.contype = 'f' AND k.conparentid <> 0)
            AND {user} AND {own}",
        index_options = options("i.reloptions"),
        user = carried_schema("n"),
        own = no_member("pg_class", "c.oid"),
    )
}

fn of_domains() -> String {
    format!(
        "SELECT pg_catalog.format('%I.%I.%I', n.nspname, t.typname, k.conname), NULL,
                pg_catalog.concat_ws(E'\\n', pg_catalog.pg_get_constraintdef(k.oid))
           FROM pg_catalog.pg_constraint k
           JOIN pg_catalog.pg_type t ON t.oid = k.contypid
           JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
          WHERE k.contype = 'c' AND {user} AND {own}",
        user = carried_schema("n"),
        own = no_member("pg_type", "t.oid"),
    )
}

fn indexes() -> String {
    format!(
        "SELECT {name}, NULL,
                pg_catalog.concat_ws(E'\\n', pg_catalog.pg_get_indexdef(x.indexrelid), {INDEX_STATE})
           FROM pg_catalog.pg_index x
           JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
           JOIN pg_catalog.pg_class c ON c.oid = x.indrelid
           JOIN pg_catalog.pg_namespace n ON n.oid = i.relnamespace
           LEFT JOIN pg_catalog.pg_tablespace space ON space.oid = i.reltablespace
          WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k
                             WHERE k.conrelid = x.indrelid AND k.conindid = x.indexrelid
                               AND k.contype IN ('p', 'u', 'x'))
            AND {user} AND {own}",
        name = qualified("n.nspname", "i.relname"),
        user = carried_schema("n"),
        own = no_member("pg_class", "c.oid"),
    )
}

fn statistics() -> String {
    format!(
        "SELECT {name}, {owner},
                pg_catalog.concat_ws(E'\\n', pg_catalog.pg_get_statisticsobjdef(s.oid),
                    'statistics ' || CASE WHEN s.stxstattarget >= 0 THEN s.stxstattarget END)
           FROM pg_catalog.pg_statistic_ext s
           JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace
          WHERE {user} AND {own} AND {table_own}",
        name = qualified("n.nspname", "s.stxname"),
        owner = role("s.stxowner"),
        user = carried_schema("n"),
        own = no_member("pg_statistic_ext", "s.oid"),
        table_own = no_member("pg_class", "s.stxrelid"),
    )
}
