//! What is compared of one state, wherever it was read from.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::TableName;
use crate::error::Result;
use crate::inventory::catalog::Catalog;
use crate::platform::Hosting;
use crate::repository::Repository;
use crate::repository::format::header::Header;
use crate::repository::format::manifest::{Manifest, TableData};
use crate::restore::keep_users as keep_users_of;

/// One state.
pub(crate) struct Facts {
    /// The backup's id, or `host:port/database`.
    pub(super) name: String,
    pub(super) taken_at: jiff::Timestamp,
    /// Such as `150018`.
    pub(super) server_version_num: u32,
    pub(super) server_version: String,
    pub(crate) catalog: Catalog,
    pub(super) tables: BTreeMap<TableName, TableFacts>,
    /// `last_value` and `is_called`.
    pub(super) sequences: BTreeMap<TableName, (i64, bool)>,
    /// Of a backup: where its rows are.
    pub(crate) manifest: Option<Arc<Manifest>>,
}

/// One table.
#[derive(Debug, Clone)]
pub(super) struct TableFacts {
    pub(super) rows: Rows,
    /// `WHERE …`, of a configuration table of an extension; else empty.
    pub(super) condition: String,
}

/// What is known of the number of a table's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rows {
    /// So many.
    Known(u64),
    /// They were not counted.
    NotCounted,
    /// The state has none of its own to count: the table is the root of a partition tree, or its
    /// rows were left out by request.
    None,
    /// They could not be had, and why.
    Unknown(String),
}

impl Facts {
    /// Reads a backup.
    ///
    /// # Errors
    /// Damaged files, named; a missing key.
    pub(super) fn of_backup(repository: &Repository, header: &Header) -> Result<Self> {
        let manifest = repository.manifest(header)?;
        let catalog = repository.catalog(&manifest)?;
        let tables = manifest.tables.iter().map(|table| {
            let rows = match &table.data {
                TableData::Carried | TableData::Configuration { .. } => Rows::Known(table.rows),
                TableData::Excluded | TableData::None => Rows::None,
                TableData::Unreadable => Rows::Unknown(format!("{} could not read them", manifest.backup)),
            };
            let condition = match &table.data {
                TableData::Configuration { condition, .. } => condition.clone(),
                _ => String::new(),
            };
            ((table.schema.clone(), table.name.clone()), TableFacts { rows, condition })
        });
        let sequences = manifest.sequences.iter().map(|sequence| {
            let name = (sequence.schema.clone(), sequence.name.clone());
            (name, (sequence.last_value, sequence.is_called))
        });
        Ok(Self {
            name: manifest.backup.to_string(),
            taken_at: manifest.snapshot.taken_at,
            server_version_num: manifest.source.server_version_num,
            server_version: manifest.source.server_version.clone(),
            tables: tables.collect(),
            sequences: sequences.collect(),
            catalog,
            manifest: Some(Arc::new(manifest)),
        })
    }

    /// Major version of the server.
    pub(super) fn major(&self) -> u32 {
        self.server_version_num / 10_000
    }

    /// It is a database as it is now.
    pub(super) fn is_live(&self) -> bool {
        self.manifest.is_none()
    }
}

/// Leaves in both inventories only what is the user's on either platform, as a restore does.
pub(super) fn keep_users(before: &mut Facts, after: &mut Facts) {
    let hostings: Vec<Hosting> =
        [&before.catalog, &after.catalog].map(|catalog| catalog.hosting.clone()).into();
    for catalog in [&mut before.catalog, &mut after.catalog] {
        hostings.iter().for_each(|hosting| keep_users_of(&mut catalog.inventory, hosting));
    }
    let is_internal = |schema: &str| hostings.iter().any(|hosting| hosting.internal.contains(schema));
    for facts in [before, after] {
        facts.tables.retain(|(schema, _), _| !is_internal(schema));
        facts.sequences.retain(|(schema, _), _| {
            hostings.iter().all(|hosting| !hosting.managed.contains(schema)) && !is_internal(schema)
        });
    }
}
