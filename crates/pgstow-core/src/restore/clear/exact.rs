//! Clearing a target of everything, also of what the backup knows nothing of, so that afterwards it is
//! what the backup is. For putting a safety backup back: what a restore made goes too.

use std::collections::BTreeSet;

use super::{Cover, Doomed, is_system};
use crate::error::{Error, Result};
use crate::inventory::catalog::Catalog;
use crate::inventory::name_parts;
use crate::inventory::{Item, ObjectKind};
use crate::platform::{Hosting, Keeper};
use crate::postgres::QueryError;
use crate::postgres::identifier::quote_identifier;
use crate::restore::hosted::is_item_of;
use crate::restore::journal::Journal;
use crate::restore::session::{Session, describe};
use crate::restore::target::TargetState;

/// What goes beyond objects in schemas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::restore) struct Beyond {
    /// Extensions that the backup does not have.
    extensions: BTreeSet<String>,
    /// Schemas that it does not have.
    schemas: BTreeSet<String>,
    /// It has no comment on the schema public: it had the usual one.
    usual_comment: bool,
}

impl Cover {
    /// Covers all of the user's at the target too, but for what is left as it is: what is equal already, and
    /// what the login may not make again, by kind, schema and tag.
    pub(in crate::restore) fn widen(
        &mut self,
        target: &TargetState,
        catalog: &Catalog,
        forbidden: &[(String, String, String)],
    ) {
        let is_users = |schema: &&String| target.hosting.keeper(schema) == Keeper::User && !is_system(schema);
        let there: BTreeSet<String> = target.schemas.keys().filter(is_users).cloned().collect();
        let of_extensions: BTreeSet<&String> =
            catalog.extensions.iter().map(|extension| &extension.schema).collect();
        let is_kept = |schema: &String| {
            catalog.inventory.find(ObjectKind::Schema, &quote_identifier(schema)).is_some()
                || catalog.inventory.find(ObjectKind::Schema, schema).is_some()
                || of_extensions.contains(schema)
        };
        let schemas = there.iter().filter(|schema| !is_kept(schema)).cloned().collect();
        let known: BTreeSet<&String> = catalog.extensions.iter().map(|extension| &extension.name).collect();
        let extensions = target.extensions.keys().filter(|name| !known.contains(name)).cloned().collect();
        let is_public = |item: &Item| item.kind == ObjectKind::Comment && item.name == "schema public";
        let usual_comment = !catalog.inventory.items.iter().any(is_public) && there.contains("public");
        self.schemas.extend(there);
        self.large_objects.extend(&target.large_objects);
        let stays = |item: &&Item| {
            target.equal.contains(&(item.kind, item.name.clone()))
                || forbidden.iter().any(|(kind, schema, tag)| is_item_of(item, kind, Some(schema), tag))
        };
        for item in target.inventory.items.iter().filter(|item| !stays(item)) {
            self.add(item);
        }
        self.beyond = Some(Beyond { extensions, schemas, usual_comment });
    }

    fn add(&mut self, item: &Item) {
        let kind = match item.kind {
            ObjectKind::Publication => "PUBLICATION",
            ObjectKind::EventTrigger => "EVENT TRIGGER",
            ObjectKind::ForeignDataWrapper => "FOREIGN DATA WRAPPER",
            ObjectKind::ForeignServer => "SERVER",
            ObjectKind::Language => "PROCEDURAL LANGUAGE",
            ObjectKind::AccessMethod => "ACCESS METHOD",
            ObjectKind::UserMapping => {
                let Some((role, server)) = item.name.rsplit_once(" server ") else { return };
                let (role, server) = (name_parts(role).concat(), name_parts(server).concat());
                let tag = format!("USER MAPPING {role} SERVER {server}");
                self.named.insert(("USER MAPPING".to_owned(), tag));
                return;
            }
            ObjectKind::Cast => {
                self.statements.push(format!("DROP CAST IF EXISTS {}", item.name));
                return;
            }
            _ => return,
        };
        let name = name_parts(&item.name).concat();
        if !self.stays.publications.contains(&name) {
            self.named.insert((kind.to_owned(), name));
        }
    }
}

impl Beyond {
    /// Extensions, then schemas, in the order in which they go.
    pub(super) fn doomed(&self) -> Vec<Doomed> {
        let list: Vec<String> = self.extensions.iter().map(|name| quote_identifier(name)).collect();
        let doomed = |kind: ObjectKind, name: &String, statement| Doomed {
            kind: Some(kind),
            name: format!("{} {}", kind.singular(), quote_identifier(name)),
            identity: quote_identifier(name),
            statement,
        };
        // All in one statement: one may need the other.
        let statement = format!("DROP EXTENSION IF EXISTS {}", list.join(", "));
        let extensions =
            self.extensions.iter().map(|name| doomed(ObjectKind::Extension, name, statement.clone()));
        let schemas = self.schemas.iter().map(|name| {
            let statement = format!("DROP SCHEMA IF EXISTS {}", quote_identifier(name));
            doomed(ObjectKind::Schema, name, statement)
        });
        extensions.chain(schemas).collect()
    }

    /// Takes back default privileges, but for those of the platform's roles, and the comment on public; what
    /// was the target's own comes back with the backup.
    ///
    /// # Errors
    /// What ends the restore; other failures are noted.
    pub(in crate::restore) fn settle(
        &self,
        session: &mut Session,
        hosting: &Hosting,
        journal: &Journal,
    ) -> Result<()> {
        let mut statements = default_privileges(session, hosting).map_err(Error::from)?;
        if self.usual_comment && !has_usual_comment(session).map_err(Error::from)? {
            statements.push("COMMENT ON SCHEMA public IS 'standard public schema'".to_owned());
        }
        session.each(&statements, Clone::clone, |_, statement, error| {
            journal.remark(format!("{statement}: {}", describe(error)));
            Ok(())
        })
    }
}

/// Whether the schema public has the comment that it has from the start.
fn has_usual_comment(session: &mut Session) -> Result<bool, QueryError> {
    let rows = session.connection.query(
        "SELECT pg_catalog.obj_description(n.oid, 'pg_namespace') IS NOT DISTINCT FROM 'standard public schema' \
         FROM pg_catalog.pg_namespace n WHERE n.nspname = 'public'",
    )?;
    // A schema that is not there needs none.
    rows.iter().next().map_or(Ok(true), |row| row.get(0))
}

/// Statements that make the default privileges of every role of the user's those that PostgreSQL has by
/// itself.
fn default_privileges(session: &mut Session, hosting: &Hosting) -> Result<Vec<String>, QueryError> {
    // In one schema there are only additional ones; elsewhere the built-in ones may be missing too.
    let rows = session.connection.query(
        "WITH listed AS (SELECT d.defaclrole, d.defaclnamespace, d.defaclobjtype, d.defaclacl, \
           CASE WHEN d.defaclnamespace = 0 THEN pg_catalog.acldefault(CASE d.defaclobjtype WHEN 'S' THEN 's' \
             ELSE d.defaclobjtype END, d.defaclrole) END AS usual \
           FROM pg_catalog.pg_default_acl d WHERE pg_catalog.pg_has_role(d.defaclrole, 'USAGE')), \
         change AS ( \
           SELECT l.*, held.grantee, held.privilege_type, false AS given FROM listed l \
             CROSS JOIN LATERAL pg_catalog.aclexplode(l.defaclacl) held \
             WHERE NOT EXISTS (SELECT FROM pg_catalog.aclexplode(l.usual) u WHERE u.grantee = held.grantee \
               AND u.privilege_type = held.privilege_type AND u.is_grantable = held.is_grantable) \
           UNION ALL \
           SELECT l.*, u.grantee, u.privilege_type, true FROM listed l \
             CROSS JOIN LATERAL pg_catalog.aclexplode(l.usual) u \
             WHERE NOT EXISTS (SELECT FROM pg_catalog.aclexplode(l.defaclacl) held WHERE u.grantee = held.grantee \
               AND u.privilege_type = held.privilege_type)) \
         SELECT pg_catalog.pg_get_userbyid(c.defaclrole), pg_catalog.format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s %s %s ON %s %s %s', \
           pg_catalog.pg_get_userbyid(c.defaclrole), ' IN SCHEMA ' || pg_catalog.quote_ident(n.nspname), \
           CASE WHEN c.given THEN 'GRANT' ELSE 'REVOKE' END, c.privilege_type, \
           CASE c.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'ROUTINES' \
             WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END, \
           CASE WHEN c.given THEN 'TO' ELSE 'FROM' END, \
           CASE c.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.grantee)) END) \
         FROM change c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.defaclnamespace \
         ORDER BY c.given, 2",
    )?;
    let mut statements = Vec::new();
    for row in rows.iter() {
        if !hosting.is_service_role(row.get(0)?) {
            statements.push(row.get(1)?);
        }
    }
    Ok(statements)
}
