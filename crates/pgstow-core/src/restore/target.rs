//! Looks at the target: what the guards and the plan need to know, read in one go and nothing
//! changed.

use std::collections::{BTreeMap, BTreeSet};

use super::hosted::{self, DashboardMade};
use super::roles::Rights;
use super::selection::TableName;
use crate::inventory::{Inventory, ObjectKind, Privilege, name_parts};
use crate::platform::{Hosting, Platform};
use crate::postgres::capabilities::may_silence_triggers;
use crate::postgres::catalog::{hosting, inventory};
use crate::postgres::rows::Rows;
use crate::postgres::{Connection, QueryError};

/// The target as it was found.
#[derive(Debug, Clone, Default)]
pub(super) struct TargetState {
    /// `host:port/database`.
    pub(super) target: String,
    pub(super) database: String,
    /// Such as `170004`.
    pub(super) version: u32,
    /// Such as `17.4`.
    pub(super) version_text: String,
    pub(super) encoding: String,
    /// The role the session acts as.
    pub(super) login: String,
    pub(super) is_superuser: bool,
    pub(super) in_recovery: bool,
    /// `default_transaction_read_only`.
    pub(super) read_only: bool,
    /// CREATE on the database.
    pub(super) may_create_schemas: bool,
    /// Schemas, each with whether the login may create in it.
    pub(super) schemas: BTreeMap<String, bool>,
    /// Roles, each with whether the login may give objects to it; with those that this restore
    /// will create.
    pub(super) roles: BTreeMap<String, bool>,
    /// Roles whose names are keywords, so that the server quotes them.
    pub(super) keyword_roles: BTreeSet<String>,
    /// What the login may do about roles.
    pub(super) rights: Rights,
    pub(super) tablespaces: BTreeSet<String>,
    /// Table access methods.
    pub(super) access_methods: BTreeSet<String>,
    /// Installed extensions with version and schema.
    pub(super) extensions: BTreeMap<String, (String, String)>,
    /// Extensions that CREATE EXTENSION would find, with their default version.
    pub(super) available: BTreeMap<String, String>,
    /// `session_replication_role` may be set.
    pub(super) may_replicate: bool,
    pub(super) large_objects: BTreeSet<u32>,
    pub(super) tables: BTreeMap<TableName, TargetTable>,
    /// Who runs it.
    pub(super) hosting: Hosting,
    /// What of the user's is on a platform's database and not in the backup, and stays: event triggers
    /// that the platform's dashboard made, with their functions.
    pub(super) kept: BTreeSet<(ObjectKind, String)>,
    /// Such that are as in the backup: they stay too.
    pub(super) equal: BTreeSet<(ObjectKind, String)>,
    /// Functions that are replaced and not made anew: what may not be made again calls them.
    pub(super) called: BTreeSet<String>,
    /// Publications.
    pub(super) publications: BTreeSet<String>,
    pub(super) inventory: Inventory,
}

/// A table of the target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TargetTable {
    /// Columns by name.
    pub(super) columns: BTreeMap<String, TargetColumn>,
    /// Triggers of users that would fire while rows are loaded.
    pub(super) triggers: Vec<String>,
    /// Tables that its foreign keys refer to.
    pub(super) references: BTreeSet<TableName>,
    /// The same with those of deferred keys, which loading need not care about.
    pub(super) all_references: BTreeSet<TableName>,
    /// A member of an extension.
    pub(super) is_member: bool,
}

/// A column of the target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TargetColumn {
    /// `format_type()`.
    pub(super) type_name: String,
    /// Computed, never loaded.
    pub(super) generated: bool,
    /// Neither nullable nor filled by a default.
    pub(super) required: bool,
}

impl TargetState {
    /// Major version.
    pub(super) fn major(&self) -> u32 {
        self.version / 10_000
    }

    /// The user's objects at the target, as they are now.
    ///
    /// # Errors
    /// The server's.
    pub(super) fn inventory_now(&self, connection: &mut Connection) -> Result<Inventory, QueryError> {
        let hosting = self.hosting_now(connection)?;
        let mut found = inventory::read(connection, &hosting)?;
        hosted::keep_users(&mut found, &hosting);
        self.leave_out_kept(&mut found);
        Ok(found)
    }

    /// With schemas of the platform that came with an extension meanwhile.
    fn hosting_now(&self, connection: &mut Connection) -> Result<Hosting, QueryError> {
        let mut hosting = self.hosting.clone();
        if hosting.platform != Platform::Plain {
            hosting.internal.extend(hosting::read(connection)?.internal);
        }
        Ok(hosting)
    }

    /// Every privilege on the user's objects, as they are now.
    ///
    /// # Errors
    /// The server's.
    pub(super) fn privileges_now(&self, connection: &mut Connection) -> Result<Vec<Privilege>, QueryError> {
        let hosting = self.hosting_now(connection)?;
        let privileges = inventory::read_privileges(connection)?;
        let mut found = Inventory { items: Vec::new(), privileges };
        hosted::keep_users(&mut found, &hosting);
        self.leave_out_kept(&mut found);
        Ok(found.privileges)
    }

    /// Lets what a dashboard made stay, whatever is restored.
    pub(super) fn keep(&mut self, found: DashboardMade) {
        self.kept = found.extra;
        self.equal = found.equal;
        let mut inventory = std::mem::take(&mut self.inventory);
        self.leave_out_kept(&mut inventory);
        self.inventory = inventory;
    }

    /// Whether that is something which a dashboard made and which stays. Event triggers have names of
    /// their own, and their functions no arguments.
    pub(super) fn keeps(&self, kind: &str, schema: Option<&str>, name: &str) -> bool {
        let named = |kept: &str| {
            let parts = name_parts(kept);
            let (object, schemas) = parts.split_last().map_or(("", &[][..]), |(last, rest)| (last, rest));
            let own = |name: &str| name.split('(').next().unwrap_or_default().to_owned();
            own(object) == own(name) && schemas.iter().map(String::as_str).eq(schema)
        };
        self.kept.iter().any(|(kept, shown)| match kept {
            ObjectKind::EventTrigger => kind == "EVENT TRIGGER" && named(shown),
            ObjectKind::Function => kind == "FUNCTION" && named(shown),
            _ => false,
        })
    }

    fn leave_out_kept(&self, inventory: &mut Inventory) {
        if self.kept.is_empty() {
            return;
        }
        inventory.items.retain(|item| !self.kept.contains(&(item.kind, item.name.clone())));
        inventory.privileges.retain(|held| {
            held.target != "FUNCTION" || !self.kept.contains(&(ObjectKind::Function, held.name.clone()))
        });
    }

    /// What users see of the server.
    pub(super) fn server(&self) -> String {
        format!("PostgreSQL {}", self.version_text)
    }
}

/// Reads the state of the target.
///
/// # Errors
/// The server's.
pub(super) fn read(connection: &mut Connection) -> Result<TargetState, QueryError> {
    let version = connection.server_version_num();
    let mut state = TargetState { version, ..TargetState::default() };
    read_server(connection, &mut state)?;
    read_roles(connection, &mut state)?;
    read_extensions(connection, &mut state)?;
    read_tables(connection, &mut state)?;
    for row in connection.query("SELECT oid FROM pg_catalog.pg_largeobject_metadata")?.iter() {
        state.large_objects.insert(row.get(0)?);
    }
    state.hosting = hosting::read(connection)?;
    state.publications = names(&connection.query("SELECT pubname FROM pg_catalog.pg_publication")?)?;
    state.inventory = state.inventory_now(connection)?;
    Ok(state)
}

fn read_server(connection: &mut Connection, state: &mut TargetState) -> Result<(), QueryError> {
    let rows = connection.query(
        "SELECT pg_catalog.current_database(), pg_catalog.current_setting('server_version'), \
         pg_catalog.current_setting('server_encoding'), current_user, \
         pg_catalog.current_setting('is_superuser') = 'on', pg_catalog.pg_is_in_recovery(), \
         pg_catalog.current_setting('default_transaction_read_only') = 'on', \
         pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')",
    )?;
    let row = rows.only()?;
    state.database = row.get(0)?;
    state.target = format!("{}/{}", connection.endpoint(), state.database);
    state.version_text = row.get(1)?;
    state.encoding = row.get(2)?;
    state.login = row.get(3)?;
    state.is_superuser = row.get(4)?;
    state.in_recovery = row.get(5)?;
    state.read_only = row.get(6)?;
    state.may_create_schemas = row.get(7)?;
    let schemas = connection.query(
        "SELECT nspname, pg_catalog.has_schema_privilege(oid, 'CREATE') FROM pg_catalog.pg_namespace \
         WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'",
    )?;
    for row in schemas.iter() {
        state.schemas.insert(row.get(0)?, row.get(1)?);
    }
    state.tablespaces = names(&connection.query("SELECT spcname FROM pg_catalog.pg_tablespace")?)?;
    state.access_methods =
        names(&connection.query("SELECT amname FROM pg_catalog.pg_am WHERE amtype = 't'")?)?;
    state.may_replicate = may_silence_triggers(connection)?;
    Ok(())
}

fn read_roles(connection: &mut Connection, state: &mut TargetState) -> Result<(), QueryError> {
    // Before 16 every member may become the role; from then on it takes one option to give a table
    // away and another to fill it afterwards.
    let reach = if state.major() >= 16 {
        "pg_catalog.pg_has_role(oid, 'SET') AND pg_catalog.pg_has_role(oid, 'USAGE')"
    } else {
        "pg_catalog.pg_has_role(oid, 'MEMBER')"
    };
    let rows = connection.query(&format!(
        "SELECT rolname, {reach}, \
             rolname ~ '^[a-z_][a-z0-9_]*$' AND pg_catalog.quote_ident(rolname) <> rolname \
             FROM pg_catalog.pg_roles"
    ))?;
    for row in rows.iter() {
        let reachable: bool = row.get(1)?;
        state.roles.insert(row.get(0)?, reachable || state.is_superuser);
        if row.get(2)? {
            state.keyword_roles.insert(row.get(0)?);
        }
    }
    let own = connection.query(
        "SELECT rolcreaterole, rolcreatedb, rolbypassrls FROM pg_catalog.pg_roles \
         WHERE rolname = current_user",
    )?;
    let own = own.only()?;
    state.rights = Rights {
        superuser: state.is_superuser,
        create_role: own.get(0)?,
        create_database: own.get(1)?,
        bypass_rls: own.get(2)?,
        major: state.major(),
    };
    Ok(())
}

fn read_extensions(connection: &mut Connection, state: &mut TargetState) -> Result<(), QueryError> {
    let installed = connection.query(
        "SELECT e.extname, e.extversion, n.nspname FROM pg_catalog.pg_extension e \
         JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace",
    )?;
    for row in installed.iter() {
        state.extensions.insert(row.get(0)?, (row.get(1)?, row.get(2)?));
    }
    let available =
        connection.query("SELECT name, default_version FROM pg_catalog.pg_available_extensions")?;
    for row in available.iter() {
        let version: Option<String> = row.get(1)?;
        state.available.insert(row.get(0)?, version.unwrap_or_default());
    }
    Ok(())
}

const USER_TABLES: &str =
    "c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";

fn read_tables(connection: &mut Connection, state: &mut TargetState) -> Result<(), QueryError> {
    let tables = connection.query(&format!(
        "SELECT n.nspname, c.relname, EXISTS (SELECT FROM pg_catalog.pg_depend d \
         WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e') \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE {USER_TABLES}"
    ))?;
    for row in tables.iter() {
        let table = TargetTable { is_member: row.get(2)?, ..TargetTable::default() };
        state.tables.insert((row.get(0)?, row.get(1)?), table);
    }
    let columns = connection.query(&format!(
        "SELECT n.nspname, c.relname, a.attname, a.attgenerated <> '', \
         a.attnotnull AND NOT a.atthasdef AND a.attidentity = '', pg_catalog.format_type(a.atttypid, a.atttypmod) \
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE a.attnum > 0 AND NOT a.attisdropped AND {USER_TABLES}"
    ))?;
    for row in columns.iter() {
        if let Some(table) = state.tables.get_mut(&(row.get(0)?, row.get(1)?)) {
            let column =
                TargetColumn { generated: row.get(3)?, required: row.get(4)?, type_name: row.get(5)? };
            table.columns.insert(row.get(2)?, column);
        }
    }
    read_triggers_and_keys(connection, state)
}

fn read_triggers_and_keys(connection: &mut Connection, state: &mut TargetState) -> Result<(), QueryError> {
    let triggers = connection.query(&format!(
        "SELECT n.nspname, c.relname, t.tgname FROM pg_catalog.pg_trigger t \
         JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgtype & 4 <> 0 AND {USER_TABLES} \
         ORDER BY t.tgname"
    ))?;
    for row in triggers.iter() {
        if let Some(table) = state.tables.get_mut(&(row.get(0)?, row.get(1)?)) {
            table.triggers.push(row.get(2)?);
        }
    }
    let keys = connection.query(&format!(
        "SELECT n.nspname, c.relname, fn.nspname, fc.relname, k.condeferrable AND k.condeferred \
         FROM pg_catalog.pg_constraint k \
         JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_class fc ON fc.oid = k.confrelid \
         JOIN pg_catalog.pg_namespace fn ON fn.oid = fc.relnamespace \
         WHERE k.contype = 'f' AND {USER_TABLES}"
    ))?;
    for row in keys.iter() {
        if let Some(table) = state.tables.get_mut(&(row.get(0)?, row.get(1)?)) {
            let referred: TableName = (row.get(2)?, row.get(3)?);
            if !row.get::<bool>(4)? {
                table.references.insert(referred.clone());
            }
            table.all_references.insert(referred);
        }
    }
    Ok(())
}

fn names(rows: &Rows) -> Result<BTreeSet<String>, QueryError> {
    rows.iter().map(|row| row.get(0)).collect()
}
