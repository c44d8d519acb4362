//! What a database holds, as stock programs and the server itself say: nothing here is pgstow's.

use std::collections::BTreeMap;

use super::psql::Database;
use super::stock;

/// Makes text output depend on the data alone.
const SETTINGS: &str = "
SET search_path = ''; SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres';
SET extra_float_digits = 3; SET bytea_output = 'hex'; SET lc_monetary = 'C'; SET row_security = off;
SET xmlbinary = 'base64'; SET statement_timeout = 0;
";

/// Rows and checksum of every table that has rows of its own, and of every populated materialized
/// view. Hash partitions count as one table with their root: the hash of an enum depends on OIDs.
const CONTENTS: &str = r#"
SELECT format($query$
  SELECT json_build_array(%L, count(*), md5(coalesce(string_agg(md5(t::text), '' ORDER BY md5(t::text)), '')))
  FROM %s %I.%I AS t $query$,
  format('%I.%I', nspname, relname), CASE relkind WHEN 'p' THEN '' ELSE 'ONLY' END, nspname, relname)
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
WHERE (relkind IN ('r', 'm') AND relispopulated
       OR EXISTS (SELECT FROM pg_catalog.pg_partitioned_table WHERE partrelid = c.oid AND partstrat = 'h'))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_partition_ancestors(c.oid) AS ancestor
                  JOIN pg_catalog.pg_partitioned_table ON partrelid = ancestor
                  WHERE ancestor <> c.oid AND partstrat = 'h')
  AND nspname !~ '^pg_' AND nspname <> 'information_schema'
ORDER BY nspname COLLATE "C", relname COLLATE "C"
\gexec
"#;

/// Position of every sequence: what it gave last and whether it did.
const SEQUENCES: &str = r#"
SELECT format('SELECT json_build_array(%L, last_value, is_called) FROM %I.%I',
              format('%I.%I', nspname, relname), nspname, relname)
FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind = 'S' AND nspname !~ '^pg_'
ORDER BY nspname COLLATE "C", relname COLLATE "C"
\gexec
"#;

const LARGE_OBJECTS: &str = "
SELECT json_build_array(m.oid::int8, pg_get_userbyid(lomowner), lomacl::text, obj_description(m.oid, 'pg_largeobject'),
                        length(lo_get(m.oid)), md5(lo_get(m.oid)))
FROM pg_catalog.pg_largeobject_metadata AS m ORDER BY m.oid;
";

/// What pg_dump's text does not show.
const HIDDEN_STATE: &str = r#"
SELECT json_build_array('populated', format('%I.%I', nspname, relname), relispopulated)
FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind = 'm' ORDER BY nspname COLLATE "C", relname COLLATE "C";
SELECT json_build_array('extension', extname, extversion, nspname)
FROM pg_catalog.pg_extension JOIN pg_catalog.pg_namespace ON pg_namespace.oid = extnamespace
ORDER BY extname COLLATE "C";
"#;

/// Everything that is compared between a source and what was restored from it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Definitions, owners, privileges and comments: pg_dump's entries, by their headings.
    pub(crate) definitions: BTreeMap<String, Vec<String>>,
    /// Rows and checksums, as JSON lines.
    pub(crate) contents: Vec<String>,
    /// Positions of sequences, as JSON lines.
    pub(crate) sequences: Vec<String>,
    /// Large objects, as JSON lines.
    pub(crate) large_objects: Vec<String>,
    /// The rest, as JSON lines.
    pub(crate) hidden_state: Vec<String>,
}

/// Looks at a database.
pub(crate) fn state(database: &Database) -> State {
    let ask = |query: &str| database.lines(&format!("{SETTINGS}{query}"));
    State {
        definitions: entries(&schema_dump(database)),
        contents: ask(CONTENTS),
        sequences: ask(SEQUENCES),
        large_objects: ask(LARGE_OBJECTS),
        hidden_state: ask(HIDDEN_STATE),
    }
}

/// Stops the test at the first difference, and shows it.
pub(crate) fn assert_same(source: &State, restored: &State) {
    let headings = source.definitions.keys().chain(restored.definitions.keys());
    for heading in headings {
        let (before, after) = (source.definitions.get(heading), restored.definitions.get(heading));
        assert!(
            before == after,
            "{heading} differs\nsource:\n{}\nrestored:\n{}",
            before.map_or_else(|| "(none)".to_owned(), |texts| texts.join("\n")),
            after.map_or_else(|| "(none)".to_owned(), |texts| texts.join("\n"))
        );
    }
    assert_lines("contents", &source.contents, &restored.contents);
    assert_lines("sequences", &source.sequences, &restored.sequences);
    assert_lines("large objects", &source.large_objects, &restored.large_objects);
    assert_lines("state", &source.hidden_state, &restored.hidden_state);
}

fn assert_lines(what: &str, source: &[String], restored: &[String]) {
    for (before, after) in source.iter().zip(restored) {
        assert_eq!(before, after, "{what} differ: source left, restored right");
    }
    assert_eq!(source.len(), restored.len(), "{what}: one side has more");
}

/// Text of a stock `pg_dump --schema-only`.
pub(crate) fn schema_dump(database: &Database) -> String {
    let output =
        stock::succeeds(stock::program(database, "pg_dump").args(["--schema-only", "-d", &database.name]));
    String::from_utf8(output.stdout).expect("pg_dump writes UTF-8")
}

/// Cuts the text at its headings (`-- Name: t; Type: TABLE; Schema: s; Owner: o`). Their order is
/// not compared: it may depend on OIDs.
fn entries(dump: &str) -> BTreeMap<String, Vec<String>> {
    let mut entries: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut heading = String::from("settings");
    let mut body = String::new();
    for line in dump.lines() {
        // A token of its own for each run; says nothing of the database.
        if line.starts_with("\\restrict ") || line.starts_with("\\unrestrict ") || line == "--" {
            continue;
        }
        if line.starts_with("-- Name: ") && line.contains("; Type: ") {
            entries.entry(heading).or_default().push(std::mem::take(&mut body));
            heading = line.to_owned();
        } else {
            body.push_str(line);
            body.push('\n');
        }
    }
    entries.entry(heading).or_default().push(body);
    for (heading, texts) in &mut entries {
        if heading.contains("; Type: ACL; ") || heading.contains("; Type: DEFAULT ACL; ") {
            texts.iter_mut().for_each(|text| *text = sorted_grants(text));
        }
        texts.sort();
    }
    entries
}

/// The order of an access list means nothing; who granted does.
fn sorted_grants(text: &str) -> String {
    let mut grantor = "";
    let mut grants: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(role) = line.strip_prefix("SET SESSION AUTHORIZATION ") {
            grantor = role;
        } else if line == "RESET SESSION AUTHORIZATION;" {
            grantor = "";
        } else {
            grants.push(format!("{line} {grantor}"));
        }
    }
    grants.sort();
    grants.join("\n")
}
