//! What a backup takes in: which relations are locked, which are read. Pure.

use crate::error::Result;
use crate::pattern::{Candidate, Choice, Patterns};
use crate::platform::{AuthUsers, Hosting, Keeper};
use crate::postgres::catalog::relations::Relation;
use crate::repository::format::manifest::{Sections, Selection, TableData};

/// The selection of one backup, ready to decide for each relation.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    patterns: Patterns,
    /// Of the tables taken in, those whose rows are wanted.
    rows: Patterns,
    sections: Sections,
    /// The server is a standby: unlogged tables cannot be read there.
    in_recovery: bool,
    /// Which schemas are the platform's.
    hosting: Hosting,
    users: AuthUsers,
    /// Nobody reads the backup without a key.
    encrypted: bool,
}

impl Scope {
    /// # Errors
    /// Usage: a pattern that is not valid.
    pub(super) fn new(
        selection: &Selection,
        in_recovery: bool,
        hosting: Hosting,
        users: AuthUsers,
    ) -> Result<Self> {
        let patterns =
            Patterns::parse(&selection.tables, &selection.exclude_tables, &selection.exclude_data)?;
        let sections = selection.sections;
        Ok(Self {
            patterns,
            rows: Patterns::default(),
            sections,
            in_recovery,
            hosting,
            users,
            encrypted: false,
        })
    }

    /// The same for an encrypted repository, or not.
    pub(super) fn into_encrypted(self, encrypted: bool) -> Self {
        Self { encrypted, ..self }
    }

    /// The same with rows of tables alone that match these patterns; none: of all.
    ///
    /// # Errors
    /// Usage: a pattern that is not valid.
    pub(super) fn with_rows_of(self, tables: &[String]) -> Result<Self> {
        Ok(Self { rows: Patterns::parse(tables, &[], &[])?, ..self })
    }

    /// Whether nobody reads the backup without a key.
    pub(super) fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// The platform, and which schemas are its own.
    pub(super) fn hosting(&self) -> &Hosting {
        &self.hosting
    }

    /// How much of the users of a managed authentication service is wanted.
    pub(super) fn users(&self) -> AuthUsers {
        self.users
    }

    /// # Errors
    /// Usage: a pattern that matches no table.
    pub(super) fn require_matches(&self, relations: &[Relation]) -> Result<()> {
        let candidates: Vec<Candidate> =
            relations.iter().filter(|relation| self.is_table(relation)).map(candidate).collect();
        self.patterns.require_matches(&candidates)
    }

    /// Whether the backup takes this table in, with or without rows: it is locked then.
    pub(super) fn locks(&self, relation: &Relation) -> bool {
        self.is_table(relation) && self.patterns.choose(&candidate(relation)) != Choice::Leave
    }

    /// Whether the rows of this table are read.
    pub(super) fn reads(&self, relation: &Relation) -> bool {
        self.locks(relation)
            && matches!(self.data(relation), TableData::Carried | TableData::Configuration { .. })
    }

    /// Whether this table of the user is left out altogether.
    pub(super) fn leaves(&self, relation: &Relation) -> bool {
        self.is_table(relation) && !self.locks(relation)
    }

    /// Whether the rows of this table that is taken in are left out by a pattern.
    pub(super) fn excludes_rows(&self, relation: &Relation) -> bool {
        let chosen = || self.patterns.choose(&candidate(relation));
        relation.kind == 'r' && self.is_table(relation) && chosen() == Choice::WithoutRows
    }

    /// Why the platform's table stays without rows, if it does: they are not the user's, or not wanted.
    /// Nothing where a pattern decides.
    pub(super) fn withholds(&self, relation: &Relation) -> Option<&'static str> {
        let chosen = || self.patterns.choose(&candidate(relation)) == Choice::Carry;
        if relation.kind != 'r' || relation.extension.is_some() || !chosen() {
            return None;
        }
        self.hosting.managed_rows(&relation.schema, &relation.name, self.users)?.err()
    }

    /// Whether this is a table of the user in a schema of the platform of which tables that the
    /// platform does not know are not carried.
    pub(super) fn strays(&self, relation: &Relation) -> bool {
        let chosen = || self.patterns.choose(&candidate(relation)) != Choice::Leave;
        let known = match self.hosting.keeper(&relation.schema) {
            Keeper::User => true,
            Keeper::Internal => false,
            Keeper::Managed => {
                let rows = self.hosting.managed_rows(&relation.schema, &relation.name, AuthUsers::Full);
                rows.is_some_and(|rows| rows.is_ok())
            }
        };
        matches!(relation.kind, 'r' | 'p')
            && relation.extension.is_none()
            && !known
            && !self.hosting.is_service_role(&relation.owner)
            && chosen()
    }

    /// Whether this table is carried as long as users are.
    pub(super) fn carries_users(&self, relation: &Relation) -> bool {
        let rows = |users| self.hosting.managed_rows(&relation.schema, &relation.name, users);
        rows(self.users).is_some_and(|rows| rows.is_ok())
            && rows(AuthUsers::None).is_some_and(|rows| rows.is_err())
    }

    /// Whether the column of a table is carried: all are but those that hold what users sign in with.
    pub(super) fn carries(&self, relation: &Relation, column: &str) -> bool {
        !self.hosting.is_left_out(&relation.schema, &relation.name, column, self.users)
    }

    /// Whether the server is a standby, where unlogged relations cannot be read.
    pub(super) fn on_standby(&self) -> bool {
        self.in_recovery
    }

    /// Whether rows are wanted at all.
    pub(super) fn wants_rows(&self) -> bool {
        self.sections != Sections::SchemaOnly
    }

    /// Whether definitions are wanted at all.
    pub(super) fn wants_definitions(&self) -> bool {
        self.sections != Sections::DataOnly
    }

    /// Whether large objects are wanted: they belong to no table, so naming tables leaves them out.
    pub(super) fn wants_large_objects(&self) -> bool {
        self.wants_rows() && !self.patterns.is_limited() && !self.rows.is_limited()
    }

    /// Whether only named tables are taken in.
    pub(super) fn is_limited(&self) -> bool {
        self.patterns.is_limited()
    }

    /// How the rows of a table that is taken in are kept.
    pub(super) fn data(&self, relation: &Relation) -> TableData {
        let candidate = candidate(relation);
        let wanted = self.wants_rows()
            && [&self.patterns, &self.rows]
                .iter()
                .all(|patterns| patterns.choose(&candidate) == Choice::Carry);
        if relation.kind == 'p' {
            TableData::None
        } else if !wanted || self.withholds(relation).is_some() {
            TableData::Excluded
        } else if relation.persistence == 'u' && self.in_recovery {
            TableData::Unreadable
        } else if let Some(member) = &relation.extension {
            TableData::Configuration {
                extension: member.extension.clone(),
                condition: member.condition.clone().unwrap_or_default(),
            }
        } else {
            TableData::Carried
        }
    }
}

impl Scope {
    /// A table of the user, one that the platform manages, or the configuration table of an extension.
    fn is_table(&self, relation: &Relation) -> bool {
        matches!(relation.kind, 'r' | 'p')
            && relation.extension.as_ref().is_none_or(|member| member.condition.is_some())
            && self.hosting.keeper(&relation.schema) != Keeper::Internal
            && !self.is_closed(relation)
    }

    /// A table of the platform that this role need not read: none of its rows are the user's.
    fn is_closed(&self, relation: &Relation) -> bool {
        let rows = || self.hosting.managed_rows(&relation.schema, &relation.name, self.users);
        !relation.selectable && rows().is_some_and(|rows| rows.is_err())
    }
}

fn candidate(relation: &Relation) -> Candidate {
    Candidate {
        schema: relation.schema.clone(),
        name: relation.name.clone(),
        root: relation.parent_root.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::Platform;
    use crate::postgres::catalog::relations::Membership;

    fn scope(selection: &Selection, users: AuthUsers) -> Scope {
        let hosting = Hosting {
            platform: Platform::Supabase,
            managed: ["auth".to_owned(), "storage".to_owned()].into(),
            internal: ["cron".to_owned(), "extensions".to_owned()].into(),
        };
        Scope::new(selection, false, hosting, users).unwrap()
    }

    fn table(schema: &str, name: &str, owner: &str, selectable: bool) -> Relation {
        Relation {
            schema: schema.into(),
            name: name.into(),
            owner: owner.into(),
            kind: 'r',
            selectable,
            ..Relation::default()
        }
    }

    #[test]
    fn of_the_platforms_tables_only_the_users_rows_are_read() {
        let scope = scope(&Selection::default(), AuthUsers::Metadata);
        let service = "supabase_auth_admin";
        for (schema, name, selectable, locked, read) in [
            ("public", "orders", true, true, true),
            // Not readable is refused later, by name.
            ("public", "orders", false, true, true),
            ("auth", "users", true, true, true),
            ("auth", "users", false, true, true),
            ("auth", "sessions", true, true, false),
            ("auth", "schema_migrations", false, false, false),
            ("auth", "mfa_factors", false, false, false),
            ("storage", "objects", true, true, true),
            ("cron", "job", true, false, false),
            ("extensions", "t", true, false, false),
        ] {
            let table = table(schema, name, service, selectable);
            assert_eq!((scope.locks(&table), scope.reads(&table)), (locked, read), "{schema}.{name}");
            assert!(!scope.leaves(&table) && !scope.strays(&table), "{schema}.{name}");
        }
    }

    #[test]
    fn configuration_tables_of_extensions_in_internal_schemas_are_the_platforms() {
        let membership = Membership { extension: "pg_cron".into(), condition: Some(String::new()) };
        let job = Relation { extension: Some(membership), ..table("cron", "job", "supabase_admin", true) };
        assert!(!scope(&Selection::default(), AuthUsers::Full).locks(&job));
        assert!(Scope::default().reads(&job));
    }

    #[test]
    fn users_are_read_as_far_as_they_are_wanted() {
        let users = table("auth", "users", "supabase_auth_admin", true);
        let none = scope(&Selection::default(), AuthUsers::None);
        assert!(none.locks(&users) && !none.reads(&users) && none.withholds(&users).is_some());
        let metadata = scope(&Selection::default(), AuthUsers::Metadata);
        assert!(metadata.carries(&users, "email") && !metadata.carries(&users, "encrypted_password"));
        assert!(scope(&Selection::default(), AuthUsers::Full).carries(&users, "encrypted_password"));
    }

    #[test]
    fn a_pattern_decides_before_the_platform_does() {
        let selection = Selection { exclude_data: vec!["auth.sessions".into()], ..Selection::default() };
        let scope = scope(&selection, AuthUsers::Full);
        let sessions = table("auth", "sessions", "supabase_auth_admin", true);
        assert!(scope.excludes_rows(&sessions) && scope.withholds(&sessions).is_none());
        let tokens = table("auth", "refresh_tokens", "supabase_auth_admin", true);
        assert!(!scope.excludes_rows(&tokens) && scope.withholds(&tokens).is_some());
    }

    #[test]
    fn tables_of_users_in_the_platforms_schemas_stray() {
        let scope = scope(&Selection::default(), AuthUsers::None);
        for (schema, name, owner, strays) in [
            ("auth", "notes", "postgres", true),
            ("auth", "users", "postgres", false),
            ("auth", "notes", "supabase_auth_admin", false),
            ("extensions", "notes", "postgres", true),
            ("public", "notes", "postgres", false),
        ] {
            assert_eq!(scope.strays(&table(schema, name, owner, true)), strays, "{schema}.{name}");
        }
    }
}
