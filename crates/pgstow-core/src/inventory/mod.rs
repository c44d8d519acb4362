//! What a database contains, as plain data: objects with their definitions and owners, and
//! privileges. Two inventories can be compared. Pure: `postgres::catalog` fills it from a server,
//! the repository stores it, backup and restore compare.

mod canonical;
pub mod catalog;
pub mod compare;
mod identities;
mod names;

use std::collections::BTreeMap;

pub(crate) use identities::{leading_name, name_parts, parents, relation_name, tops};
use serde::{Deserialize, Serialize};

/// The kinds of object that pgstow tells apart, in the order in which reports list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names are PostgreSQL's own")]
pub enum ObjectKind {
    Schema,
    Extension,
    Table,
    Column,
    View,
    MaterializedView,
    Sequence,
    ForeignTable,
    Constraint,
    Index,
    Trigger,
    Rule,
    Policy,
    Function,
    Procedure,
    Aggregate,
    Type,
    Domain,
    Operator,
    OperatorClass,
    OperatorFamily,
    Cast,
    Collation,
    Conversion,
    TextSearchConfiguration,
    TextSearchDictionary,
    TextSearchParser,
    TextSearchTemplate,
    Statistics,
    Publication,
    EventTrigger,
    ForeignDataWrapper,
    ForeignServer,
    UserMapping,
    Language,
    Transform,
    AccessMethod,
    LargeObject,
    Comment,
    SecurityLabel,
    DefaultPrivileges,
}

impl ObjectKind {
    /// Whether objects of this kind hold or show rows, or positions: what a FROM can name.
    pub fn is_relation(self) -> bool {
        matches!(
            self,
            Self::Table | Self::View | Self::MaterializedView | Self::ForeignTable | Self::Sequence
        )
    }

    /// Whether no two objects of these kinds can have one name in a schema: relations, indexes, and the
    /// types that tables have too.
    pub fn shares_names(self) -> bool {
        self.is_relation() || matches!(self, Self::Index | Self::Type | Self::Domain)
    }

    /// Whether objects of this kind are in a schema, so that their names begin with it.
    pub fn is_in_schema(self) -> bool {
        !matches!(
            self,
            Self::Schema
                | Self::Extension
                | Self::Cast
                | Self::Publication
                | Self::EventTrigger
                | Self::ForeignDataWrapper
                | Self::ForeignServer
                | Self::UserMapping
                | Self::Language
                | Self::Transform
                | Self::AccessMethod
                | Self::LargeObject
                | Self::Comment
                | Self::SecurityLabel
                | Self::DefaultPrivileges
        )
    }

    /// What GRANT calls objects of this kind; `None` for kinds without privileges.
    pub fn grant_target(self) -> Option<&'static str> {
        let target = match self {
            Self::Table | Self::View | Self::MaterializedView | Self::ForeignTable => "TABLE",
            Self::Sequence => "SEQUENCE",
            Self::Function | Self::Aggregate => "FUNCTION",
            Self::Procedure => "PROCEDURE",
            Self::Schema => "SCHEMA",
            Self::Type => "TYPE",
            Self::Domain => "DOMAIN",
            Self::Language => "LANGUAGE",
            Self::ForeignDataWrapper => "FOREIGN DATA WRAPPER",
            Self::ForeignServer => "FOREIGN SERVER",
            Self::LargeObject => "LARGE OBJECT",
            _ => return None,
        };
        Some(target)
    }
}

/// One object: `(kind, name)` identifies it within a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// What it is.
    pub kind: ObjectKind,
    /// SQL identity, quoted where needed, such as `public.orders` or `public.f(integer)`.
    pub name: String,
    /// Owning role, where the kind has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// All that makes two such objects equal, as text; compare only between equal server majors.
    pub definition: String,
}

/// One privilege of one grantee, as `aclexplode(coalesce(acl, acldefault(…)))` gives it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Privilege {
    /// What GRANT calls the object: `TABLE`, `SEQUENCE`, `FUNCTION`, `SCHEMA`, `COLUMN` …
    pub target: String,
    /// SQL identity as GRANT takes it (for a column: the table).
    pub name: String,
    /// Column name (unquoted) for column privileges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// Owner of the object.
    pub owner: String,
    /// Who granted it.
    pub grantor: String,
    /// Who holds it; `None` is PUBLIC.
    pub grantee: Option<String>,
    /// `SELECT`, `USAGE` …
    pub privilege: String,
    /// WITH GRANT OPTION.
    pub grantable: bool,
}

/// All objects and privileges of one database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Sorted by kind, then name.
    pub items: Vec<Item>,
    /// Sorted.
    pub privileges: Vec<Privilege>,
}

impl Inventory {
    /// The object of that kind and name.
    pub fn find(&self, kind: ObjectKind, name: &str) -> Option<&Item> {
        let place =
            self.items.binary_search_by(|item| (item.kind, item.name.as_str()).cmp(&(kind, name))).ok()?;
        self.items.get(place)
    }

    /// Number of objects of each kind.
    pub fn counts(&self) -> BTreeMap<ObjectKind, usize> {
        let mut counts = BTreeMap::new();
        for item in &self.items {
            *counts.entry(item.kind).or_default() += 1;
        }
        counts
    }
}
