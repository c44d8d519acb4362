//! Names, comments and rows that try to be something else: statements, commands of psql, ends of rows.

use super::tools::{export, pg_restore, psql, unpacked};
use crate::support::oracle;
use crate::support::servers;
use crate::support::workspace::Workspace;

/// What psql would run if it saw it.
const TOUCH: &str = "\\! touch ran";

#[test]
fn names_stay_names() {
    let server = servers::shared(15);
    let source = server.database("source");
    let name = format!("x\n{TOUCH}\n\\.\n'; \"\" $$ -- /* \\");
    let quoted = format!("\"{}\"", name.replace('"', "\"\""));
    let mood = quoted.replacen('x', "mood", 1);
    let literal = format!("'{}'", name.replace('\'', "''"));
    source.run(&format!(
        "SET check_function_bodies = off; CREATE SCHEMA {quoted}; CREATE TYPE {quoted}.{mood} AS ENUM ({literal});
         CREATE TABLE {quoted}.{quoted} ({quoted} {quoted}.{mood}, t text DEFAULT {literal}, CONSTRAINT {quoted} CHECK (t <> ''));
         INSERT INTO {quoted}.{quoted} VALUES ({literal}, {literal}), (NULL, '\\.'), (NULL, E'a\\n\\\\.\\n{TOUCH}');
         COMMENT ON TABLE {quoted}.{quoted} IS {literal}; CREATE SEQUENCE {quoted}.seq; SELECT nextval('{}.seq');
         CREATE FUNCTION {quoted}.f() RETURNS text LANGUAGE plpgsql AS {literal};
         CREATE VIEW {quoted}.v AS SELECT {literal}::text AS {quoted}; CREATE MATERIALIZED VIEW {quoted}.m AS SELECT * FROM {quoted}.v;
         SELECT lo_create(99); COMMENT ON LARGE OBJECT 99 IS {literal}",
        quoted.replace('\'', "''")
    ));
    let before = oracle::state(&source);
    let workspace = Workspace::with_source(&source);
    let backup = workspace.backup(&[]);
    let custom = export(&workspace, &backup, "a.dump", &[]);
    let directory = export(&workspace, &backup, "a.dir", &[]);
    let tar = export(&workspace, &backup, "a.tar", &[]);
    let script = export(&workspace, &backup, "a.sql", &["--clean"]);
    let packed = unpacked(&export(&workspace, &backup, "a.sql.gz", &["--clean"]));
    for archive in [&custom, &directory, &tar] {
        let target = server.database("target");
        pg_restore("client", archive, &target, &[]);
        oracle::assert_same(&before, &oracle::state(&target));
    }
    for script in [&script, &packed] {
        let target = server.database("target");
        psql("client", script, &target, &[]);
        psql("client", script, &target, &[]);
        oracle::assert_same(&before, &oracle::state(&target));
    }
    assert!(!std::path::Path::new("ran").exists(), "psql ran a command");
}
