//! `pgstow dump`: a file straight from a database.

use rustix::process::Signal;

use super::tools::{DEFAULTS_GONE, pg_restore, psql, streamed};
use crate::support::fixture::{EVERYTHING, for_major};
use crate::support::oracle;
use crate::support::servers;
use crate::support::waiting;
use crate::support::workspace::{Workspace, files_below};

#[test]
fn a_database_is_dumped_without_a_repository() {
    let server = servers::shared(15);
    let source = server.database("source");
    source.run(&for_major(EVERYTHING, 15));
    let state = oracle::state(&source);
    let workspace = Workspace::with_source(&source);
    workspace.run(&["dump", "prod", "--to", "a.dump", "--jobs", "2"]).succeeded().saying(&["pg_restore"]);
    std::fs::write(
        workspace.path().join("b.sql"),
        streamed(&workspace, &["dump", "prod", "--to", "-", "--format", "plain", "--clean"]),
    )
    .unwrap();
    let names: Vec<_> = files_below(&workspace.path())
        .into_iter()
        .map(|(path, _)| path.file_name().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["a.dump", "b.sql"], "something else is left");
    assert_eq!(files_below(&workspace.temporary()), []);
    let target = server.database("target");
    pg_restore("client", &workspace.path().join("a.dump"), &target, &["-j", "3"]);
    oracle::assert_same(&state, &oracle::state(&target));
    target.run(DEFAULTS_GONE);
    psql("client", &workspace.path().join("b.sql"), &target, &[]);
    oracle::assert_same(&state, &oracle::state(&target));

    let one =
        streamed(&workspace, &["dump", "prod", "--to", "-", "--format", "csv", "--table", "shop.attachment"]);
    assert_eq!(String::from_utf8(one).unwrap(), "id,content\n1,20001\n2,20002\n3,20003\n");
    workspace.run(&["dump", "prod", "--to", "a.dump"]).ended_with(4).saying(&["--force"]);
}

/// Rows of other schemas are not even read: they would be in the temporary repository.
#[test]
fn a_schema_is_dumped_without_reading_the_rows_of_others() {
    let server = servers::shared(15);
    let source = server.database("source");
    source.run(
        "CREATE SCHEMA app; CREATE SCHEMA \"Odd.Name\"; CREATE TABLE app.kept (id int PRIMARY KEY); INSERT INTO app.kept VALUES (1), (2);
         CREATE TABLE \"Odd.Name\".kept (id int); INSERT INTO \"Odd.Name\".kept VALUES (3);
         CREATE TABLE app.parted (id int) PARTITION BY LIST (id); CREATE TABLE public.part PARTITION OF app.parted FOR VALUES IN (4);
         INSERT INTO app.parted VALUES (4); SELECT lo_from_bytea(0, 'bytes');
         CREATE TABLE public.other WITH (autovacuum_enabled = off) AS SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, 20000) AS n",
    );
    let reads = "SELECT heap_blks_read + heap_blks_hit FROM pg_statio_all_tables WHERE relname = 'other'";
    let before = source.value(reads);
    let workspace = Workspace::with_source(&source);
    let schemas = ["--schema", "app", "--schema", "\"Odd.Name\""];
    workspace
        .run(&[&["dump", "prod", "--to", "a.sql", "--format", "plain"][..], &schemas].concat())
        .succeeded();
    let after = source.value(reads);
    assert_eq!(before, after, "public.other was read");
    let target = server.database("target");
    psql("client", &workspace.path().join("a.sql"), &target, &[]);
    let rows = "SELECT (SELECT count(*) FROM app.kept) || ' ' || (SELECT count(*) FROM \"Odd.Name\".kept) || ' ' || \
                (SELECT count(*) FROM app.parted)";
    assert_eq!(target.value(rows), "2 1 1");
}

#[test]
fn what_an_interruption_leaves_of_a_dump_nobody_can_read() {
    let source = servers::shared(15).database("source");
    source.run("CREATE TABLE secret_ledger (body text); INSERT INTO secret_ledger SELECT 'xyzzy' || md5(n::text) FROM generate_series(1, 600000) AS n");
    let workspace = Workspace::with_source(&source);
    for signal in [Signal::INT, Signal::KILL] {
        let run = workspace.start(&["dump", "prod", "--to", "a.dump"]);
        waiting::until("something is read", || {
            files_below(&workspace.path()).iter().any(|(_, bytes)| *bytes > 100_000)
        });
        run.signal(signal);
        assert!(!run.finish().status.success());
        assert!(!workspace.path().join("a.dump").exists());
        let left = files_below(&workspace.path());
        assert_eq!(left.is_empty(), signal == Signal::INT, "{left:?}");
        for (path, _) in left.iter().filter(|(path, _)| path.to_string_lossy().contains(".pgstow-dump-")) {
            let content = std::fs::read(path).unwrap();
            let content = String::from_utf8_lossy(&content);
            assert!(!content.contains("secret_ledger") && !content.contains("xyzzy"), "{}", path.display());
        }
    }
}
