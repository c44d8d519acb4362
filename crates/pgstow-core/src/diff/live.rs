//! Reads a live database: everything in one snapshot, in a transaction that may only read.

use std::collections::BTreeMap;
use std::time::Duration;

use super::TableName;
use super::facts::{Facts, Rows, TableFacts};
use super::narrow::Narrowing;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::monitor::{Event, Monitor};
use crate::postgres::catalog::relations::{self, Relation, Sizes};
use crate::postgres::catalog::{hosting, inventory, sequences};
use crate::postgres::identifier::{display_name, quote_qualified};
use crate::postgres::session::{self, Purpose};
use crate::postgres::{Connection, ConnectionSettings, QueryError, pooler};

/// How long is waited for a lock that somebody else holds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);
/// Tables counted by one statement.
const BATCH: usize = 50;

/// The session with a live database.
pub(crate) struct Live {
    pub(crate) connection: Connection,
    relations: BTreeMap<TableName, Relation>,
}

/// Connects and reads everything but numbers of rows.
///
/// # Errors
/// The connection's and the server's; a transaction pooler is refused.
pub(super) fn read(
    settings: &ConnectionSettings,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<(Facts, Live)> {
    let mut connection = Connection::open(settings, interrupt)?;
    pooler::refuse_transaction_pooler(&mut connection, interrupt)?;
    let encoding = session::client_encoding(&connection);
    session::pin(&mut connection, Purpose::Read, encoding)?;
    let facts = facts(&mut connection, monitor).map_err(Error::from)?;
    let relations = relations::list(&mut connection, Sizes::Skip).map_err(Error::from)?;
    let mut facts = facts;
    let mut by_name = BTreeMap::new();
    for relation in relations {
        let name = (relation.schema.clone(), relation.name.clone());
        let counted = relation.extension.as_ref().is_none_or(|member| member.condition.is_some());
        if matches!(relation.kind, 'r' | 'p') && counted {
            let rows = if relation.kind == 'p' { Rows::None } else { Rows::NotCounted };
            let condition = relation.extension.as_ref().and_then(|member| member.condition.clone());
            let table = TableFacts { rows, condition: condition.unwrap_or_default() };
            facts.tables.insert(name.clone(), table);
            by_name.insert(name, relation);
        }
    }
    Ok((facts, Live { connection, relations: by_name }))
}

fn facts(connection: &mut Connection, monitor: &dyn Monitor) -> Result<Facts, QueryError> {
    // Rows read twice come in one order: nobody helps the session.
    connection.execute(&format!(
        "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; \
         SET LOCAL lock_timeout = {}; SET LOCAL max_parallel_workers_per_gather = 0",
        LOCK_TIMEOUT.as_millis()
    ))?;
    let rows = connection.query(
        "SELECT pg_catalog.current_database(), pg_catalog.current_setting('server_version'), \
         (EXTRACT(epoch FROM pg_catalog.now()) * 1000000)::pg_catalog.int8",
    )?;
    let row = rows.only()?;
    let name = format!("{}/{}", connection.endpoint(), row.get::<String>(0)?);
    let server_version: String = row.get(1)?;
    let taken_at = jiff::Timestamp::from_microsecond(row.get(2)?)
        .map_err(|error| QueryError::Shape(format!("the server's clock: {error}")))?;
    let server = format!("PostgreSQL {server_version}");
    monitor.event(Event::Connected { endpoint: &name, server: &server });
    let hosting = hosting::read(connection)?;
    let catalog = inventory::read_catalog(connection, &hosting)?;
    let positions = sequences::positions(connection)?;
    let sequences = positions
        .known
        .into_iter()
        .map(|position| ((position.schema, position.name), (position.last_value, position.is_called)));
    Ok(Facts {
        name,
        taken_at,
        server_version_num: connection.server_version_num(),
        server_version,
        catalog,
        tables: BTreeMap::new(),
        sequences: sequences.collect(),
        manifest: None,
    })
}

impl Live {
    /// The table, as the snapshot shows it.
    pub(super) fn relation(&self, name: &TableName) -> Option<&Relation> {
        self.relations.get(name)
    }

    /// Counts the rows of the tables that the other state has rows of.
    ///
    /// # Errors
    /// The loss of the session, interruption. A table that cannot be counted is noted.
    pub(super) fn count(
        &mut self,
        tables: &mut BTreeMap<TableName, TableFacts>,
        other: &BTreeMap<TableName, TableFacts>,
        narrowing: &Narrowing,
        interrupt: &Interrupt,
    ) -> Result<()> {
        let wanted: Vec<TableName> = tables
            .iter()
            .filter(|(name, table)| {
                let has_rows = |table: &TableFacts| table.rows != Rows::None;
                narrowing.takes(name) && has_rows(table) && other.get(*name).is_some_and(has_rows)
            })
            .map(|(name, _)| name.clone())
            .collect();
        for batch in wanted.chunks(BATCH) {
            interrupt.check()?;
            self.count_batch(batch, tables)?;
        }
        Ok(())
    }

    fn count_batch(
        &mut self,
        batch: &[TableName],
        tables: &mut BTreeMap<TableName, TableFacts>,
    ) -> Result<()> {
        let questions: Vec<String> = batch
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let condition = tables.get(name).map(|table| table.condition.as_str()).unwrap_or_default();
                let quoted = quote_qualified(&name.0, &name.1);
                format!("SELECT {index}, (SELECT pg_catalog.count(*) FROM ONLY {quoted} {condition})")
            })
            .collect();
        self.connection.execute("SAVEPOINT pgstow")?;
        match self.connection.query(&questions.join(" UNION ALL ")) {
            Ok(rows) => {
                self.connection.execute("RELEASE SAVEPOINT pgstow")?;
                for row in rows.iter() {
                    let index: u32 = row.get(0)?;
                    let name = usize::try_from(index).ok().and_then(|index| batch.get(index));
                    if let Some(table) = name.and_then(|name| tables.get_mut(name)) {
                        table.rows = Rows::Known(row.get(1)?);
                    }
                }
                Ok(())
            }
            Err(error) if error.is_lost() => Err(error.into()),
            Err(error) => {
                self.connection.execute("ROLLBACK TO SAVEPOINT pgstow; RELEASE SAVEPOINT pgstow")?;
                if let [only] = batch {
                    if let Some(table) = tables.get_mut(only) {
                        table.rows = Rows::Unknown(error.to_string());
                    }
                    return Ok(());
                }
                batch.iter().try_for_each(|name| self.count_batch(std::slice::from_ref(name), tables))
            }
        }
    }

    /// Whether the table's rows can be read in full.
    ///
    /// # Errors
    /// Refused: no right, or row-level security.
    pub(super) fn require_readable(&self, name: &TableName) -> Result<()> {
        let shown = display_name(&name.0, &name.1);
        match self.relations.get(name) {
            Some(relation) if !relation.selectable => {
                Err(Error::refused(format!("this role may not read table {shown}"))
                    .hint("compare as a role that may read all data"))
            }
            Some(relation) if relation.row_security_active => {
                Err(Error::refused(format!("row-level security hides rows of table {shown} from this role"))
                    .hint("compare as a role with BYPASSRLS, or as the table's owner"))
            }
            _ => Ok(()),
        }
    }
}
