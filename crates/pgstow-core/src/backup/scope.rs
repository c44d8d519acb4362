//! What a backup takes in: which relations are locked, which are read. Pure.

use super::selection::{Candidate, Choice, Patterns};
use crate::error::Result;
use crate::postgres::catalog::relations::Relation;
use crate::repository::format::manifest::{Sections, Selection, TableData};

/// The selection of one backup, ready to decide for each relation.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    patterns: Patterns,
    sections: Sections,
    /// The server is a standby: unlogged tables cannot be read there.
    in_recovery: bool,
}

impl Scope {
    /// # Errors
    /// Usage: a pattern that is not valid.
    pub(super) fn new(selection: &Selection, in_recovery: bool) -> Result<Self> {
        let patterns =
            Patterns::parse(&selection.tables, &selection.exclude_tables, &selection.exclude_data)?;
        Ok(Self { patterns, sections: selection.sections, in_recovery })
    }

    /// # Errors
    /// Usage: a pattern that matches no table.
    pub(super) fn require_matches(&self, relations: &[Relation]) -> Result<()> {
        let candidates: Vec<Candidate> =
            relations.iter().filter(|relation| is_table(relation)).map(candidate).collect();
        self.patterns.require_matches(&candidates)
    }

    /// Whether the backup takes this table in, with or without rows: it is locked then.
    pub(super) fn locks(&self, relation: &Relation) -> bool {
        is_table(relation) && self.patterns.choose(&candidate(relation)) != Choice::Leave
    }

    /// Whether the rows of this table are read.
    pub(super) fn reads(&self, relation: &Relation) -> bool {
        self.locks(relation)
            && matches!(self.data(relation), TableData::Carried | TableData::Configuration { .. })
    }

    /// Whether this table of the user is left out altogether.
    pub(super) fn leaves(&self, relation: &Relation) -> bool {
        is_table(relation) && !self.locks(relation)
    }

    /// Whether the server is a standby, where unlogged relations cannot be read.
    pub(super) fn on_standby(&self) -> bool {
        self.in_recovery
    }

    /// Whether rows are wanted at all.
    pub(super) fn wants_rows(&self) -> bool {
        self.sections != Sections::SchemaOnly
    }

    /// Whether definitions are wanted at all.
    pub(super) fn wants_definitions(&self) -> bool {
        self.sections != Sections::DataOnly
    }

    /// Whether large objects are wanted: they belong to no table, so `--table` leaves them out.
    pub(super) fn wants_large_objects(&self) -> bool {
        self.wants_rows() && !self.patterns.is_limited()
    }

    /// How the rows of a table that is taken in are kept.
    pub(super) fn data(&self, relation: &Relation) -> TableData {
        let wanted = self.wants_rows() && self.patterns.choose(&candidate(relation)) == Choice::Carry;
        if relation.kind == 'p' {
            TableData::None
        } else if !wanted {
            TableData::Excluded
        } else if relation.persistence == 'u' && self.in_recovery {
            TableData::Unreadable
        } else if let Some(member) = &relation.extension {
            TableData::Configuration {
                extension: member.extension.clone(),
                condition: member.condition.clone().unwrap_or_default(),
            }
        } else {
            TableData::Carried
        }
    }
}

/// A table of the user, or the configuration table of an extension.
fn is_table(relation: &Relation) -> bool {
    matches!(relation.kind, 'r' | 'p')
        && relation.extension.as_ref().is_none_or(|member| member.condition.is_some())
}

fn candidate(relation: &Relation) -> Candidate {
    Candidate {
        schema: relation.schema.clone(),
        name: relation.name.clone(),
        root: relation.parent_root.clone(),
    }
}
