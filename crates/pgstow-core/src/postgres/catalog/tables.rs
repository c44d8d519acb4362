//! Relations as objects: tables, views, materialized views, foreign tables, sequences, schemas.

use super::question::{
    LeftOut, Question, carried_schema, masked_options, no_member, options, qualified, role,
};
use crate::inventory::ObjectKind;
use crate::inventory::catalog::ViewOptions;
use crate::postgres::connection::Connection;
use crate::postgres::error::QueryError;

pub(super) fn questions() -> Vec<Question> {
    vec![
        Question::new(ObjectKind::Schema, schemas()),
        Question::new(ObjectKind::Table, tables()),
        Question::new(ObjectKind::View, views()),
        Question::new(ObjectKind::MaterializedView, materialized_views()),
        Question::new(ObjectKind::ForeignTable, foreign_tables()),
        Question::new(ObjectKind::Sequence, sequences()),
    ]
}

fn schemas() -> String {
    format!(
        "SELECT pg_catalog.quote_ident(n.nspname), {owner}, 'schema'
           FROM pg_catalog.pg_namespace n
          WHERE {user} AND {own}",
        owner = role("n.nspowner"),
        user = carried_schema("n"),
        own = no_member("pg_namespace", "n.oid"),
    )
}

/// Name, owner, `concat_ws` of the parts, for the user's relations of the given kinds.
fn relations(kinds: &str, parts: &str) -> String {
    format!(
        "SELECT {name}, {owner}, pg_catalog.concat_ws(E'\\n', {parts})
           FROM pg_catalog.pg_class c
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
           LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
           LEFT JOIN pg_catalog.pg_tablespace space ON space.oid = c.reltablespace
          WHERE c.relkind IN ({kinds}) AND {user} AND {own}",
        name = qualified("n.nspname", "c.relname"),
        owner = role("c.relowner"),
        user = carried_schema("n"),
        own = no_member("pg_class", "c.oid"),
    )
}

const PERSISTENCE: &str = "CASE c.relpersistence WHEN 'u' THEN 'unlogged' WHEN 't' THEN 'temporary' END";
const STORAGE: &str = "'using ' || am.amname, 'tablespace ' || pg_catalog.quote_ident(space.spcname)";

/// Partition bounds and parents: the same for plain, partitioned and foreign tables.
fn inheritance() -> String {
    "'partition by ' || CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END,
     (SELECT pg_catalog.concat_ws(' ',
              CASE WHEN c.relispartition THEN 'partition of' ELSE 'inherits' END,
              pg_catalog.string_agg(link.inhparent::pg_catalog.regclass::text, ', ' ORDER BY link.inhseqno),
              CASE WHEN c.relispartition THEN pg_catalog.pg_get_expr(c.relpartbound, c.oid) END)
        FROM pg_catalog.pg_inherits link WHERE link.inhrelid = c.oid HAVING pg_catalog.count(*) > 0)"
        .to_owned()
}

const ROW_SECURITY: &str = "CASE WHEN c.relrowsecurity THEN 'row security enabled' END,
     CASE WHEN c.relforcerowsecurity THEN 'row security forced' END";

fn tables() -> String {
    relations(
        "'r', 'p'",
        &format!(
            "CASE c.relkind WHEN 'p' THEN 'partitioned table' ELSE 'table' END,
             {PERSISTENCE},
             'of ' || pg_catalog.format_type(NULLIF(c.reloftype, 0), NULL),
             {inheritance},
             {STORAGE},
             'with ' || {heap_options},
             'toast with ' || (SELECT {toast_options} FROM pg_catalog.pg_class toast WHERE toast.oid = c.reltoastrelid),
             {ROW_SECURITY},
             {replica_identity}",
            inheritance = inheritance(),
            heap_options = options("c.reloptions"),
            toast_options = options("toast.reloptions"),
            replica_identity = replica_identity(),
        ),
    )
}

fn replica_identity() -> String {
    "'replica identity ' || CASE c.relreplident
        WHEN 'n' THEN 'nothing'
        WHEN 'f' THEN 'full'
        WHEN 'i' THEN (SELECT pg_catalog.concat_ws(' ', 'index', pg_catalog.quote_ident(i.relname))
                         FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
                        WHERE x.indrelid = c.oid AND x.indisreplident)
     END"
    .to_owned()
}

fn views() -> String {
    relations(
        "'v'",
        &format!(
            "{PERSISTENCE},
             'with ' || {options},
             (SELECT pg_catalog.string_agg(pg_catalog.format('column %I default %s', a.attname,
                         pg_catalog.pg_get_expr(d.adbin, d.adrelid)), E'\\n' ORDER BY a.attnum)
                FROM pg_catalog.pg_attrdef d
                JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
               WHERE d.adrelid = c.oid),
             pg_catalog.pg_get_viewdef(c.oid)",
            options = options("c.reloptions"),
        ),
    )
}

fn materialized_views() -> String {
    relations(
        "'m'",
        &format!(
            "CASE WHEN NOT c.relispopulated THEN 'not populated' END,
             {STORAGE},
             'with ' || {options},
             (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', 'column', pg_catalog.quote_ident(a.attname),
                         'storage ' || CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage::text END,
                         'statistics ' || CASE WHEN a.attstattarget >= 0 THEN a.attstattarget END,
                         'options ' || {column_options}), E'\\n' ORDER BY a.attnum)
                FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                 AND (a.attstorage <> t.typstorage OR a.attstattarget >= 0 OR a.attoptions IS NOT NULL)),
             pg_catalog.pg_get_viewdef(c.oid)",
            options = options("c.reloptions"),
            column_options = options("a.attoptions"),
        ),
    )
}

fn foreign_tables() -> String {
    relations(
        "'f'",
        &format!(
            "(SELECT pg_catalog.concat_ws(' ', 'server', pg_catalog.quote_ident(s.srvname), {options})
                FROM pg_catalog.pg_foreign_table f
                JOIN pg_catalog.pg_foreign_server s ON s.oid = f.ftserver
               WHERE f.ftrelid = c.oid),
             {inheritance},
             {ROW_SECURITY}",
            options = masked_options("f.ftoptions"),
            inheritance = inheritance(),
        ),
    )
}

/// The type of an identity column's sequence is left out: it is the column's, except in a table made
/// LIKE another, where it is wider than the column and no statement makes it so again.
fn sequences() -> String {
    relations(
        "'S'",
        &format!(
            "{PERSISTENCE},
             (SELECT pg_catalog.format('%sstart %s increment %s minimum %s maximum %s cache %s%s',
                        CASE WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_depend link
                                               WHERE link.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                                                 AND link.objid = c.oid AND link.objsubid = 0 AND link.deptype = 'i')
                             THEN 'as ' || pg_catalog.format_type(s.seqtypid, NULL) || ' ' END,
                        s.seqstart, s.seqincrement, s.seqmin, s.seqmax,
                        s.seqcache, CASE WHEN s.seqcycle THEN ' cycle' END)
                FROM pg_catalog.pg_sequence s WHERE s.seqrelid = c.oid),
             (SELECT pg_catalog.format('%s %s.%I', CASE link.deptype WHEN 'i' THEN 'identity of' ELSE 'owned by' END,
                        a.attrelid::pg_catalog.regclass, a.attname)
                FROM pg_catalog.pg_depend link
                JOIN pg_catalog.pg_attribute a ON a.attrelid = link.refobjid AND a.attnum = link.refobjsubid
               WHERE link.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND link.objid = c.oid
                 AND link.objsubid = 0 AND link.deptype IN ('a', 'i')
                 AND link.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND link.refobjsubid > 0)"
        ),
    )
}

/// Reads the views and materialized views that have options, by name.
///
/// # Errors
/// The server's.
pub(super) fn read_view_options(
    connection: &mut Connection,
    left_out: &LeftOut,
) -> Result<Vec<ViewOptions>, QueryError> {
    let sql = format!(
        "SELECT {name}, option.line
           FROM pg_catalog.pg_class c
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          CROSS JOIN LATERAL pg_catalog.unnest(c.reloptions) WITH ORDINALITY option(line, place)
          WHERE c.relkind IN ('v', 'm') AND {user} AND {own}
          ORDER BY n.nspname, c.relname, option.place",
        name = qualified("n.nspname", "c.relname"),
        user = carried_schema("n"),
        own = no_member("pg_class", "c.oid"),
    );
    let rows = left_out.ask(connection, &sql)?;
    let mut views: Vec<ViewOptions> = Vec::new();
    for row in rows.iter() {
        let (view, option): (&str, String) = (row.get(0)?, row.get(1)?);
        match views.last_mut() {
            Some(last) if last.view == view => last.options.push(option),
            _ => views.push(ViewOptions { view: view.to_owned(), options: vec![option] }),
        }
    }
    Ok(views)
}
