//! Readable files beside the data: what is in the backup, for people and for plain tools. Pure.
//!
//! A restore reads none of them. They are made from the same snapshot as everything else, or taken
//! over with the definitions that they show.

use std::fmt::Write as _;

use crate::archive::Entry;
use crate::inventory::catalog::{Catalog, Role};
use crate::postgres::identifier::{quote_identifier, quote_setting};
use crate::repository::format::manifest::Manifest;

/// A file of the backup's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sidecar {
    pub(super) name: &'static str,
    pub(super) content: String,
}

/// Names of what [`of_definitions`] makes from a catalog alone.
pub(super) const OF_CATALOG: [&str; 4] =
    ["extensions.tsv", "extensions.sql", "view_options.tsv", "roles.sql"];
/// Names of what [`of_definitions`] makes from a schema archive.
pub(super) const OF_ARCHIVE: [&str; 3] = ["schema.sql", "grants.sql", "publications.sql"];

/// The sidecar that shows the backup itself.
pub(super) fn of_backup(manifest: &Manifest, pg_dump: Option<&str>) -> Sidecar {
    Sidecar { name: "version.txt", content: version(manifest, pg_dump) }
}

/// The sidecars that show definitions; `entries` is the schema archive's table of contents, empty
/// when there is none.
pub(super) fn of_definitions(catalog: &Catalog, entries: &[Entry]) -> Vec<Sidecar> {
    let mut list = vec![
        Sidecar { name: "extensions.tsv", content: extensions_table(catalog) },
        Sidecar { name: "extensions.sql", content: extensions(catalog) },
        Sidecar { name: "view_options.tsv", content: view_options(catalog) },
        Sidecar { name: "roles.sql", content: roles(catalog) },
    ];
    if !entries.is_empty() {
        let is_grant = |entry: &&Entry| matches!(entry.kind.as_str(), "ACL" | "DEFAULT ACL");
        let is_platforms =
            |entry: &Entry| entry.owner.as_ref().is_some_and(|owner| catalog.hosting.is_service_role(owner));
        let is_publication = |entry: &&Entry| entry.kind.starts_with("PUBLICATION") && !is_platforms(entry);
        let rest = entries.iter().filter(|entry| !is_grant(entry));
        list.push(Sidecar { name: "schema.sql", content: statements(rest) + &policies(catalog) });
        list.push(Sidecar { name: "grants.sql", content: statements(entries.iter().filter(is_grant)) });
        list.push(Sidecar {
            name: "publications.sql",
            content: statements(entries.iter().filter(is_publication)),
        });
    }
    list
}

fn version(manifest: &Manifest, pg_dump: Option<&str>) -> String {
    let source = &manifest.source;
    let mut text = format!(
        "backup         {}\nsnapshot       {} at {}\nserver         PostgreSQL {}\ndatabase       {}\n\
         encoding       {}\ncollate        {}\nctype          {}\nwritten by     pgstow {}\n",
        manifest.backup,
        manifest.snapshot.id,
        manifest.snapshot.taken_at,
        source.server_version,
        one_line(&source.database),
        source.encoding,
        source.collate,
        source.ctype,
        env!("CARGO_PKG_VERSION"),
    );
    if let Some(version) = pg_dump {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "pg_dump        {version}");
    }
    text
}

fn extensions_table(catalog: &Catalog) -> String {
    let mut text = String::from("name\tversion\tschema\n");
    for extension in &catalog.extensions {
        let _ = writeln!(
            text,
            "{}\t{}\t{}",
            one_line(&extension.name),
            one_line(&extension.version),
            one_line(&extension.schema)
        );
    }
    text
}

fn extensions(catalog: &Catalog) -> String {
    let mut text = String::new();
    for extension in &catalog.extensions {
        let _ = writeln!(
            text,
            "CREATE EXTENSION IF NOT EXISTS {} WITH SCHEMA {};",
            quote_identifier(&extension.name),
            quote_identifier(&extension.schema)
        );
    }
    text
}

fn view_options(catalog: &Catalog) -> String {
    let mut text = String::from("view\toptions\n");
    for view in &catalog.view_options {
        let _ = writeln!(text, "{}\t{}", one_line(&view.view), one_line(&view.options.join(", ")));
    }
    text
}

/// Policies on tables of which the schema archive holds nothing.
fn policies(catalog: &Catalog) -> String {
    let mut text = String::new();
    for policy in &catalog.policies {
        let (name, table) = (one_line(&policy.name), one_line(&policy.table));
        let _ = write!(
            text,
            "\n-- POLICY {table} {name} in {}\n\n{}\n",
            one_line(&policy.schema),
            policy.statement
        );
    }
    text
}

/// Roles without their passwords: those have to be set anew. Roles that the platform makes come last.
fn roles(catalog: &Catalog) -> String {
    let (reserved, own): (Vec<&Role>, Vec<&Role>) =
        catalog.roles.iter().partition(|role| catalog.hosting.is_reserved(&role.name));
    let mut text = role_statements(&own);
    if !reserved.is_empty() {
        let _ = writeln!(text, "\n-- {} makes these roles itself.\n", catalog.hosting.platform);
        text.push_str(&role_statements(&reserved));
    }
    text
}

fn role_statements(roles: &[&Role]) -> String {
    let mut text = String::new();
    for role in roles {
        let _ = writeln!(text, "CREATE ROLE {} {};", quote_identifier(&role.name), role.attributes);
    }
    for role in roles {
        for parent in &role.member_of {
            let _ = writeln!(text, "GRANT {} TO {};", quote_identifier(parent), quote_identifier(&role.name));
        }
        for setting in role_settings(role) {
            let _ = writeln!(text, "{setting}");
        }
    }
    text
}

fn role_settings(role: &Role) -> impl Iterator<Item = String> {
    role.settings.iter().filter_map(|setting| {
        let (name, value) = setting.split_once('=')?;
        Some(format!("ALTER ROLE {} SET {};", quote_identifier(&role.name), quote_setting(name, value)))
    })
}

/// The definitions of entries, each below a comment that names it.
fn statements<'e>(entries: impl Iterator<Item = &'e Entry>) -> String {
    let mut text = String::from("SET check_function_bodies = false;\n");
    for entry in entries.filter(|entry| !entry.definition.trim().is_empty()) {
        let schema = entry.schema.as_deref().filter(|schema| !schema.is_empty());
        let place = schema.map(|schema| format!(" in {}", one_line(schema))).unwrap_or_default();
        let owner = entry.owner.as_deref().filter(|owner| !owner.is_empty());
        let owner = owner.map(|owner| format!(", owner {}", one_line(owner))).unwrap_or_default();
        let _ = write!(
            text,
            "\n-- {} {}{place}{owner}\n\n{}",
            entry.kind,
            one_line(&entry.tag),
            entry.definition
        );
        if !entry.definition.ends_with('\n') {
            text.push('\n');
        }
    }
    text
}

/// A name on one line: a comment must not end where a name holds a line break.
fn one_line(name: &str) -> String {
    let mut line = String::with_capacity(name.len());
    for character in name.chars() {
        if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Section;
    use crate::inventory::catalog::{Extension, PolicyStatement};
    use crate::platform::{Hosting, Platform};

    fn table(tag: &str, schema: &str) -> Entry {
        Entry {
            id: 1,
            kind: "TABLE".into(),
            catalog_oid: 1259,
            oid: 1,
            tag: tag.into(),
            schema: Some(schema.into()),
            owner: Some("o".into()),
            tablespace: None,
            access_method: None,
            relation_kind: None,
            definition: "CREATE TABLE …;".into(),
            drop_statement: String::new(),
            dependencies: Vec::new(),
            section: Section::PreData,
        }
    }

    #[test]
    fn a_name_with_a_line_break_cannot_leave_its_comment() {
        let entry = table("a\n; DROP TABLE x; --", "s\r\nt");
        let text = statements([&entry].into_iter());
        assert!(text.lines().all(|line| !line.starts_with("; DROP")), "{text}");
        assert!(text.contains("-- TABLE a\\n; DROP TABLE x; -- in s\\r\\nt, owner o\n"), "{text}");
    }

    #[test]
    fn roles_carry_settings_and_memberships_with_every_name_quoted() {
        let role = Role {
            name: "we\"ird".into(),
            attributes: "NOLOGIN".into(),
            member_of: vec!["group one".into()],
            settings: vec!["search_path=a, b".into(), "app.key=x=y'z".into()],
        };
        let text = roles(&Catalog { roles: vec![role], ..Catalog::default() });
        assert!(text.contains("CREATE ROLE \"we\"\"ird\" NOLOGIN;"), "{text}");
        assert!(text.contains("GRANT \"group one\" TO \"we\"\"ird\";"), "{text}");
        assert!(text.contains("SET \"app.key\" TO 'x=y''z';"), "{text}");
        assert!(text.contains("SET \"search_path\" TO a, b;"), "{text}");
    }

    #[test]
    fn what_the_platform_makes_itself_stands_apart() {
        let role = |name: &str| Role {
            name: name.into(),
            attributes: "NOLOGIN".into(),
            member_of: Vec::new(),
            settings: Vec::new(),
        };
        let policy = PolicyStatement {
            schema: "realtime".into(),
            table: "messages".into(),
            name: "a\nb".into(),
            statement: "CREATE POLICY x;".into(),
        };
        let catalog = Catalog {
            hosting: Hosting { platform: Platform::Supabase, ..Hosting::default() },
            roles: vec![role("anon"), role("shop")],
            policies: vec![policy],
            ..Catalog::default()
        };
        assert_eq!(
            roles(&catalog),
            "CREATE ROLE \"shop\" NOLOGIN;\n\n-- Supabase makes these roles itself.\n\nCREATE ROLE \"anon\" NOLOGIN;\n"
        );
        let publication = |owner: &str| Entry {
            kind: "PUBLICATION".into(),
            owner: Some(owner.into()),
            definition: format!("CREATE PUBLICATION of_{owner};"),
            ..table("p", "")
        };
        let files = of_definitions(&catalog, &[publication("supabase_admin"), publication("postgres")]);
        let content = |name| &files.iter().find(|file| file.name == name).unwrap().content;
        let publications = content("publications.sql");
        assert!(publications.contains("of_postgres") && !publications.contains("of_supabase_admin"));
        let schema = content("schema.sql");
        assert!(schema.ends_with("\n-- POLICY messages a\\nb in realtime\n\nCREATE POLICY x;\n"), "{schema}");
    }

    #[test]
    fn the_names_of_sidecars_are_those_that_are_made() {
        let names = |entries: &[Entry]| -> Vec<&str> {
            of_definitions(&Catalog::default(), entries).iter().map(|sidecar| sidecar.name).collect()
        };
        assert_eq!(names(&[]), OF_CATALOG);
        let entry = table("t", "s");
        assert_eq!(names(&[entry]), [&OF_CATALOG[..], &OF_ARCHIVE].concat());
    }

    #[test]
    fn extensions_are_listed_and_can_be_created_from_the_file() {
        let extension =
            Extension { name: "uuid-ossp".into(), version: "1.1".into(), schema: "extensions".into() };
        let catalog = Catalog { extensions: vec![extension], ..Catalog::default() };
        assert_eq!(extensions_table(&catalog), "name\tversion\tschema\nuuid-ossp\t1.1\textensions\n");
        assert!(extensions(&catalog).contains("\"uuid-ossp\" WITH SCHEMA \"extensions\""));
    }
}
