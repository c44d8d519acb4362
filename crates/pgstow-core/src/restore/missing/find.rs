//! Finds the rows that are gone and brings them to the server, into temporary tables.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::Arc;

use memchr::memchr;

use super::super::selection::TableName;
use super::super::session::{Session, describe};
use super::super::{guards, target};
use super::destination::{self, Destination, Key, Work};
use super::plan::{MissingPlan, MissingTable};
use super::{MissingOptions, PreparedMissing, foresee};
use crate::backup::unchanged::{self, Unchanged};
use crate::diff::rows::fields::Layout;
use crate::diff::rows::fill::{Reading, fill};
use crate::diff::rows::settle::{Difference, settle};
use crate::diff::rows::spool::{Of, Spool};
use crate::diff::rows::streams::{Stream, unreadable};
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::inventory::{parents, tops};
use crate::monitor::{Event, Monitor};
use crate::pattern::{Candidate, Choice};
use crate::platform::Keeper;
use crate::postgres::catalog::relations::{self, Relation, Sizes};
use crate::postgres::identifier::{display_name, quote_identifier};
use crate::postgres::{Connection, QueryError};
use crate::repository::Repository;
use crate::repository::format::header::Header;
use crate::repository::format::manifest::{Chunk, Manifest, Table, TableData};

/// Rows that a live table is prepared for at least.
const UNKNOWN_ROWS: u64 = 64_000_000;

/// # Errors
/// As [`super::prepare`].
pub(super) fn prepare<'r>(
    repository: &'r Repository,
    header: &Header,
    options: &MissingOptions,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<PreparedMissing<'r>> {
    interrupt.check()?;
    let manifest = Arc::new(repository.manifest(header)?);
    let catalog = repository.catalog(&manifest)?;
    let roots = tops(&parents(&catalog.inventory));
    let chosen = choose(&manifest, &roots, options)?;
    let mut session = Session::open(&options.connection, interrupt)?;
    let target = target::read(&mut session.connection).map_err(Error::from)?;
    session.login.clone_from(&target.login);
    guards::check_server(&manifest, &target)?;
    for (schema, name) in chosen.keys() {
        let hostings = [&catalog.hosting, &target.hosting];
        if hostings.iter().any(|hosting| hosting.keeper(schema) != Keeper::User) {
            return Err(Error::refused(format!(
                "table {} is the platform's: its rows are not put back one by one",
                display_name(schema, name)
            )));
        }
    }
    let names: Vec<TableName> = chosen.keys().cloned().collect();
    // A circle of keys has no order; the server checks each statement then.
    let order = guards::order_by_keys(&names, &target).unwrap_or(names);
    let timeout = format!("SET lock_timeout = {}", options.lock_timeout.as_millis());
    session.connection.execute(&timeout).map_err(Error::from)?;
    let bytes = chosen.values().flatten().map(|table| table.bytes).sum();
    monitor.event(Event::Planned { tables: chosen.len(), bytes });
    let mut work: Vec<Work> = Vec::new();
    let mut tables = Vec::new();
    for name in &order {
        let Some(parts) = chosen.get(name) else { continue };
        let finding = Finding { repository, manifest: &manifest, parts, options, monitor, interrupt };
        let (found, table) = finding.find(&mut session, name, work.len())?;
        work.push(found);
        tables.push(table);
    }
    let actions = foresee::actions(&work, options.fire_triggers, &target)?;
    foresee::references(&mut session, &work, &manifest, &target.target)?;
    foresee::conflicts(&mut session, &work)?;
    let plan = MissingPlan {
        backup: manifest.backup.to_string(),
        target: target.target.clone(),
        target_server: target.server(),
        tables,
        silenced: actions.silenced.clone(),
        fire: actions.fire,
    };
    Ok(PreparedMissing {
        repository,
        plan,
        work,
        session,
        lock_timeout: options.lock_timeout,
        fire_triggers: options.fire_triggers,
        silenced: !actions.silenced.is_empty(),
    })
}

/// Chosen tables of the backup by the table that gets their rows: themselves, or the top of their
/// partition tree.
fn choose<'m>(
    manifest: &'m Manifest,
    roots: &BTreeMap<TableName, TableName>,
    options: &MissingOptions,
) -> Result<BTreeMap<TableName, Vec<&'m Table>>> {
    let patterns = options.selection.patterns()?;
    let candidate = |table: &Table| {
        let name = (table.schema.clone(), table.name.clone());
        Candidate { root: roots.get(&name).cloned(), schema: name.0, name: name.1 }
    };
    patterns.require_matches(&manifest.tables.iter().map(candidate).collect::<Vec<_>>())?;
    let mut chosen: BTreeMap<TableName, Vec<&Table>> = BTreeMap::new();
    for table in &manifest.tables {
        let shown = table.display_name();
        if patterns.choose(&candidate(table)) == Choice::Leave {
            continue;
        }
        match &table.data {
            TableData::None => continue,
            TableData::Carried => {}
            TableData::Configuration { extension, .. } => {
                return Err(Error::refused(format!(
                    "table {shown} belongs to extension {extension}: its rows are not put back one by one"
                )));
            }
            TableData::Excluded | TableData::Unreadable => {
                return Err(Error::new(
                    ErrorKind::Usage,
                    format!("{} holds no rows of {shown}", manifest.backup),
                )
                .hint("choose a backup that holds them: pgstow show BACKUP lists the tables"));
            }
        }
        let name = (table.schema.clone(), table.name.clone());
        chosen.entry(roots.get(&name).cloned().unwrap_or(name)).or_default().push(table);
    }
    if chosen.is_empty() {
        return Err(Error::new(
            ErrorKind::Usage,
            format!("{} holds rows of none of these tables", manifest.backup),
        ));
    }
    Ok(chosen)
}

/// The search for one table's rows.
struct Finding<'f> {
    repository: &'f Repository,
    manifest: &'f Arc<Manifest>,
    /// The tables of the backup whose rows they are.
    parts: &'f [&'f Table],
    options: &'f MissingOptions,
    monitor: &'f dyn Monitor,
    interrupt: &'f Interrupt,
}

impl Finding<'_> {
    fn find(&self, session: &mut Session, name: &TableName, number: usize) -> Result<(Work, MissingTable)> {
        let shown = display_name(&name.0, &name.1);
        let destination = destination::read(&mut session.connection, name)?.ok_or_else(|| {
            Error::refused(format!("table {shown} does not exist there"))
                .hint(format!("without --only-missing the whole table comes back: --table {shown}"))
        })?;
        if destination.row_security {
            return Err(Error::refused(format!(
                "row-level security of table {shown} holds for role {}",
                session.login
            ))
            .why("rows that it hides would be taken for missing ones")
            .hint("restore as the table's owner, or as a role with BYPASSRLS"));
        }
        let key = destination::choose_key(&destination, &self.options.key)?;
        let staged = self.columns(&destination, &key)?;
        let bytes = self.parts.iter().map(|table| table.bytes).sum();
        self.monitor.event(Event::TableStarted { table: &shown, bytes });
        let gone = self.gone(session, &destination, &key)?;
        let backup_rows = self.parts.iter().map(|table| table.rows).sum();
        let stage = format!("pg_temp.pgstow_missing_{number}");
        let mut work = Work { destination, key, stage, staged, backup_rows, missing: 0 };
        work.missing = self.stage(session, &work, &gone)?;
        self.monitor.event(Event::TableFinished { table: &shown, rows: work.missing, bytes: 0 });
        let has = |column: &String| work.staged.contains(column);
        let own = &work.destination.columns;
        let table = MissingTable {
            table: shown,
            key: work.key.names(),
            backup_rows,
            live_rows: gone.live_rows,
            rows_not_read: gone.unread.rows(),
            missing: work.missing,
            columns_by_default: own
                .iter()
                .filter(|(name, column)| !column.generated && !has(name))
                .map(|(name, _)| name.clone())
                .collect(),
            computed_columns: own
                .iter()
                .filter(|(name, column)| column.generated && has(name))
                .map(|(name, _)| name.clone())
                .collect(),
        };
        Ok((work, table))
    }

    /// The columns that every part has, all of which the table must have.
    fn columns(&self, destination: &Destination, key: &Key) -> Result<Vec<String>> {
        let shown = destination.shown();
        let of = |table: &Table| table.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
        let columns = self.parts.first().map(|table| of(table)).unwrap_or_default();
        let all: BTreeSet<String> = self.parts.iter().flat_map(|table| of(table)).collect();
        let mut faults: Vec<String> = all
            .iter()
            .filter(|column| !destination.columns.contains_key(*column))
            .map(|column| format!("column {column}, which the backup has values for, does not exist"))
            .collect();
        faults.extend(
            destination
                .columns
                .iter()
                .filter(|(name, column)| column.required && !all.contains(*name))
                .map(|(name, _)| format!("column {name} needs a value, and the backup has none for it")),
        );
        faults.extend(
            key.names()
                .iter()
                .filter(|column| !all.contains(*column))
                .map(|column| format!("column {column} of its key is not in the backup")),
        );
        if faults.is_empty() && all.len() == columns.len() {
            return Ok(columns);
        }
        if faults.is_empty() {
            faults.push("the partitions of the backup have other columns than each other".to_owned());
        }
        Err(Error::refused(format!("table {shown} does not match the backup's rows"))
            .why(faults.join("; "))
            .hint(format!(
                "put the backup's table beside it, and take rows over with SQL: --table {shown} --rename {shown}=NAME"
            )))
    }

    /// Which rows of the backup have a key that the live table has not, as text. Looked for in one
    /// snapshot.
    fn gone(&self, session: &mut Session, destination: &Destination, key: &Key) -> Result<Gone> {
        session.connection.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")?;
        let gone = self.compare(&mut session.connection, destination, key);
        // A session that is lost has ended its transaction by itself, and the first error says so.
        let ended = session.connection.execute("ROLLBACK");
        let gone = gone?;
        ended?;
        Ok(gone)
    }

    fn compare(&self, connection: &mut Connection, destination: &Destination, key: &Key) -> Result<Gone> {
        let (names, shown) = (key.names(), destination.shown());
        let (live, unread) = self.live(connection, destination, &names)?;
        let streams = self.streams(&unread)?;
        let rows: u64 = streams.iter().map(Stream::rows).sum();
        let mut spool = Spool::new(&self.options.spool, rows.saturating_mul(2).max(UNKNOWN_ROWS))?;
        let places: Vec<usize> = (0..names.len()).collect();
        let layout = |columns: &[String]| Layout::new(columns, &names, &places);
        let told = |bytes| self.monitor.event(Event::TableProgress { table: &shown, bytes });
        let reading = Reading { layout: &layout, interrupt: self.interrupt, progress: &told };
        let backup_rows = fill(&mut spool, Of::Before, &streams, None, &reading)?;
        // Progress is that of the backup's bytes.
        let reading = Reading { progress: &|_| (), ..reading };
        let live_rows = fill(&mut spool, Of::After, &live, Some(connection), &reading)?;
        let mut marks = Marks::new(backup_rows)?;
        let mut repeated = 0_u64;
        settle(&spool, &mut |difference| {
            if let Difference::Removed(left) = difference {
                marks.set(left.ordinal);
                repeated += u64::from(left.times > 1);
            }
            Ok(())
        })
        .map_err(unreadable)?;
        if repeated > 0 {
            return Err(Error::refused(format!(
                "{repeated} keys ({}) stand more than once among the backup's missing rows",
                names.join(", ")
            ))
            .why("the table had no such key when the backup was made")
            .hint("--key names another one"));
        }
        Ok(Gone { marks, live_rows: live_rows.saturating_add(unread.rows()), unread })
    }

    /// The keys of the live table that have to be read, and the chunks of the backup that it is shown to
    /// have still.
    fn live(
        &self,
        connection: &mut Connection,
        destination: &Destination,
        key: &[String],
    ) -> Result<(Vec<Stream<'static>>, Unread)> {
        let proof =
            unchanged::Comparison::new(connection, Arc::clone(self.manifest), self.options.trusted_for)?;
        let is_part = |relation: &Relation| {
            let name = (relation.schema.clone(), relation.name.clone());
            relation.kind != 'p'
                && (name == destination.name || relation.parent_root.as_ref() == Some(&destination.name))
        };
        let mut relations = relations::list(connection, Sizes::Skip)?;
        relations.retain(is_part);
        let (mut streams, mut unread) = (Vec::new(), Unread::default());
        for relation in &relations {
            let unchanged = proof.look(connection, relation, self.interrupt)?;
            let name = (relation.schema.clone(), relation.name.clone());
            streams.extend(unchanged.rest.iter().map(|rest| Stream::of_live(key, &name, rest)));
            unread.0.insert(name, unchanged);
        }
        Ok((streams, unread))
    }

    /// The chunks of the backup that have to be read.
    fn streams(&self, unread: &Unread) -> Result<Vec<Stream<'_>>> {
        let mut streams = Vec::new();
        for table in self.parts {
            let held = unread.0.get(&(table.schema.clone(), table.name.clone()));
            let is_held = |chunk: &Chunk| held.is_some_and(|unchanged| unchanged.holds(chunk));
            let chunks = table.chunks.iter().filter(|chunk| !is_held(chunk)).collect();
            streams.push(Stream::of_table(self.repository, self.manifest, table, chunks)?);
        }
        Ok(streams)
    }

    /// Brings the marked rows to the server, and lets it decide which of them it has; how many are gone.
    fn stage(&self, session: &mut Session, work: &Work, gone: &Gone) -> Result<u64> {
        let marks = &gone.marks;
        let quoted = |columns: &[String]| {
            columns.iter().map(|column| quote_identifier(column)).collect::<Vec<_>>().join(", ")
        };
        let (stage, shown) = (&work.stage, work.destination.shown());
        session
            .connection
            .execute(&format!(
                "CREATE TEMPORARY TABLE {} AS SELECT {} FROM {} WITH NO DATA",
                stage.trim_start_matches("pg_temp."),
                quoted(&work.staged),
                work.destination.from()
            ))
            .map_err(Error::from)?;
        let mut ordinal = 0;
        for stream in self.streams(&gone.unread)? {
            let last = ordinal + stream.rows();
            if !marks.any(ordinal, last) {
                ordinal = last;
                continue;
            }
            let statement = format!("COPY {stage} ({}) FROM STDIN", quoted(&stream.columns));
            let refused = |error: QueryError| match error {
                QueryError::Interrupted => Error::interrupted(),
                error => Error::failed(format!("rows of the backup do not fit table {shown}"))
                    .why(describe(&error))
                    .hint("a column's type there may differ: pgstow diff BACKUP live:ENV --table … shows it"),
            };
            let mut copy = session.connection.copy_in(&statement).map_err(refused)?;
            let mut sieve = Sieve { marks, ordinal };
            let mut broken = false;
            let read = stream.read(None, self.interrupt, &mut |piece| {
                sieve.pass(piece, &mut |row| copy.write_all(row)).inspect_err(|_| broken = true)
            });
            match read {
                Ok(()) => drop(copy.finish().map_err(refused)?),
                Err(_) if broken => return Err(copy.finish().err().map_or_else(Error::interrupted, refused)),
                Err(error) => return Err(error),
            }
            ordinal = last;
        }
        session.connection.execute(&format!("ANALYZE {stage}")).map_err(Error::from)?;
        let delete = format!("DELETE FROM {stage} s WHERE {}", work.is_there());
        session.connection.execute(&delete).map_err(Error::from)?;
        let rows = session
            .connection
            .query(&format!("SELECT pg_catalog.count(*) FROM {stage}"))
            .map_err(Error::from)?;
        Ok(rows.only()?.get(0)?)
    }
}

/// The rows that are gone, as far as text tells.
struct Gone {
    /// Those of the backup's rows that were read.
    marks: Marks,
    /// Rows of the live table.
    live_rows: u64,
    unread: Unread,
}

/// What the live tables still have of the backup.
#[derive(Default)]
struct Unread(BTreeMap<TableName, Unchanged>);

impl Unread {
    fn rows(&self) -> u64 {
        self.0.values().map(|unchanged| unchanged.rows).sum()
    }
}

/// A mark for each row that has one.
struct Marks(Vec<u64>);

impl Marks {
    fn new(rows: u64) -> Result<Self> {
        let words = usize::try_from(rows / 64 + 1)
            .map_err(|_| Error::failed("the table has more rows than this machine can count"))?;
        Ok(Self(vec![0; words]))
    }

    fn set(&mut self, row: u64) {
        let word = usize::try_from(row / 64).ok().and_then(|index| self.0.get_mut(index));
        if let Some(word) = word {
            *word |= 1 << (row % 64);
        }
    }

    fn has(&self, row: u64) -> bool {
        let word = usize::try_from(row / 64).ok().and_then(|index| self.0.get(index));
        word.is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Whether any row of `from..to` has one.
    fn any(&self, from: u64, to: u64) -> bool {
        let mut row = from;
        while row < to {
            let word =
                usize::try_from(row / 64).ok().and_then(|index| self.0.get(index)).copied().unwrap_or(0);
            if word == 0 {
                row = (row / 64 + 1) * 64;
            } else if self.has(row) {
                return true;
            } else {
                row += 1;
            }
        }
        false
    }
}

/// Lets the marked rows of COPY data pass.
struct Sieve<'m> {
    marks: &'m Marks,
    /// The row at hand.
    ordinal: u64,
}

impl Sieve<'_> {
    fn pass(&mut self, mut piece: &[u8], sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        while !piece.is_empty() {
            let end = memchr(b'\n', piece).map(|end| end + 1);
            let (row, rest) = piece.split_at(end.unwrap_or(piece.len()));
            if self.marks.has(self.ordinal) {
                sink(row)?;
            }
            self.ordinal += u64::from(end.is_some());
            piece = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn exactly_the_marked_rows_pass(marked in prop::collection::btree_set(0_u64..300, 0..40), cut in 1_usize..17) {
            let mut marks = Marks::new(300).unwrap();
            marked.iter().for_each(|row| marks.set(*row));
            let data: String = (0..300).map(|row| format!("{row}\tx\n")).collect();
            let mut sieve = Sieve { marks: &marks, ordinal: 0 };
            let mut passed = Vec::new();
            for piece in data.as_bytes().chunks(cut) {
                sieve.pass(piece, &mut |row| { passed.extend_from_slice(row); Ok(()) }).unwrap();
            }
            let expected: String = marked.iter().map(|row| format!("{row}\tx\n")).collect();
            prop_assert_eq!(String::from_utf8(passed).unwrap(), expected);
            for (from, to) in [(0, 300), (10, 70), (64, 128), (299, 300)] {
                prop_assert_eq!(marks.any(from, to), marked.range(from..to).next().is_some());
            }
        }
    }
}
