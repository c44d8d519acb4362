//! What stock pg_dump writes in each of its formats comes back equal.

use std::path::Path;

use crate::ground::{dump, dump_through_pipe, everything, text, workspace};
use crate::support::fixture::{EVERYTHING, for_major};
use crate::support::oracle::{self, State};
use crate::support::psql::Database;
use crate::support::servers::{self, DEFAULT_MAJOR};

/// Restores a file into a new database and compares.
fn comes_back(before: &State, source: &Database, file: &Path, note: &str) {
    let target = source.server.database("target");
    // What pg_dump 15 and newer say about public assumes that nobody else may create in it.
    target.run("REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    let workspace = workspace(&target);
    let outcome = workspace.run(&["restore", text(file), "--to", "dev"]);
    assert_eq!(outcome.code(), 0, "{note}\n{}", outcome.said());
    oracle::assert_same(before, &oracle::state(&target));
    target.drop_database();
}

fn round_trip(major: u32, dumps: &[(&str, &[&str])]) {
    let source = everything(major);
    let before = oracle::state(&source);
    let folder = workspace(&source);
    for (name, options) in dumps {
        let file = dump(&source, &folder, name, options);
        comes_back(&before, &source, &file, name);
    }
}

/// Every format of each pg_dump of the time before it knew lz4 and zstd.
const OLD: &[(&str, &[&str])] = &[
    ("custom", &["-Fc"]),
    ("not-compressed", &["-Fc", "-Z0"]),
    ("directory", &["-Fd", "-j2"]),
    ("tar", &["-Ft"]),
    ("plain", &["-Fp"]),
    ("plain-gz", &["-Fp", "-Z6"]),
];

/// Every format, and both compressions that came with 16.
const NEW: &[(&str, &[&str])] = &[
    ("custom", &["-Fc"]),
    ("custom-lz4", &["-Fc", "--compress=lz4"]),
    ("directory", &["-Fd", "-j2"]),
    ("directory-zstd", &["-Fd", "--compress=zstd"]),
    ("tar", &["-Ft"]),
    ("plain", &["-Fp"]),
];

#[test]
fn dumps_of_13_come_back() {
    round_trip(13, OLD);
}

#[test]
fn dumps_of_14_come_back() {
    round_trip(14, OLD);
}

#[test]
fn dumps_of_15_come_back() {
    round_trip(15, OLD);
}

#[test]
fn dumps_of_16_come_back() {
    round_trip(16, NEW);
}

#[test]
fn dumps_of_17_come_back() {
    round_trip(17, NEW);
}

#[test]
fn dumps_of_18_come_back_in_every_format_and_compression() {
    round_trip(
        18,
        &[
            ("custom", &["-Fc"]),
            ("custom-none", &["-Fc", "--compress=none"]),
            ("custom-lz4", &["-Fc", "--compress=lz4"]),
            ("custom-zstd", &["-Fc", "--compress=zstd:3"]),
            ("directory-gzip", &["-Fd", "--compress=gzip"]),
            ("directory-lz4", &["-Fd", "--compress=lz4"]),
            ("directory-zstd", &["-Fd", "--compress=zstd"]),
            ("tar", &["-Ft"]),
            ("plain", &["-Fp"]),
            ("plain-lz4", &["-Fp", "--compress=lz4"]),
            ("plain-zstd", &["-Fp", "--compress=zstd"]),
            ("clean", &["-Fp", "--clean", "--if-exists"]),
            ("clean-strictly", &["-Fp", "--clean"]),
            ("whole-database", &["-Fp", "--create"]),
        ],
    );
}

#[test]
fn rows_written_as_inserts_come_back() {
    let source = everything(18);
    // pg_dump writes this number without quotes, and -0 is 0 then.
    source.run("UPDATE public.every_type SET t_double = 0 WHERE t_double = 0; UPDATE public.every_type SET t_real = 0 WHERE t_real = 0");
    let before = oracle::state(&source);
    let folder = workspace(&source);
    let dumps: [(&str, &[&str]); 3] = [
        ("inserts", &["-Fp", "--inserts"]),
        ("many-inserts", &["-Fp", "--rows-per-insert=7", "--column-inserts"]),
        ("custom-inserts", &["-Fc", "--column-inserts"]),
    ];
    for (name, options) in dumps {
        let file = dump(&source, &folder, name, options);
        comes_back(&before, &source, &file, name);
    }
}

#[test]
fn archives_and_tar_files_may_be_compressed_as_a_whole_or_come_through_a_pipe() {
    let source = everything(DEFAULT_MAJOR);
    let before = oracle::state(&source);
    let folder = workspace(&source);
    for (name, options) in [("piped", &["-Fc"]), ("piped-tar", &["-Ft"])] {
        let file = dump_through_pipe(&source, &folder, name, options);
        comes_back(&before, &source, &file, name);
        let mut gzip = std::process::Command::new("gzip");
        crate::support::stock::succeeds(gzip.arg("-k").arg(&file));
        comes_back(&before, &source, &file.with_extension("gz"), "compressed");
    }
}

#[test]
fn an_old_dump_goes_into_a_newer_server() {
    let source = everything(13);
    let before = oracle::state(&source);
    let target = servers::shared(18).database("target");
    // Roles are no part of a dump.
    servers::shared(18).database("roles").run(&for_major(EVERYTHING, 18));
    let workspace = workspace(&target);
    for (name, options) in [("custom", ["-Fc"]), ("plain", ["-Fp"])] {
        let file = dump(&source, &workspace, name, &options);
        let outcome = workspace.run(&["restore", text(&file), "--to", "dev", "--clean", "--yes"]);
        assert!([0, 3].contains(&outcome.code()), "{}", outcome.said());
        let after = oracle::state(&target);
        assert_eq!(before.contents, after.contents);
        assert_eq!(before.sequences, after.sequences);
        assert_eq!(before.large_objects, after.large_objects);
    }
}

#[test]
fn text_of_another_encoding_is_converted() {
    let server = std::sync::Arc::new(servers::Server::start_with(DEFAULT_MAJOR, |options| {
        options.encoding = "LATIN1".to_owned();
        options.locale = "C".to_owned();
    }));
    let source = server.database("source");
    source.run(
        "CREATE TABLE \"Wörter\" (\"Größe\" text DEFAULT 'groß'); INSERT INTO \"Wörter\" VALUES ('Grüße, ÿ'), ('straße');
         COMMENT ON TABLE \"Wörter\" IS 'für alle'",
    );
    let look = "SELECT \"Größe\", obj_description('\"Wörter\"'::regclass) FROM \"Wörter\" ORDER BY 1;
                SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = '\"Wörter\"'::regclass";
    for (name, options) in [("custom", vec!["-Fc"]), ("plain", vec![]), ("inserts", vec!["--inserts"])] {
        let target = servers::shared(DEFAULT_MAJOR).database("target");
        let workspace = workspace(&target);
        let file = dump(&source, &workspace, name, &options);
        workspace.run(&["restore", text(&file), "--to", "dev"]).succeeded();
        assert_eq!(target.run(look), source.run(look), "{name}");
    }
}

#[test]
fn definitions_and_rows_come_back_one_after_the_other() {
    let source = everything(DEFAULT_MAJOR);
    // These rows break a constraint that was never checked, and a trigger that always fires changes those.
    source.run("TRUNCATE shop.legacy; ALTER TABLE shop.serials ENABLE TRIGGER spoil");
    let before = oracle::state(&source);
    for (name, options) in [("custom", ["-Fc"]), ("plain", ["-Fp"])] {
        let target = source.server.database("target");
        target.run("REVOKE CREATE ON SCHEMA public FROM PUBLIC");
        let workspace = workspace(&target);
        let file = dump(&source, &workspace, name, &options);
        workspace.run(&["restore", text(&file), "--to", "dev", "--schema-only"]).succeeded();
        assert_eq!(before.definitions, oracle::state(&target).definitions, "{name}");
        workspace.run(&["restore", text(&file), "--to", "dev", "--data-only", "--yes"]).succeeded();
        oracle::assert_same(&before, &oracle::state(&target));
        // Again: the rows are replaced.
        workspace.run(&["restore", text(&file), "--to", "dev", "--data-only"]).ended_with(4);
        workspace
            .run(&["restore", text(&file), "--to", "dev", "--data-only", "--clean", "--yes"])
            .succeeded();
        oracle::assert_same(&before, &oracle::state(&target));
        target.drop_database();
    }
}
