//! Memory, interruptions, damage, and files that are there already.

use rustix::process::Signal;

use super::tools::{export, pg_restore};
use crate::support::servers;
use crate::support::waiting;
use crate::support::workspace::{Workspace, files_below};

/// What an export may take at most; the table is four times as large.
const LIMIT_BYTES: u64 = 96 * 1024 * 1024;

#[test]
fn memory_does_not_depend_on_the_size_of_tables_and_rows() {
    let server = servers::shared(15);
    let source = server.database("large");
    source.run(
        "CREATE UNLOGGED TABLE large (n integer, body text);
         INSERT INTO large SELECT n, repeat(md5(n::text), 62) FROM generate_series(1, 60000) AS n;
         INSERT INTO large SELECT n, repeat(md5(n::text), 4000000) FROM generate_series(1, 3) AS n",
    );
    let size: u64 = source.value("SELECT sum(length(body)) FROM large").parse().expect("a number");
    assert!(size > 4 * LIMIT_BYTES, "{size}");
    let sums = "SELECT count(*), sum(n), md5(string_agg(md5(body), '' ORDER BY n, body)) FROM large";
    let before = source.value(sums);
    let workspace = Workspace::with_source(&source);
    let backup = workspace.backup(&[]);
    for name in ["a.dump", "a.sql", "a.csv"] {
        let outcome = workspace.run(&["export", &backup, "--output", name]).succeeded();
        assert!(outcome.peak_memory_bytes > 0, "no memory was seen");
        assert!(outcome.peak_memory_bytes <= LIMIT_BYTES, "{name} took {} bytes", outcome.peak_memory_bytes);
    }
    let target = server.database("large_restored");
    pg_restore("client", &workspace.path().join("a.dump"), &target, &[]);
    assert_eq!(before, target.value(sums));
    source.drop_database();
    target.drop_database();
}

#[test]
fn what_ends_early_leaves_nothing_that_looks_complete() {
    let source = servers::shared(15).database("source");
    source.run("CREATE TABLE t (n integer, body text); INSERT INTO t SELECT n, md5(n::text) || md5((n * 3)::text) FROM generate_series(1, 800000) AS n");
    let workspace = Workspace::with_source(&source);
    let backup = workspace.backup(&[]);
    let work = workspace.path();
    let repository = workspace.repository_files();
    let outside = || {
        let files = files_below(&work);
        files.into_iter().filter(|(path, _)| !path.starts_with(workspace.repository())).collect::<Vec<_>>()
    };
    let before = outside();
    for name in ["a.dump", "a.dir", "a.sql.gz"] {
        for signal in [Signal::INT, Signal::KILL] {
            let run = workspace.start(&["export", &backup, "--output", name]);
            waiting::until("rows are written", || outside().iter().any(|(_, bytes)| *bytes > 500_000));
            run.signal(signal);
            let outcome = run.finish();
            assert!(!outcome.status.success());
            assert!(!work.join(name).exists(), "{name} is there after {signal:?}");
            if signal == Signal::INT {
                assert_eq!(outcome.code(), 130, "{}", outcome.said());
                assert_eq!(outside(), before);
            } else {
                for left in std::fs::read_dir(&work).unwrap().map(|file| file.unwrap().path()) {
                    if left.file_name().unwrap().to_string_lossy().starts_with(".pgstow-") {
                        std::fs::remove_dir_all(&left).or_else(|_| std::fs::remove_file(&left)).unwrap();
                    }
                }
            }
        }
    }
    assert_eq!(repository, workspace.repository_files(), "an export changed the repository");
}

#[test]
fn files_are_replaced_only_when_asked_and_damage_is_not_exported() {
    let source = servers::shared(15).database("source");
    source.run("CREATE TABLE t (n integer); INSERT INTO t SELECT generate_series(1, 1000)");
    let workspace = Workspace::with_source(&source);
    let backup = workspace.backup(&[]);
    let file = export(&workspace, &backup, "a.sql", &[]);
    std::fs::write(&file, "precious").unwrap();
    workspace.run(&["export", &backup, "--output", "a.sql"]).ended_with(4).saying(&["--force"]);
    workspace
        .run(&["export", &backup, "--output", "a.sql", "--clean", "--data-only", "--force"])
        .ended_with(2);
    workspace
        .run(&["export", &backup, "--output", "a.dump", "--clean"])
        .ended_with(2)
        .saying(&["pg_restore --clean"]);
    workspace.run(&["export", &backup, "--output", "a.unknown"]).ended_with(2).saying(&["--format"]);
    workspace.run(&["export", &backup, "--output", "-", "--format", "directory"]).ended_with(2);
    workspace.run(&["export", &backup, "--output", "-", "--format", "plain", "--json"]).ended_with(2);
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");

    for (path, bytes) in files_below(&workspace.repository().join("objects")) {
        let content = std::fs::read(&path).unwrap();
        let cut = usize::try_from(bytes / 2).unwrap();
        std::fs::write(&path, &content[..cut]).unwrap();
    }
    workspace
        .run(&["export", &backup, "--output", "a.sql", "--force"])
        .ended_with(1)
        .saying(&["damaged", "nothing was written"]);
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    // To a stream nothing of what is not proven is handed out.
    let outcome = workspace.run(&["export", &backup, "--output", "-", "--format", "plain"]).ended_with(1);
    assert!(outcome.stdout.ends_with("FROM stdin;\n"), "{}", outcome.said());
}
