//! Memory is bounded, whatever the size of tables and rows of a file.

use crate::ground::{dump, text, workspace};
use crate::support::servers::{self, DEFAULT_MAJOR, programs};

/// What a restore of a file may take at most; the table is three times as large.
const LIMIT_BYTES: u64 = 96 * 1024 * 1024;
/// What a backup may take, and so an import.
const IMPORT_LIMIT_BYTES: u64 = 256 * 1024 * 1024;

#[test]
fn a_large_table_with_long_rows_is_restored_and_imported_in_bounded_memory() {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("large");
    source.run(
        "CREATE UNLOGGED TABLE large (n integer, body text);
         INSERT INTO large SELECT n, repeat(md5(n::text), 62) FROM generate_series(1, 60000) AS n;
         INSERT INTO large SELECT n, repeat(md5(n::text), 3300000) FROM generate_series(1, 2) AS n;
         SELECT lo_from_bytea(7, decode(repeat(md5('x'), 2000000), 'hex'))",
    );
    let size: u64 = source.value("SELECT sum(length(body)) FROM large").parse().expect("a number");
    assert!(size > 3 * LIMIT_BYTES, "{size}");
    let sums = "SELECT count(*), sum(n), md5(string_agg(md5(body), '' ORDER BY n, body)), (SELECT md5(lo_get(7))) FROM large";
    let before = source.value(sums);
    let files = workspace(&source);
    for (name, options) in [("a.dump", ["-Fc", "-Z1"]), ("a.sql.gz", ["-Fp", "-Z1"])] {
        let file = dump(&source, &files, name, &options);
        let target = server.database("large_restored");
        let restored = workspace(&target).run(&["restore", text(&file), "--to", "dev"]).succeeded();
        assert!(restored.peak_memory_bytes > 0, "no memory was seen");
        assert!(
            restored.peak_memory_bytes <= LIMIT_BYTES,
            "{name} took {} bytes",
            restored.peak_memory_bytes
        );
        println!("restore of {name}: {} bytes at most", restored.peak_memory_bytes);
        assert_eq!(before, target.value(sums), "{name}");
        target.drop_database();
    }
    source.drop_database();
    let binaries = programs(&DEFAULT_MAJOR.to_string());
    let file = files.path().join("a.sql.gz");
    let import = ["import", text(&file), "--env", "prod", "--server-binaries", text(&binaries)];
    let imported = files.run(&import).succeeded();
    let peak = imported.peak_memory_bytes;
    println!("import: {peak} bytes at most");
    assert!(peak > 0 && peak <= IMPORT_LIMIT_BYTES, "the import took {peak} bytes");
}
