//! A file becomes a backup like any other.

use std::path::Path;
use std::sync::Arc;

use crate::ground::{dump, everything, text, workspace};
use crate::support::fixture::{EVERYTHING, for_major};
use crate::support::object_stores::{Kind, ObjectStore};
use crate::support::oracle;
use crate::support::psql::Database;
use crate::support::servers::{self, DEFAULT_MAJOR, Server, programs};
use crate::support::stock;
use crate::support::workspace::{Workspace, files_below};

#[test]
fn an_imported_file_is_listed_shown_verified_and_restored_and_the_next_backup_starts_anew() {
    let source = everything(DEFAULT_MAJOR);
    let before = oracle::state(&source);
    let target = source.server.database("target");
    let mut workspace = workspace(&target);
    workspace.environment("PROD", &source.url());
    let own = workspace.backup(&[]);
    let binaries = programs(&DEFAULT_MAJOR.to_string());
    for (name, options) in [("custom.dump", ["-Fc"]), ("plain.sql", ["-Fp"])] {
        let file = dump(&source, &workspace, name, &options);
        let label = if name == "custom.dump" { "old" } else { "older" };
        workspace
            .run(&[
                "import",
                text(&file),
                "--env",
                "prod",
                "--label",
                label,
                "--note",
                "from the attic",
                "--server-binaries",
                text(&binaries),
            ])
            .succeeded();
        let id = workspace.backups().into_iter().find(|id| id.ends_with(&format!("_{label}")));
        let id = id.expect("the import is listed");
        workspace.run(&["list"]).succeeded().saying(&[&id]);
        workspace.run(&["show", &id]).succeeded().saying(&[
            "imported from",
            "PostgreSQL 15",
            "from the attic",
        ]);
        workspace.run(&["verify", &id, "--read-data"]).succeeded();
        workspace.run(&["restore", &id, "--to", "dev", "--checksums", "--clean", "--yes"]).succeeded();
        let after = oracle::state(&target);
        assert_eq!(before.contents, after.contents, "{name}");
        assert_eq!(before.large_objects, after.large_objects, "{name}");
        assert_eq!(before.sequences, after.sequences, "{name}");
    }
    // Same tables, same rows, another server: nothing may be taken over from the import.
    source.run("UPDATE shop.customer SET name = name || '!'");
    let next = workspace.backup(&[]);
    workspace.run(&["restore", &next, "--to", "dev", "--checksums", "--clean", "--yes"]).succeeded();
    oracle::assert_same(&oracle::state(&source), &oracle::state(&target));
    workspace.run(&["verify", &own, "--read-data"]).succeeded();
}

/// Files of one version's pg_dump become backups, and what is restored from them is what the files were made of.
fn files_become_backups(major: u32, dumps: [(&str, &str); 2]) {
    let source = everything(major);
    let before = oracle::state(&source);
    let target = source.server.database("target");
    let workspace = workspace(&target);
    let binaries = programs(&major.to_string());
    for (label, format) in dumps {
        let file = dump(&source, &workspace, label, &[format]);
        let import = ["import", text(&file), "--env", "prod", "--label", label, "--server-binaries"];
        workspace.run(&[&import[..], &[text(&binaries)]].concat()).succeeded();
        let id = workspace.backups().into_iter().find(|id| id.ends_with(&format!("_{label}")));
        let id = id.expect("the import is listed");
        workspace.run(&["restore", &id, "--to", "dev", "--checksums", "--clean", "--yes"]).succeeded();
        oracle::assert_same(&before, &oracle::state(&target));
    }
}

#[test]
fn files_of_13_become_backups() {
    files_become_backups(13, [("custom", "-Fc"), ("plain", "-Fp")]);
}

#[test]
fn files_of_14_become_backups() {
    files_become_backups(14, [("directory", "-Fd"), ("tar", "-Ft")]);
}

#[test]
fn files_of_16_become_backups() {
    files_become_backups(16, [("directory", "-Fd"), ("tar", "-Ft")]);
}

#[test]
fn files_of_17_become_backups() {
    files_become_backups(17, [("custom", "-Fc"), ("plain", "-Fp")]);
}

#[test]
fn a_file_that_no_installed_server_can_hold_is_imported_through_another_database() {
    let source = servers::shared(18).database("source");
    source.run(&for_major(EVERYTHING, 18));
    let scratch = servers::shared(18).database("scratch");
    let mut workspace = workspace(&source);
    let file = dump(&source, &workspace, "new.dump", &["-Fc"]);
    let old = programs("13");
    workspace
        .run(&["import", text(&file), "--env", "prod", "--server-binaries", text(&old)])
        .ended_with(4)
        .saying(&["PostgreSQL 18", "--via", "nothing was written"]);
    assert!(workspace.backups().is_empty());
    workspace.set("SCRATCH", &scratch.url());
    workspace.run(&["import", text(&file), "--env", "prod", "--via", "$SCRATCH"]).succeeded();
    assert_eq!(workspace.backups().len(), 1);
}

/// Imports a file as a backup of `prod` with a label.
#[track_caller]
fn import(workspace: &Workspace, file: &Path, label: &str) {
    let binaries = programs(&DEFAULT_MAJOR.to_string());
    let options = ["--env", "prod", "--label", label, "--server-binaries", text(&binaries)];
    let arguments: Vec<&str> = ["import", text(file)].into_iter().chain(options).collect();
    workspace.run(&arguments).succeeded();
}

/// An imported backup comes back equal to the source of the file.
#[track_caller]
fn comes_back(workspace: &mut Workspace, label: &str, source: &Database, options: &[&str]) {
    let target = source.server.database("target");
    workspace.environment("DEV", &target.url());
    let backup = format!("prod@{label}");
    let arguments = ["restore", &backup, "--to", "dev", "--checksums", "--no-safety-backup"];
    let arguments: Vec<&str> = arguments.into_iter().chain(options.iter().copied()).collect();
    workspace.run(&arguments).succeeded();
    oracle::assert_same(&oracle::state(source), &oracle::state(&target));
    target.drop_database();
}

#[test]
fn an_import_into_an_encrypted_repository_is_encrypted_and_comes_back() {
    let source = everything(DEFAULT_MAJOR);
    source.run("CREATE TABLE secret_plugh (xyzzy text); INSERT INTO secret_plugh VALUES ('frobozz magic')");
    let mut workspace = workspace(&source);
    let key = workspace.encrypt();
    for (name, options) in [("custom", ["-Fc"]), ("plain", ["-Fp"])] {
        let file = dump(&source, &workspace, name, &options);
        import(&workspace, &file, name);
        std::fs::remove_file(&file).expect("the file is there");
        let backup = format!("prod@{name}");
        workspace
            .run(&["restore", &backup, "--to", "dev", "--dry-run"])
            .ended_with(7)
            .saying(&["--identity"]);
        workspace.run(&["verify", &backup, "--read-data", "--identity", text(&key)]).succeeded();
        comes_back(&mut workspace, name, &source, &["--identity", text(&key)]);
    }
    for (path, _) in files_below(&workspace.repository()) {
        let content = std::fs::read(&path).expect("a file");
        for word in ["plugh", "xyzzy", "frobozz"] {
            let shows = content.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!shows, "{} shows {word}", path.display());
        }
    }
}

#[test]
fn an_import_into_a_bucket_comes_back() {
    let source = everything(DEFAULT_MAJOR);
    for kind in [Kind::S3sFs, Kind::Azurite] {
        let store = ObjectStore::start(kind);
        let mut workspace = workspace(&source);
        workspace.use_bucket(&store, "imports");
        let file = dump(&source, &workspace, "all.dir", &["-Fd"]);
        import(&workspace, &file, "old");
        workspace.run(&["list"]).succeeded().saying(&["_old", "imported from"]);
        workspace.run(&["verify", "prod@old", "--read-data"]).succeeded();
        comes_back(&mut workspace, "old", &source, &[]);
        assert!(!store.names("imports").is_empty(), "{kind:?}");
        assert_eq!(files_below(&workspace.temporary()), [], "files are left");
    }
}

#[test]
fn an_imported_file_is_exported_for_stock_pg_restore() {
    let source = everything(DEFAULT_MAJOR);
    let before = oracle::state(&source);
    let workspace = workspace(&source);
    for (name, options) in [("custom", ["-Fc"]), ("plain", ["-Fp"])] {
        let file = dump(&source, &workspace, name, &options);
        import(&workspace, &file, name);
        let backup = format!("prod@{name}");
        let exported = format!("{name}.exported.dump");
        workspace.run(&["export", &backup, "--output", &exported]).succeeded();
        let target = source.server.database("target");
        let mut restore = stock::program(&target, "pg_restore");
        restore.args(["--exit-on-error", "-d", &target.name]).arg(workspace.path().join(&exported));
        stock::succeeds(&mut restore);
        oracle::assert_same(&before, &oracle::state(&target));
        target.drop_database();
    }
}

#[test]
fn nothing_is_taken_over_from_an_import() {
    // With fsync a server can prove something, so that only the origin speaks against it.
    let server = Arc::new(Server::start_with(DEFAULT_MAJOR, |options| options.durable = true));
    let source = server.database("source");
    source.run(
        "CREATE TABLE t (id integer PRIMARY KEY, body text);
         INSERT INTO t SELECT n, md5(n::text) FROM generate_series(1, 50000) AS n",
    );
    let mut workspace = Workspace::with_source(&source);
    let file = dump(&source, &workspace, "all.dump", &["-Fc"]);
    import(&workspace, &file, "old");
    let reuse = |workspace: &Workspace| {
        let outcome = workspace.run(&["backup", "prod", "--label", "own", "--json"]).succeeded();
        let report: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("one JSON object");
        report["reuse"].clone()
    };
    let first = reuse(&workspace);
    assert_eq!((&first["reused"], &first["reused_bytes"]), (&0.into(), &0.into()), "{first}");
    assert_eq!(first["base"], serde_json::Value::Null, "{first}");
    comes_back(&mut workspace, "own", &source, &[]);
    // Nor does an import hide what was there before: the next one builds on the environment's own.
    import(&workspace, &file, "again");
    source.run("UPDATE t SET body = body || '!' WHERE id = 7");
    let next = reuse(&workspace);
    assert!(next["base"].as_str().is_some_and(|base| base.ends_with("_own")), "{next}");
    comes_back(&mut workspace, "own", &source, &[]);
}
