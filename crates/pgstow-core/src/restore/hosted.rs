//! What of a backup is restored onto a platform's database, and what of the target is the
//! platform's and stays. Pure.
//!
//! In a managed schema the platform made the tables already: their definitions are not replayed,
//! their rows go in another way (`managed`), and the user's triggers and policies on them are
//! restored as any other. These are called *attached*.

use std::collections::{BTreeMap, BTreeSet};

use super::clear::Stays;
use super::selection::TableName;
use super::target::TargetState;
use crate::archive::{Entry, Section};
use crate::inventory::catalog::{Catalog, PolicyStatement};
use crate::inventory::name_parts;
use crate::inventory::{Inventory, Item, ObjectKind};
use crate::platform::{Hosting, Keeper, Platform, supabase};
use crate::postgres::identifier::display_name;
use crate::repository::format::manifest::{Manifest, Table, TableData};

/// What was taken out of a backup because the target's platform keeps it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Managed {
    /// Tables of managed schemas whose rows the backup carries.
    pub(super) tables: Vec<Table>,
    /// Those whose rows it does not carry.
    pub(super) without_rows: BTreeSet<TableName>,
    /// Foreign keys of the user's tables that refer to those, by pg_dump's id and for people.
    pub(super) dangling: Vec<(i32, String)>,
}

/// Takes out of a backup what the target's platform keeps for itself.
pub(super) fn project(
    manifest: &mut Manifest,
    catalog: &mut Catalog,
    entries: &mut Vec<Entry>,
    hosting: &Hosting,
) -> Managed {
    let source = catalog.hosting.clone();
    let tables: BTreeMap<i32, TableName> = entries
        .iter()
        .filter(|entry| entry.kind == "TABLE")
        .filter_map(|entry| Some((entry.id, (entry.schema.clone()?, entry.tag.clone()))))
        .collect();
    entries.extend(policies_of_internal_tables(catalog, entries, hosting));
    leave_out_platforms(entries, &source, hosting);
    keep_users(&mut catalog.inventory, hosting);
    keep_users(&mut catalog.inventory, &Hosting { managed: BTreeSet::new(), ..source });
    let is_users = |schema: &str| hosting.keeper(schema) == Keeper::User;
    manifest.sequences.retain(|sequence| is_users(&sequence.schema));
    manifest.materialized_views.retain(|view| is_users(&view.schema));
    let all = std::mem::take(&mut manifest.tables);
    let (users, platforms): (Vec<Table>, Vec<Table>) =
        all.into_iter().partition(|table| is_users(&table.schema));
    manifest.tables = users;
    let mut managed = Managed::default();
    for table in platforms {
        match table.data {
            TableData::Carried => managed.tables.push(table),
            _ => drop(managed.without_rows.insert((table.schema, table.name))),
        }
    }
    let refers = |entry: &&Entry| {
        let mut needed = entry.dependencies.iter().filter_map(|id| tables.get(id));
        entry.kind == "FK CONSTRAINT" && needed.any(|table| managed.without_rows.contains(table))
    };
    let dangling = entries.iter().filter(refers).map(|entry| (entry.id, super::entry::name(entry)));
    managed.dangling = dangling.collect();
    managed
}

/// The user's policies on tables of internal schemas, which the archive does not hold, as entries of it.
fn policies_of_internal_tables(catalog: &Catalog, entries: &[Entry], target: &Hosting) -> Vec<Entry> {
    let last = entries.iter().map(|entry| entry.id).max().unwrap_or_default();
    let policies = catalog.policies.iter().filter(|policy| target.keeper(&policy.schema) == Keeper::Internal);
    policies
        .zip(1..)
        .map(|(policy, number)| Entry {
            id: last.saturating_add(number),
            kind: "POLICY".to_owned(),
            catalog_oid: 0,
            oid: 0,
            tag: format!("{} {}", policy.table, policy.name),
            schema: Some(policy.schema.clone()),
            owner: None,
            tablespace: None,
            access_method: None,
            relation_kind: None,
            definition: format!("{}\n", policy.statement),
            drop_statement: String::new(),
            dependencies: Vec::new(),
            section: Section::PostData,
        })
        .collect()
}

/// Policies on tables of internal schemas that the target does not have.
pub(super) fn lost_policies(catalog: &Catalog, target: &Hosting) -> Vec<String> {
    let lost = catalog.policies.iter().filter(|policy| target.keeper(&policy.schema) != Keeper::Internal);
    lost.map(|policy| {
        let table = display_name(&policy.schema, &policy.table);
        let name = super::entry::visible(&policy.name);
        format!("policy {name} on {table} is not restored: {} makes that table", catalog.hosting.platform)
    })
    .collect()
}

/// Those of the entries that are the user's policies on tables of internal schemas.
pub(super) fn policies_of_platforms_tables<'e>(
    entries: impl Iterator<Item = &'e Entry>,
    hosting: &Hosting,
) -> Vec<&'e Entry> {
    let is_internal = |schema: &str| hosting.keeper(schema) == Keeper::Internal;
    let entries = entries.filter(|entry| entry.kind == "POLICY");
    entries.filter(|entry| entry.schema.as_deref().is_some_and(is_internal)).collect()
}

/// How policies on tables of internal schemas differ from the entries that made them, in words.
/// Servers of another major version may write an expression in other words, so there `names_only`.
pub(super) fn different_policies<'e>(
    wanted: impl Iterator<Item = &'e Entry>,
    found: &[PolicyStatement],
    names_only: bool,
) -> Vec<String> {
    wanted
        .filter_map(|entry| {
            let same = |policy: &&PolicyStatement| {
                entry.schema.as_deref() == Some(policy.schema.as_str())
                    && entry.tag.strip_prefix(policy.table.as_str())
                        == Some(format!(" {}", policy.name).as_str())
            };
            let name = || super::entry::name(entry);
            match found.iter().find(same) {
                None => Some(format!("{} is missing", name())),
                Some(policy) if names_only || policy.statement == entry.definition.trim_end() => None,
                Some(_) => Some(format!("{} differs", name())),
            }
        })
        .collect()
}

/// Removes what is not the user's at the target, and what is said of it.
pub(super) fn leave_out_platforms(entries: &mut Vec<Entry>, source: &Hosting, target: &Hosting) {
    let mut gone = BTreeSet::new();
    entries.retain(|entry| {
        let kept = is_restored(entry, source, target);
        if !kept && matches!(entry.kind.as_str(), "PUBLICATION" | "EVENT TRIGGER") {
            gone.insert(entry.id);
        }
        kept
    });
    entries.retain(|entry| {
        let depends = matches!(
            entry.kind.as_str(),
            "PUBLICATION TABLE" | "PUBLICATION TABLES IN SCHEMA" | "COMMENT" | "SECURITY LABEL"
        );
        !depends || !entry.dependencies.iter().any(|id| gone.contains(id))
    });
}

/// Whether an entry of the archive is the user's at the target.
pub(super) fn is_restored(entry: &Entry, source: &Hosting, target: &Hosting) -> bool {
    let is_platforms = |role: &str| source.is_service_role(role) || target.is_service_role(role);
    let is_users = |schema: &str| target.keeper(schema) == Keeper::User;
    match (entry.kind.as_str(), &entry.schema) {
        ("SCHEMA", _) => is_users(&entry.tag),
        ("EVENT TRIGGER" | "PUBLICATION" | "DEFAULT ACL", _) => {
            !entry.owner.as_deref().is_some_and(is_platforms)
        }
        // They came with the platform's own extension, and only its owner may say something else.
        ("COMMENT", None) if entry.tag.starts_with("EXTENSION ") => target.platform == Platform::Plain,
        ("PUBLICATION TABLE" | "PUBLICATION TABLES IN SCHEMA", _) | (_, None) => true,
        (_, Some(schema)) => is_users(schema) || is_attached(entry, target),
    }
}

/// Whether an entry is the user's trigger or policy on a table of a managed schema.
pub(super) fn is_attached(entry: &Entry, hosting: &Hosting) -> bool {
    let Some(schema) = &entry.schema else { return false };
    hosting.keeper(schema) != Keeper::User
        && match entry.kind.as_str() {
            "POLICY" => true,
            "TRIGGER" => runs_users_function(&entry.definition, hosting),
            _ => false,
        }
}

/// The table and the name of an attached trigger or policy, by pg_dump's tag (`users on_signup`):
/// `tables` are those of the target.
pub(super) fn attached_name<'t>(
    entry: &Entry,
    mut tables: impl Iterator<Item = &'t TableName>,
) -> Option<(TableName, String)> {
    let schema = entry.schema.as_deref()?;
    tables.find_map(|(table_schema, table)| {
        let name = entry.tag.strip_prefix(table.as_str())?.strip_prefix(' ')?;
        (table_schema == schema && !name.is_empty())
            .then(|| ((table_schema.clone(), table.clone()), name.to_owned()))
    })
}

/// What a clearing of the target leaves in place.
pub(super) fn stays(target: &TargetState) -> Stays {
    let own = |name: &&String| {
        target.hosting.platform == Platform::Supabase && name.as_str() == supabase::PUBLICATION
    };
    let functions = target.kept.iter().chain(&target.equal).filter(|(kind, _)| *kind == ObjectKind::Function);
    Stays {
        publications: target.publications.iter().filter(own).cloned().collect(),
        functions: functions.map(|(_, name)| name).chain(&target.called).cloned().collect(),
    }
}

/// Schema and name of functions by identity (`public.f(integer)`).
pub(super) fn schema_and_name(functions: &BTreeSet<String>) -> BTreeSet<(String, String)> {
    let parts = functions.iter().map(|identity| name_parts(up_to_arguments(identity)));
    parts
        .filter_map(|parts| match parts.as_slice() {
            [schema, name] => Some((schema.clone(), name.clone())),
            _ => None,
        })
        .collect()
}

/// Event triggers of a platform's database, with their functions. A dashboard makes such in projects
/// that are otherwise empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DashboardMade {
    /// Those that the backup does not have.
    pub(super) extra: BTreeSet<(ObjectKind, String)>,
    /// Those that are as in the backup.
    pub(super) equal: BTreeSet<(ObjectKind, String)>,
}

impl DashboardMade {
    /// Compares the target's with the backup's; those that differ are content like any other.
    pub(super) fn find(target: &TargetState, backup: &Inventory) -> Self {
        let mut found = Self::default();
        if target.hosting.platform == Platform::Plain {
            return found;
        }
        for trigger in target.inventory.items.iter().filter(|item| item.kind == ObjectKind::EventTrigger) {
            let function = trigger.definition.lines().find_map(|line| line.strip_prefix("execute "));
            let names = [
                Some((ObjectKind::EventTrigger, trigger.name.clone())),
                function.map(|name| (ObjectKind::Function, name.to_owned())),
            ];
            let names: Vec<(ObjectKind, String)> = names.into_iter().flatten().collect();
            if names.iter().all(|(kind, name)| target.inventory.find(*kind, name) == backup.find(*kind, name))
            {
                found.equal.extend(names);
            } else if backup.find(trigger.kind, &trigger.name).is_none() {
                found.extra.extend(names);
            }
        }
        // A function that another trigger needs cannot be both.
        found.extra.retain(|name| !found.equal.contains(name));
        found
    }
}

/// Takes out of the archive what the target has already, equal.
pub(super) fn leave_out_equal(entries: &mut Vec<Entry>, equal: &BTreeSet<(ObjectKind, String)>) {
    entries.retain(|entry| {
        let is_equal = |kind: ObjectKind, name: &str| {
            equal.iter().any(|(found, other)| *found == kind && name_parts(other).concat() == name)
        };
        match (entry.kind.as_str(), &entry.schema) {
            ("EVENT TRIGGER", _) => !is_equal(ObjectKind::EventTrigger, &entry.tag),
            ("FUNCTION", Some(schema)) => !is_equal(ObjectKind::Function, &format!("{schema}{}", entry.tag)),
            _ => true,
        }
    });
}

/// Whether an item of an inventory is what pg_dump calls so.
pub(super) fn is_item_of(item: &Item, kind: &str, schema: Option<&str>, tag: &str) -> bool {
    let parts = name_parts(&item.name);
    match (item.kind, kind, parts.as_slice()) {
        (ObjectKind::Policy, "POLICY", [own, table, name])
        | (ObjectKind::Trigger, "TRIGGER", [own, table, name]) => {
            Some(own.as_str()) == schema && tag == format!("{table} {name}")
        }
        (ObjectKind::EventTrigger, "EVENT TRIGGER", [name])
        | (ObjectKind::Publication, "PUBLICATION", [name]) => name == tag,
        _ => false,
    }
}

/// Leaves in an inventory only what is the user's.
pub(crate) fn keep_users(inventory: &mut Inventory, hosting: &Hosting) {
    if hosting.platform == Platform::Plain {
        return;
    }
    inventory.items.retain(|item| is_users(item, hosting));
    inventory.privileges.retain(|held| {
        let schema = name_parts(&held.name).into_iter().next().unwrap_or_default();
        !held.target.is_empty() && (!names_a_schema(&held.target) || hosting.keeper(&schema) == Keeper::User)
    });
}

fn is_users(item: &Item, hosting: &Hosting) -> bool {
    let schema = || name_parts(&item.name).into_iter().next().unwrap_or_default();
    let in_users_schema = || hosting.keeper(&schema()) == Keeper::User;
    match item.kind {
        ObjectKind::Policy => true,
        ObjectKind::Trigger => in_users_schema() || runs_users_function(&item.definition, hosting),
        ObjectKind::EventTrigger => !item.owner.as_deref().is_some_and(|role| hosting.is_service_role(role)),
        ObjectKind::Comment | ObjectKind::SecurityLabel => !mentions_platform(&item.name, hosting),
        ObjectKind::Schema => in_users_schema(),
        kind => !kind.is_in_schema() || in_users_schema(),
    }
}

/// Whether what GRANT calls so is in a schema, or is one.
fn names_a_schema(target: &str) -> bool {
    !matches!(
        target,
        "DATABASE" | "LANGUAGE" | "FOREIGN DATA WRAPPER" | "FOREIGN SERVER" | "LARGE OBJECT" | "PARAMETER"
    )
}

/// Whether a remark (`table auth.users`, `trigger t on auth.users`, `schema auth`) is on something
/// in a schema of the platform.
fn mentions_platform(name: &str, hosting: &Hosting) -> bool {
    hosting.managed.iter().chain(&hosting.internal).any(|schema| {
        name.contains(&format!(" {schema}.")) || name.strip_prefix("schema ") == Some(schema.as_str())
    })
}

/// Whether a trigger's function, as its definition names it, is the user's.
fn runs_users_function(definition: &str, hosting: &Hosting) -> bool {
    let Some(function) = executed(definition) else { return false };
    let parts = name_parts(function);
    parts.len() > 1 && parts.first().is_some_and(|schema| hosting.keeper(schema) == Keeper::User)
}

/// The function in `… EXECUTE FUNCTION schema.name(…)`, outside of quotes.
pub(super) fn executed(definition: &str) -> Option<&str> {
    let mut quote = None;
    for (index, character) in definition.char_indices() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '\'' | '"') => quote = Some(character),
            (None, 'E') => {
                let rest = definition.get(index..).unwrap_or_default();
                let function = ["EXECUTE FUNCTION ", "EXECUTE PROCEDURE "]
                    .into_iter()
                    .find_map(|words| rest.strip_prefix(words));
                if let Some(function) = function {
                    return Some(up_to_arguments(function));
                }
            }
            _ => {}
        }
    }
    None
}

fn up_to_arguments(function: &str) -> &str {
    let mut quoted = false;
    let end = function.find(|character| {
        quoted ^= character == '"';
        character == '(' && !quoted
    });
    function.get(..end.unwrap_or(function.len())).unwrap_or(function)
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::sample;
    use super::*;
    use crate::platform::Platform;

    fn supabase() -> Hosting {
        let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect();
        Hosting {
            platform: Platform::Supabase,
            managed: names(&["auth", "storage"]),
            internal: names(&["vault", "extensions"]),
        }
    }

    fn in_schema(schema: &str, kind: &str, tag: &str, definition: &str) -> Entry {
        let mut entry = sample(1, kind, tag, &[]);
        entry.schema = Some(schema.into());
        entry.definition = definition.into();
        entry
    }

    #[test]
    fn only_the_users_triggers_and_policies_of_managed_tables_are_restored() {
        let trigger = |function: &str| {
            let text = format!(
                "CREATE TRIGGER t AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION {function}();"
            );
            in_schema("auth", "TRIGGER", "users t", &text)
        };
        let here = supabase();
        for (entry, restored) in [
            (in_schema("auth", "TABLE", "users", ""), false),
            (in_schema("auth", "INDEX", "users_pkey", ""), false),
            (trigger("public.new_user"), true),
            (trigger("auth.touch"), false),
            (in_schema("storage", "POLICY", "objects mine", "CREATE POLICY …"), true),
            (in_schema("public", "TABLE", "users", ""), true),
        ] {
            assert_eq!(is_restored(&entry, &here, &here), restored, "{entry:?}");
            assert!(is_restored(&entry, &here, &Hosting::default()), "{entry:?}");
        }
    }

    #[test]
    fn event_triggers_of_the_platform_are_never_restored() {
        let mut entry = sample(1, "EVENT TRIGGER", "pgrst_ddl_watch", &[]);
        entry.schema = None;
        entry.owner = Some("supabase_admin".into());
        assert!(!is_restored(&entry, &supabase(), &Hosting::default()));
        entry.owner = Some("postgres".into());
        assert!(is_restored(&entry, &supabase(), &supabase()));
    }

    #[test]
    fn a_function_is_found_outside_of_quotes_only() {
        for (definition, function) in [
            ("… EXECUTE FUNCTION public.f()", Some("public.f")),
            ("… WHEN (new.a = 'EXECUTE FUNCTION auth.g()') EXECUTE FUNCTION public.f('x')", Some("public.f")),
            ("… EXECUTE PROCEDURE \"My (schema)\".\"f\"()", Some("\"My (schema)\".\"f\"")),
            ("CREATE POLICY p", None),
        ] {
            assert_eq!(executed(definition), function, "{definition}");
        }
    }

    #[test]
    fn an_inventory_keeps_what_is_the_users() {
        let item = |kind, name: &str, definition: &str| Item {
            kind,
            name: name.into(),
            owner: None,
            definition: definition.into(),
        };
        let users = item(ObjectKind::Trigger, "auth.users.t", "… EXECUTE FUNCTION public.f()");
        let mut inventory = Inventory {
            items: vec![
                item(ObjectKind::Table, "auth.users", ""),
                item(ObjectKind::Schema, "auth", ""),
                item(ObjectKind::Table, "public.users", ""),
                users.clone(),
                item(ObjectKind::Comment, "table auth.users", ""),
                item(ObjectKind::Comment, "table public.users", ""),
            ],
            privileges: Vec::new(),
        };
        keep_users(&mut inventory, &supabase());
        let names: Vec<&str> = inventory.items.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(names, ["public.users", "auth.users.t", "table public.users"]);
    }

    #[test]
    fn tags_come_apart_at_the_tables_name() {
        let tables = [("auth".to_owned(), "users".to_owned()), ("auth".to_owned(), "users x".to_owned())];
        let entry = in_schema("auth", "TRIGGER", "users on signup", "");
        let (table, name) = attached_name(&entry, tables.iter()).unwrap();
        assert_eq!((table.1.as_str(), name.as_str()), ("users", "on signup"));
    }

    #[test]
    fn policies_on_the_platforms_tables_are_missed_and_compared_by_their_statements() {
        let policy = |name: &str, statement: &str| PolicyStatement {
            schema: "vault".into(),
            table: "messages".into(),
            name: name.into(),
            statement: statement.into(),
        };
        let said = ["CREATE POLICY a;", "CREATE POLICY b;", "CREATE POLICY c;"];
        let tags = ["messages a", "messages b", "messages c"];
        let made = tags.iter().zip(said).map(|(tag, sql)| in_schema("vault", "POLICY", tag, sql));
        let made: Vec<Entry> = made.collect();
        let found = [policy("a", said[0]), policy("b", "CREATE POLICY b USING (true);")];
        let chosen = policies_of_platforms_tables(made.iter(), &supabase());
        assert_eq!(chosen.len(), 3);
        let told = different_policies(chosen.iter().copied(), &found, false);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].ends_with("differs") && told[1].ends_with("is missing"), "{told:?}");
        assert_eq!(different_policies(chosen.into_iter(), &found, true), told[1..]);
    }
}
