//! What a platform keeps for itself among the user's objects, and what of the user's is among its own.

use super::question::role;
use crate::inventory::catalog::PolicyStatement;
use crate::inventory::{Item, ObjectKind};
use crate::platform::supabase::MESSAGES;
use crate::platform::{Hosting, Keeper};
use crate::postgres::connection::Connection;
use crate::postgres::error::QueryError;
use crate::postgres::identifier::quote_literal;

/// Removes event triggers, publications and default privileges of the roles of the platform's
/// services, with the comments on them.
pub(super) fn leave_out(items: &mut Vec<Item>, hosting: &Hosting) {
    let mut remarks: Vec<String> = Vec::new();
    items.retain(|item| {
        let role = match item.kind {
            ObjectKind::EventTrigger | ObjectKind::Publication => item.owner.clone(),
            ObjectKind::DefaultPrivileges => item.name.strip_prefix("for role ").and_then(first_identifier),
            _ => None,
        };
        let is_platforms = role.is_some_and(|role| hosting.is_service_role(&role));
        if is_platforms {
            remarks.push(format!("{} {}", item.kind, item.name));
        }
        !is_platforms
    });
    items.retain(|item| item.kind != ObjectKind::Comment || !remarks.contains(&item.name));
}

/// The identifier that the text begins with, as `quote_ident` writes it, without its quotes.
fn first_identifier(text: &str) -> Option<String> {
    let Some(quoted) = text.strip_prefix('"') else {
        return text.split(' ').next().map(str::to_owned);
    };
    let mut name = String::new();
    let mut characters = quoted.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '"' && characters.next_if_eq(&'"').is_none() {
            return Some(name);
        }
        name.push(character);
    }
    None
}

/// Reads the policies that users put on tables of the platform's internal schemas, as statements.
///
/// # Errors
/// The server's.
pub(crate) fn read_policies(
    connection: &mut Connection,
    hosting: &Hosting,
) -> Result<Vec<PolicyStatement>, QueryError> {
    let (schema, table) = MESSAGES;
    if hosting.keeper(schema) != Keeper::Internal {
        return Ok(Vec::new());
    }
    let rows = connection.query(&format!(
        "SELECT p.polname,
                pg_catalog.format('CREATE POLICY %I ON %I.%I%s%s%s%s%s;', p.polname, n.nspname, c.relname,
                    CASE WHEN NOT p.polpermissive THEN ' AS RESTRICTIVE' END,
                    CASE p.polcmd WHEN 'r' THEN ' FOR SELECT' WHEN 'a' THEN ' FOR INSERT'
                                  WHEN 'w' THEN ' FOR UPDATE' WHEN 'd' THEN ' FOR DELETE' END,
                    (SELECT ' TO ' || pg_catalog.string_agg(pg_catalog.quote_ident({role}), ', ' ORDER BY place)
                       FROM pg_catalog.unnest(p.polroles) WITH ORDINALITY held(oid, place) WHERE held.oid <> 0),
                    ' USING (' || pg_catalog.pg_get_expr(p.polqual, p.polrelid) || ')',
                    ' WITH CHECK (' || pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) || ')')
           FROM pg_catalog.pg_policy p
           JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = {schema} AND c.relname = {table}
          ORDER BY p.polname",
        role = role("held.oid"),
        schema = quote_literal(schema),
        table = quote_literal(table),
    ))?;
    rows.iter()
        .map(|row| {
            let (schema, table) = (schema.to_owned(), table.to_owned());
            Ok(PolicyStatement { schema, table, name: row.get(0)?, statement: row.get(1)? })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::Platform;

    fn item(kind: ObjectKind, name: &str, owner: Option<&str>) -> Item {
        Item { kind, name: name.into(), owner: owner.map(str::to_owned), definition: String::new() }
    }

    #[test]
    fn what_the_services_own_is_left_out_with_its_comments() {
        let everything = [
            item(ObjectKind::EventTrigger, "ddl_watch", Some("supabase_admin")),
            item(ObjectKind::EventTrigger, "ensure_rls", Some("postgres")),
            item(ObjectKind::Publication, "supabase_realtime", Some("postgres")),
            item(ObjectKind::Publication, "internal", Some("supabase_realtime_admin")),
            item(ObjectKind::DefaultPrivileges, "for role supabase_admin in schema public on tables", None),
            item(ObjectKind::DefaultPrivileges, "for role \"supabase_\"\" x\" on tables", None),
            item(ObjectKind::DefaultPrivileges, "for role postgres in schema public on tables", None),
            item(ObjectKind::Comment, "event trigger ddl_watch", None),
            item(ObjectKind::Comment, "event trigger ensure_rls", None),
            item(ObjectKind::Table, "public.t", Some("supabase_admin")),
        ];
        let left = |platform| {
            let mut items = everything.to_vec();
            leave_out(&mut items, &Hosting { platform, ..Hosting::default() });
            items.into_iter().map(|item| item.name).collect::<Vec<_>>()
        };
        assert_eq!(
            left(Platform::Supabase),
            [
                "ensure_rls",
                "supabase_realtime",
                "for role postgres in schema public on tables",
                "event trigger ensure_rls",
                "public.t"
            ]
        );
        assert_eq!(left(Platform::Plain).len(), everything.len());
    }
}
