//! A server that was given: the drill makes a database of its own there, and drops it.
//!
//! Nothing else on the server is changed: no role is made, no other database written to.

use std::collections::BTreeMap;

use super::Backup;
use super::database;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::postgres::identifier::{display_part, quote_identifier};
use crate::postgres::pooler::refuse_transaction_pooler;
use crate::postgres::{Connection, ConnectionSettings};
use crate::random;
use crate::repository::format::receipt::Exception;

/// How names of databases of drills begin.
const PREFIX: &str = "pgstow_drill_";

/// A database on a given server. Dropping it drops the database.
pub(super) struct Scratch {
    given: ConnectionSettings,
    name: String,
    /// `host:port`.
    pub(super) endpoint: String,
    pub(super) notes: Vec<String>,
    /// The role of the server that gets what a role of the backup has.
    pub(super) role_map: BTreeMap<String, String>,
    pub(super) exceptions: Vec<Exception>,
    dropped: bool,
}

impl Scratch {
    /// Looks at the server and makes the database.
    ///
    /// # Errors
    /// Refused: the database in the URL is not empty, the login may not create databases, a transaction
    /// pooler. The connection's.
    pub(super) fn make(given: &ConnectionSettings, backup: &Backup, interrupt: &Interrupt) -> Result<Self> {
        let mut connection = Connection::open(given, interrupt)?;
        refuse_transaction_pooler(&mut connection, interrupt)?;
        let endpoint = connection.endpoint().to_owned();
        check_empty(&mut connection, &format!("{endpoint}/{}", given.database))?;
        let rows = connection.query(
            "SELECT current_user, rolsuper OR rolcreatedb, rolsuper FROM pg_catalog.pg_roles \
             WHERE rolname = current_user",
        )?;
        let own = rows.only()?;
        let (login, may_create, superuser): (String, bool, bool) = (own.get(0)?, own.get(1)?, own.get(2)?);
        if !may_create {
            return Err(Error::refused(format!("role {login} may not create databases at {endpoint}"))
                .why("a drill makes a database of its own there and drops it afterwards")
                .hint(format!("ALTER ROLE {} CREATEDB;", quote_identifier(&login))));
        }
        let mut notes = earlier(&mut connection)?;
        if superuser {
            notes.push(format!(
                "{login} is a superuser at {endpoint}: functions of the backup can do there what a superuser can"
            ));
        }
        let (role_map, exceptions) = map_roles(&mut connection, backup, &login, superuser)?;
        let name = format!("{PREFIX}{:016x}", u64::from_le_bytes(random::bytes()?));
        interrupt.check()?;
        notes.extend(database::create(&mut connection, &name, &backup.manifest.source)?);
        Ok(Self { given: given.clone(), name, endpoint, notes, role_map, exceptions, dropped: false })
    }

    pub(super) fn settings(&self) -> ConnectionSettings {
        ConnectionSettings { database: self.name.clone(), ..self.given.clone() }
    }

    /// `host:port/database`.
    pub(super) fn target(&self) -> String {
        format!("{}/{}", self.endpoint, self.name)
    }

    /// Drops the database; what to do when that fails.
    pub(super) fn remove(mut self) -> Option<String> {
        self.drop_database().err().map(|error| {
            format!(
                "database {} stays at {}, since it could not be dropped ({}): DROP DATABASE {};",
                self.name,
                self.endpoint,
                error.in_one_line(),
                quote_identifier(&self.name)
            )
        })
    }

    fn drop_database(&mut self) -> Result<()> {
        if self.dropped {
            return Ok(());
        }
        // Also in a run that is being interrupted.
        let mut connection = Connection::open(&self.given, &Interrupt::new())?;
        connection
            .execute(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote_identifier(&self.name)))?;
        self.dropped = true;
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // On the way out of an error nobody is left to tell; the next drill there names what stayed.
        let _ = self.drop_database();
    }
}

/// # Errors
/// Refused when the database that was given holds anything of a user.
fn check_empty(connection: &mut Connection, target: &str) -> Result<()> {
    let rows = connection.query(
        "SELECT pg_catalog.count(*) FROM (\
           SELECT 'pg_catalog.pg_class'::pg_catalog.regclass AS class, oid, relnamespace AS schema FROM pg_catalog.pg_class \
           UNION ALL SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, oid, pronamespace FROM pg_catalog.pg_proc \
           UNION ALL SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, oid, typnamespace FROM pg_catalog.pg_type) o \
         JOIN pg_catalog.pg_namespace n ON n.oid = o.schema \
         WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
                           WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype = 'e')",
    )?;
    let found: u64 = rows.only()?.get(0)?;
    if found == 0 {
        return Ok(());
    }
    Err(Error::refused(format!("{target} is not empty: it does not look like a scratch database"))
        .why("a drill makes a database of its own on that server, but only where nobody works")
        .hint("name an empty database of a server that is there for tests"))
}

/// Databases of earlier drills in which nobody is.
fn earlier(connection: &mut Connection) -> Result<Vec<String>> {
    let rows = connection.query(
        "SELECT d.datname FROM pg_catalog.pg_database d \
         WHERE d.datname ~ '^pgstow_drill_[0-9a-f]{16}$' AND pg_catalog.pg_has_role(d.datdba, 'USAGE') \
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid) ORDER BY 1",
    )?;
    let mut notes = Vec::new();
    for row in rows.iter() {
        let name: String = row.get(0)?;
        notes.push(format!(
            "an earlier drill may have left its database: DROP DATABASE {};",
            quote_identifier(&name)
        ));
    }
    Ok(notes)
}

/// Roles that are not there, or that the login may not act as: what is theirs goes to the login.
fn map_roles(
    connection: &mut Connection,
    backup: &Backup,
    login: &str,
    superuser: bool,
) -> Result<(BTreeMap<String, String>, Vec<Exception>)> {
    let reach = if connection.server_version_num() >= 160_000 {
        "pg_catalog.pg_has_role(oid, 'SET') AND pg_catalog.pg_has_role(oid, 'USAGE')"
    } else {
        "pg_catalog.pg_has_role(oid, 'MEMBER')"
    };
    let rows = connection.query(&format!("SELECT rolname, {reach} FROM pg_catalog.pg_roles"))?;
    let mut there: BTreeMap<String, bool> = BTreeMap::new();
    for row in rows.iter() {
        there.insert(row.get(0)?, row.get(1)?);
    }
    let (mut map, mut exceptions) = (BTreeMap::new(), Vec::new());
    for role in backup.roles() {
        let reason = match there.get(&role) {
            Some(reachable) if superuser || *reachable => continue,
            Some(_) => format!("{login} may not act as it"),
            None => "the server does not have it".to_owned(),
        };
        let what = format!("role {}", display_part(&role));
        exceptions.push(Exception { what, reason: format!("{reason}; what is its went to {login}") });
        map.insert(role, login.to_owned());
    }
    Ok((map, exceptions))
}
