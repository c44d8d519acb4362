//! What every inventory query is made of: the question for one kind of object, and the conditions
//! and expressions that several of them share.

use crate::inventory::ObjectKind;
use crate::platform::Hosting;
use crate::postgres::connection::Connection;
use crate::postgres::error::QueryError;
use crate::postgres::rows::Rows;

/// The schemas that an inventory leaves out, as a parameter of its queries.
#[derive(Debug, Clone)]
pub(super) struct LeftOut(String);

impl LeftOut {
    /// The schemas of which nothing is carried.
    pub(super) fn internal(hosting: &Hosting) -> Self {
        let quote = |name: &String| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
        let names: Vec<String> = hosting.internal.iter().map(quote).collect();
        Self(format!("{{{}}}", names.join(",")))
    }

    /// None.
    pub(super) fn nothing() -> Self {
        Self::internal(&Hosting::default())
    }

    /// Runs a query, in which `$1` stands for the schemas.
    ///
    /// # Errors
    /// The server's.
    pub(super) fn ask(&self, connection: &mut Connection, sql: &str) -> Result<Rows, QueryError> {
        if sql.contains("$1") { connection.query_with(sql, &[Some(&self.0)]) } else { connection.query(sql) }
    }
}

/// The query for one kind of object. Its rows are `name`, `owner` (or NULL), `definition`.
pub(super) struct Question {
    /// What the rows are.
    pub(super) kind: ObjectKind,
    /// The query.
    pub(super) sql: String,
}

impl Question {
    pub(super) fn new(kind: ObjectKind, sql: String) -> Self {
        Self { kind, sql }
    }
}

/// Condition: the row of `pg_namespace` with this alias is not a schema of the system's. The
/// prefix `pg_` is reserved for those.
pub(super) fn user_schema(alias: &str) -> String {
    format!("({alias}.nspname !~ '^pg_' AND {alias}.nspname <> 'information_schema')")
}

/// Condition: as [`user_schema`], and the schema is not [`LeftOut`].
pub(super) fn carried_schema(alias: &str) -> String {
    format!("({} AND {})", user_schema(alias), not_left_out(&format!("{alias}.nspname")))
}

/// Condition: this name of a schema is not [`LeftOut`]; true where there is no schema.
pub(super) fn not_left_out(name: &str) -> String {
    format!("coalesce({name} <> ALL ($1::pg_catalog.text[]), true)")
}

/// Condition: the object is no member of an extension. `catalog` is its system catalog.
pub(super) fn no_member(catalog: &str, oid: &str) -> String {
    format!("NOT {}", member(catalog, oid))
}

/// Condition: the object is a member of an extension.
pub(super) fn member(catalog: &str, oid: &str) -> String {
    depends(catalog, oid, 'e')
}

/// Condition: the object came into being as a part of another one, such as a range type's
/// constructor functions.
pub(super) fn made_for_another(catalog: &str, oid: &str) -> String {
    depends(catalog, oid, 'i')
}

fn depends(catalog: &str, oid: &str, kind: char) -> String {
    format!(
        "EXISTS (SELECT FROM pg_catalog.pg_depend link \
           WHERE link.classid = 'pg_catalog.{catalog}'::pg_catalog.regclass \
             AND link.objid = {oid} AND link.objsubid = 0 AND link.deptype = '{kind}')"
    )
}

/// Condition: the object was not made by initdb. OIDs from 16384 on are given to later objects.
pub(super) fn not_built_in(oid: &str) -> String {
    format!("{oid} >= 16384")
}

/// An array of OIDs as the text of a parameter.
pub(super) fn oid_array(oids: &[u32]) -> String {
    let list: Vec<String> = oids.iter().map(u32::to_string).collect();
    format!("{{{}}}", list.join(","))
}

/// `schema.name`, each part quoted where needed.
pub(super) fn qualified(schema: &str, name: &str) -> String {
    format!("pg_catalog.format('%I.%I', {schema}, {name})")
}

/// Name of the role with this OID.
pub(super) fn role(oid: &str) -> String {
    format!("pg_catalog.pg_get_userbyid({oid})")
}

/// The options in a `name=value` array, in the order of their names; NULL when there are none.
pub(super) fn options(array: &str) -> String {
    format!(
        "(SELECT pg_catalog.string_agg(pg_catalog.quote_literal(o), ', ' ORDER BY o COLLATE pg_catalog.\"C\") \
            FROM pg_catalog.unnest({array}) o)"
    )
}

/// As [`options`], without the values of options whose names sound like secrets: foreign-data
/// wrappers keep keys and passwords there.
pub(super) fn masked_options(array: &str) -> String {
    let name = "pg_catalog.split_part(o, '=', 1)";
    format!(
        "(SELECT pg_catalog.string_agg(CASE \
              WHEN {name} ~* '(pass|secret|key|token|credential)' THEN pg_catalog.quote_ident({name}) \
              ELSE pg_catalog.quote_literal(o) END, ', ' ORDER BY {name} COLLATE pg_catalog.\"C\") \
            FROM pg_catalog.unnest({array}) o)"
    )
}

/// The collation with this OID, unless it is the one its type has anyway.
pub(super) fn collation(oid: &str, unless: &str) -> String {
    format!(
        "(SELECT pg_catalog.format('collate %I.%I', collation_schema.nspname, collated.collname) \
            FROM pg_catalog.pg_collation collated \
            JOIN pg_catalog.pg_namespace collation_schema ON collation_schema.oid = collated.collnamespace \
           WHERE collated.oid = {oid} AND {oid} <> {unless})"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_schemas_are_quoted_as_elements_of_an_array() {
        let internal = ["plain".to_owned(), "a,\"b\"\\{c}".to_owned()].into();
        let left_out = LeftOut::internal(&Hosting { internal, ..Hosting::default() });
        assert_eq!(left_out.0, r#"{"a,\"b\"\\{c}","plain"}"#);
        assert_eq!(LeftOut::nothing().0, "{}");
    }
}
