//! Rows of managed tables: the platform made the tables, perhaps in another version, and there may
//! be rows already.
//!
//! They are loaded into a temporary table of the backup's shape, and those that are not there yet
//! go from it into the real one. What exists stays as it is; where it differs, that is told.

use super::data::Load;
use super::guards::quoted_load_target;
use super::hosted::Managed;
use super::journal::Journal;
use super::session::{Session, describe, is_fatal};
use super::target::{TargetState, TargetTable};
use crate::error::{Error, Result};
use crate::inventory::catalog::FilledColumns;
use crate::platform::supabase;
use crate::postgres::identifier::{display_name, quote_identifier, quote_literal, quote_qualified};
use crate::postgres::{Connection, QueryError};
use crate::repository::format::manifest::{Manifest, Table};
use crate::repository::format::receipt::Line;

/// Schema of temporary tables.
const STAGE: &str = "pg_temp";

/// Makes sure that the target's tables can take what the backup holds for them.
///
/// # Errors
/// Refused, naming each table or column whose content would be lost.
pub(super) fn check(managed: &Managed, filled: &[FilledColumns], target: &TargetState) -> Result<()> {
    let mut losses = Vec::new();
    for table in managed.tables.iter().filter(|table| table.rows > 0) {
        let shown = display_name(&table.schema, &table.name);
        match target.tables.get(&(table.schema.clone(), table.name.clone())) {
            None => losses.push(format!("table {shown} does not exist")),
            Some(found) => losses.extend(column_losses(&shown, table, filled, found)),
        }
    }
    if losses.is_empty() {
        return Ok(());
    }
    Err(Error::refused(format!("{} cannot hold all rows of the platform's tables", target.target))
        .why(losses.join("; "))
        .hint("the platform's services at the target are of another version: update the project, then try again")
        .hint("or make a backup with auth_users = \"none\""))
}

fn column_losses(shown: &str, table: &Table, filled: &[FilledColumns], found: &TargetTable) -> Vec<String> {
    let filled = filled.iter().find(|one| one.schema == table.schema && one.table == table.name);
    let holds_values =
        |column: &str| filled.is_none_or(|filled| filled.columns.iter().any(|name| name == column));
    let gone = table
        .columns
        .iter()
        .filter(|column| !found.columns.contains_key(&column.name) && holds_values(&column.name))
        .map(|column| format!("column {} of {shown}, which holds values, does not exist", column.name));
    let needed = found
        .columns
        .iter()
        .filter(|(name, column)| {
            column.required && !table.columns.iter().any(|carried| carried.name == **name)
        })
        .map(|(name, _)| format!("column {name} of {shown} needs a value, and the backup has none for it"));
    gone.chain(needed).collect()
}

/// Loads the rows of managed tables, in an order in which each finds what it refers to: all of them or
/// none, so that no row is left without what it refers to.
///
/// # Errors
/// Atomic: any failure. Otherwise what ends the restore; the rest is noted.
pub(super) fn load(
    session: &mut Session,
    managed: &Managed,
    target: &TargetState,
    from: &Load<'_>,
) -> Result<()> {
    if session.atomic {
        return load_all(session, managed, target, from).map(|found| found.tell(from.journal));
    }
    session.connection.execute("BEGIN").map_err(Error::from)?;
    session.atomic = true;
    let loaded = load_all(session, managed, target, from);
    session.atomic = false;
    match loaded {
        Ok(found) => {
            session.connection.execute("COMMIT").map_err(Error::from)?;
            found.tell(from.journal);
            Ok(())
        }
        Err(error) if error.kind() != crate::ErrorKind::Failed => Err(error),
        Err(error) => {
            session.connection.execute("ROLLBACK").map_err(Error::from)?;
            let why = error.in_one_line();
            from.journal.problem(format!("the platform's tables got none of their rows: {why}"));
            Ok(())
        }
    }
}

/// What was found while rows were loaded.
#[derive(Default)]
struct Found {
    lines: Vec<Line>,
    remarks: Vec<String>,
}

impl Found {
    fn tell(self, journal: &Journal) {
        self.lines.into_iter().for_each(|line| journal.line(line));
        self.remarks.into_iter().for_each(|remark| journal.remark(remark));
    }
}

fn load_all(
    session: &mut Session,
    managed: &Managed,
    target: &TargetState,
    from: &Load<'_>,
) -> Result<Found> {
    let mut tables: Vec<&Table> = managed.tables.iter().filter(|table| table.rows > 0).collect();
    tables.sort_by_cached_key(|table| {
        let place = supabase::rows(&table.schema, &table.name, crate::platform::AuthUsers::Full);
        (place.unwrap_or(usize::MAX), table.name.clone())
    });
    let staged =
        Manifest { tables: tables.iter().map(|table| staged(table)).collect(), ..from.manifest.clone() };
    let load = Load::new(from.repository, &staged, from.journal, from.monitor, from.interrupt);
    let mut all = Found::default();
    for (table, stage) in tables.iter().zip(&staged.tables) {
        let Some(found) = target.tables.get(&(table.schema.clone(), table.name.clone())) else { continue };
        let passage =
            Passage { table, found, stage: quoted_load_target(stage), real: quoted_load_target(table) };
        let outcome = passage.stage(session).map_err(Error::from).and_then(|()| {
            load.tables_in_order(session, &[(stage.schema.clone(), stage.name.clone())])?;
            passage.pass(session, &mut all)
        });
        outcome.map_err(|error| error.context(format!("rows of {}", passage.shown())))?;
    }
    Ok(all)
}

/// The table under the name that it has while its rows wait.
fn staged(table: &Table) -> Table {
    let name = format!("{}_{}", table.schema, table.name);
    Table { schema: STAGE.to_owned(), name, load_through: None, ..table.clone() }
}

/// From the temporary table into the real one.
struct Passage<'a> {
    table: &'a Table,
    found: &'a TargetTable,
    stage: String,
    real: String,
}

impl Passage<'_> {
    fn stage(&self, session: &mut Session) -> Result<(), QueryError> {
        let columns: Vec<String> = self
            .table
            .columns
            .iter()
            .map(|column| format!("{} {}", quote_identifier(&column.name), column.type_name))
            .collect();
        session.unit(&format!("CREATE TEMPORARY TABLE {} ({})", self.stage, columns.join(", ")))
    }

    /// Columns that both sides have, quoted.
    fn columns(&self) -> Vec<String> {
        let common = self
            .table
            .columns
            .iter()
            .filter(|column| self.found.columns.get(&column.name).is_some_and(|there| !there.generated));
        common.map(|column| quote_identifier(&column.name)).collect()
    }

    /// Text columns that the service cannot read as NULL, and that the backup leaves out.
    fn emptied(&self) -> Vec<String> {
        let is_users = (self.table.schema.as_str(), self.table.name.as_str()) == supabase::USERS;
        let missing = supabase::NEVER_NULL.iter().filter(|name| {
            is_users
                && self.found.columns.contains_key(**name)
                && !self.table.columns.iter().any(|column| column.name == **name)
        });
        missing.map(|name| quote_identifier(name)).collect()
    }

    fn shown(&self) -> String {
        display_name(&self.table.schema, &self.table.name)
    }

    fn pass(&self, session: &mut Session, all: &mut Found) -> Result<()> {
        let failed = |error: QueryError| {
            let text = Error::failed("they could not be put into the platform's table");
            if is_fatal(&error) { Error::from(error) } else { text.why(describe(&error)) }
        };
        let (columns, emptied) = (self.columns(), self.emptied());
        let into = [columns.as_slice(), &emptied].concat().join(", ");
        let empty = emptied.iter().map(|_| "''".to_owned());
        let values = columns.iter().cloned().chain(empty).collect::<Vec<_>>().join(", ");
        let (stage, real) = (&self.stage, &self.real);
        session
            .unit(&format!(
                "INSERT INTO {real} ({into}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {stage} ON CONFLICT DO NOTHING"
            ))
            .map_err(failed)?;
        let counted = session.guarded(|connection| self.count(connection, &columns)).map_err(failed)?;
        let (shown, rows) = (self.shown(), self.table.rows);
        if counted.there < rows {
            return Err(Error::failed(format!(
                "{} of {rows} rows are refused by rows that are there",
                rows - counted.there
            ))
            .why("another row has the same unique value under another key")
            .hint("remove or correct the rows at the target, then try again"));
        }
        if counted.different > 0 {
            all.remarks.push(format!(
                "{} of {rows} rows of table {shown} were there with other contents, and stay as they are",
                counted.different
            ));
        }
        all.lines.push(Line {
            what: format!("rows of {shown}"),
            expected: rows,
            found: counted.there,
            equal: true,
        });
        session.unit(&format!("DROP TABLE {stage}")).map_err(failed)
    }

    /// How many of the staged rows are in the real table by key, and how many of these differ.
    fn count(&self, connection: &mut Connection, columns: &[String]) -> Result<Counted, QueryError> {
        let keys = primary_key(connection, self.table)?;
        let is_staged = |key: &&String| self.table.columns.iter().any(|column| column.name == **key);
        let keys: Vec<String> = keys.iter().filter(is_staged).map(|key| quote_identifier(key)).collect();
        let keys = if keys.is_empty() { columns.to_vec() } else { keys };
        let equal = keys.iter().map(|key| format!("r.{key} IS NOT DISTINCT FROM s.{key}"));
        let side = |side: &str| {
            let texts: Vec<String> =
                columns.iter().map(|column| format!("{side}.{column}::pg_catalog.text")).collect();
            format!("ROW({})", texts.join(", "))
        };
        let rows = connection.query(&format!(
            "SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE {} IS DISTINCT FROM {}) \
             FROM {} s JOIN {} r ON {}",
            side("s"),
            side("r"),
            self.stage,
            self.real,
            equal.collect::<Vec<_>>().join(" AND ")
        ))?;
        let row = rows.only()?;
        Ok(Counted { there: row.get(0)?, different: row.get(1)? })
    }
}

struct Counted {
    there: u64,
    different: u64,
}

/// Columns of the primary key, in its order; none when there is none.
fn primary_key(connection: &mut Connection, table: &Table) -> Result<Vec<String>, QueryError> {
    let name = quote_literal(&quote_qualified(&table.schema, &table.name));
    let rows = connection.query(&format!(
        "SELECT a.attname FROM pg_catalog.pg_index i \
         CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY key(number, place) \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = key.number \
         WHERE i.indisprimary AND i.indrelid = pg_catalog.to_regclass({name}) ORDER BY key.place"
    ))?;
    rows.iter().map(|row| row.get(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::target::TargetColumn;
    use super::*;
    use crate::repository::format::manifest::{Column, TableData};

    fn users(columns: &[&str]) -> Table {
        Table {
            schema: "auth".into(),
            name: "users".into(),
            oid: 1,
            filenode: 1,
            kind: 'r',
            persistence: 'p',
            columns: columns
                .iter()
                .map(|&name| Column { name: name.into(), type_name: "text".into() })
                .collect(),
            data: TableData::Carried,
            load_through: None,
            rows: 2,
            bytes: 9,
            chunks: Vec::new(),
            proof: None,
        }
    }

    fn target(columns: &[(&str, bool)]) -> TargetState {
        let column = |&(name, required): &(&str, bool)| {
            (name.to_owned(), TargetColumn { required, ..TargetColumn::default() })
        };
        let table = TargetTable { columns: columns.iter().map(column).collect(), ..TargetTable::default() };
        let mut target = TargetState::default();
        target.tables.insert(("auth".into(), "users".into()), table);
        target
    }

    fn filled(columns: &[&str]) -> FilledColumns {
        FilledColumns {
            schema: "auth".into(),
            table: "users".into(),
            columns: columns.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[test]
    fn a_column_without_values_may_be_missing_and_one_with_values_may_not() {
        let managed = Managed { tables: vec![users(&["id", "phone"])], ..Managed::default() };
        let there = target(&[("id", true)]);
        assert!(check(&managed, &[filled(&["id"])], &there).is_ok());
        let error = check(&managed, &[filled(&["id", "phone"])], &there).unwrap_err();
        assert!(error.reason().unwrap_or_default().contains("column phone of auth.users"), "{error:?}");
        assert!(check(&managed, &[], &there).is_err(), "unknown counts as filled");
    }

    #[test]
    fn a_column_that_needs_a_value_and_gets_none_is_refused() {
        let managed = Managed { tables: vec![users(&["id"])], ..Managed::default() };
        let error = check(&managed, &[], &target(&[("id", true), ("tenant", true)])).unwrap_err();
        assert!(error.reason().unwrap_or_default().contains("tenant"), "{error:?}");
    }

    #[test]
    fn tokens_that_are_left_out_become_empty_text() {
        let table = users(&["id"]);
        let found = target(&[("id", true), ("recovery_token", false)]);
        let found = &found.tables[&("auth".to_owned(), "users".to_owned())];
        let passage = Passage { table: &table, found, stage: String::new(), real: String::new() };
        assert_eq!(passage.emptied(), ["\"recovery_token\""]);
    }
}
