//! What people call each kind of object.

use std::fmt;

use super::ObjectKind;

impl ObjectKind {
    /// The kind in the singular, lowercase, such as `materialized view`.
    pub fn singular(self) -> &'static str {
        self.forms().0
    }

    /// The kind in the plural, lowercase, such as `materialized views`.
    pub fn plural(self) -> &'static str {
        self.forms().1
    }

    fn forms(self) -> (&'static str, &'static str) {
        match self {
            Self::Schema => ("schema", "schemas"),
            Self::Extension => ("extension", "extensions"),
            Self::Table => ("table", "tables"),
            Self::Column => ("column", "columns"),
            Self::View => ("view", "views"),
            Self::MaterializedView => ("materialized view", "materialized views"),
            Self::Sequence => ("sequence", "sequences"),
            Self::ForeignTable => ("foreign table", "foreign tables"),
            Self::Constraint => ("constraint", "constraints"),
            Self::Index => ("index", "indexes"),
            Self::Trigger => ("trigger", "triggers"),
            Self::Rule => ("rule", "rules"),
            Self::Policy => ("policy", "policies"),
            Self::Function => ("function", "functions"),
            Self::Procedure => ("procedure", "procedures"),
            Self::Aggregate => ("aggregate", "aggregates"),
            Self::Type => ("type", "types"),
            Self::Domain => ("domain", "domains"),
            Self::Operator => ("operator", "operators"),
            Self::OperatorClass => ("operator class", "operator classes"),
            Self::OperatorFamily => ("operator family", "operator families"),
            Self::Cast => ("cast", "casts"),
            Self::Collation => ("collation", "collations"),
            Self::Conversion => ("conversion", "conversions"),
            Self::TextSearchConfiguration => ("text search configuration", "text search configurations"),
            Self::TextSearchDictionary => ("text search dictionary", "text search dictionaries"),
            Self::TextSearchParser => ("text search parser", "text search parsers"),
            Self::TextSearchTemplate => ("text search template", "text search templates"),
            Self::Statistics => ("statistics object", "statistics objects"),
            Self::Publication => ("publication", "publications"),
            Self::EventTrigger => ("event trigger", "event triggers"),
            Self::ForeignDataWrapper => ("foreign-data wrapper", "foreign-data wrappers"),
            Self::ForeignServer => ("foreign server", "foreign servers"),
            Self::UserMapping => ("user mapping", "user mappings"),
            Self::Language => ("language", "languages"),
            Self::Transform => ("transform", "transforms"),
            Self::AccessMethod => ("access method", "access methods"),
            Self::LargeObject => ("large object", "large objects"),
            Self::Comment => ("comment", "comments"),
            Self::SecurityLabel => ("security label", "security labels"),
            Self::DefaultPrivileges => ("default privileges", "default privileges"),
        }
    }
}

/// The singular.
impl fmt::Display for ObjectKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.singular())
    }
}
