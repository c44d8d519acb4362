//! Memory is bounded, whatever the size of tables and rows.

use crate::support::servers::{self, DEFAULT_MAJOR};
use crate::support::workspace::Workspace;

/// What a backup or restore may take at most.
const LIMIT_BYTES: u64 = 256 * 1024 * 1024;

#[test]
fn a_table_of_two_gigabytes_is_backed_up_in_bounded_memory() {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("large");
    source.run(
        "CREATE UNLOGGED TABLE large (n integer, body text);
         INSERT INTO large SELECT n, repeat(md5(n::text), 62) FROM generate_series(1, 1050000) AS n",
    );
    let size: u64 = source.value("SELECT sum(length(body)) FROM large").parse().expect("a number");
    assert!(size > 2_000_000_000, "{size}");
    let workspace = Workspace::with_source(&source);
    let outcome = workspace.run(&["backup", "prod"]).succeeded();
    assert!(outcome.peak_memory_bytes > 0, "no memory was seen");
    assert!(outcome.peak_memory_bytes <= LIMIT_BYTES, "backup took {} bytes", outcome.peak_memory_bytes);
    let verified = workspace.run(&["verify", "latest", "--read-data"]).succeeded();
    assert!(verified.peak_memory_bytes <= LIMIT_BYTES, "verify took {} bytes", verified.peak_memory_bytes);
    source.drop_database();
}

#[test]
fn rows_of_a_hundred_megabytes_times_jobs_take_bounded_memory() {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("wide");
    source.run(
        "CREATE TABLE wide (n integer PRIMARY KEY, body text);
         INSERT INTO wide SELECT n, repeat(md5(n::text), 3276800) FROM generate_series(1, 8) AS n",
    );
    let sums = "SELECT n, length(body), md5(body) FROM wide ORDER BY n";
    let before = source.value(sums);
    let target = server.database("wide_restored");
    let mut workspace = Workspace::with_source(&source);
    workspace.environment("DEV", &target.url());
    let outcome = workspace.run(&["backup", "prod", "--jobs", "4"]).succeeded();
    assert!(outcome.peak_memory_bytes <= LIMIT_BYTES, "backup took {} bytes", outcome.peak_memory_bytes);
    let outcome = workspace.run(&["restore", "latest", "--to", "dev", "--jobs", "4"]).succeeded();
    assert!(outcome.peak_memory_bytes <= LIMIT_BYTES, "restore took {} bytes", outcome.peak_memory_bytes);
    assert_eq!(before, target.value(sums));
    source.drop_database();
    target.drop_database();
}

#[test]
fn a_row_too_long_for_text_comes_back() {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("too_long");
    // As text a byte takes two digits: 550 MB do not fit the server's limit of 1 GB.
    source.run(
        "CREATE TABLE files (n integer PRIMARY KEY, body bytea);
         INSERT INTO files VALUES (1, '\\x00ff'), (2, convert_to(repeat('0123456789', 55000000), 'UTF8')), (3, NULL)",
    );
    let sums = "SELECT n, length(body), md5(body) FROM files ORDER BY n";
    let before = source.value(sums);
    let target = server.database("too_long_restored");
    let mut workspace = Workspace::with_source(&source);
    workspace.environment("DEV", &target.url());
    let outcome = workspace.run(&["backup", "prod"]).succeeded();
    assert!(outcome.peak_memory_bytes <= LIMIT_BYTES, "backup took {} bytes", outcome.peak_memory_bytes);
    workspace.run(&["restore", "latest", "--to", "dev"]).succeeded();
    assert_eq!(before, target.value(sums));
    source.drop_database();
    target.drop_database();
}
