//! The second reading of a file: every step carried out, in one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write as _};
use std::sync::Arc;
use std::time::Instant;

use super::roles::Settled;
use super::step::{Act, Destination, Rows, Statement, Step};
use super::{FileReport, PreparedFile, configuration, grants, verify};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::inventory::ObjectKind;
use crate::monitor::{Event, Monitor};
use crate::postgres::identifier::{display_name, quote_identifier, quote_qualified};
use crate::postgres::session::{Purpose, client_encoding, pin};
use crate::postgres::{Connection, QueryError};
use crate::repository::format::receipt::Line;
use crate::restore::commit::Uncommitted;
use crate::restore::entry::visible;
use crate::restore::journal::Journal;
use crate::restore::plan::kind_of;
use crate::restore::selection::TableName;
use crate::restore::session::{Session, describe, is_fatal};
use crate::restore::{clear, finish, postgrest, rows};

/// Statements sent in one message at most, and their bytes.
const BATCH_STATEMENTS: usize = 64;
const BATCH_BYTES: usize = 256 * 1024;
/// Bytes of a large object in one statement.
const PIECE_BYTES: usize = 256 * 1024;

/// # Errors
/// As [`PreparedFile::apply`].
pub(super) fn apply(
    mut prepared: PreparedFile,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<FileReport> {
    let begun = Instant::now();
    let journal = Journal::default();
    let tables = prepared.plan.load_tables;
    monitor.event(Event::Planned { tables, bytes: prepared.plan.load_bytes });
    let lines = match atomically(&mut prepared, &journal, monitor, interrupt) {
        Ok(lines) => lines,
        Err(failure) => {
            // A session that is lost has rolled back by itself.
            let _ = prepared.session.connection.execute("ROLLBACK");
            return Err(failure.told());
        }
    };
    // Committed by now: what goes wrong here costs speed only.
    if prepared.parts.definitions {
        postgrest::notify(&mut prepared.session, &journal);
    }
    if prepared.parts.rows {
        monitor.event(Event::Phase { name: "analyze" });
        let loaded: Vec<TableName> = prepared.survey.tables.keys().cloned().collect();
        if let Err(error) = finish::analyze(&mut prepared.session, &loaded, &journal) {
            journal.remark(format!("the planner's statistics were not collected ({error}): run ANALYZE"));
        }
    }
    let mut remarks = prepared.plan.remarks.clone();
    remarks.extend(journal.remarks());
    let mut notes = prepared.plan.notes.clone();
    notes.extend(journal.said());
    notes.push("contents could not be compared: a file has no hashes of its rows".to_owned());
    Ok(FileReport {
        facts: prepared.facts,
        target: prepared.target.target,
        lines,
        remarks,
        notes,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

fn atomically(
    prepared: &mut PreparedFile,
    journal: &Journal,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<Vec<Line>, Uncommitted> {
    let session = &mut prepared.session;
    session.begin(prepared.target.may_replicate)?;
    if let Some(cover) = &prepared.cover {
        monitor.event(Event::Phase { name: "clear" });
        clear::clear(session, cover, &prepared.plan.dropped, prepared.lock_timeout)?;
    }
    for statement in prepared.roles.creation() {
        session
            .unit(&statement)
            .map_err(|error| Error::failed("a role could not be created").why(describe(&error)))?;
    }
    let target = &prepared.target;
    let is_member = |name: &TableName| target.tables.get(name).is_some_and(|table| table.is_member);
    let own = prepared.survey.tables.keys().filter(|name| !is_member(name));
    empty(session, &prepared.plan.emptied, own)?;
    let mut loader = Loader {
        prepared,
        journal,
        monitor,
        interrupt,
        batch: Vec::new(),
        loaded: BTreeMap::new(),
        kept: BTreeMap::new(),
        closed: BTreeSet::new(),
        not_made: BTreeMap::new(),
    };
    loader.run()?;
    let Loader { loaded, kept, closed, not_made, .. } = loader;
    let encoding = client_encoding(&prepared.session.connection);
    // Whatever the file has set.
    prepared.session.unit("RESET SESSION AUTHORIZATION").map_err(Error::from)?;
    pin(&mut prepared.session.connection, Purpose::Restore, encoding).map_err(Error::from)?;
    if prepared.parts.definitions {
        grants::give(prepared, journal)?;
    }
    if !prepared.parts.definitions && prepared.target.may_replicate {
        // The target's foreign keys were silent.
        let tables: BTreeSet<TableName> = loaded.keys().cloned().collect();
        rows::check_keys(&mut prepared.session, &tables, journal)?;
    }
    monitor.event(Event::Phase { name: "compare" });
    let lines = verify::compare(prepared, &verify::Arrived { loaded, kept, closed, not_made })?;
    prepared.session.commit(monitor)?;
    Ok(lines)
}

fn empty<'t>(
    session: &mut Session,
    emptied: &[String],
    tables: impl Iterator<Item = &'t TableName>,
) -> Result<()> {
    let names: Vec<String> = tables.map(|(schema, name)| quote_qualified(schema, name)).collect();
    if emptied.is_empty() || names.is_empty() {
        return Ok(());
    }
    session.unit(&format!("TRUNCATE TABLE {}", names.join(", "))).map_err(|error| {
        Error::failed("the tables could not be emptied")
            .why(describe(&error))
            .hint("tables that refer to them must be part of the file, or hold no such foreign key")
    })
}

struct Loader<'a> {
    prepared: &'a mut PreparedFile,
    journal: &'a Journal,
    monitor: &'a dyn Monitor,
    interrupt: &'a Interrupt,
    /// Statements that wait to be sent together.
    batch: Vec<Statement>,
    /// Rows that went to each table.
    loaded: BTreeMap<TableName, u64>,
    /// Rows that tables of extensions keep besides those of the file.
    kept: BTreeMap<TableName, u64>,
    /// Tables of extensions that the login may not write to: their rows are left out.
    closed: BTreeSet<TableName>,
    /// Objects that are not made, since a role that they name is not there.
    not_made: BTreeMap<ObjectKind, usize>,
}

impl Loader<'_> {
    fn run(&mut self) -> Result<()> {
        self.monitor.event(Event::Phase { name: "definitions and rows" });
        let source = Arc::clone(&self.prepared.source);
        let target = self.prepared.target.clone();
        source.walk(&target, &mut |step| {
            self.interrupt.check()?;
            self.step(step)
        })?;
        self.flush()
    }

    fn step(&mut self, step: Step<'_>) -> Result<()> {
        match step {
            Step::LeftOut(_) | Step::Noted(_) => Ok(()),
            Step::Statement(statement) => self.statement(statement),
            Step::Rows { to, rows } if self.prepared.parts.rows => {
                self.flush()?;
                self.rows(to, rows)
            }
            Step::Rows { rows, .. } => rows.pass(&mut |_| Ok(self.interrupt.check()?)).map(drop),
            Step::LargeObject { oid, data } if self.prepared.parts.rows => {
                self.flush()?;
                self.large_object(oid, data)
            }
            Step::LargeObject { .. } => Ok(()),
        }
    }

    fn statement(&mut self, mut statement: Statement) -> Result<()> {
        let (of_definitions, of_rows) = statement.act.belongs();
        let parts = self.prepared.parts;
        let is_there = match &statement.act {
            Act::Create { kind, object } if kind == "SCHEMA" => {
                self.prepared.target.schemas.contains_key(&object.name)
            }
            _ => false,
        };
        if is_there || !(of_definitions && parts.definitions || of_rows && parts.rows) {
            return Ok(());
        }
        match self.prepared.roles.settle(std::mem::take(&mut statement.text), &statement.act) {
            Settled::LeftOut => {
                if let Act::Create { kind, .. } = &statement.act
                    && let Some(kind) = kind_of(kind)
                {
                    *self.not_made.entry(kind).or_default() += 1;
                }
                return Ok(());
            }
            Settled::Run(text) => statement.text = text,
        }
        if let Act::Session { setting, value } = &statement.act {
            self.flush()?;
            let replaced = self.substitute(setting, value);
            statement.text = replaced.unwrap_or(statement.text);
            return self.one(&statement);
        }
        if let Act::Insert { table, rows, .. } = &statement.act {
            self.begin_table(table)?;
            if self.closed.contains(table) {
                return Ok(());
            }
            *self.loaded.entry(table.clone()).or_default() += rows;
        }
        let bytes: usize = self.batch.iter().map(|waiting| waiting.text.len()).sum();
        if self.batch.len() >= BATCH_STATEMENTS || bytes + statement.text.len() > BATCH_BYTES {
            self.flush()?;
        }
        self.batch.push(statement);
        Ok(())
    }

    /// What takes the place of a setting that the target cannot have.
    fn substitute(&self, setting: &str, value: &str) -> Option<Vec<u8>> {
        let target = &self.prepared.target;
        match setting {
            "default_tablespace" if !value.is_empty() && !target.tablespaces.contains(value) => {
                self.journal.remark(format!(
                    "objects of tablespace {} go to the default one: the target has no such tablespace",
                    visible(value)
                ));
                Some(b"SET default_tablespace = ''".to_vec())
            }
            "default_table_access_method" if !target.access_methods.contains(value) => {
                self.journal.remark(format!(
                    "tables of access method {} become heap tables: the target has no such method",
                    visible(value)
                ));
                Some(format!("SET default_table_access_method = {}", quote_identifier("heap")).into_bytes())
            }
            _ => None,
        }
    }

    /// Sends what waits; where that fails, one by one, so that the failure names its statement.
    fn flush(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        if let [only] = batch.as_slice() {
            return self.one(only);
        }
        if batch.is_empty() {
            return Ok(());
        }
        let mut message = Vec::new();
        for statement in &batch {
            message.extend_from_slice(&statement.text);
            message.extend_from_slice(b";\n");
        }
        match self.unit(&message) {
            Ok(()) => Ok(()),
            Err(error) if is_fatal(&error) || matches!(error, QueryError::Interrupted) => Err(error.into()),
            Err(_) => batch.iter().try_for_each(|statement| self.one(statement)),
        }
    }

    fn unit(&mut self, message: &[u8]) -> Result<(), QueryError> {
        self.prepared.session.guarded(|connection| connection.execute_bytes(message).map(drop))
    }

    fn one(&mut self, statement: &Statement) -> Result<()> {
        match self.unit(&statement.text) {
            Ok(()) => Ok(()),
            Err(QueryError::Interrupted) => Err(Error::interrupted()),
            Err(error) if self.tolerates(statement, &error) => Ok(()),
            Err(error) => {
                let what = format!("{} could not be restored", statement.name);
                Err(Error::failed(what).why(describe(&error)))
            }
        }
    }

    /// Failures that a restore can live with, each told.
    fn tolerates(&self, statement: &Statement, error: &QueryError) -> bool {
        let starts = |word: &[u8]| statement.text.trim_ascii_start().starts_with(word);
        let gives_away = statement.text.windows(10).any(|window| window == b" OWNER TO ");
        match (error.code(), &statement.act) {
            (Some("42704"), Act::Session { setting, .. }) => {
                self.journal.note(format!("setting {} is unknown to the target", visible(setting)));
                true
            }
            // What it describes was not made either, and that is told.
            (Some("42704"), Act::Change) if starts(b"COMMENT") && !self.not_made.is_empty() => true,
            (Some("42501"), Act::Privilege | Act::Authorization) => {
                self.journal.remark(format!("{} not restored: {}", statement.name, describe(error)));
                true
            }
            (Some("42501"), Act::Change | Act::LargeObject(_)) if starts(b"COMMENT") || gives_away => {
                let login = &self.prepared.target.login;
                let what =
                    if gives_away { format!("belongs to {login}") } else { "has no comment".to_owned() };
                self.journal.remark(format!("{} {what}: {}", statement.name, describe(error)));
                true
            }
            _ => false,
        }
    }

    /// The extension's own rows of one of its tables stay, those that a dump holds are replaced.
    fn begin_table(&mut self, table: &TableName) -> Result<()> {
        if self.loaded.contains_key(table) || self.closed.contains(table) {
            return Ok(());
        }
        self.flush()?;
        match self.prepared.session.guarded(|connection| configuration::clear(connection, table)) {
            Ok(kept) => self.kept.extend(kept.map(|kept| (table.clone(), kept))),
            Err(error) if error.code() == Some("42501") => {
                let shown = display_name(&table.0, &table.1);
                self.journal.remark(format!("rows of {shown} are not restored: {}", describe(&error)));
                self.closed.insert(table.clone());
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn rows(&mut self, to: Destination, rows: &mut dyn Rows) -> Result<()> {
        self.begin_table(&to.table)?;
        if self.closed.contains(&to.table) {
            return rows.pass(&mut |_| Ok(self.interrupt.check()?)).map(drop);
        }
        let shown = display_name(&to.table.0, &to.table.1);
        let bytes = self.prepared.survey.tables.get(&to.table).map_or(0, |loaded| loaded.bytes);
        self.monitor.event(Event::TableStarted { table: &shown, bytes });
        let failed = |error: QueryError| rows_failed(&shown, &error);
        let (monitor, interrupt) = (self.monitor, self.interrupt);
        let mut copy = self.prepared.session.connection.copy_in_bytes(&to.statement).map_err(failed)?;
        let mut refused = false;
        let passed = rows.pass(&mut |piece| {
            interrupt.check()?;
            monitor.event(Event::TableProgress { table: &shown, bytes: piece.len() as u64 });
            copy.write_all(piece).inspect_err(|_| refused = true)
        });
        if refused {
            let error = copy.finish().err().map(failed);
            return Err(
                error.unwrap_or_else(|| Error::failed(format!("rows of table {shown} were not taken")))
            );
        }
        let copied = passed?;
        let count = copy.finish().map_err(failed)?;
        self.monitor.event(Event::TableFinished { table: &shown, rows: count, bytes: copied.bytes });
        *self.loaded.entry(to.table).or_default() += count;
        Ok(())
    }

    fn large_object(&mut self, oid: u32, data: &mut dyn Read) -> Result<()> {
        let (mut offset, mut piece) = (0_u64, Vec::with_capacity(PIECE_BYTES));
        loop {
            self.interrupt.check()?;
            piece.clear();
            let taken = (&mut *data).take(PIECE_BYTES as u64).read_to_end(&mut piece);
            taken.map_err(|error| Error::from_io(error, format!("large object {oid} cannot be read")))?;
            if piece.is_empty() {
                return Ok(());
            }
            let hex: String = piece.iter().map(|byte| format!("{byte:02x}")).collect();
            let statement =
                format!("SELECT pg_catalog.lo_put({oid}, {offset}, '\\x{hex}'::pg_catalog.bytea)");
            let put = |connection: &mut Connection| connection.execute(&statement).map(drop);
            put(&mut self.prepared.session.connection).map_err(|error| {
                Error::failed(format!("large object {oid} could not be loaded")).why(describe(&error))
            })?;
            offset += piece.len() as u64;
        }
    }
}

/// A failure of rows: the row's number is in the server's context, beside its values, which are not shown.
fn rows_failed(shown: &str, error: &QueryError) -> Error {
    if matches!(error, QueryError::Interrupted) {
        return Error::interrupted();
    }
    let context = match error {
        QueryError::Server(server) => server.context.as_deref().unwrap_or_default(),
        _ => "",
    };
    let after = |word: &str| context.split_once(word).map(|(_, rest)| rest);
    let row: Option<u64> = after(", line ").and_then(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    });
    let column = after(", column ").and_then(|rest| rest.split(':').next());
    let place = match (row, column) {
        (Some(row), Some(column)) => format!("row {row} of table {shown}, column {}", visible(column)),
        (Some(row), None) => format!("row {row} of table {shown}"),
        _ => format!("rows of table {shown}"),
    };
    Error::failed(format!("{place} could not be loaded")).why(describe(error))
}
