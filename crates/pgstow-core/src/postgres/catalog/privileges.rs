//! Privileges: every access list, exploded, with the defaults an empty one stands for.
//!
//! Objects of `pg_catalog` and of extensions are listed only where their access list differs from
//! the one they came with (`pg_init_privs`, which knows nothing of `information_schema`: that one
//! is left out). Large objects, of which there can be very many, are listed only where somebody
//! holds more or less than the default, which is the owner alone. Privileges on parameters and
//! tablespaces belong to the cluster and are left out.

use super::question::{
    LeftOut, Question, carried_schema, member, no_member, not_built_in, not_left_out, qualified, role,
};
use super::routines::SIGNATURE;
use super::types::{OF_ITS_OWN, OWNERS};
use crate::inventory::{ObjectKind, Privilege};
use crate::postgres::connection::Connection;
use crate::postgres::error::QueryError;

/// Default privileges as objects: what they grant is their definition.
pub(super) fn questions() -> Vec<Question> {
    vec![Question::new(ObjectKind::DefaultPrivileges, default_privileges())]
}

/// Which objects of `pg_catalog` and of extensions are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Those whose access list is not the one they came with.
    Changed,
    /// All of them: what a revoked initial privilege is compared with.
    All,
}

/// Reads every privilege, sorted.
///
/// # Errors
/// The server's.
pub(super) fn read(
    connection: &mut Connection,
    scope: Scope,
    left_out: &LeftOut,
) -> Result<Vec<Privilege>, QueryError> {
    let mut privileges = Vec::new();
    for sql in queries(scope) {
        for row in left_out.ask(connection, &sql)?.iter() {
            privileges.push(Privilege {
                target: row.get(0)?,
                name: row.get(1)?,
                column: row.get(2)?,
                owner: row.get(3)?,
                grantor: row.get(4)?,
                grantee: row.get(5)?,
                privilege: row.get(6)?,
                grantable: row.get(7)?,
            });
        }
    }
    privileges.sort_unstable();
    Ok(privileges)
}

fn queries(scope: Scope) -> Vec<String> {
    let mut queries: Vec<String> = classes().iter().map(|class| class.sql(scope)).collect();
    queries.push(columns());
    queries.push(database());
    queries
}

/// Objects that have an access list.
struct Class {
    /// System catalog, whose rows go by the alias `x`.
    catalog: &'static str,
    /// What GRANT calls the object, as an expression.
    target: String,
    /// Its identity, as an expression.
    name: String,
    /// Columns with the owner and the access list.
    owner: &'static str,
    acl: &'static str,
    /// `acldefault`'s letter, as an expression.
    letter: &'static str,
    /// Join to the schema, as `n`.
    join: String,
    /// Condition for objects that can be granted on at all.
    only: String,
    /// Alias of the schema, for objects that have one.
    schema: Option<&'static str>,
    /// Condition for the user's objects; extensions' members are excepted in any case.
    user: String,
    /// Condition for the system's objects that a user may have changed.
    system: &'static str,
}

impl Class {
    fn sql(&self, scope: Scope) -> String {
        let Self { catalog, target, name, owner, acl, letter, join, only, schema, user, system } = self;
        let initial = format!("pg_catalog.acldefault({letter}, x.{owner})");
        format!(
            "SELECT {target}, {name}, NULL, {owner_name}, {grantee_columns}
               FROM pg_catalog.{catalog} x {join}
               LEFT JOIN pg_catalog.pg_init_privs initial
                      ON initial.classoid = 'pg_catalog.{catalog}'::pg_catalog.regclass
                     AND initial.objoid = x.oid AND initial.objsubid = 0
              CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(x.{acl}, {initial})) held
              WHERE ({only}) AND {kept}
                AND (({user} AND {own}) OR (({system} OR {member}) AND {changed}))",
            kept = schema.map_or_else(everything, |schema| not_left_out(&format!("{schema}.nspname"))),
            owner_name = role(&format!("x.{owner}")),
            grantee_columns = grantee_columns(),
            own = no_member(catalog, "x.oid"),
            member = member(catalog, "x.oid"),
            changed = match scope {
                Scope::All => everything(),
                Scope::Changed => differs(
                    &format!("coalesce(x.{acl}, {initial})"),
                    &format!("coalesce(initial.initprivs, {initial})"),
                ),
            },
        )
    }
}

fn grantee_columns() -> String {
    format!(
        "{grantor}, CASE WHEN held.grantee <> 0 THEN {grantee} END, held.privilege_type, held.is_grantable",
        grantor = role("held.grantor"),
        grantee = role("held.grantee"),
    )
}

/// Condition: two access lists hold different entries, in whatever order.
fn differs(one: &str, other: &str) -> String {
    format!("NOT ({one} @> {other} AND {other} @> {one})")
}

fn classes() -> Vec<Class> {
    vec![
        Class {
            catalog: "pg_namespace",
            target: text("SCHEMA"),
            name: String::from("pg_catalog.quote_ident(x.nspname)"),
            owner: "nspowner",
            acl: "nspacl",
            letter: "'n'",
            join: String::new(),
            only: everything(),
            schema: Some("x"),
            user: carried_schema("x"),
            system: "x.nspname = 'pg_catalog'",
        },
        Class {
            catalog: "pg_class",
            target: String::from("CASE x.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END"),
            name: qualified("n.nspname", "x.relname"),
            owner: "relowner",
            acl: "relacl",
            letter: "CASE x.relkind WHEN 'S' THEN 's'::\"char\" ELSE 'r'::\"char\" END",
            join: "JOIN pg_catalog.pg_namespace n ON n.oid = x.relnamespace".into(),
            only: String::from("x.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')"),
            schema: Some("n"),
            user: carried_schema("n"),
            system: "n.nspname = 'pg_catalog'",
        },
        Class {
            catalog: "pg_proc",
            target: String::from("CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END"),
            name: routine_name(),
            owner: "proowner",
            acl: "proacl",
            letter: "'f'",
            join: "JOIN pg_catalog.pg_proc p ON p.oid = x.oid
                   JOIN pg_catalog.pg_namespace n ON n.oid = x.pronamespace"
                .into(),
            only: everything(),
            schema: Some("n"),
            user: carried_schema("n"),
            system: "n.nspname = 'pg_catalog'",
        },
        Class {
            catalog: "pg_type",
            target: String::from("CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END"),
            name: qualified("n.nspname", "x.typname"),
            owner: "typowner",
            acl: "typacl",
            letter: "'T'",
            join: format!(
                "JOIN pg_catalog.pg_type t ON t.oid = x.oid
                 JOIN pg_catalog.pg_namespace n ON n.oid = x.typnamespace
                 {OWNERS}"
            ),
            only: String::from(OF_ITS_OWN),
            schema: Some("n"),
            user: carried_schema("n"),
            system: "n.nspname = 'pg_catalog'",
        },
        Class {
            catalog: "pg_language",
            target: text("LANGUAGE"),
            name: String::from("pg_catalog.quote_ident(x.lanname)"),
            owner: "lanowner",
            acl: "lanacl",
            letter: "'l'",
            join: String::new(),
            only: String::from("x.lanpltrusted"),
            schema: None,
            user: not_built_in("x.oid"),
            system: "true",
        },
        Class {
            catalog: "pg_foreign_data_wrapper",
            target: text("FOREIGN DATA WRAPPER"),
            name: String::from("pg_catalog.quote_ident(x.fdwname)"),
            owner: "fdwowner",
            acl: "fdwacl",
            letter: "'F'",
            join: String::new(),
            only: everything(),
            schema: None,
            user: everything(),
            system: "true",
        },
        Class {
            catalog: "pg_foreign_server",
            target: text("FOREIGN SERVER"),
            name: String::from("pg_catalog.quote_ident(x.srvname)"),
            owner: "srvowner",
            acl: "srvacl",
            letter: "'S'",
            join: String::new(),
            only: everything(),
            schema: None,
            user: everything(),
            system: "true",
        },
        Class {
            catalog: "pg_largeobject_metadata",
            target: text("LARGE OBJECT"),
            name: String::from("x.oid::text"),
            owner: "lomowner",
            acl: "lomacl",
            letter: "'L'",
            join: String::new(),
            only: differs(
                "coalesce(x.lomacl, pg_catalog.acldefault('L', x.lomowner))",
                "pg_catalog.acldefault('L', x.lomowner)",
            ),
            schema: None,
            user: everything(),
            system: "true",
        },
    ]
}

fn text(target: &str) -> String {
    format!("'{target}'")
}

fn everything() -> String {
    String::from("true")
}

/// GRANT takes an aggregate's argument types without the `ORDER BY` of its signature.
fn routine_name() -> String {
    format!(
        "CASE p.prokind WHEN 'a' THEN pg_catalog.format('%I.%I(%s)', n.nspname, p.proname,
                                          pg_catalog.oidvectortypes(p.proargtypes))
                        ELSE {SIGNATURE} END"
    )
}

/// Columns have no privileges of their own until some are granted.
fn columns() -> String {
    format!(
        "SELECT 'COLUMN', {name}, a.attname, {owner}, {grantee_columns}
           FROM pg_catalog.pg_attribute a
           JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
           LEFT JOIN pg_catalog.pg_init_privs initial
                  ON initial.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
                 AND initial.objoid = a.attrelid AND initial.objsubid = a.attnum
          CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) held
          WHERE NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {kept}
            AND (({user} AND {own}) OR ((n.nspname = 'pg_catalog' OR {member}) AND {changed}))",
        name = qualified("n.nspname", "c.relname"),
        owner = role("c.relowner"),
        grantee_columns = grantee_columns(),
        kept = not_left_out("n.nspname"),
        user = carried_schema("n"),
        own = no_member("pg_class", "c.oid"),
        member = member("pg_class", "c.oid"),
        changed = differs("a.attacl", "coalesce(initial.initprivs, '{}'::pg_catalog.aclitem[])"),
    )
}

/// The database goes without a name: a restore may put it into one that is called differently.
fn database() -> String {
    format!(
        "SELECT 'DATABASE', '', NULL, {owner}, {grantee_columns}
           FROM pg_catalog.pg_database d
          CROSS JOIN LATERAL pg_catalog.aclexplode(
                coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) held
          WHERE d.datname = pg_catalog.current_database()",
        owner = role("d.datdba"),
        grantee_columns = grantee_columns(),
    )
}

fn default_privileges() -> String {
    format!(
        "SELECT pg_catalog.concat_ws(' ', 'for role', pg_catalog.quote_ident({role_name}),
                    'in schema ' || pg_catalog.quote_ident(n.nspname), 'on',
                    CASE d.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions'
                                         WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas'
                                         WHEN 'L' THEN 'large objects' ELSE d.defaclobjtype::text END),
                NULL,
                coalesce((SELECT pg_catalog.string_agg(part.line, E'\\n' ORDER BY part.line COLLATE pg_catalog.\"C\")
                   FROM (SELECT pg_catalog.concat_ws(' ', held.privilege_type, 'to',
                                    CASE WHEN held.grantee = 0 THEN 'public'
                                         ELSE pg_catalog.quote_ident({grantee}) END,
                                    CASE WHEN held.is_grantable THEN 'with grant option' END) AS line
                           FROM pg_catalog.aclexplode(d.defaclacl) held) part), 'nothing')
           FROM pg_catalog.pg_default_acl d
           LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace
          WHERE {kept}",
        kept = not_left_out("n.nspname"),
        role_name = role("d.defaclrole"),
        grantee = role("held.grantee"),
    )
}
