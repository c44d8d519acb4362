//! What is read of a platform's tables beside their rows: which columns hold something, who the users
//! are for people to read, which secrets there are or how many stay behind, which jobs there are. All of it comes from
//! rows, so that unchanged system catalogs say nothing of it: it is read in every backup.

use std::fmt::Write as _;

use super::scope::Scope;
use super::sidecars::Sidecar;
use crate::error::{Error, Result};
use crate::inventory::catalog::{Catalog, CronJob, FilledColumns, VaultSecret};
use crate::platform::Keeper;
use crate::platform::supabase::{USERS, VAULT, is_secret};
use crate::postgres::catalog::managed::{self, Statements};
use crate::postgres::catalog::relations::{Column, Relation};
use crate::postgres::catalog::{cron, vault};
use crate::postgres::connection::Connection;
use crate::postgres::error::QueryError;
use crate::postgres::identifier::quote_qualified;

/// The file that shows who the users are.
pub(super) const USERS_FILE: &str = "auth_users.sql";

/// Tables of the platform to look into.
#[derive(Debug, Default)]
pub(super) struct ManagedTables {
    /// Those whose rows are carried, with the columns that are.
    pub(super) carried: Vec<(String, String, Vec<Column>)>,
    /// The vault.
    pub(super) vault: Option<Vault>,
    /// The repository may hold its secrets.
    pub(super) carries_secrets: bool,
}

/// The table of secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vault {
    /// All of it can be seen.
    Readable,
    /// It cannot.
    Closed,
}

/// What was found in them.
#[derive(Debug, Default)]
pub(super) struct ManagedRows {
    filled: Vec<FilledColumns>,
    cron_jobs: Vec<CronJob>,
    users: Option<String>,
    /// Those of the vault that are carried.
    secrets: Vec<VaultSecret>,
    /// How many secrets of the vault stay behind, where they can be counted.
    pub(super) secrets_left: Option<u64>,
}

impl ManagedTables {
    /// Adds a table whose rows are carried.
    pub(super) fn add(&mut self, scope: &Scope, relation: &Relation, columns: &[Column]) {
        if scope.hosting().keeper(&relation.schema) == Keeper::Managed {
            self.carried.push((relation.schema.clone(), relation.name.clone(), columns.to_vec()));
        }
    }

    /// Looks for the vault.
    pub(super) fn find_vault(&mut self, scope: &Scope, relations: &[Relation]) {
        let is_internal = scope.hosting().keeper(VAULT.0) == Keeper::Internal;
        let vault = relations.iter().find(|one| (one.schema.as_str(), one.name.as_str()) == VAULT);
        self.vault =
            vault.filter(|_| is_internal && scope.wants_rows() && !scope.is_limited()).map(|table| {
                if table.selectable && !table.row_security_active { Vault::Readable } else { Vault::Closed }
            });
    }

    /// Reads them in the session's snapshot.
    ///
    /// # Errors
    /// The server's, with the name of the table.
    pub(super) fn read(&self, connection: &mut Connection) -> Result<ManagedRows> {
        let mut rows = ManagedRows::default();
        for (schema, table, columns) in &self.carried {
            let named = |error: QueryError| Error::from(error).context(quote_qualified(schema, table));
            let filled = managed::filled(connection, schema, table, columns).map_err(named)?;
            rows.filled.push(FilledColumns { schema: schema.clone(), table: table.clone(), columns: filled });
            if (schema.as_str(), table.as_str()) == USERS {
                let open: Vec<Column> = columns
                    .iter()
                    .filter(|column| !is_secret(schema, table, &column.name))
                    .cloned()
                    .collect();
                let found = managed::statements(connection, schema, table, &open).map_err(named)?;
                rows.users = Some(describe(&found));
            }
        }
        if self.vault == Some(Vault::Readable) {
            let name = quote_qualified(VAULT.0, VAULT.1);
            let count = connection.query(&format!("SELECT pg_catalog.count(*) FROM {name}"))?;
            rows.secrets_left = Some(count.only()?.get(0)?);
        }
        let carries_secrets = self.vault.is_some() && self.carries_secrets;
        if let Some(secrets) = carries_secrets.then(|| vault::read_secrets(connection)).transpose()?.flatten()
        {
            rows.secrets = secrets;
            rows.secrets_left = Some(0);
        }
        rows.cron_jobs = cron::read_jobs(connection)?;
        Ok(rows)
    }
}

impl ManagedRows {
    /// What of it the catalog holds, as bytes: another content makes other definitions.
    ///
    /// # Errors
    /// None but a failure to write JSON.
    pub(super) fn described(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(&(&self.filled, &self.cron_jobs, &self.secrets))
            .map_err(|error| Error::failed("managed tables could not be described").source(error))
    }

    /// Adds it to the catalog.
    pub(super) fn complete(&self, catalog: &mut Catalog) {
        catalog.filled.clone_from(&self.filled);
        catalog.cron_jobs.clone_from(&self.cron_jobs);
        catalog.secrets.clone_from(&self.secrets);
    }

    /// The file that shows who the users are, if they are carried.
    pub(super) fn sidecar(&self) -> Option<Sidecar> {
        self.users.clone().map(|content| Sidecar { name: USERS_FILE, content })
    }
}

/// Users without what they sign in with, whatever the backup carries.
fn describe(users: &Statements) -> String {
    let shown = users.lines.len();
    let mut text = String::from(
        "-- Users, without passwords and tokens. For reading: a restore uses the rows of the backup.\n",
    );
    // Writing to a String cannot fail.
    let _ = match users.rows {
        rows if rows > shown as u64 => writeln!(text, "-- The first {shown} of {rows}."),
        rows => writeln!(text, "-- {rows} in all."),
    };
    for line in &users.lines {
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_users_that_is_cut_says_so() {
        let users = |rows| Statements { lines: vec!["INSERT 1;".into(), "INSERT 2;".into()], rows };
        assert!(describe(&users(2)).ends_with("-- 2 in all.\nINSERT 1;\nINSERT 2;\n"));
        assert!(describe(&users(5)).contains("-- The first 2 of 5.\n"));
    }

    #[test]
    fn another_value_of_a_secret_makes_other_definitions() {
        let secret = |value: &str| VaultSecret { name: None, description: None, value: value.into() };
        let with = |value| ManagedRows { secrets: vec![secret(value)], ..ManagedRows::default() };
        assert_ne!(with("a").described().unwrap(), with("b").described().unwrap());
    }

    #[test]
    fn jobs_and_filled_columns_are_told_apart() {
        let described = |rows: ManagedRows| rows.described().unwrap();
        let job = |command: &str| CronJob {
            name: None,
            schedule: "* * * * *".into(),
            command: command.into(),
            active: true,
        };
        let with = |command| ManagedRows { cron_jobs: vec![job(command)], ..ManagedRows::default() };
        assert_ne!(described(with("SELECT 1")), described(with("SELECT 2")));
        let filled = |column: &str| FilledColumns {
            schema: "auth".into(),
            table: "users".into(),
            columns: vec![column.into()],
        };
        let with = |column| ManagedRows { filled: vec![filled(column)], ..ManagedRows::default() };
        assert_ne!(described(with("email")), described(with("phone")));
    }
}
