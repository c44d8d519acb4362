//! What exists at the source and is not in the backup: nothing is left out silently. Pure.

use std::collections::BTreeMap;

use super::managed::Vault;
use super::scope::Scope;
use super::sequences::ReadSequences;
use crate::platform::supabase::{STORED_FILES, USERS};
use crate::platform::{AuthUsers, Keeper};
use crate::postgres::catalog::relations::Relation;
use crate::postgres::identifier::{display_name, display_part, quote_identifier};
use crate::repository::format::manifest::{NotCarried, Table, TableData};

/// What was found at the source, and what of it was read.
pub(super) struct Contents<'a> {
    pub(super) relations: &'a [Relation],
    /// Tables of the backup.
    pub(super) tables: &'a [Table],
    pub(super) sequences: &'a ReadSequences,
    pub(super) subscriptions: &'a [String],
    pub(super) vault: Option<Vault>,
    /// Secrets in it that stay behind, where they can be counted.
    pub(super) secrets: Option<u64>,
    /// The user said how much of the platform's users is wanted.
    pub(super) users_chosen: bool,
}

/// What exists at the source and is not in the backup.
pub(super) fn list(contents: &Contents<'_>, scope: &Scope) -> Vec<NotCarried> {
    let Contents { relations, tables, sequences, subscriptions, .. } = contents;
    let mut list = Vec::new();
    let mut add = |what: String, reason: &str, expected: bool| {
        list.push(NotCarried { what, reason: reason.to_owned(), expected });
    };
    for table in tables.iter().filter(|table| table.data == TableData::Unreadable) {
        let reason =
            "it is unlogged, and its rows exist on the primary only; back up from there to carry them";
        add(format!("rows of {}", display_name(&table.schema, &table.name)), reason, false);
    }
    for (schema, name) in &sequences.unread {
        let reason = "it is unlogged, and its position exists on the primary only";
        add(format!("position of sequence {}", display_name(schema, name)), reason, false);
    }
    let excluded = relations.iter().filter(|relation| scope.excludes_rows(relation)).count();
    if excluded > 0 && scope.wants_rows() {
        add(format!("rows of {excluded} tables"), "left out by --exclude-data", true);
    }
    let left = relations.iter().filter(|relation| scope.leaves(relation)).count();
    if left > 0 {
        add(format!("{left} tables"), "left out by --table or --exclude-table", true);
    }
    list.extend(of_the_platform(contents, scope));
    let foreign = relations.iter().filter(|relation| relation.kind == 'f' && relation.extension.is_none());
    for relation in foreign.filter(|relation| scope.hosting().keeper(&relation.schema) != Keeper::Internal) {
        let name = display_name(&relation.schema, &relation.name);
        list.push(NotCarried {
            what: format!("rows of foreign table {name}"),
            reason: "they live on another server; the definition is carried".into(),
            expected: true,
        });
    }
    for subscription in *subscriptions {
        list.push(NotCarried {
            what: format!("subscription {}", quote_identifier(subscription)),
            reason: "its connection string may hold a password; create it anew after a restore".into(),
            expected: true,
        });
    }
    list
}

/// What stays behind because the platform keeps it, or in its schemas.
fn of_the_platform(contents: &Contents<'_>, scope: &Scope) -> Vec<NotCarried> {
    let hosting = scope.hosting();
    let mut list = Vec::new();
    let mut add = |what: String, reason: String, expected: bool| {
        list.push(NotCarried { what, reason, expected });
    };
    for relation in contents.relations.iter().filter(|relation| scope.strays(relation)) {
        let (schema, name) = (&relation.schema, display_name(&relation.schema, &relation.name));
        let what = match hosting.keeper(schema) {
            Keeper::Internal => format!("table {name}"),
            _ => format!("rows of {name}"),
        };
        let reason = format!(
            "schema {} belongs to the platform ({}); move the table to a schema of yours",
            display_part(schema),
            hosting.platform
        );
        add(what, reason, false);
    }
    if let Some(what) = secrets(contents) {
        let reason = if scope.is_encrypted() {
            "the vault's key does not leave the project, and this role may not see, or cannot decipher, the plain values; \
             note them elsewhere"
        } else {
            "the vault's key does not leave the project, so only plain values could be carried, and this \
             repository is not encrypted; note them elsewhere"
        };
        add(what, reason.into(), true);
    }
    let files = rows_of(contents, STORED_FILES).unwrap_or(0);
    if files > 0 && hosting.keeper(STORED_FILES.0) == Keeper::Managed {
        let what = if files == 1 { "1 stored file".into() } else { format!("{files} stored files") };
        let reason =
            "their bytes live outside the database; what the tables of storage say of them is carried";
        add(what, reason.into(), true);
    }
    if rows_of(contents, USERS).is_some() && is_metadata(scope) {
        let what = format!("passwords and tokens in {}", display_name(USERS.0, USERS.1));
        add(what, "auth_users is \"metadata\"; \"full\" carries them".into(), true);
    }
    if scope.wants_rows() {
        for ((schema, reason), tables) in withheld(contents.relations, scope) {
            let what = match tables.as_slice() {
                [only] => format!("rows of {}", display_name(schema, only)),
                several => format!("rows of {} tables of schema {}", several.len(), display_part(schema)),
            };
            add(what, reason.into(), true);
        }
    }
    if !hosting.internal.is_empty() && !scope.is_limited() {
        let names: Vec<String> = hosting.internal.iter().map(|schema| display_part(schema)).collect();
        let noun = if names.len() == 1 { "schema" } else { "schemas" };
        let reason = format!("{} makes what is its own there in every project", hosting.platform);
        add(format!("{noun} {}", names.join(", ")), reason, true);
    }
    list
}

/// What whoever keeps the backup should know.
pub(super) fn remarks(contents: &Contents<'_>, scope: &Scope) -> Vec<String> {
    let is_managed = scope.hosting().keeper(USERS.0) == Keeper::Managed;
    match rows_of(contents, USERS) {
        Some(users @ 1..) if is_managed && scope.users() == AuthUsers::Full => {
            let users = if users == 1 { "1 user".into() } else { format!("{users} users") };
            let said = format!("password hashes and tokens of {users} are in this backup");
            match (scope.is_encrypted(), contents.users_chosen) {
                (false, _) => vec![format!("{said}, and the repository is not encrypted")],
                (true, false) => vec![format!(
                    "{said}, as the repository is encrypted; auth_users = \"metadata\" leaves them out"
                )],
                (true, true) => Vec::new(),
            }
        }
        _ => Vec::new(),
    }
}

fn is_metadata(scope: &Scope) -> bool {
    scope.users() == AuthUsers::Metadata && scope.hosting().keeper(USERS.0) == Keeper::Managed
}

/// Rows of a table, if they are carried.
fn rows_of(contents: &Contents<'_>, (schema, name): (&str, &str)) -> Option<u64> {
    let table = contents.tables.iter().find(|table| table.schema == schema && table.name == name)?;
    (table.data == TableData::Carried).then_some(table.rows)
}

fn secrets(contents: &Contents<'_>) -> Option<String> {
    match (contents.vault?, contents.secrets) {
        (Vault::Closed, _) | (Vault::Readable, None) => Some("secrets of the vault, if there are any".into()),
        (Vault::Readable, Some(0)) => None,
        (Vault::Readable, Some(1)) => Some("1 secret of the vault".into()),
        (Vault::Readable, Some(secrets)) => Some(format!("{secrets} secrets of the vault")),
    }
}

/// The platform's tables without rows, by schema and reason.
fn withheld<'r>(relations: &'r [Relation], scope: &Scope) -> BTreeMap<(&'r str, &'static str), Vec<&'r str>> {
    let mut groups: BTreeMap<(&str, &'static str), Vec<&str>> = BTreeMap::new();
    for relation in relations.iter().filter(|relation| !scope.strays(relation)) {
        if let Some(reason) = scope.withholds(relation) {
            groups.entry((&relation.schema, reason)).or_default().push(&relation.name);
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::{Hosting, Platform};
    use crate::repository::format::manifest::{Sections, Selection};

    fn relation(schema: &str, name: &str, owner: &str) -> Relation {
        Relation {
            schema: schema.into(),
            name: name.into(),
            owner: owner.into(),
            kind: 'r',
            persistence: 'p',
            selectable: true,
            ..Relation::default()
        }
    }

    fn table(schema: &str, name: &str, rows: u64) -> Table {
        Table {
            schema: schema.into(),
            name: name.into(),
            oid: 1,
            filenode: 1,
            kind: 'r',
            persistence: 'p',
            columns: Vec::new(),
            data: TableData::Carried,
            load_through: None,
            rows,
            bytes: 0,
            chunks: Vec::new(),
            proof: None,
        }
    }

    fn scope(users: AuthUsers, sections: Sections) -> Scope {
        let hosting = Hosting {
            platform: Platform::Supabase,
            managed: ["auth".to_owned(), "storage".to_owned()].into(),
            internal: ["cron".to_owned(), "vault".to_owned()].into(),
        };
        Scope::new(&Selection { sections, ..Selection::default() }, false, hosting, users).unwrap()
    }

    /// What is said of a project, and what should be known of its backup.
    fn said(scope: &Scope, secrets: Option<u64>) -> (Vec<(String, bool)>, Vec<String>) {
        let relations = [
            relation("auth", "users", "supabase_auth_admin"),
            relation("auth", "sessions", "supabase_auth_admin"),
            relation("auth", "flow_state", "supabase_auth_admin"),
            relation("auth", "mfa_factors", "supabase_auth_admin"),
            relation("cron", "mine", "postgres"),
            relation("cron", "job", "supabase_admin"),
            relation("storage", "objects", "supabase_storage_admin"),
        ];
        let carried = |relation: &&Relation| scope.reads(relation);
        let tables: Vec<Table> =
            relations.iter().filter(carried).map(|one| table(&one.schema, &one.name, 3)).collect();
        let vault = scope.wants_rows().then_some(Vault::Readable);
        let contents = Contents {
            relations: &relations,
            tables: &tables,
            sequences: &ReadSequences::default(),
            subscriptions: &[],
            vault,
            secrets,
            users_chosen: true,
        };
        let list = list(&contents, scope);
        let list = list.into_iter().map(|item| (format!("{}: {}", item.what, item.reason), item.expected));
        (list.collect(), remarks(&contents, scope))
    }

    #[test]
    fn what_the_platform_keeps_is_told_in_groups_and_what_is_lost_first() {
        let (list, remarks) = said(&scope(AuthUsers::Metadata, Sections::All), Some(2));
        let begins = [
            ("table cron.mine: ", false),
            ("2 secrets of the vault: ", true),
            ("3 stored files: ", true),
            ("passwords and tokens in auth.users: auth_users is \"metadata\"", true),
            ("rows of 2 tables of schema auth: they are the authentication service's own", true),
            ("rows of auth.mfa_factors: they hold what users sign in with", true),
            ("schemas cron, vault: Supabase makes what is its own", true),
        ];
        assert_eq!(list.len(), begins.len(), "{list:#?}");
        for ((said, expected), (begin, is_expected)) in list.iter().zip(begins) {
            assert!(said.starts_with(begin) && *expected == is_expected, "{said}, {begin}");
        }
        assert!(remarks.is_empty());
    }

    #[test]
    fn password_hashes_in_the_repository_are_remarked_on() {
        let (list, remarks) = said(&scope(AuthUsers::Full, Sections::All), Some(0));
        assert!(remarks[0].starts_with("password hashes and tokens of 3 users"), "{remarks:?}");
        assert!(
            !list.iter().any(|(said, _)| said.contains("of the vault") || said.contains("passwords")),
            "{list:?}"
        );
    }

    #[test]
    fn users_that_are_carried_because_the_repository_is_encrypted_are_told() {
        let scope = scope(AuthUsers::Full, Sections::All).into_encrypted(true);
        let (tables, sequences) = ([table("auth", "users", 3)], ReadSequences::default());
        let contents = |users_chosen| Contents {
            relations: &[],
            tables: &tables,
            sequences: &sequences,
            subscriptions: &[],
            vault: None,
            secrets: None,
            users_chosen,
        };
        let told = remarks(&contents(false), &scope);
        assert!(told[0].contains("auth_users = \"metadata\" leaves them out"), "{told:?}");
        assert!(remarks(&contents(true), &scope).is_empty());
    }

    #[test]
    fn users_that_are_not_wanted_are_told() {
        let (list, remarks) = said(&scope(AuthUsers::None, Sections::All), None);
        let users = "rows of 2 tables of schema auth: auth_users is \"none\"";
        assert!(list.iter().any(|(said, _)| said == users), "{list:#?}");
        assert!(list.iter().any(|(said, _)| said.starts_with("secrets of the vault, if")), "{list:#?}");
        assert!(remarks.is_empty());
    }

    #[test]
    fn a_backup_without_rows_says_nothing_of_rows() {
        let (list, remarks) = said(&scope(AuthUsers::Full, Sections::SchemaOnly), None);
        let begins = ["table cron.mine", "schemas cron"];
        assert!(list.iter().zip(begins).all(|((said, _), begin)| said.starts_with(begin)), "{list:#?}");
        assert_eq!((list.len(), remarks.len()), (2, 0));
    }
}
