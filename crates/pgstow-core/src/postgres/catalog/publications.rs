//! Publications with their tables and schemas.

use super::question::{Question, no_member, role};
use crate::inventory::ObjectKind;

pub(super) fn questions(major: u32) -> Vec<Question> {
    vec![Question::new(ObjectKind::Publication, publications(major))]
}

/// One object for each publication: what it publishes is a part of it.
fn publications(major: u32) -> String {
    // Column lists, row filters and schemas came with 15.
    let (columns, filter, schemas) = if major >= 15 {
        (
            "CASE WHEN r.prattrs IS NOT NULL THEN '(' ||
                (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum)
                   FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs)) || ')' END",
            "'where ' || pg_catalog.pg_get_expr(r.prqual, r.prrelid)",
            "'schemas ' || (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(n.nspname), ', '
                                       ORDER BY n.nspname::text COLLATE pg_catalog.\"C\")
                              FROM pg_catalog.pg_publication_namespace s
                              JOIN pg_catalog.pg_namespace n ON n.oid = s.pnnspid
                             WHERE s.pnpubid = p.oid),",
        )
    } else {
        ("NULL", "NULL", "")
    };
    let generated =
        if major >= 18 { "CASE p.pubgencols WHEN 's' THEN 'stored generated columns' END," } else { "" };
    format!(
        "SELECT pg_catalog.quote_ident(p.pubname), {owner},
                pg_catalog.concat_ws(E'\\n',
                    'publishes' || CASE WHEN p.pubinsert THEN ' insert' ELSE '' END
                                || CASE WHEN p.pubupdate THEN ' update' ELSE '' END
                                || CASE WHEN p.pubdelete THEN ' delete' ELSE '' END
                                || CASE WHEN p.pubtruncate THEN ' truncate' ELSE '' END,
                    CASE WHEN p.puballtables THEN 'all tables' END,
                    CASE WHEN p.pubviaroot THEN 'via root' END,
                    {generated}
                    {schemas}
                    (SELECT pg_catalog.string_agg(part.line, E'\\n' ORDER BY part.line COLLATE pg_catalog.\"C\")
                       FROM (SELECT pg_catalog.concat_ws(' ', 'table ' || r.prrelid::pg_catalog.regclass::text,
                                        {columns}, {filter}) AS line
                               FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid) part))
           FROM pg_catalog.pg_publication p
          WHERE {own}",
        owner = role("p.pubowner"),
        own = no_member("pg_publication", "p.oid"),
    )
}
