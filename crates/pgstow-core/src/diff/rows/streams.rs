//! Where the rows of one side come from: chunks of a backup, or queries of a live database. Read
//! twice, the rows come in the same order.

use std::io;

use crate::diff::TableName;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::postgres::Connection;
use crate::postgres::identifier::{quote_identifier, quote_qualified};
use crate::repository::Repository;
use crate::repository::format::manifest::{Chunk, CopyFormat, Manifest, Table};

/// Rows with the same columns.
pub(crate) struct Stream<'s> {
    /// The columns, in the order of the data.
    pub(crate) columns: Vec<String>,
    pub(crate) origin: Origin<'s>,
}

/// What has to be read.
pub(crate) enum Origin<'s> {
    Chunks {
        repository: &'s Repository,
        manifest: &'s Manifest,
        table: &'s Table,
        chunks: Vec<&'s Chunk>,
    },
    /// `COPY (…) TO STDOUT`.
    Query(String),
}

/// Takes the content of one chunk, or of a query, in pieces.
pub(crate) type Sink<'f> = dyn FnMut(&[u8]) -> io::Result<()> + 'f;

impl<'s> Stream<'s> {
    /// The chunks of a table.
    ///
    /// # Errors
    /// Rows in COPY's binary format, which are too long to be compared as text.
    pub(crate) fn of_table(
        repository: &'s Repository,
        manifest: &'s Manifest,
        table: &'s Table,
        chunks: Vec<&'s Chunk>,
    ) -> Result<Self> {
        if chunks.iter().any(|chunk| chunk.format == CopyFormat::Binary) {
            return Err(Error::failed(format!(
                "rows of table {} cannot be told apart",
                table.display_name()
            ))
            .why(format!(
                "{} holds them in binary, because one of them is too long for COPY's text format",
                manifest.backup
            )));
        }
        let columns = table.columns.iter().map(|column| column.name.clone()).collect();
        Ok(Self { columns, origin: Origin::Chunks { repository, manifest, table, chunks } })
    }

    /// Columns of the rows of a live table that fulfil a condition: `WHERE …`, or all.
    pub(crate) fn of_live(columns: &[String], (schema, name): &TableName, condition: &str) -> Self {
        let quoted: Vec<String> = columns.iter().map(|column| quote_identifier(column)).collect();
        let (quoted, table) = (quoted.join(", "), quote_qualified(schema, name));
        let statement = format!("COPY (SELECT {quoted} FROM ONLY {table} {condition}) TO STDOUT");
        Self { columns: columns.to_vec(), origin: Origin::Query(statement) }
    }

    /// Rows in it, as far as that is known.
    pub(crate) fn rows(&self) -> u64 {
        match &self.origin {
            Origin::Chunks { chunks, .. } => chunks.iter().map(|chunk| chunk.rows).sum(),
            Origin::Query(_) => 0,
        }
    }

    /// Hands out all of it.
    ///
    /// # Errors
    /// Damage; the server's; the sink's. Until this returns, nothing that was handed out is proven.
    pub(crate) fn read(
        &self,
        connection: Option<&mut Connection>,
        interrupt: &Interrupt,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        match &self.origin {
            Origin::Chunks { repository, manifest, table, chunks } => {
                for chunk in chunks.iter().filter(|chunk| chunk.bytes > 0) {
                    interrupt.check()?;
                    let object = usize::try_from(chunk.object).ok();
                    let object = object.and_then(|index| manifest.objects.get(index)).ok_or_else(|| {
                        Error::failed(format!("the manifest of {} lacks an object", manifest.backup))
                    })?;
                    let read = repository.read_object(manifest, object).and_then(|reader| {
                        reader.read_range(chunk.offset, chunk.bytes, |piece| {
                            interrupt.check()?;
                            sink(piece).map_err(unreadable)
                        })
                    });
                    read.map_err(|error| error.context(format!("rows of {}", table.display_name())))?;
                }
                Ok(())
            }
            Origin::Query(statement) => {
                let connection =
                    connection.ok_or_else(|| Error::failed("there is no session with the database"))?;
                connection.copy_out(statement, &mut |piece| sink(piece)).map(drop).map_err(
                    |error| match error {
                        crate::postgres::QueryError::Sink(error) => unreadable(error),
                        other => other.into(),
                    },
                )
            }
        }
    }
}

/// What went wrong with the rows themselves, or with the file of their hashes.
pub(crate) fn unreadable(error: io::Error) -> Error {
    Error::from_io(error, "rows could not be compared")
}
