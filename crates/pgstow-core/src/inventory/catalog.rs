//! The catalog: what is captured of objects, privileges, roles, extensions and the like.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Inventory;
use crate::platform::Hosting;

/// `catalog.json.zst`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Catalog {
    /// Every object and every privilege.
    pub inventory: Inventory,
    /// Installed extensions.
    pub extensions: Vec<Extension>,
    /// Roles that own or hold something, with their attributes; no passwords.
    pub roles: Vec<Role>,
    /// Publications as statements can rebuild them are in the schema archive; here are the
    /// settings of the database itself (`ALTER DATABASE … SET`, `ALTER ROLE … IN DATABASE … SET`).
    pub database_settings: Vec<DatabaseSetting>,
    /// Views with their options, such as `security_invoker=true`.
    pub view_options: Vec<ViewOptions>,
    /// Who runs the server, and which schemas are the platform's.
    #[serde(default)]
    pub hosting: Hosting,
    /// Of the tables in managed schemas whose rows are carried: columns that held a value.
    #[serde(default)]
    pub filled: Vec<FilledColumns>,
    /// Jobs of pg_cron in this database that run as the backup's role.
    #[serde(default)]
    pub cron_jobs: Vec<CronJob>,
    /// Secrets of the vault; only in an encrypted repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<VaultSecret>,
    /// Policies that users put on tables of internal schemas: the inventory and the schema archive
    /// hold nothing of those.
    #[serde(default)]
    pub policies: Vec<PolicyStatement>,
}

/// A policy and the statement that creates it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStatement {
    /// Schema of the table, unquoted.
    pub schema: String,
    /// Table, unquoted.
    pub table: String,
    /// Name, unquoted.
    pub name: String,
    /// `CREATE POLICY …;`
    pub statement: String,
}

/// Columns of a table in a managed schema that held a value in at least one row: a target without
/// them would lose something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilledColumns {
    /// Schema, unquoted.
    pub schema: String,
    /// Table, unquoted.
    pub table: String,
    /// Columns, unquoted, in their order.
    pub columns: Vec<String>,
}

/// A job of pg_cron. Its command may hold a secret: Debug output leaves it out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronJob {
    /// Name; jobs may have none.
    pub name: Option<String>,
    /// When, as cron writes it.
    pub schedule: String,
    /// What is run.
    pub command: String,
    /// Whether it was active.
    pub active: bool,
}

/// A secret of the vault, deciphered. Debug output leaves its value out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultSecret {
    /// Name; secrets may have none.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The secret itself.
    pub value: String,
}

/// An installed extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// Name.
    pub name: String,
    /// Installed version.
    pub version: String,
    /// Schema of its objects.
    pub schema: String,
}

/// A role, without its password. Settings can hold secrets: Debug output leaves their values out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Name.
    pub name: String,
    /// Attributes as `CREATE ROLE` takes them, such as `NOLOGIN BYPASSRLS`.
    pub attributes: String,
    /// Roles it is a member of.
    pub member_of: Vec<String>,
    /// `ALTER ROLE … SET`, as `name=value`.
    pub settings: Vec<String>,
}

/// A setting kept for this database. It can hold a secret: Debug output leaves its value out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseSetting {
    /// The role it is for; `None` for all.
    pub role: Option<String>,
    /// `name=value`.
    pub setting: String,
}

/// Options of a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewOptions {
    /// Quoted, schema-qualified name.
    pub view: String,
    /// `pg_class.reloptions`.
    pub options: Vec<String>,
}

impl fmt::Debug for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings: Vec<&str> = self.settings.iter().map(|setting| setting_name(setting)).collect();
        formatter
            .debug_struct("Role")
            .field("name", &self.name)
            .field("attributes", &self.attributes)
            .field("member_of", &self.member_of)
            .field("settings", &settings)
            .finish()
    }
}

impl fmt::Debug for CronJob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CronJob")
            .field("name", &self.name)
            .field("schedule", &self.schedule)
            .field("active", &self.active)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for VaultSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("VaultSecret").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for DatabaseSetting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DatabaseSetting")
            .field("role", &self.role)
            .field("setting", &setting_name(&self.setting))
            .finish()
    }
}

fn setting_name(setting: &str) -> &str {
    setting.split_once('=').map_or("…", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::{DatabaseSetting, Role, VaultSecret};

    #[test]
    fn debug_output_holds_no_value_of_a_secret() {
        let name = Some("payment key".to_owned());
        let secret = VaultSecret { name, description: None, value: "hunter2".into() };
        let shown = format!("{secret:?}");
        assert!(shown.contains("payment key") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn debug_output_holds_no_value_of_a_setting() {
        let setting = String::from("app.jwt_secret=hunter2");
        let role = Role {
            name: "api".into(),
            attributes: "LOGIN".into(),
            member_of: Vec::new(),
            settings: vec![setting.clone()],
        };
        let shown = format!("{role:?} {:?}", DatabaseSetting { role: None, setting });
        assert!(shown.contains("app.jwt_secret"));
        assert!(!shown.contains("hunter2"));
    }
}
