//! Roles that matter to a database, and settings kept for it. Passwords are never asked for, and
//! `pg_roles` serves where `pg_authid` is hidden.

use std::collections::{BTreeMap, BTreeSet};

use crate::inventory::Inventory;
use crate::inventory::catalog::{DatabaseSetting, Role};
use crate::postgres::connection::Connection;
use crate::postgres::error::QueryError;

/// Reads the roles that own or hold something in this database, or that its policies, default
/// privileges and settings name, and the roles they are members of. Predefined roles (`pg_…`) are
/// only named as memberships: every server has its own.
///
/// # Errors
/// The server's.
pub(super) fn read(connection: &mut Connection, inventory: &Inventory) -> Result<Vec<Role>, QueryError> {
    let mut memberships = read_memberships(connection)?;
    let mut settings = read_settings(connection)?;
    let mut roles = BTreeMap::new();
    let mut wanted: BTreeSet<String> = named_in(inventory);
    for row in connection.query(ROLES)?.iter() {
        let name: String = row.get(0)?;
        if row.get(2)? {
            wanted.insert(name.clone());
        }
        let role = Role {
            attributes: row.get(1)?,
            member_of: memberships.remove(&name).unwrap_or_default(),
            settings: settings.remove(&name).unwrap_or_default(),
            name: name.clone(),
        };
        roles.insert(name, role);
    }
    Ok(with_memberships(roles, wanted))
}

/// The wanted roles and, step by step, those they are members of.
fn with_memberships(mut roles: BTreeMap<String, Role>, mut wanted: BTreeSet<String>) -> Vec<Role> {
    let mut kept: Vec<Role> = Vec::new();
    while let Some(name) = wanted.pop_first() {
        if let Some(role) = roles.remove(&name) {
            wanted.extend(role.member_of.iter().cloned());
            kept.push(role);
        }
    }
    kept.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    kept
}

/// Owners, grantors and grantees: the server keeps no record of what its first role owns.
fn named_in(inventory: &Inventory) -> BTreeSet<String> {
    let owners = inventory.items.iter().filter_map(|item| item.owner.as_ref());
    let holders = inventory
        .privileges
        .iter()
        .flat_map(|held| [Some(&held.owner), Some(&held.grantor), held.grantee.as_ref()])
        .flatten();
    owners.chain(holders).cloned().collect()
}

/// Name, attributes, and whether this database or an object in it depends on the role.
const ROLES: &str = r"
SELECT r.rolname,
       pg_catalog.concat_ws(' ',
           CASE WHEN r.rolsuper THEN 'SUPERUSER' END,
           CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
           CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
           CASE WHEN NOT r.rolinherit THEN 'NOINHERIT' END,
           CASE WHEN r.rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END,
           CASE WHEN r.rolreplication THEN 'REPLICATION' END,
           CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END,
           'CONNECTION LIMIT ' || NULLIF(r.rolconnlimit, -1),
           'VALID UNTIL ' || pg_catalog.quote_literal(r.rolvaliduntil)),
       EXISTS (SELECT FROM pg_catalog.pg_shdepend link
                 JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database()
                WHERE link.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND link.refobjid = r.oid
                  AND (link.dbid = d.oid
                       OR (link.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND link.objid = d.oid)))
       OR EXISTS (SELECT FROM pg_catalog.pg_default_acl d WHERE d.defaclrole = r.oid)
       OR EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE r.oid = ANY (p.polroles))
       OR EXISTS (SELECT FROM pg_catalog.pg_db_role_setting s
                    JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
                   WHERE d.datname = pg_catalog.current_database() AND s.setrole = r.oid)
  FROM pg_catalog.pg_roles r
 WHERE r.rolname !~ '^pg_'";

/// From PostgreSQL 16 on, who creates a role may administer it without being able to act as it. That is
/// no membership: the role's next creator gets the same by itself.
fn read_memberships(connection: &mut Connection) -> Result<BTreeMap<String, Vec<String>>, QueryError> {
    let acts = if connection.server_version_num() >= 160_000 {
        "WHERE m.inherit_option OR m.set_option"
    } else {
        ""
    };
    let rows = connection.query(&format!(
        "SELECT DISTINCT member.rolname, granted.rolname
           FROM pg_catalog.pg_auth_members m
           JOIN pg_catalog.pg_roles member ON member.oid = m.member
           JOIN pg_catalog.pg_roles granted ON granted.oid = m.roleid
           {acts}"
    ))?;
    let mut memberships: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows.iter() {
        memberships.entry(row.get(0)?).or_default().push(row.get(1)?);
    }
    memberships.values_mut().for_each(|roles| roles.sort_unstable());
    Ok(memberships)
}

/// `ALTER ROLE … SET`, for all databases.
fn read_settings(connection: &mut Connection) -> Result<BTreeMap<String, Vec<String>>, QueryError> {
    let rows = connection.query(
        "SELECT r.rolname, setting.line
           FROM pg_catalog.pg_db_role_setting s
           JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
          CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) WITH ORDINALITY setting(line, place)
          WHERE s.setdatabase = 0
          ORDER BY r.rolname, setting.place",
    )?;
    let mut settings: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows.iter() {
        settings.entry(row.get(0)?).or_default().push(row.get(1)?);
    }
    Ok(settings)
}

/// Reads `ALTER DATABASE … SET` and `ALTER ROLE … IN DATABASE … SET` of this database.
///
/// # Errors
/// The server's.
pub(super) fn read_database_settings(
    connection: &mut Connection,
) -> Result<Vec<DatabaseSetting>, QueryError> {
    let rows = connection.query(
        "SELECT r.rolname, setting.line
           FROM pg_catalog.pg_db_role_setting s
           JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
           LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
          CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) WITH ORDINALITY setting(line, place)
          WHERE d.datname = pg_catalog.current_database()
          ORDER BY r.rolname NULLS FIRST, setting.place",
    )?;
    rows.iter().map(|row| Ok(DatabaseSetting { role: row.get(0)?, setting: row.get(1)? })).collect()
}
