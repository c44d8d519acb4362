//! Creates the roles that the target lacks: attributes, memberships, settings.

use std::fmt;

use super::super::journal::Journal;
use super::super::session::{Session, describe};
use crate::error::{Error, Result};
use crate::postgres::QueryError;
use crate::postgres::identifier::{quote_identifier, quote_setting};

/// A role to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewRole {
    pub(super) name: String,
    /// In words of `CREATE ROLE`.
    pub(super) attributes: String,
    /// It owns or grants something, so the login has to act as it.
    pub(super) acts: bool,
}

/// `member` becomes a member of `role`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Membership {
    pub(super) role: String,
    pub(super) member: String,
}

/// A setting of a role. It can hold a secret: Debug output leaves its value out.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) role: String,
    /// The one database that it is for.
    pub(super) database: Option<String>,
    pub(super) name: String,
    pub(super) value: String,
}

impl fmt::Debug for Setting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Setting")
            .field("role", &self.role)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// All that is created.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Creation {
    pub(super) roles: Vec<NewRole>,
    pub(super) memberships: Vec<Membership>,
    pub(super) settings: Vec<Setting>,
    /// The login has to become a member, to give objects to the roles.
    pub(super) join: Join,
}

/// How the login comes to act as the roles that it creates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Join {
    /// A superuser acts as everybody.
    #[default]
    Needless,
    /// A plain membership.
    Member,
    /// From PostgreSQL 16 on the creator may only administer the role, until it grants itself
    /// more. INHERIT too: who may only SET ROLE neither fills nor indexes a table that it gave away.
    Inherit,
}

impl NewRole {
    fn statements(&self, join: Join) -> String {
        let name = quote_identifier(&self.name);
        let created = format!("CREATE ROLE {name} {};\n", self.attributes);
        match join {
            Join::Needless => created,
            _ if !self.acts => created,
            Join::Member => format!("{created}GRANT {name} TO CURRENT_USER;\n"),
            Join::Inherit => {
                format!("{created}GRANT {name} TO CURRENT_USER WITH INHERIT TRUE, SET TRUE;\n")
            }
        }
    }
}

impl Membership {
    fn statement(&self) -> String {
        format!("GRANT {} TO {}", quote_identifier(&self.role), quote_identifier(&self.member))
    }
}

impl Setting {
    fn statement(&self) -> String {
        let database = self.database.as_deref();
        let database =
            database.map(|name| format!(" IN DATABASE {}", quote_identifier(name))).unwrap_or_default();
        let (role, setting) = (quote_identifier(&self.role), quote_setting(&self.name, &self.value));
        format!("ALTER ROLE {role}{database} SET {setting}")
    }
}

impl Creation {
    /// Creates the roles, all or none; memberships and settings that are refused become remarks.
    ///
    /// # Errors
    /// A role that cannot be created, by name: nothing else has been changed then.
    pub(super) fn run(&self, session: &mut Session, journal: &Journal) -> Result<()> {
        if self.roles.is_empty() {
            return Ok(());
        }
        session.guarded(|connection| {
            self.roles.iter().try_for_each(|role| {
                connection.execute(&role.statements(self.join)).map(drop).map_err(|error| match error {
                    QueryError::Interrupted => Error::interrupted(),
                    error => Error::failed(format!("role {} could not be created", role.name))
                        .why(describe(&error)),
                })
            })
        })?;
        session.each(&self.memberships, Membership::statement, |_, Membership { role, member }, error| {
            journal.remark(format!("role {member} is not made a member of {role}: {}", describe(error)));
            Ok(())
        })?;
        session.each(&self.settings, Setting::statement, |_, setting, error| {
            // The server's message may repeat the value, which can be a secret.
            let code = error.code().unwrap_or("no answer");
            let Setting { name, role, .. } = setting;
            journal.remark(format!("setting {name} of role {role} could not be made [{code}]"));
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_and_value_is_quoted() {
        let role = NewRole { name: "a \"b\"".into(), attributes: "NOLOGIN".into(), acts: true };
        assert_eq!(role.statements(Join::Needless), "CREATE ROLE \"a \"\"b\"\"\" NOLOGIN;\n");
        assert!(role.statements(Join::Member).ends_with("GRANT \"a \"\"b\"\"\" TO CURRENT_USER;\n"));
        assert!(role.statements(Join::Inherit).contains("WITH INHERIT TRUE, SET TRUE"));
        let setting = Setting {
            role: "a".into(),
            database: Some("d'x".into()),
            name: "app.key".into(),
            value: "it's".into(),
        };
        assert_eq!(setting.statement(), "ALTER ROLE \"a\" IN DATABASE \"d'x\" SET \"app.key\" TO 'it''s'");
        assert!(!format!("{setting:?}").contains("it's"));
    }
}
