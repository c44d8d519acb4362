//! "Same rendering": all that turns a row into bytes is what it was.
//!
//! A row that has not changed gives the same COPY data again only if the server still writes it the
//! same way. For each column a fingerprint is taken of everything that decides this: the server and
//! the pinned settings, the column, and the types that can be reached from its own. Equal fingerprints
//! prove equal rendering, provided every one of these types writes its values by nothing else. Where
//! one might not, there is no fingerprint but the reason ([`Unprovable`]).
//!
//! The catalog rows of types are part of it with their `xmin`: see
//! [`crate::postgres::catalog::rendering`]. The rows of the table's own columns are not: they are
//! protected by the lock on the table, and `SET STATISTICS` or `SET NOT NULL` would cause needless
//! reading. Some changes that alter no byte alter a fingerprint all the same, such as a longer
//! `varchar` or a label added to an enum. They are rare, and they cost one reading of the table.

mod allowed;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::postgres::catalog::rendering::{self, Column, Facts, Function, Type, Types};
use crate::postgres::connection::Connection;
use crate::postgres::identifier::{display_name, display_part};
use crate::postgres::session;
use crate::repository::format::manifest::Source;
use crate::repository::format::proof::Fingerprint;

/// Raised when this program asks the server for rows in another way. What else a fingerprint covers
/// raises itself.
const VERSION: u32 = 1;

/// What all values of a backup are written under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Context {
    /// Version text of the server.
    pub(super) server_version: String,
    /// Encoding of the database.
    pub(super) server_encoding: String,
    /// Encoding of the session.
    pub(super) client_encoding: String,
    /// The settings that are pinned.
    pub(super) settings: String,
}

/// Why it cannot be proven that a table's rows are written as they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backup) struct Unprovable {
    /// The first such column, unquoted.
    pub(in crate::backup) column: String,
    /// The type whose values may depend on more than themselves, as a message shows it.
    pub(in crate::backup) type_name: String,
    /// The column's own type holds values of that type.
    pub(in crate::backup) inside: bool,
}

/// As the end of a sentence: `public.orders has … a regclass column (kind)`.
impl fmt::Display for Unprovable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { column, type_name, inside } = self;
        let article = if type_name.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
        match inside {
            false => write!(formatter, "{article} {type_name} column ({})", display_part(column)),
            true => write!(formatter, "a column with {type_name} inside ({})", display_part(column)),
        }
    }
}

/// How the rows of tables are turned into bytes.
#[derive(Debug)]
pub(in crate::backup) struct Renderings {
    tables: BTreeMap<u32, Result<Vec<Fingerprint>, Unprovable>>,
    roots: Vec<u32>,
    /// OIDs of the labels of all enums.
    labels: BTreeSet<u32>,
    versions: Fingerprint,
}

impl Renderings {
    /// Judges the facts.
    ///
    /// # Errors
    /// None but a failure to write JSON.
    pub(super) fn of(facts: &Facts, context: &Context) -> Result<Self> {
        let circumstances = fingerprint(&(VERSION, context))?;
        let mut described = Described::new(&facts.types)?;
        let mut tables = BTreeMap::new();
        for (oid, columns) in &facts.tables {
            let rendering = columns.iter().map(|column| described.column(column, &circumstances));
            tables.insert(*oid, rendering.collect::<Result<Result<_, _>>>()?);
        }
        let roots: BTreeSet<u32> = facts.tables.values().flatten().map(|column| column.type_oid).collect();
        let labels = facts.types.types.values().flat_map(|found| &found.labels).map(|label| label.oid);
        Ok(Self {
            tables,
            roots: roots.into_iter().collect(),
            labels: labels.collect(),
            versions: versions(&facts.types)?,
        })
    }

    /// For each column of the table that COPY moves, in their order, all that turns its values into
    /// bytes; or why that is not known. `None` for a table that was not asked for.
    pub(in crate::backup) fn table(&self, oid: u32) -> Option<Result<&[Fingerprint], &Unprovable>> {
        self.tables.get(&oid).map(|rendering| rendering.as_deref())
    }

    /// Of the types that can be reached from the tables, down to the versions of the catalog's rows.
    /// Equal to [`type_versions`] as long as nobody has touched any of them.
    pub(in crate::backup) fn versions(&self) -> Fingerprint {
        self.versions
    }
}

/// Reads how the rows of the given tables are turned into bytes, in the session's snapshot. The
/// session is pinned for reading.
///
/// # Errors
/// The server's.
pub(in crate::backup) fn read(
    connection: &mut Connection,
    tables: &[u32],
    source: &Source,
) -> Result<Renderings> {
    let facts = rendering::facts(connection, tables)?;
    let client_encoding = session::client_encoding(connection);
    let context = Context {
        server_version: source.server_version.clone(),
        server_encoding: source.encoding.clone(),
        client_encoding: client_encoding.to_owned(),
        settings: session::pinned_for_reading(client_encoding),
    };
    Renderings::of(&facts, &context)
}

/// Reads the same types again. In a transaction that began after the last row was read, a difference
/// to [`Renderings::versions`] says that rows may have been written by other definitions than the
/// snapshot shows. The session is pinned for reading.
///
/// # Errors
/// The server's.
pub(in crate::backup) fn type_versions(
    connection: &mut Connection,
    renderings: &Renderings,
) -> Result<Fingerprint> {
    let mut types = rendering::types(connection, &renderings.roots)?;
    // No row that the snapshot shows can hold a label that was added after it.
    for found in types.types.values_mut() {
        found.labels.retain(|label| renderings.labels.contains(&label.oid));
    }
    versions(&types)
}

/// Reads which versions of their catalog rows the columns of the given tables have. Needed only where
/// no lock protects the tables: every change shows, also one that matters to no row.
///
/// # Errors
/// The server's.
pub(in crate::backup) fn column_versions(connection: &mut Connection, tables: &[u32]) -> Result<Fingerprint> {
    fingerprint(&rendering::column_versions(connection, tables)?)
}

fn versions(types: &Types) -> Result<Fingerprint> {
    let described = Described::new(types)?;
    Ok(Fingerprint::of(described.own.values().map(|own| own.0.as_slice())))
}

/// The facts are plain data: as JSON they are a canonical description that can forget no field.
fn fingerprint(facts: &impl Serialize) -> Result<Fingerprint> {
    let text = serde_json::to_vec(facts)
        .map_err(|error| Error::failed("facts about columns could not be described").source(error))?;
    Ok(Fingerprint::of([text.as_slice()]))
}

/// The types, each described once.
struct Described<'f> {
    types: &'f Types,
    /// Of every type by itself, with its functions.
    own: BTreeMap<u32, Fingerprint>,
    /// Of those that were asked for, with everything that they lead to; or the type in the way.
    whole: BTreeMap<u32, Result<Fingerprint, u32>>,
}

impl<'f> Described<'f> {
    fn new(types: &'f Types) -> Result<Self> {
        let own = types.types.iter().map(|(oid, found)| Ok((*oid, fingerprint(&description(found, types))?)));
        Ok(Self { types, own: own.collect::<Result<_>>()?, whole: BTreeMap::new() })
    }

    fn column(
        &mut self,
        column: &Column,
        circumstances: &Fingerprint,
    ) -> Result<Result<Fingerprint, Unprovable>> {
        Ok(match self.whole(column.type_oid) {
            Ok(whole) => {
                let own = fingerprint(column)?;
                Ok(Fingerprint::of([circumstances.0.as_slice(), &own.0, &whole.0]))
            }
            Err(in_the_way) => Err(Unprovable {
                column: column.name.clone(),
                type_name: self.name(in_the_way),
                inside: in_the_way != column.type_oid,
            }),
        })
    }

    fn whole(&mut self, root: u32) -> Result<Fingerprint, u32> {
        if let Some(known) = self.whole.get(&root) {
            return *known;
        }
        let whole = self.reach(root).map(|reached| {
            let parts = reached.iter().filter_map(|oid| self.own.get(oid));
            Fingerprint::of(parts.map(|own| own.0.as_slice()))
        });
        self.whole.insert(root, whole);
        whole
    }

    /// All types that can be reached, the root too, each once; or the first that is not allowed.
    fn reach(&self, root: u32) -> Result<BTreeSet<u32>, u32> {
        let mut reached = BTreeSet::new();
        let mut ahead = vec![root];
        while let Some(oid) = ahead.pop() {
            if !reached.insert(oid) {
                continue;
            }
            let found = self.types.types.get(&oid).ok_or(oid)?;
            let parts = allowed::parts(found, self.types).ok_or(oid)?;
            ahead.extend(parts.into_iter().rev());
        }
        Ok(reached)
    }

    /// As a message shows it: built-in types go by their name alone.
    fn name(&self, oid: u32) -> String {
        match self.types.types.get(&oid) {
            Some(found) if found.schema == "pg_catalog" => found.name.clone(),
            Some(found) => display_name(&found.schema, &found.name),
            None => format!("type with OID {oid}"),
        }
    }
}

fn description<'f>(found: &'f Type, types: &'f Types) -> (&'f Type, [Option<&'f Function>; 2]) {
    (found, [found.output, found.send].map(|function| types.functions.get(&function)))
}
