//! A file becomes a backup like any other.

use crate::ground::{dump, everything, text, workspace};
use crate::support::fixture::{EVERYTHING, for_major};
use crate::support::oracle;
use crate::support::servers::{self, DEFAULT_MAJOR, programs};

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
