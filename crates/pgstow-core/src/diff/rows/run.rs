//! Compares the rows of chosen tables: plans what is read, reads it, and reads again what is shown.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::fields::{Layout, Row, RowReader, Secret, shown};
use super::fill::{Reading, fill};
use super::settle::{Difference, Identity, Left, settle};
use super::spool::{Of, Spool};
use super::streams::{Stream, unreadable};
use super::unread::Unread;
use crate::backup::unchanged;
use crate::diff::contents::shared;
use crate::diff::facts::Facts;
use crate::diff::inventory::keys;
use crate::diff::live::Live;
use crate::diff::narrow::Narrowing;
use crate::diff::report::{Cell, ChangedRow, KeyKind, RowReport, ShownRow};
use crate::diff::{RowOptions, Side, TableName};
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::monitor::{Event, Monitor};
use crate::postgres::Connection;
use crate::postgres::catalog::relations::{Column, columns};
use crate::postgres::identifier::{display_name, quote_literal, quote_qualified};
use crate::repository::Repository;
use crate::repository::format::manifest::{Table, TableData};

/// Characters of a value that are shown.
const SHOWN_CHARACTERS: usize = 200;
/// Rows that a live table is prepared for at least.
const UNKNOWN_ROWS: u64 = 64_000_000;

/// Compares each chosen table, or partition tree as one.
///
/// # Errors
/// Usage: no table chosen, or one that only one state has; refused: rows that this role cannot read.
pub(in crate::diff) fn compare(
    repository: &Repository,
    [before, after]: [&mut Side; 2],
    asked: &RowOptions,
    narrowing: &Narrowing,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<Vec<RowReport>> {
    let mut names: BTreeSet<&TableName> = BTreeSet::new();
    let (old, new) = (before.facts.tables.clone(), after.facts.tables.clone());
    for name in old.keys().chain(new.keys()).filter(|name| narrowing.takes(name)) {
        names.insert(narrowing.root(name));
    }
    monitor.event(Event::Planned { tables: names.len(), bytes: 0 });
    let proof = proof([before, after], asked)?;
    let mut reports = Vec::new();
    for name in names {
        let table = display_name(&name.0, &name.1);
        monitor.event(Event::TableStarted { table: &table, bytes: 0 });
        let shape = Shape::new(name, narrowing, [before, after], asked)?;
        let report =
            Comparison { repository, shape: &shape, asked, proof: proof.as_ref(), monitor, interrupt }
                .run([before, after])
                .map_err(
                    |error| if error.kind() == ErrorKind::Failed { error.context(&table) } else { error },
                )?;
        monitor.event(Event::TableFinished {
            table: &table,
            rows: report.rows_before.max(report.rows_after),
            bytes: 0,
        });
        reports.push(report);
    }
    Ok(reports)
}

/// What shows that a live database still has what the backup has; `None` where two backups or two
/// databases are compared, or where all is to be read.
fn proof(sides: [&mut Side; 2], asked: &RowOptions) -> Result<Option<unchanged::Comparison>> {
    let [before, after] = sides;
    let (live, manifest) = match (&before.facts.manifest, &after.facts.manifest) {
        (Some(manifest), None) => (after.live.as_mut(), manifest),
        (None, Some(manifest)) => (before.live.as_mut(), manifest),
        _ => return Ok(None),
    };
    let (Some(live), Some(trusted)) = (live, asked.trusted_for) else { return Ok(None) };
    unchanged::Comparison::new(&mut live.connection, Arc::clone(manifest), trusted).map(Some)
}

/// What of a table is compared, and by what.
struct Shape {
    name: TableName,
    /// The table, or the partitions that are meant.
    parts: BTreeSet<TableName>,
    /// Columns that both states have.
    columns: Vec<String>,
    key_kind: KeyKind,
    /// Places of the key's columns among them; empty for whole rows.
    key: Vec<usize>,
    remarks: Vec<String>,
}

impl Shape {
    fn new(
        name: &TableName,
        narrowing: &Narrowing,
        sides: [&mut Side; 2],
        asked: &RowOptions,
    ) -> Result<Self> {
        let shown = display_name(&name.0, &name.1);
        let [before, after] = sides;
        let mut parts = BTreeSet::new();
        for facts in [&before.facts, &after.facts] {
            let own =
                facts.tables.keys().filter(|part| narrowing.takes(part) && narrowing.root(part) == name);
            let own: Vec<&TableName> = own.collect();
            if own.is_empty() {
                return Err(Error::new(ErrorKind::Usage, format!("table {shown} is not in {}", facts.name))
                    .hint("without --rows, its definition is listed as added or removed"));
            }
            parts.extend(own.into_iter().cloned());
        }
        let (old, new) = (own_columns(before, &parts)?, own_columns(after, &parts)?);
        let types: BTreeMap<&String, &String> =
            new.iter().map(|column| (&column.name, &column.type_name)).collect();
        let common: Vec<String> = old
            .iter()
            .filter(|column| types.contains_key(&column.name))
            .map(|column| column.name.clone())
            .collect();
        let mut remarks = Vec::new();
        for column in &old {
            match types.get(&column.name) {
                None => remarks
                    .push(format!("column {} is only in {}: not compared", column.name, before.facts.name)),
                Some(other) if **other != column.type_name => remarks.push(format!(
                    "column {} is {} in {} and {other} in {}: compared as text",
                    column.name, column.type_name, before.facts.name, after.facts.name
                )),
                Some(_) => {}
            }
        }
        let only_new = new.iter().filter(|column| !common.contains(&column.name));
        remarks.extend(
            only_new.map(|column| {
                format!("column {} is only in {}: not compared", column.name, after.facts.name)
            }),
        );
        let (key_kind, key) = choose_key(name, &parts, &common, [&before.facts, &after.facts], asked)
            .map_err(|error| error.context(&shown))?;
        Ok(Self { name: name.clone(), parts, columns: common, key_kind, key, remarks })
    }

    /// Names of the key's columns; of a whole row, all.
    fn key_columns(&self) -> Vec<String> {
        if self.key.is_empty() {
            return self.columns.clone();
        }
        self.key.iter().filter_map(|place| self.columns.get(*place)).cloned().collect()
    }

    fn layout(&self, fields: &[String]) -> Layout {
        Layout::new(fields, &self.columns, &self.key)
    }
}

/// The columns that COPY moves, of the first part that has any.
fn own_columns(side: &mut Side, parts: &BTreeSet<TableName>) -> Result<Vec<Column>> {
    if let Some(manifest) = &side.facts.manifest {
        let tables = manifest.tables.iter();
        let mut own = tables.filter(|table| parts.contains(&(table.schema.clone(), table.name.clone())));
        let columns = own.next().map(|table| &table.columns);
        let as_read = |column: &crate::repository::format::manifest::Column| Column {
            name: column.name.clone(),
            type_name: column.type_name.clone(),
        };
        return Ok(columns.into_iter().flatten().map(as_read).collect());
    }
    for part in parts.iter().filter(|part| side.facts.tables.contains_key(*part)) {
        if let Some(live) = &mut side.live {
            live.require_readable(part)?;
            if let Some(found) = columns_of(&mut live.connection, part)? {
                return Ok(found);
            }
        }
    }
    Ok(Vec::new())
}

/// The columns that COPY moves of a live table, in their order.
fn columns_of(connection: &mut Connection, (schema, name): &TableName) -> Result<Option<Vec<Column>>> {
    let class = quote_literal(&quote_qualified(schema, name));
    let rows = connection.query(&format!("SELECT pg_catalog.to_regclass({class})::pg_catalog.oid"))?;
    let oid: Option<u32> = rows.only()?.get(0)?;
    let Some(oid) = oid else { return Ok(None) };
    Ok(columns(connection, &[oid])?.remove(&oid))
}

fn choose_key(
    name: &TableName,
    parts: &BTreeSet<TableName>,
    common: &[String],
    facts: [&Facts; 2],
    asked: &RowOptions,
) -> Result<(KeyKind, Vec<usize>)> {
    let places = |columns: &[String]| -> Option<Vec<usize>> {
        columns.iter().map(|column| common.iter().position(|own| own == column)).collect()
    };
    if !asked.key.is_empty() {
        let known = places(&asked.key).ok_or_else(|| {
            Error::new(
                ErrorKind::Usage,
                format!("the key {} has a column that not both states have", asked.key.join(", ")),
            )
            .hint(format!("columns of both: {}", common.join(", ")))
        })?;
        return Ok((KeyKind::Asked, known));
    }
    let single = if parts.len() == 1 { parts.iter().next() } else { None };
    let candidates = facts.iter().flat_map(|facts| {
        let mut own = keys(&facts.catalog.inventory, name);
        own.extend(
            single
                .filter(|part| *part != name)
                .map(|part| keys(&facts.catalog.inventory, part))
                .unwrap_or_default(),
        );
        own
    });
    let mut usable: Vec<(KeyKind, Vec<usize>)> =
        candidates.filter_map(|(kind, columns)| Some((kind, places(&columns)?))).collect();
    usable.sort_by_key(|(kind, _)| *kind != KeyKind::PrimaryKey);
    Ok(usable.into_iter().next().unwrap_or((KeyKind::WholeRow, Vec::new())))
}

struct Comparison<'c> {
    repository: &'c Repository,
    shape: &'c Shape,
    asked: &'c RowOptions,
    proof: Option<&'c unchanged::Comparison>,
    monitor: &'c dyn Monitor,
    interrupt: &'c Interrupt,
}

/// The differences that will be shown, the first of each kind.
#[derive(Default)]
struct Chosen {
    removed: Vec<Left>,
    added: Vec<Left>,
    changed: Vec<(Left, Left)>,
}

/// Column texts and hashes of a row that is shown.
struct Kept {
    texts: Vec<Vec<u8>>,
    fields: Vec<[u8; 16]>,
}

impl Comparison<'_> {
    fn run(&self, sides: [&mut Side; 2]) -> Result<RowReport> {
        let [before, after] = sides;
        let (mut live_before, mut live_after) = (before.live.as_mut(), after.live.as_mut());
        let (old, new) = (&before.facts, &after.facts);
        let unread = match live_before.as_deref_mut().or(live_after.as_deref_mut()) {
            Some(live) => self.proven(live)?,
            None => self.shared(old, new),
        };
        let streams = [self.streams(old, &unread)?, self.streams(new, &unread)?];
        let [old_streams, new_streams] = &streams;
        let expected: u64 = streams.iter().flatten().map(Stream::rows).sum();
        // How many rows a live table has is not known before it is read.
        let is_live = live_before.is_some() || live_after.is_some();
        let expected = if is_live { expected.saturating_mul(2).max(UNKNOWN_ROWS) } else { expected };
        let mut spool = Spool::new(&self.asked.spool, expected)?;
        let table = display_name(&self.shape.name.0, &self.shape.name.1);
        let reading = Reading {
            layout: &|fields| self.shape.layout(fields),
            interrupt: self.interrupt,
            progress: &|bytes| self.monitor.event(Event::TableProgress { table: &table, bytes }),
        };
        let connection = live_before.as_mut().map(|live| &mut live.connection);
        let read_before = fill(&mut spool, Of::Before, old_streams, connection, &reading)?;
        let connection = live_after.as_mut().map(|live| &mut live.connection);
        let read_after = fill(&mut spool, Of::After, new_streams, connection, &reading)?;
        let not_read: u64 = unread.values().map(Unread::rows).sum();
        let mut report = RowReport {
            table: table.clone(),
            key_kind: self.shape.key_kind,
            key: self.shape.key_columns(),
            rows_before: read_before + not_read,
            rows_after: read_after + not_read,
            rows_not_read: not_read,
            read_in_full: (not_read == 0)
                .then(|| unread.values().find_map(Unread::doubt).map(str::to_owned))
                .flatten(),
            removed: 0,
            added: 0,
            changed: 0,
            removed_rows: Vec::new(),
            added_rows: Vec::new(),
            changed_rows: Vec::new(),
            column_remarks: self.shape.remarks.clone(),
        };
        let chosen = self.settle(&spool, &mut report)?;
        let secret = spool.secret();
        let gone = chosen.removed.iter().chain(chosen.changed.iter().map(|(old, _)| old));
        let connection = live_before.map(|live| &mut live.connection);
        let old_rows = self.keep(old_streams, connection, &secret, gone)?;
        let come = chosen.added.iter().chain(chosen.changed.iter().map(|(_, new)| new));
        let connection = live_after.map(|live| &mut live.connection);
        let new_rows = self.keep(new_streams, connection, &secret, come)?;
        let find =
            |rows: &HashMap<Identity, Kept>, left: &Left| rows.get(&left.identity).map(|kept| self.row(kept));
        report.removed_rows = chosen.removed.iter().filter_map(|left| find(&old_rows, left)).collect();
        report.added_rows = chosen.added.iter().filter_map(|left| find(&new_rows, left)).collect();
        report.changed_rows = chosen
            .changed
            .iter()
            .filter_map(|(old, new)| {
                Some(self.changed(old_rows.get(&old.identity)?, new_rows.get(&new.identity)?))
            })
            .collect();
        Ok(report)
    }

    /// Chunks that both backups have, with the same columns: their rows are equal.
    fn shared(&self, before: &Facts, after: &Facts) -> BTreeMap<TableName, Unread> {
        let (Some(old), Some(new)) = (&before.manifest, &after.manifest) else { return BTreeMap::new() };
        let of = |tables: &[Table], name: &TableName| {
            tables.iter().find(|table| table.schema == name.0 && table.name == name.1).cloned()
        };
        let pairs = self.shape.parts.iter().filter_map(|name| {
            let (table, other) = (of(&old.tables, name)?, of(&new.tables, name)?);
            (table.columns == other.columns)
                .then(|| (name.clone(), Unread::Shared(shared((old, &table.chunks), (new, &other.chunks)))))
        });
        pairs.collect()
    }

    /// Chunks of the backup that the live database still has.
    fn proven(&self, live: &mut Live) -> Result<BTreeMap<TableName, Unread>> {
        let mut proven = BTreeMap::new();
        let Some(proof) = self.proof else { return Ok(proven) };
        for name in &self.shape.parts {
            let Some(relation) = live.relation(name).filter(|relation| relation.kind == 'r').cloned() else {
                continue;
            };
            let unchanged = proof.look(&mut live.connection, &relation, self.interrupt)?;
            proven.insert(name.clone(), Unread::Proven(unchanged));
        }
        Ok(proven)
    }

    fn streams<'f>(
        &'f self,
        facts: &'f Facts,
        unread: &BTreeMap<TableName, Unread>,
    ) -> Result<Vec<Stream<'f>>> {
        let mut streams = Vec::new();
        for name in &self.shape.parts {
            let Some(table) = facts.tables.get(name) else { continue };
            let Some(manifest) = &facts.manifest else {
                if table.rows == crate::diff::facts::Rows::None {
                    continue;
                }
                let own = [table.condition.clone()];
                let conditions = unread.get(name).and_then(Unread::conditions).unwrap_or(&own);
                let live = |condition: &String| Stream::of_live(&self.shape.columns, name, condition);
                streams.extend(conditions.iter().map(live));
                continue;
            };
            let stored = manifest.tables.iter().find(|table| table.schema == name.0 && table.name == name.1);
            let Some(stored) = stored else { continue };
            match stored.data {
                TableData::Carried | TableData::Configuration { .. } => {}
                TableData::None => continue,
                TableData::Excluded | TableData::Unreadable => {
                    return Err(Error::new(
                        ErrorKind::Usage,
                        format!("{} holds no rows of it", manifest.backup),
                    )
                    .hint("choose a backup that holds them: pgstow show BACKUP lists the tables"));
                }
            }
            let chunks = match unread.get(name) {
                Some(unread) => unread.others(manifest, &stored.chunks),
                None => stored.chunks.iter().collect(),
            };
            streams.push(Stream::of_table(self.repository, manifest, stored, chunks)?);
        }
        Ok(streams)
    }

    /// Counts all differences and chooses those to be shown.
    fn settle(&self, spool: &Spool, report: &mut RowReport) -> Result<Chosen> {
        let limit = self.asked.limit;
        let mut chosen = Chosen::default();
        settle(spool, &mut |difference| {
            if self.interrupt.is_triggered() {
                return Err(Error::interrupted().into());
            }
            match difference {
                Difference::Removed(left) => {
                    report.removed += left.times;
                    chosen.removed.push(left);
                    first(&mut chosen.removed, limit, false, |left| left.ordinal);
                }
                Difference::Added(left) => {
                    report.added += left.times;
                    chosen.added.push(left);
                    first(&mut chosen.added, limit, false, |left| left.ordinal);
                }
                Difference::Changed(old, new) => {
                    report.changed += old.times;
                    chosen.changed.push((old, new));
                    first(&mut chosen.changed, limit, false, |(old, _)| old.ordinal);
                }
            }
            Ok(())
        })
        .map_err(unreadable)?;
        first(&mut chosen.removed, limit, true, |left| left.ordinal);
        first(&mut chosen.added, limit, true, |left| left.ordinal);
        first(&mut chosen.changed, limit, true, |(old, _)| old.ordinal);
        Ok(chosen)
    }

    /// Reads one side again for the rows that are shown.
    fn keep<'l>(
        &self,
        streams: &[Stream<'_>],
        mut connection: Option<&mut Connection>,
        secret: &Secret,
        wanted: impl Iterator<Item = &'l Left>,
    ) -> Result<HashMap<Identity, Kept>> {
        let wanted: BTreeSet<Identity> = wanted.map(|left| left.identity).collect();
        let mut kept: HashMap<Identity, Kept> = HashMap::new();
        if wanted.is_empty() {
            return Ok(kept);
        }
        for stream in streams {
            let mut reader = RowReader::new(secret, self.shape.layout(&stream.columns), true);
            let mut take = |row: &Row<'_>| {
                let identity = (row.key, row.values);
                if wanted.contains(&identity) {
                    let texts = || Kept { texts: row.texts.to_vec(), fields: row.fields.to_vec() };
                    kept.entry(identity).or_insert_with(texts);
                }
                Ok(())
            };
            stream.read(connection.as_deref_mut(), self.interrupt, &mut |piece| {
                reader.push(piece, &mut take)
            })?;
        }
        Ok(kept)
    }

    fn cell(&self, kept: &Kept, place: usize) -> Option<Cell> {
        let column = self.shape.columns.get(place)?.clone();
        Some(Cell { column, value: shown(kept.texts.get(place)?, SHOWN_CHARACTERS) })
    }

    fn cells(&self, kept: &Kept, takes: impl Fn(usize) -> bool) -> Vec<Cell> {
        (0..self.shape.columns.len())
            .filter(|place| takes(*place))
            .filter_map(|place| self.cell(kept, place))
            .collect()
    }

    fn key(&self, kept: &Kept) -> Vec<Cell> {
        self.shape.key.iter().filter_map(|place| self.cell(kept, *place)).collect()
    }

    fn row(&self, kept: &Kept) -> ShownRow {
        ShownRow { key: self.key(kept), values: self.cells(kept, |place| !self.shape.key.contains(&place)) }
    }

    fn changed(&self, old: &Kept, new: &Kept) -> ChangedRow {
        let differs = |place: usize| old.fields.get(place) != new.fields.get(place);
        ChangedRow { key: self.key(old), before: self.cells(old, differs), after: self.cells(new, differs) }
    }
}

/// Keeps the first `limit` of a list, by their ordinals; in between a list may be twice as long.
fn first<T>(list: &mut Vec<T>, limit: usize, at_last: bool, ordinal: impl Fn(&T) -> u64) {
    if at_last || list.len() >= limit.saturating_mul(2).saturating_add(64) {
        list.sort_by_key(ordinal);
        list.truncate(limit);
    }
}
