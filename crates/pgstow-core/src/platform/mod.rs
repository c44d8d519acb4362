//! What a hosting platform keeps for itself in a database that it runs. Pure.
//!
//! A platform is recognised by what is there (roles, schemas and who owns them), never by the name
//! of a host. Its schemas are of two kinds: in a *managed* schema the platform makes and migrates
//! the tables, and some of their rows, triggers and policies are the user's; an *internal* schema
//! is the platform's alone.

pub mod supabase;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Who runs the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Platform {
    /// Nobody that is known: PostgreSQL as it comes.
    #[default]
    Plain,
    /// Supabase.
    Supabase,
    /// Neon.
    Neon,
    /// Amazon RDS or Aurora.
    Rds,
    /// Google Cloud SQL.
    CloudSql,
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Plain => "PostgreSQL",
            Self::Supabase => "Supabase",
            Self::Neon => "Neon",
            Self::Rds => "Amazon RDS",
            Self::CloudSql => "Google Cloud SQL",
        })
    }
}

/// What a platform is recognised by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signs {
    /// All roles.
    pub roles: BTreeSet<String>,
    /// User-visible schemas, each with its owner.
    pub schemas: Vec<(String, String)>,
}

/// The platform of a database, and which schemas are its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hosting {
    /// Who runs it.
    pub platform: Platform,
    /// Schemas whose tables the platform makes; some of their rows are the user's.
    pub managed: BTreeSet<String>,
    /// Schemas of which nothing is carried.
    pub internal: BTreeSet<String>,
}

/// Whose a schema is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// The user's.
    User,
    /// The platform makes its tables; some rows, triggers and policies in it are the user's.
    Managed,
    /// The platform's alone.
    Internal,
}

impl Hosting {
    /// Recognises the platform.
    pub fn recognise(signs: &Signs) -> Self {
        let has = |role: &str| signs.roles.contains(role);
        if supabase::is_supabase(signs) {
            supabase::hosting(signs)
        } else if has("neon_superuser") {
            Self { platform: Platform::Neon, ..Self::default() }
        } else if has("rdsadmin") || has("rds_superuser") {
            Self { platform: Platform::Rds, ..Self::default() }
        } else if has("cloudsqlsuperuser") {
            Self { platform: Platform::CloudSql, ..Self::default() }
        } else {
            Self::default()
        }
    }

    /// Whose the schema is.
    pub fn keeper(&self, schema: &str) -> Keeper {
        if self.internal.contains(schema) {
            Keeper::Internal
        } else if self.managed.contains(schema) {
            Keeper::Managed
        } else {
            Keeper::User
        }
    }

    /// Whether the role is the platform's: it exists on every database of the platform, and the
    /// user can neither make nor change it.
    pub fn is_reserved(&self, role: &str) -> bool {
        match self.platform {
            Platform::Plain => false,
            Platform::Supabase => supabase::is_reserved(role),
            Platform::Neon => matches!(role, "cloud_admin" | "neon_superuser"),
            Platform::Rds => role.starts_with("rds"),
            Platform::CloudSql => role.starts_with("cloudsql"),
        }
    }

    /// Whether the role runs one of the platform's services: what it owns is the platform's. Other
    /// reserved roles, such as the one that users log in with, own what users make.
    pub fn is_service_role(&self, role: &str) -> bool {
        match self.platform {
            Platform::Plain => false,
            Platform::Supabase => supabase::is_service_role(role),
            Platform::Neon => role == "cloud_admin",
            Platform::Rds => role == "rdsadmin",
            Platform::CloudSql => role == "cloudsqladmin",
        }
    }

    /// Whether the rows of a table are the user's. Asked of tables in managed schemas; `None` for
    /// those of all other schemas.
    pub fn managed_rows(
        &self,
        schema: &str,
        table: &str,
        users: AuthUsers,
    ) -> Option<Result<usize, &'static str>> {
        (self.keeper(schema) == Keeper::Managed).then(|| supabase::rows(schema, table, users))
    }

    /// Whether the column is left out because it holds what somebody signs in with.
    pub fn is_left_out(&self, schema: &str, table: &str, column: &str, users: AuthUsers) -> bool {
        users != AuthUsers::Full
            && self.keeper(schema) == Keeper::Managed
            && supabase::is_secret(schema, table, column)
    }
}

/// How much of the users of a managed authentication service is carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthUsers {
    /// Nothing.
    None,
    /// Who they are, without passwords, tokens and second factors.
    #[default]
    Metadata,
    /// Everything that lets them sign in as before.
    Full,
}

impl fmt::Display for AuthUsers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "none",
            Self::Metadata => "metadata",
            Self::Full => "full",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signs(roles: &[&str], schemas: &[(&str, &str)]) -> Signs {
        Signs {
            roles: roles.iter().map(|&role| role.to_owned()).collect(),
            schemas: schemas.iter().map(|&(name, owner)| (name.to_owned(), owner.to_owned())).collect(),
        }
    }

    #[test]
    fn platforms_are_recognised_by_their_roles() {
        let platform = |roles: &[&str]| Hosting::recognise(&signs(roles, &[])).platform;
        assert_eq!(platform(&["postgres"]), Platform::Plain);
        assert_eq!(platform(&["cloud_admin", "neon_superuser"]), Platform::Neon);
        assert_eq!(platform(&["rdsadmin", "rds_superuser"]), Platform::Rds);
        assert_eq!(platform(&["cloudsqladmin", "cloudsqlsuperuser"]), Platform::CloudSql);
    }

    #[test]
    fn only_schemas_that_the_platform_owns_are_its_own() {
        let roles = ["postgres", "supabase_admin", "supabase_auth_admin", "supabase_storage_admin"];
        let hosting = Hosting::recognise(&signs(
            &roles,
            &[
                ("public", "pg_database_owner"),
                ("auth", "supabase_auth_admin"),
                ("storage", "supabase_admin"),
                ("extensions", "postgres"),
                ("realtime", "supabase_admin"),
                ("_analytics", "supabase_admin"),
                ("etl", "postgres"),
                ("supabase_migrations", "postgres"),
                ("sales", "supabase_admin"),
            ],
        ));
        assert_eq!(hosting.platform, Platform::Supabase);
        assert!(hosting.is_service_role("supabase_auth_admin") && !hosting.is_service_role("postgres"));
        assert!(hosting.is_reserved("postgres"));
        for (schema, keeper) in [
            ("public", Keeper::User),
            ("auth", Keeper::Managed),
            ("storage", Keeper::Managed),
            ("extensions", Keeper::Internal),
            ("realtime", Keeper::Internal),
            ("_analytics", Keeper::Internal),
            ("etl", Keeper::User),
            ("supabase_migrations", Keeper::User),
            ("sales", Keeper::User),
        ] {
            assert_eq!(hosting.keeper(schema), keeper, "{schema}");
        }
    }

    #[test]
    fn a_schema_of_the_same_name_does_not_make_a_platform() {
        let platform = |roles: &[&str], owner| Hosting::recognise(&signs(roles, &[("auth", owner)])).platform;
        assert_eq!(platform(&["supabase_admin"], "supabase_admin"), Platform::Supabase);
        assert_eq!(platform(&["supabase_admin"], "postgres"), Platform::Plain);
        assert_eq!(platform(&["shop"], "supabase_admin"), Platform::Plain);
    }

    #[test]
    fn rows_and_columns_of_other_schemas_are_not_judged() {
        let hosting = Hosting {
            platform: Platform::Supabase,
            managed: BTreeSet::from(["auth".to_owned()]),
            internal: BTreeSet::new(),
        };
        let secret = |schema, users| hosting.is_left_out(schema, "users", "encrypted_password", users);
        assert!(secret("auth", AuthUsers::Metadata) && secret("auth", AuthUsers::None));
        assert!(!secret("auth", AuthUsers::Full) && !secret("public", AuthUsers::Metadata));
        assert_eq!(hosting.managed_rows("auth", "users", AuthUsers::Full), Some(Ok(0)));
        assert_eq!(hosting.managed_rows("storage", "objects", AuthUsers::Full), None);
        assert!(!Hosting::default().is_left_out("auth", "users", "encrypted_password", AuthUsers::None));
    }
}
