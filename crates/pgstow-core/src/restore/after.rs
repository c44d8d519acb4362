//! What to look at after a restore: sizes of tables, foreign keys, the state of migrations, and sequences
//! behind their columns. Everything was committed before: what cannot be found out is left out, or said in a
//! note, and never makes a restore fail.

use std::collections::BTreeMap;

use super::Planned;
use super::journal::Journal;
use super::session::Session;
use crate::platform::Keeper;
use crate::postgres::identifier::{display_name, quote_identifier, quote_literal, quote_qualified};
use crate::postgres::{Connection, QueryError};

/// Tables that are named; the largest.
const LARGEST: usize = 20;
/// A column without an index is looked through for its largest value in tables up to this size.
const SCAN_LIMIT_BYTES: u64 = 256 << 20;
/// Sequences asked about in one statement.
const BATCH: usize = 50;

/// What to look at now.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Aftermath {
    /// The largest tables.
    pub tables: Vec<TableSize>,
    /// Tables of the user's in all.
    pub table_count: u64,
    /// Foreign keys of those.
    pub foreign_keys: u64,
    /// Tools whose record of migrations was found.
    pub migrations: Vec<Migrations>,
    /// Statements for sequences that would give numbers which are taken.
    pub sequences_behind: Vec<String>,
}

/// A table and its size.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TableSize {
    /// Schema-qualified name.
    pub table: String,
    /// Bytes with indexes and TOAST.
    pub bytes: u64,
}

/// What the record of a migration tool says.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Migrations {
    /// The table that holds it.
    pub table: String,
    /// Migrations that were applied.
    pub applied: u64,
    /// The last of them.
    pub last: Option<String>,
    /// Those that failed or did not come to their end.
    pub unfinished: Vec<String>,
}

/// How a tool records migrations: name of the table, columns that tell it, and expressions for whether one was
/// applied, whether one is unfinished, its name, and the order.
struct Tool {
    table: &'static str,
    columns: &'static [&'static str],
    applied: &'static str,
    unfinished: &'static str,
    name: &'static str,
    order: &'static str,
}

/// The first that fits a table counts.
const TOOLS: [Tool; 10] = [
    Tool {
        table: "_prisma_migrations",
        columns: &["migration_name", "finished_at", "rolled_back_at", "started_at"],
        applied: "finished_at IS NOT NULL AND rolled_back_at IS NULL",
        unfinished: "finished_at IS NULL AND rolled_back_at IS NULL",
        name: "migration_name",
        order: "started_at",
    },
    Tool {
        table: "flyway_schema_history",
        columns: &["installed_rank", "version", "script", "success"],
        applied: "success",
        unfinished: "NOT success",
        name: "script",
        order: "installed_rank",
    },
    // golang-migrate has one row.
    Tool {
        table: "schema_migrations",
        columns: &["version", "dirty"],
        applied: "NOT dirty",
        unfinished: "dirty",
        name: "version",
        order: "version",
    },
    // Supabase, Rails, Ecto, dbmate.
    Tool {
        table: "schema_migrations",
        columns: &["version"],
        applied: "true",
        unfinished: "false",
        name: "version",
        order: "version",
    },
    Tool {
        table: "alembic_version",
        columns: &["version_num"],
        applied: "true",
        unfinished: "false",
        name: "version_num",
        order: "version_num",
    },
    Tool {
        table: "django_migrations",
        columns: &["app", "name", "applied"],
        applied: "true",
        unfinished: "false",
        name: "pg_catalog.concat(app, '.', name)",
        order: "id",
    },
    Tool {
        table: "__drizzle_migrations",
        columns: &["hash", "created_at"],
        applied: "true",
        unfinished: "false",
        name: "hash",
        order: "created_at",
    },
    Tool {
        table: "knex_migrations",
        columns: &["name", "batch", "migration_time"],
        applied: "true",
        unfinished: "false",
        name: "name",
        order: "id",
    },
    Tool {
        table: "SequelizeMeta",
        columns: &["name"],
        applied: "true",
        unfinished: "false",
        name: "name",
        order: "name",
    },
    Tool {
        table: "databasechangelog",
        columns: &["id", "orderexecuted", "exectype"],
        applied: "exectype <> 'FAILED'",
        unfinished: "exectype = 'FAILED'",
        name: "id",
        order: "orderexecuted",
    },
];

/// Looks at the target.
pub(super) fn look(session: &mut Session, planned: &Planned<'_>, journal: &Journal) -> Aftermath {
    let mut aftermath = Aftermath::default();
    let connection = &mut session.connection;
    if let Err(error) = sizes(connection, planned, &mut aftermath) {
        journal.note(format!("the sizes of tables could not be read: {error}"));
    }
    match migrations(connection, planned) {
        Ok(found) => aftermath.migrations = found,
        Err(error) => journal.note(format!("the state of migrations could not be read: {error}")),
    }
    if planned.steps.parts.rows {
        match sequences_behind(connection, planned, journal) {
            Ok(found) => aftermath.sequences_behind = found,
            Err(error) => {
                journal.note(format!("sequences could not be compared with their columns: {error}"))
            }
        }
    }
    aftermath
}

const USER_SCHEMA: &str = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";

fn sizes(
    connection: &mut Connection,
    planned: &Planned<'_>,
    aftermath: &mut Aftermath,
) -> Result<(), QueryError> {
    let rows = connection.query(&format!(
        "SELECT n.nspname, c.relname, pg_catalog.pg_total_relation_size(c.oid), \
         (SELECT pg_catalog.count(*) FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f') \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p') AND {USER_SCHEMA} ORDER BY 3 DESC NULLS LAST, 1, 2"
    ))?;
    for row in rows.iter() {
        let (schema, name): (String, String) = (row.get(0)?, row.get(1)?);
        if planned.target.hosting.keeper(&schema) != Keeper::User {
            continue;
        }
        aftermath.table_count += 1;
        aftermath.foreign_keys += row.get::<u64>(3)?;
        if aftermath.tables.len() < LARGEST {
            let bytes = row.get::<Option<u64>>(2)?.unwrap_or_default();
            aftermath.tables.push(TableSize { table: display_name(&schema, &name), bytes });
        }
    }
    Ok(())
}

fn migrations(connection: &mut Connection, planned: &Planned<'_>) -> Result<Vec<Migrations>, QueryError> {
    let names: Vec<String> = TOOLS.iter().map(|tool| quote_literal(tool.table)).collect();
    let rows = connection.query(&format!(
        "SELECT n.nspname, c.relname, a.attname FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
         WHERE c.relkind = 'r' AND {USER_SCHEMA} AND c.relname = ANY (ARRAY[{}]::pg_catalog.name[])",
        names.join(", ")
    ))?;
    let mut tables: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for row in rows.iter() {
        tables.entry((row.get(0)?, row.get(1)?)).or_default().push(row.get(2)?);
    }
    let mut found = Vec::new();
    for ((schema, name), columns) in tables {
        let has = |wanted: &&str| columns.iter().any(|column| column == wanted);
        let tool = TOOLS.iter().find(|tool| tool.table == name && tool.columns.iter().all(has));
        // The services of a platform keep records of their own.
        let is_users = planned.target.hosting.keeper(&schema) == Keeper::User;
        if let Some(tool) = tool.filter(|_| is_users) {
            // A table that is called like this and is something else is nobody's fault.
            found.extend(tool.read(connection, &schema).ok());
        }
    }
    Ok(found)
}

impl Tool {
    fn read(&self, connection: &mut Connection, schema: &str) -> Result<Migrations, QueryError> {
        let Self { applied, unfinished, name, order, .. } = self;
        let table = quote_qualified(schema, self.table);
        let rows = connection.query(&format!(
            "SELECT pg_catalog.count(*) FILTER (WHERE {applied}), \
             (SELECT ({name})::pg_catalog.text FROM {table} WHERE {applied} ORDER BY {order} DESC LIMIT 1) \
             FROM {table}"
        ))?;
        let row = rows.only()?;
        let unfinished = connection.query(&format!(
            "SELECT ({name})::pg_catalog.text FROM {table} WHERE {unfinished} ORDER BY {order} LIMIT 10"
        ))?;
        Ok(Migrations {
            table: display_name(schema, self.table),
            applied: row.get(0)?,
            last: row.get(1)?,
            unfinished: unfinished.iter().map(|row| row.get(0)).collect::<Result<_, _>>()?,
        })
    }
}

/// A sequence and the column that it feeds.
struct Fed {
    sequence: String,
    shown: String,
    table: String,
    shown_table: String,
    column: String,
    ascending: bool,
}

/// One statement for each sequence whose next number is taken.
fn sequences_behind(
    connection: &mut Connection,
    planned: &Planned<'_>,
    journal: &Journal,
) -> Result<Vec<String>, QueryError> {
    let (fed, passed_over) = fed_columns(connection, planned)?;
    if passed_over > 0 {
        journal.note(format!(
            "{passed_over} sequences were not compared with their columns, which have no index in large tables"
        ));
    }
    let mut behind = Vec::new();
    for batch in fed.chunks(BATCH) {
        match ask(connection, batch) {
            Ok(found) => behind.extend(found),
            Err(error) if error.is_lost() => return Err(error),
            // One of them may be closed to this role: the others are not.
            Err(_) => behind.extend(
                batch.iter().flat_map(|one| ask(connection, std::slice::from_ref(one)).unwrap_or_default()),
            ),
        }
    }
    Ok(behind)
}

fn ask(connection: &mut Connection, batch: &[Fed]) -> Result<Vec<String>, QueryError> {
    let questions: Vec<String> = batch
        .iter()
        .enumerate()
        .map(|(index, Fed { sequence, table, column, ascending, .. })| {
            let (extreme, sign, taken) = if *ascending { ("max", '+', "<=") } else { ("min", '-', ">=") };
            let column = quote_identifier(column);
            format!(
                "SELECT {index}, x.taken::pg_catalog.text FROM {sequence} s, \
                 (SELECT pg_catalog.{extreme}({column})::pg_catalog.numeric AS taken FROM {table}) x \
                 WHERE s.last_value {sign} CASE WHEN s.is_called THEN 1 ELSE 0 END {taken} x.taken"
            )
        })
        .collect();
    let rows = connection.query(&questions.join(" UNION ALL "))?;
    let mut behind = Vec::new();
    for row in rows.iter() {
        let (index, taken): (u32, String) = (row.get(0)?, row.get(1)?);
        let Some(fed) = batch.get(index as usize) else { continue };
        behind.push(format!(
            "sequence {} is behind {}.{}, which reaches {taken}: SELECT setval({}, {taken})",
            fed.shown,
            fed.shown_table,
            quote_identifier(&fed.column),
            quote_literal(&fed.sequence)
        ));
    }
    Ok(behind)
}

/// Sequences that belong to columns of numbers, and how many of them would take long to compare.
fn fed_columns(connection: &mut Connection, planned: &Planned<'_>) -> Result<(Vec<Fed>, usize), QueryError> {
    let rows = connection.query(&format!(
        "SELECT sn.nspname, s.relname, n.nspname, c.relname, a.attname, q.seqincrement > 0, \
         EXISTS (SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid \
           JOIN pg_catalog.pg_am m ON m.oid = ic.relam WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum \
           AND i.indisvalid AND i.indpred IS NULL AND m.amname = 'btree') \
         OR pg_catalog.pg_relation_size(c.oid) <= {SCAN_LIMIT_BYTES} AND c.relkind = 'r' \
         FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_sequence q ON q.seqrelid = d.objid \
         JOIN pg_catalog.pg_class s ON s.oid = d.objid JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace \
         JOIN pg_catalog.pg_class c ON c.oid = d.refobjid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid \
         WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refclassid = d.classid \
         AND d.deptype IN ('a', 'i') AND c.relkind IN ('r', 'p') AND NOT q.seqcycle \
         AND a.atttypid IN ('pg_catalog.int2'::pg_catalog.regtype, 'pg_catalog.int4'::pg_catalog.regtype, \
           'pg_catalog.int8'::pg_catalog.regtype, 'pg_catalog.numeric'::pg_catalog.regtype) \
         AND {USER_SCHEMA} ORDER BY 1, 2"
    ))?;
    let (mut fed, mut passed_over) = (Vec::new(), 0);
    for row in rows.iter() {
        let (schema, name): (String, String) = (row.get(0)?, row.get(1)?);
        let (table_schema, table): (String, String) = (row.get(2)?, row.get(3)?);
        if planned.target.hosting.keeper(&table_schema) != Keeper::User {
            continue;
        }
        if !row.get::<bool>(6)? {
            passed_over += 1;
            continue;
        }
        fed.push(Fed {
            sequence: quote_qualified(&schema, &name),
            shown: display_name(&schema, &name),
            table: quote_qualified(&table_schema, &table),
            shown_table: display_name(&table_schema, &table),
            column: row.get(4)?,
            ascending: row.get(5)?,
        });
    }
    Ok((fed, passed_over))
}
