//! What a file may not do, and what is said before anything is changed.

use crate::ground::{dump, text, workspace};
use crate::support::oracle;
use crate::support::psql::Database;
use crate::support::servers::{self, DEFAULT_MAJOR};
use crate::support::workspace::Workspace;

fn small(major: u32) -> Database {
    let source = servers::shared(major).database("source");
    source.run(
        "CREATE TABLE a (id serial PRIMARY KEY, body text); CREATE VIEW v AS SELECT count(*) FROM a;
         INSERT INTO a (body) SELECT 'x' || n FROM generate_series(1, 500) AS n",
    );
    source
}

fn written(workspace: &Workspace, name: &str, content: &str) -> String {
    let path = workspace.path().join(name);
    std::fs::write(&path, content).expect("a file");
    text(&path).to_owned()
}

#[test]
fn a_filled_or_protected_target_is_kept_until_it_is_meant() {
    let source = small(DEFAULT_MAJOR);
    let before = oracle::state(&source);
    let target = servers::shared(DEFAULT_MAJOR).database("target");
    target.run("CREATE TABLE precious (n integer); INSERT INTO precious VALUES (1)");
    let untouched = oracle::state(&target);
    let workspace = workspace(&target);
    for (name, options) in [("custom", ["-Fc"]), ("plain", ["-Fp"])] {
        let file = dump(&source, &workspace, name, &options);
        let file = text(&file);
        workspace
            .run(&["restore", file, "--to", "dev"])
            .ended_with(4)
            .saying(&["not empty", "nothing was changed"]);
        workspace.run(&["restore", file, "--to", "dev", "--clean"]).ended_with(4).saying(&["--yes"]);
        let dry = workspace.run(&["restore", file, "--to", "dev", "--clean", "--dry-run"]).succeeded();
        dry.saying(&["would drop", "would load    500 rows", "nothing was changed"]);
        workspace.run(&["restore", file, "--to", "dev", "--clean", "--dry-run", "--json"]).succeeded();
        oracle::assert_same(&untouched, &oracle::state(&target));
    }
    std::fs::write(
        workspace.path().join("pgstow.toml"),
        format!("[env.live]\nurl = {:?}\nprotected = true\n", target.url()),
    )
    .expect("a file");
    let plain = workspace.path().join("plain");
    workspace
        .run(&["restore", text(&plain), "--to", "live", "--clean", "--yes"])
        .ended_with(4)
        .saying(&["protected"]);
    oracle::assert_same(&untouched, &oracle::state(&target));
    workspace.run(&["restore", text(&plain), "--to", "live", "--clean", "--yes=live"]).succeeded();
    oracle::assert_same(&before, &oracle::state(&target));
}

#[test]
fn a_file_of_a_newer_server_or_with_an_extension_that_is_missing_is_refused() {
    let source = small(18);
    let target = servers::shared(17).database("target");
    let workspace = workspace(&target);
    for (name, options) in [("custom", ["-Fc"]), ("plain", ["-Fp"])] {
        let file = dump(&source, &workspace, name, &options);
        workspace
            .run(&["restore", text(&file), "--to", "dev"])
            .ended_with(4)
            .saying(&["older than the file's"]);
    }
    let file = written(&workspace, "x.sql", "CREATE EXTENSION IF NOT EXISTS no_such WITH SCHEMA public;");
    workspace.run(&["restore", &file, "--to", "dev"]).ended_with(4).saying(&["no_such"]);
}

#[test]
fn scripts_run_nothing_but_what_pg_dump_writes_and_nothing_at_all_when_refused() {
    let target = servers::shared(DEFAULT_MAJOR).database("target");
    let workspace = workspace(&target);
    let untouched = oracle::state(&target);
    let rest = "CREATE TABLE t (n integer);\nCOPY t (n) FROM stdin;\n1\n2\n\\.\n";
    for (line, named) in [
        ("\\! touch harm", "\\!"),
        ("\\connect other", "\\connect"),
        ("\\i /etc/passwd", "\\i"),
        ("\\copy t FROM 'x'", "\\copy"),
        ("\\set x 1", "\\set"),
        ("COPY t FROM PROGRAM 'touch harm';", "program"),
        ("DROP ROLE postgres;", "DROP ROLE"),
        ("CREATE ROLE intruder;", "CREATE ROLE"),
        ("ALTER SYSTEM SET port = 1;", "ALTER SYSTEM"),
        ("ALTER ROLE postgres NOLOGIN;", "ALTER ROLE"),
        ("COMMENT ON ROLE postgres IS 'mine';", "COMMENT ON ROLE"),
        ("CREATE USER intruder;", "CREATE USER"),
        ("CREATE TABLESPACE far LOCATION '/tmp';", "CREATE TABLESPACE"),
        ("GRANT pg_read_all_data TO PUBLIC;", "GRANT"),
        ("INSERT INTO t SELECT 1;", "INSERT"),
        ("COPY t TO '/tmp/harm';", "COPY"),
        ("SELECT other.setval('x', 1);", "other.setval"),
        ("DELETE FROM t;", "DELETE"),
        ("VACUUM;", "VACUUM"),
        ("ROLLBACK;", "ROLLBACK"),
        ("SELECT pg_terminate_backend(1);", "pg_terminate_backend"),
    ] {
        // At its end, so that all before has been read.
        let file = written(&workspace, "bad.sql", &format!("{rest}{line}\n"));
        let outcome = workspace.run(&["restore", &file, "--to", "dev"]).ended_with(4);
        outcome.saying(&["line 6", named, "nothing was changed"]);
        oracle::assert_same(&untouched, &oracle::state(&target));
    }
    for (content, line) in [
        ("CREATE TABLE t (n int);\nSELECT 'a\n", "line 2"),
        ("CREATE TABLE t (n int)", "line 1"),
        ("CREATE TABLE t (n int);\nCOPY t FROM stdin;\n1\n", "line 2"),
        ("/* never ended", "line 1"),
    ] {
        let file = written(&workspace, "cut.sql", content);
        workspace
            .run(&["restore", &file, "--to", "dev"])
            .ended_with(1)
            .saying(&[line, "nothing was changed"]);
    }
    let crlf = written(&workspace, "crlf.sql", &format!("\u{feff}{}", rest.replace('\n', "\r\n")));
    workspace.run(&["restore", &crlf, "--to", "dev"]).succeeded();
    assert_eq!(target.value("SELECT sum(n) FROM t"), "3");
}

#[test]
fn a_failure_in_the_middle_names_row_and_table_and_leaves_the_target_as_it_was() {
    let target = servers::shared(DEFAULT_MAJOR).database("target");
    target.run("CREATE TABLE precious (n integer); INSERT INTO precious VALUES (1)");
    let untouched = oracle::state(&target);
    let workspace = workspace(&target);
    let clean = ["--to", "dev", "--clean", "--yes"];
    for (content, named) in [
        (
            "CREATE TABLE t (n integer);\nCOPY t (n) FROM stdin;\n1\nsecret\n\\.\n",
            "row 2 of table public.t, column n",
        ),
        (
            "CREATE TABLE t (n integer);\nINSERT INTO t VALUES (1);\nINSERT INTO t VALUES ('x');\n",
            "line 3: INSERT into public.t",
        ),
        ("CREATE TABLE t (n integer);\nCREATE INDEX i ON t (m);\n", "line 2: index public.i"),
    ] {
        let file = written(&workspace, "bad.sql", content);
        let arguments: Vec<&str> = ["restore", &file].into_iter().chain(clean).collect();
        workspace.run(&arguments).ended_with(1).saying(&[named, "the target is as it was"]);
        oracle::assert_same(&untouched, &oracle::state(&target));
    }
}

#[test]
fn roles_that_are_not_there_are_told_mapped_or_made() {
    let source = small(DEFAULT_MAJOR);
    source.run(
        "CREATE ROLE \"files Owner\"; CREATE ROLE files_reader; ALTER TABLE a OWNER TO \"files Owner\";
         GRANT SELECT ON a TO files_reader; ALTER TABLE a ENABLE ROW LEVEL SECURITY;
         CREATE POLICY p ON a TO files_reader USING (true)",
    );
    let elsewhere = std::sync::Arc::new(servers::Server::start(DEFAULT_MAJOR, &[]));
    for (name, options) in [("custom", ["-Fc"]), ("plain", ["-Fp"])] {
        let folder = workspace(&source);
        let file = dump(&source, &folder, name, &options);
        let file = text(&file);
        let owner = "SELECT pg_get_userbyid(relowner), relacl::text ~ 'files_reader' FROM pg_class WHERE relname = 'a'";
        let target = elsewhere.database("target");
        let told = workspace(&target).run(&["restore", file, "--to", "dev"]).ended_with(3);
        told.saying(&["files Owner", "files_reader", "holds 1 privilege"]);
        assert_eq!(target.value(owner), "postgres|", "{name}");
        assert_eq!(target.value("SELECT count(*) FROM a"), "500");
        elsewhere.existing("postgres").run("CREATE ROLE web");
        let mapped = elsewhere.database("mapped");
        let maps = ["--map-role", "files Owner=web", "--map-role", "files_reader=web"];
        let arguments: Vec<&str> = ["restore", file, "--to", "dev"].into_iter().chain(maps).collect();
        workspace(&mapped).run(&arguments).succeeded();
        assert_eq!(mapped.value("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'a'"), "web");
        assert_eq!(mapped.value("SELECT polroles::regrole[] FROM pg_policy"), "{web}");
        let made = elsewhere.database("made");
        workspace(&made).run(&["restore", file, "--to", "dev", "--create-roles"]).succeeded();
        assert_eq!(made.value(owner), "files Owner|t", "{name}");
        for database in [target, mapped, made] {
            database.drop_database();
        }
        elsewhere
            .existing("postgres")
            .run("DROP ROLE web; DROP ROLE \"files Owner\"; DROP ROLE files_reader");
    }
    source.drop_database();
    servers::shared(DEFAULT_MAJOR)
        .existing("postgres")
        .run("DROP ROLE \"files Owner\"; DROP ROLE files_reader");
}

#[test]
fn a_name_that_is_both_a_backup_and_a_file_is_refused() {
    let source = small(DEFAULT_MAJOR);
    let workspace = Workspace::with_source(&source);
    workspace.backup(&[]);
    std::fs::write(workspace.path().join("latest"), "SELECT 1;").expect("a file");
    workspace.run(&["restore", "latest", "--to", "prod"]).ended_with(2).saying(&["./latest"]);
}

/// Two tables, one of which refers to the other.
const ORDERS: &str = "
CREATE TABLE customers (id integer PRIMARY KEY, name text);
CREATE TABLE orders (id integer PRIMARY KEY, customer integer REFERENCES customers);
INSERT INTO customers SELECT n, 'customer ' || n FROM generate_series(1, 50) AS n;
INSERT INTO orders SELECT n, n % 50 + 1 FROM generate_series(1, 500) AS n;
";

#[test]
fn rows_without_those_that_they_refer_to_change_nothing() {
    let source = servers::shared(DEFAULT_MAJOR).database("source");
    source.run(ORDERS);
    let target = servers::shared(DEFAULT_MAJOR).database("target");
    target.run(ORDERS);
    target.run("TRUNCATE customers, orders");
    let untouched = oracle::state(&target);
    let workspace = workspace(&target);
    for (name, format) in [("custom", "-Fc"), ("plain", "-Fp")] {
        let file = dump(&source, &workspace, name, &[format, "--data-only", "--table=orders"]);
        let loaded = workspace.run(&["restore", text(&file), "--to", "dev"]).ended_with(1);
        loaded.saying(&["500 rows of table public.orders violate foreign key orders_customer_fkey"]);
        oracle::assert_same(&untouched, &oracle::state(&target));
    }
    // What refers to a table goes with it or keeps it.
    target.run("INSERT INTO customers VALUES (7, 'of today'); INSERT INTO orders VALUES (1, 7)");
    let untouched = oracle::state(&target);
    let file = dump(&source, &workspace, "customers", &["-Fc", "--data-only", "--table=customers"]);
    let emptied =
        workspace.run(&["restore", text(&file), "--to", "dev", "--data-only", "--truncate", "--yes"]);
    emptied.ended_with(4).saying(&["orders", "nothing was changed"]);
    assert!(workspace.backups().is_empty(), "what is refused needs no safety backup");
    oracle::assert_same(&untouched, &oracle::state(&target));
}
