//! CSV, loaded by stock COPY into equal tables.

use std::path::Path;

use super::tools::{client, export, streamed};
use crate::support::fixture::{EVERYTHING, for_major};
use crate::support::psql::Database;
use crate::support::servers;
use crate::support::stock::succeeds;
use crate::support::workspace::Workspace;

/// Loads a file as psql's `\copy` does.
#[track_caller]
fn load(database: &Database, table: &str, columns: &str, file: &Path) {
    let statement =
        format!("\\copy {table} ({columns}) FROM '{}' WITH (FORMAT csv, HEADER match)", file.display());
    succeeds(client("client", "psql", database).args(["-X", "-v", "ON_ERROR_STOP=1", "-c", &statement]));
}

const CONTENTS: &str = "SELECT count(*), md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM";

#[test]
fn rows_of_every_type_come_back() {
    let source = servers::shared(15).database("source");
    source.run(&for_major(EVERYTHING, 15));
    let workspace = Workspace::with_source(&source);
    let backup = workspace.backup(&[]);
    let file = export(&workspace, &backup, "types.csv", &["--table", "public.every_type"]);
    let columns = source.value(
        "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
         WHERE attrelid = 'public.every_type'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
    );
    // What psql 15 loads ends at a line that is `\.`, in quotes or not; so what it writes is compared.
    let statement =
        format!("COPY (SELECT {columns} FROM public.every_type) TO STDOUT WITH (FORMAT csv, HEADER)");
    let settings =
        "SET bytea_output = hex; SET DateStyle = ISO; SET TimeZone = UTC; SET IntervalStyle = postgres;
                    SET extra_float_digits = 3; SET lc_monetary = 'C'; SET search_path = '';";
    let stock =
        succeeds(client("client", "psql", &source).args(["-X", "-q", "-c", settings, "-c", &statement]));
    assert_eq!(String::from_utf8(std::fs::read(file).unwrap()), String::from_utf8(stock.stdout));
}

#[test]
fn values_that_look_like_csv_or_like_nothing_come_back() {
    let source = servers::shared(15).database("source");
    source.run(
        r#"CREATE TABLE "odd, ""table""" (n integer, "a,""b" text);
           INSERT INTO "odd, ""table""" SELECT row_number() OVER (), v FROM unnest(ARRAY[NULL, '', '\N', '\.', '"', 'a,b', E'a\nb', E'a\r\nb',
             E'\t', ' ', E'\\', E'\\.\n', 'NULL', repeat('x"', 100000), E'\x08\x0b\x0c']) v;
           CREATE TABLE one (v text); INSERT INTO one VALUES (NULL), (''), ('\.'), ('x');
           CREATE TABLE parts (k integer, v text) PARTITION BY LIST (k);
           CREATE TABLE part_1 PARTITION OF parts FOR VALUES IN (1); CREATE TABLE part_2 PARTITION OF parts FOR VALUES IN (2);
           INSERT INTO parts VALUES (1, 'one'), (2, 'two'); CREATE TABLE target (LIKE parts)"#,
    );
    let workspace = Workspace::with_source(&source);
    let backup = workspace.backup(&[]);
    let odd = export(&workspace, &backup, "odd.csv", &["--table", "odd*"]);
    source.run(r#"CREATE TABLE loaded (LIKE "odd, ""table""")"#);
    load(&source, "loaded", r#"n, "a,""b""#, &odd);
    assert_eq!(
        source.value(&format!(r#"{CONTENTS} "odd, ""table""" t"#)),
        source.value(&format!("{CONTENTS} loaded t"))
    );

    let one = workspace.path().join("one.csv");
    std::fs::write(
        &one,
        streamed(&workspace, &["export", &backup, "--format", "csv", "--table", "one", "--output", "-"]),
    )
    .unwrap();
    assert_eq!(std::fs::read_to_string(&one).unwrap(), "v\n\n\"\"\n\"\\.\"\nx\n");

    // A partitioned table is one table.
    let parts = export(&workspace, &backup, "parts.csv", &["--table", "parts"]);
    load(&source, "target", "k, v", &parts);
    assert_eq!(source.value(&format!("{CONTENTS} parts t")), source.value(&format!("{CONTENTS} target t")));

    // Several are a folder, and only one fits into a file.
    workspace.run(&["export", &backup, "--output", "all.csv"]).ended_with(2).saying(&[
        "public.one",
        "--table",
        "/",
    ]);
    assert!(!workspace.path().join("all.csv").exists());
    let folder = export(&workspace, &backup, "all/", &["--format", "csv"]);
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["public.odd%2C %22table%22.csv", "public.one.csv", "public.parts.csv", "public.target.csv"]
    );
}
