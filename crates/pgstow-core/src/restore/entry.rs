//! What an archive's entry is to a restore: when it is replayed, who owns what it makes, what it
//! is called. Pure.

use crate::archive::{Entry, Section};
use crate::postgres::identifier::{display_name, quote_identifier, quote_literal};

/// When an entry is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Before the rows, one after the other in archive order.
    PreData,
    /// After the rows, by dependency, several at once.
    PostData,
    /// After privileges and materialized views: what would act on our own statements, or on the
    /// privileges of what we create.
    Late,
}

/// What a restore does with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// Its statements are run.
    Replayed(Phase),
    /// pgstow does the same in its own way: settings, rows, positions, privileges.
    Replaced,
    /// Never restored; a remark says so.
    LeftOut(&'static str),
}

/// What to do with an entry, judged by its kind and section alone: comments and labels, which
/// have no section, count as [`Phase::PreData`] here and follow their object in the plan.
pub(super) fn treatment(entry: &Entry) -> Treatment {
    match entry.kind.as_str() {
        "ENCODING"
        | "STDSTRINGS"
        | "SEARCHPATH"
        | "DATABASE"
        | "DATABASE PROPERTIES"
        | "ACL"
        | "TABLE DATA"
        | "SEQUENCE SET"
        | "BLOB"
        | "BLOBS"
        | "BLOB METADATA"
        | "BLOB COMMENTS"
        | "MATERIALIZED VIEW DATA"
        | "STATISTICS DATA" => Treatment::Replaced,
        "SUBSCRIPTION" | "SUBSCRIPTION TABLE" => {
            Treatment::LeftOut("a subscription would start to copy from its publisher; create it by hand")
        }
        "DEFAULT ACL"
        | "PUBLICATION"
        | "PUBLICATION TABLE"
        | "PUBLICATION TABLES IN SCHEMA"
        | "EVENT TRIGGER" => Treatment::Replayed(Phase::Late),
        "COMMENT" | "SECURITY LABEL" if entry.tag.starts_with("DATABASE ") => Treatment::Replaced,
        "COMMENT" | "SECURITY LABEL" if entry.tag.starts_with("LARGE OBJECT ") => Treatment::Replaced,
        _ if entry.definition.trim().is_empty() => Treatment::Replaced,
        _ => match entry.section {
            Section::None | Section::PreData => Treatment::Replayed(Phase::PreData),
            Section::Data | Section::PostData => Treatment::Replayed(Phase::PostData),
        },
    }
}

/// Whether the kind is owned by a role of its own.
fn has_owner(kind: &str) -> bool {
    matches!(
        kind,
        "AGGREGATE"
            | "COLLATION"
            | "CONVERSION"
            | "DOMAIN"
            | "EVENT TRIGGER"
            | "FOREIGN DATA WRAPPER"
            | "FOREIGN TABLE"
            | "FUNCTION"
            | "MATERIALIZED VIEW"
            | "OPERATOR"
            | "OPERATOR CLASS"
            | "OPERATOR FAMILY"
            | "PROCEDURAL LANGUAGE"
            | "PROCEDURE"
            | "PUBLICATION"
            | "SCHEMA"
            | "SEQUENCE"
            | "SERVER"
            | "STATISTICS"
            | "TABLE"
            | "TEXT SEARCH CONFIGURATION"
            | "TEXT SEARCH DICTIONARY"
            | "TYPE"
            | "VIEW"
    )
}

/// The object as ALTER names it (`FUNCTION public.f(integer)`), taken from the statement that
/// drops it; `None` for entries whose object has no owner of its own.
fn altered(entry: &Entry) -> Option<&str> {
    if !has_owner(&entry.kind) {
        return None;
    }
    let statement = entry.drop_statement.trim_end_matches(['\n', ';', ' ']);
    let object = statement.strip_prefix("DROP ")?;
    // A base type and its functions need each other.
    let object = object.strip_suffix(" CASCADE").unwrap_or(object);
    Some(object.strip_prefix("IF EXISTS ").unwrap_or(object))
}

/// The role that owns what the entry makes, where the kind has owners.
pub(super) fn owner(entry: &Entry) -> Option<&str> {
    let is_public = entry.kind == "SCHEMA" && entry.tag == "public";
    if is_public || altered(entry).is_some() { entry.owner.as_deref() } else { None }
}

/// The statement that gives the object to `role`; `None` as for [`owner`].
pub(crate) fn owner_statement(entry: &Entry, role: &str) -> Option<String> {
    if entry.kind == "SCHEMA" && entry.tag == "public" {
        return Some(format!("ALTER SCHEMA public OWNER TO {};", quote_identifier(role)));
    }
    altered(entry).map(|object| format!("ALTER {object} OWNER TO {};", quote_identifier(role)))
}

/// What to know of the target to run an entry's statements there.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// Whether a tablespace exists.
    pub(super) has_tablespace: &'a (dyn Fn(&str) -> bool + Sync),
    /// Whether a table access method exists.
    pub(super) has_access_method: &'a (dyn Fn(&str) -> bool + Sync),
    /// Whether a schema exists.
    pub(super) has_schema: &'a (dyn Fn(&str) -> bool + Sync),
    /// Whether a publication exists and stays: it is altered.
    pub(super) has_publication: &'a (dyn Fn(&str) -> bool + Sync),
    /// Whether a function of that schema and name stays: it is replaced.
    pub(super) has_function: &'a (dyn Fn(&str, &str) -> bool + Sync),
    /// The schema of an extension, where that is neither there nor in the archive.
    pub(super) schema_for_extension: &'a (dyn Fn(&str) -> Option<String> + Sync),
}

/// The statements that create the object, with the settings they need before them; none for a
/// schema that exists.
pub(super) fn statements(entry: &Entry, surroundings: &Surroundings<'_>) -> String {
    if entry.kind == "SCHEMA" {
        let exists = (surroundings.has_schema)(&entry.tag);
        let name = quote_identifier(&entry.tag);
        return if exists { String::new() } else { format!("CREATE SCHEMA {name};\n") };
    }
    if entry.kind == "PUBLICATION" && (surroundings.has_publication)(&entry.tag) {
        return altered_publication(entry);
    }
    let mut statements = String::new();
    if entry.kind == "EXTENSION"
        && let Some(schema) = (surroundings.schema_for_extension)(&entry.tag)
    {
        statements.push_str(&format!("CREATE SCHEMA IF NOT EXISTS {};\n", quote_identifier(&schema)));
    }
    if let Some(tablespace) = &entry.tablespace {
        let known = if (surroundings.has_tablespace)(tablespace) { tablespace.as_str() } else { "" };
        statements.push_str(&format!("SET default_tablespace = {};\n", quote_literal(known).trim_start()));
    }
    let method = entry.access_method.as_deref().filter(|method| (surroundings.has_access_method)(method));
    let partitioned = entry.relation_kind == Some('p');
    if entry.access_method.is_some() && !partitioned {
        let method = quote_identifier(method.unwrap_or("heap"));
        statements.push_str(&format!("SET default_table_access_method = {method};\n"));
    }
    match (entry.kind.as_str(), &entry.schema, entry.definition.strip_prefix("CREATE FUNCTION ")) {
        ("FUNCTION", Some(schema), Some(rest))
            if (surroundings.has_function)(schema, function_name(&entry.tag)) =>
        {
            statements.push_str("CREATE OR REPLACE FUNCTION ");
            statements.push_str(rest);
        }
        _ => statements.push_str(&entry.definition),
    }
    if !entry.definition.trim_end().ends_with(';') {
        statements.push_str(";\n");
    }
    if let (true, Some(method), Some(object)) = (partitioned, method, altered(entry)) {
        statements.push_str(&format!("ALTER {object} SET ACCESS METHOD {};\n", quote_identifier(method)));
    }
    if entry.kind == "EXTENSION" {
        // Scripts of extensions may change the session (PostGIS adds to search_path).
        statements.push_str("SELECT pg_catalog.set_config('search_path', '', false);\n");
    }
    statements
}

/// The name in pg_dump's tag of a function, `name(arguments)`.
fn function_name(tag: &str) -> &str {
    tag.split_once('(').map_or(tag, |(name, _)| name)
}

/// Gives a publication that exists the options of the archive's; its tables have entries of their own.
fn altered_publication(entry: &Entry) -> String {
    let name = quote_identifier(&entry.tag);
    let options = entry.definition.trim_end().trim_end_matches(';').rsplit_once(" WITH (");
    match options {
        // The archive names options only where they are not the default.
        Some((_, options)) => format!(
            "ALTER PUBLICATION {name} SET (publish_via_partition_root = false);\n\
             ALTER PUBLICATION {name} SET ({options};\n"
        ),
        None => String::new(),
    }
}

/// The entry's object for people: `table public.orders`, `index public.orders_pkey`.
pub(crate) fn name(entry: &Entry) -> String {
    let kind = match entry.kind.as_str() {
        "FK CONSTRAINT" => "foreign key".to_owned(),
        "ROW SECURITY" => "row-level security of table".to_owned(),
        "DEFAULT ACL" => "default privileges".to_owned(),
        "PROCEDURAL LANGUAGE" => "language".to_owned(),
        kind => kind.to_lowercase(),
    };
    let on_table = matches!(
        entry.kind.as_str(),
        "CONSTRAINT" | "CHECK CONSTRAINT" | "FK CONSTRAINT" | "TRIGGER" | "RULE" | "POLICY" | "DEFAULT"
    );
    let plain = matches!(entry.kind.as_str(), "TABLE" | "VIEW" | "MATERIALIZED VIEW" | "SEQUENCE" | "INDEX")
        || matches!(
            entry.kind.as_str(),
            "FOREIGN TABLE" | "TYPE" | "DOMAIN" | "ROW SECURITY" | "TABLE ATTACH"
        );
    match &entry.schema {
        Some(schema) if plain => format!("{kind} {}", display_name(schema, &entry.tag)),
        Some(schema) if on_table && entry.tag.matches(' ').count() == 1 => {
            let (table, object) = entry.tag.split_once(' ').unwrap_or((&entry.tag, ""));
            format!("{kind} {object} on {}", display_name(schema, table))
        }
        Some(schema) => format!("{kind} {}.{}", visible(schema), visible(&entry.tag)),
        None => format!("{kind} {}", visible(&entry.tag)),
    }
}

/// `text` with control characters escaped.
pub(super) fn visible(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

/// Statements as one line that can be run: line breaks outside quotes become blanks, everything else
/// that cannot be seen is shown.
pub(super) fn on_one_line(statements: &str) -> String {
    let (mut line, mut quote) = (String::new(), None);
    for c in statements.trim().chars() {
        match quote {
            None if c.is_whitespace() => {
                if !line.ends_with(' ') {
                    line.push(' ');
                }
                continue;
            }
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        line.push(c);
    }
    visible(&line)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn statements_on_one_line_can_be_run() {
        let several = "CREATE EVENT TRIGGER t ON sql_drop\n   EXECUTE FUNCTION f();\n\nALTER EVENT TRIGGER t DISABLE;\n";
        assert_eq!(
            on_one_line(several),
            "CREATE EVENT TRIGGER t ON sql_drop EXECUTE FUNCTION f(); ALTER EVENT TRIGGER t DISABLE;"
        );
        assert_eq!(
            on_one_line("USING (a = 'it''s  \n so')\n AND \"b  c\";"),
            "USING (a = 'it''s  \\n so') AND \"b  c\";"
        );
    }

    pub(in crate::restore) fn sample(id: i32, kind: &str, tag: &str, dependencies: &[i32]) -> Entry {
        let section = match kind {
            "COMMENT" => Section::None,
            "INDEX" | "CONSTRAINT" | "FK CONSTRAINT" | "TRIGGER" | "POLICY" | "ROW SECURITY" => {
                Section::PostData
            }
            "INDEX ATTACH" | "STATISTICS" | "RULE" | "PUBLICATION" | "EVENT TRIGGER" => Section::PostData,
            _ => Section::PreData,
        };
        Entry {
            id,
            kind: kind.into(),
            catalog_oid: 0,
            oid: 0,
            tag: tag.into(),
            schema: Some("public".into()),
            owner: Some("app".into()),
            tablespace: None,
            access_method: None,
            relation_kind: None,
            definition: format!("CREATE {kind} public.{tag};\n"),
            drop_statement: format!("DROP {kind} public.{tag};\n"),
            dependencies: dependencies.to_vec(),
            section,
        }
    }

    fn surroundings(known: bool) -> Surroundings<'static> {
        if known {
            Surroundings {
                has_tablespace: &|_| true,
                has_access_method: &|_| true,
                has_schema: &|_| true,
                has_publication: &|_| true,
                has_function: &|_, _| true,
                schema_for_extension: &|_| None,
            }
        } else {
            Surroundings {
                has_tablespace: &|_| false,
                has_access_method: &|_| false,
                has_schema: &|_| false,
                has_publication: &|_| false,
                has_function: &|_, _| false,
                schema_for_extension: &|_| Some("Ext".to_owned()),
            }
        }
    }

    #[test]
    fn owners_are_set_by_the_words_that_drop_the_object() {
        let mut function = sample(1, "FUNCTION", "f", &[]);
        function.drop_statement = "DROP FUNCTION public.f(a integer, \"b;\" text);\n".into();
        assert_eq!(
            owner_statement(&function, "the \"boss\"").unwrap(),
            "ALTER FUNCTION public.f(a integer, \"b;\" text) OWNER TO \"the \"\"boss\"\"\";"
        );
        assert_eq!(owner(&function), Some("app"));
    }

    #[test]
    fn kinds_without_an_owner_and_identity_sequences_get_no_owner_statement() {
        for kind in ["INDEX", "TRIGGER", "POLICY", "CAST", "DEFAULT", "USER MAPPING"] {
            assert_eq!(owner_statement(&sample(1, kind, "x", &[]), "app"), None, "{kind}");
        }
        let mut identity = sample(1, "SEQUENCE", "s", &[]);
        identity.drop_statement.clear();
        assert_eq!(owner_statement(&identity, "app"), None);
        assert_eq!(owner(&identity), None);
    }

    #[test]
    fn unknown_tablespaces_and_access_methods_fall_back() {
        let mut table = sample(1, "TABLE", "t", &[]);
        table.tablespace = Some("fast".into());
        table.access_method = Some("columnar".into());
        let (here, there) = (surroundings(true), surroundings(false));
        assert!(statements(&table, &here).starts_with("SET default_tablespace = 'fast';\n"));
        assert!(statements(&table, &here).contains("default_table_access_method = \"columnar\";"));
        assert!(statements(&table, &there).starts_with("SET default_tablespace = '';\n"));
        assert!(statements(&table, &there).contains("default_table_access_method = \"heap\";"));
    }

    #[test]
    fn a_schema_that_exists_is_not_created_again() {
        let mut public = sample(1, "SCHEMA", "public", &[]);
        public.definition = "-- *not* creating schema, since initdb creates it\n".into();
        public.drop_statement.clear();
        assert_eq!(statements(&public, &surroundings(true)), "");
        assert_eq!(statements(&public, &surroundings(false)), "CREATE SCHEMA \"public\";\n");
        assert_eq!(owner_statement(&public, "app").unwrap(), "ALTER SCHEMA public OWNER TO \"app\";");
    }

    #[test]
    fn base_types_are_given_away_although_their_removal_cascades() {
        let mut word = sample(1, "TYPE", "word", &[]);
        word.drop_statement = "DROP TYPE public.word CASCADE;\n".into();
        assert_eq!(owner_statement(&word, "app").unwrap(), "ALTER TYPE public.word OWNER TO \"app\";");
    }

    #[test]
    fn a_publication_that_stays_is_altered() {
        let mut publication = sample(1, "PUBLICATION", "supabase_realtime", &[]);
        publication.definition =
            "CREATE PUBLICATION supabase_realtime WITH (publish = 'insert, update');\n".into();
        assert_eq!(
            statements(&publication, &surroundings(true)),
            "ALTER PUBLICATION \"supabase_realtime\" SET (publish_via_partition_root = false);\n\
             ALTER PUBLICATION \"supabase_realtime\" SET (publish = 'insert, update');\n"
        );
        assert!(statements(&publication, &surroundings(false)).starts_with("CREATE PUBLICATION"));
    }

    #[test]
    fn the_schema_of_an_extension_comes_before_it() {
        let mut extension = sample(1, "EXTENSION", "citext", &[]);
        extension.definition = "CREATE EXTENSION IF NOT EXISTS citext WITH SCHEMA \"Ext\";\n".into();
        assert!(
            statements(&extension, &surroundings(false))
                .starts_with("CREATE SCHEMA IF NOT EXISTS \"Ext\";\n")
        );
        assert!(statements(&extension, &surroundings(true)).starts_with("CREATE EXTENSION"));
    }

    #[test]
    fn names_for_people_hold_no_control_characters() {
        let mut entry = sample(1, "TABLE", "a\nb", &[]);
        assert_eq!(name(&entry), "table public.\"a\\nb\"");
        entry.kind = "COMMENT".into();
        assert_eq!(name(&entry), "comment public.a\\nb");
        assert_eq!(name(&sample(1, "FK CONSTRAINT", "t t_fkey", &[])), "foreign key t_fkey on public.t");
    }
}
