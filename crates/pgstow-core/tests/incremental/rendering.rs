//! The same rendering: what turns the same row version into other bytes is seen.
//!
//! Guard: the fingerprint of each column (type, modifier, attribute number, missing value) and,
//! recursively, of its type. Without it the counterexamples end with rows of the first backup.

use crate::change::{backed_up, is_taken_over};
use crate::counterexamples::counterexamples;

const MOOD: &str = "CREATE TYPE mood AS ENUM ('sad', 'calm');";
const RENAME: &str = "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'";
const PAIR: &str = "CREATE TYPE pair AS (a int, b text);";

// Each changes the text of table `t`, and neither its rows nor its file.
counterexamples! {
    an_enum_label_that_was_renamed_is_read_again:
        [MOOD, "CREATE TABLE t AS SELECT 'sad'::mood AS m FROM generate_series(1, 9)"]
        => [RENAME];
    an_enum_label_renamed_within_an_array_is_read_again:
        [MOOD, "CREATE TABLE t AS SELECT '{sad,calm}'::mood[] AS m"]
        => [RENAME];
    an_enum_label_renamed_below_a_domain_is_read_again:
        [MOOD, "CREATE DOMAIN d AS mood; CREATE TABLE t AS SELECT 'sad'::d AS m"]
        => [RENAME];
    an_enum_label_renamed_below_a_domain_over_an_array_of_domains_is_read_again:
        [MOOD, "CREATE DOMAIN d AS mood; CREATE DOMAIN e AS d[]; CREATE TABLE t AS SELECT '{sad}'::e AS m"]
        => [RENAME];
    an_enum_label_renamed_within_a_composite_is_read_again:
        [MOOD, "CREATE TYPE c AS (m mood, n int); CREATE TABLE t AS SELECT ROW('sad', 1)::c AS c"]
        => [RENAME];
    an_enum_label_renamed_within_a_range_is_read_again:
        [MOOD, "CREATE TYPE moods AS RANGE (subtype = mood); CREATE TABLE t AS SELECT '[sad,calm]'::moods AS r"]
        => [RENAME];
    an_enum_label_renamed_within_a_multirange_is_read_again:
        [MOOD, "CREATE TYPE moods AS RANGE (subtype = mood, multirange_type_name = many_moods); CREATE TABLE t AS SELECT '{[sad,calm]}'::many_moods AS r"]
        => [RENAME];
    an_enum_label_renamed_within_the_row_type_of_another_table_is_read_again:
        [MOOD, "CREATE TABLE other (m mood); CREATE TABLE t AS SELECT ROW('sad')::other AS r"]
        => [RENAME];
    labels_that_change_places_are_read_again:
        [MOOD, "CREATE TABLE t AS SELECT 'sad'::mood AS m FROM generate_series(1, 9)"]
        => ["ALTER TYPE mood RENAME VALUE 'sad' TO 'x'; ALTER TYPE mood RENAME VALUE 'calm' TO 'sad'; ALTER TYPE mood RENAME VALUE 'x' TO 'calm'"];
    a_column_added_with_a_default_is_read_again:
        ["CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 9) g"]
        => ["ALTER TABLE t ADD COLUMN x int DEFAULT 5"];
    // Name and type are the same; the attribute number and the missing value are not.
    a_column_dropped_and_added_again_is_read_again:
        ["CREATE TABLE t AS SELECT g AS id, g AS x FROM generate_series(1, 9) g"]
        => ["ALTER TABLE t DROP COLUMN x, ADD COLUMN x int"];
    a_missing_value_that_changed_is_read_again:
        ["CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 9) g; ALTER TABLE t ADD COLUMN x int DEFAULT 5"]
        => ["ALTER TABLE t DROP COLUMN x; ALTER TABLE t ADD COLUMN x int DEFAULT 6"];
    a_missing_value_of_a_column_whose_type_changed_is_read_again:
        ["CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 9) g; ALTER TABLE t ADD COLUMN x int DEFAULT -1"]
        => ["ALTER TABLE t ALTER COLUMN x TYPE oid"];
    oids_turned_into_names_of_tables_are_read_again:
        ["CREATE TABLE t AS SELECT 'still'::regclass::oid AS x FROM generate_series(1, 9)"]
        => ["ALTER TABLE t ALTER COLUMN x TYPE regclass"];
    integers_turned_into_oids_are_read_again:
        ["CREATE TABLE t AS SELECT -1 AS x"]
        => ["ALTER TABLE t ALTER COLUMN x TYPE oid"];
    networks_turned_into_addresses_are_read_again:
        ["CREATE TABLE t AS SELECT '10.1.2.3'::cidr AS x"]
        => ["ALTER TABLE t ALTER COLUMN x TYPE inet"];
    // With UTC as the session's time zone the table is not rewritten.
    timestamps_given_a_time_zone_are_read_again:
        ["CREATE TABLE t AS SELECT timestamp '2024-02-29 12:00' AS x FROM generate_series(1, 9)"]
        => ["SET timezone = 'UTC'; ALTER TABLE t ALTER COLUMN x TYPE timestamptz"];
    a_renamed_table_is_seen_through_a_regclass_column:
        ["CREATE TABLE named (); CREATE TABLE t AS SELECT 'named'::regclass AS x"]
        => ["ALTER TABLE named RENAME TO other"];
    a_renamed_table_is_seen_through_a_regclass_in_an_array_of_a_domain_of_a_composite:
        ["CREATE TABLE named (); CREATE TYPE c AS (x regclass); CREATE DOMAIN d AS c; CREATE TABLE t AS SELECT ARRAY[ROW('named')::c::d] AS x"]
        => ["ALTER TABLE named RENAME TO other"];
    a_renamed_role_is_seen_through_a_regrole_column:
        ["CREATE ROLE regrole_one; CREATE TABLE t AS SELECT 'regrole_one'::regrole AS x"]
        => ["ALTER ROLE regrole_one RENAME TO regrole_other"];
    a_renamed_schema_is_seen_through_a_regnamespace_column:
        ["CREATE SCHEMA one; CREATE TABLE t AS SELECT 'one'::regnamespace AS x"]
        => ["ALTER SCHEMA one RENAME TO other"];
    a_renamed_type_is_seen_through_a_regtype_column:
        ["CREATE DOMAIN r AS int; CREATE TABLE t AS SELECT 'r'::regtype AS x"]
        => ["ALTER DOMAIN r RENAME TO s"];
    a_renamed_function_is_seen_through_its_columns:
        ["CREATE FUNCTION r() RETURNS int LANGUAGE sql AS 'SELECT 1';",
         "CREATE TABLE t AS SELECT 'r()'::regprocedure AS x, 'r'::regproc AS y"]
        => ["ALTER FUNCTION r RENAME TO s"];
    a_renamed_role_is_seen_through_an_access_list:
        ["CREATE ROLE access_one; CREATE TABLE t AS SELECT '{access_one=r/postgres}'::aclitem[] AS x"]
        => ["ALTER ROLE access_one RENAME TO access_other"];
    a_composite_attribute_that_was_added_is_read_again:
        [PAIR, "CREATE TABLE t AS SELECT ROW(1, 'x')::pair AS c"]
        => ["ALTER TYPE pair ADD ATTRIBUTE d int"];
    a_composite_attribute_that_was_dropped_is_read_again:
        [PAIR, "CREATE TABLE t AS SELECT ROW(1, 'x')::pair AS c"]
        => ["ALTER TYPE pair DROP ATTRIBUTE a"];
    a_composite_attribute_dropped_and_added_again_is_read_again:
        [PAIR, "CREATE TABLE t AS SELECT ROW(1, 'x')::pair AS c"]
        => ["ALTER TYPE pair DROP ATTRIBUTE b; ALTER TYPE pair ADD ATTRIBUTE b text"];
    a_composite_that_changed_within_an_array_is_read_again:
        [PAIR, "CREATE TABLE t AS SELECT ARRAY[ROW(1, 'x')::pair] AS c"]
        => ["ALTER TYPE pair ADD ATTRIBUTE d int"];
    a_composite_that_changed_below_a_domain_is_read_again:
        [PAIR, "CREATE DOMAIN d AS pair; CREATE TABLE t AS SELECT ROW(1, 'x')::pair::d AS c"]
        => ["ALTER TYPE pair DROP ATTRIBUTE a"];
    a_composite_that_changed_within_a_composite_is_read_again:
        [PAIR, "CREATE TYPE outside AS (p pair); CREATE TABLE t AS SELECT ROW(ROW(1, 'x')::pair)::outside AS c"]
        => ["ALTER TYPE pair ADD ATTRIBUTE d int"];
    a_column_added_to_a_table_is_seen_through_columns_of_its_row_type:
        ["CREATE TABLE other (a int); CREATE TABLE t AS SELECT ROW(1)::other AS r"]
        => ["ALTER TABLE other ADD COLUMN b int"];
    a_generated_column_that_became_a_plain_one_is_read_again:
        ["CREATE TABLE t (id int, g int GENERATED ALWAYS AS (id * 2) STORED); INSERT INTO t SELECT generate_series(1, 9)"]
        => ["ALTER TABLE t ALTER COLUMN g DROP EXPRESSION"];
    // A base type of the user's, whose output function is replaced.
    a_type_whose_output_function_was_replaced_is_read_again:
        ["CREATE TYPE raw; CREATE FUNCTION raw_in(cstring) RETURNS raw LANGUAGE internal STRICT IMMUTABLE AS 'textin'; CREATE FUNCTION raw_out(raw) RETURNS cstring LANGUAGE internal STRICT IMMUTABLE AS 'textout'; CREATE TYPE raw (INPUT = raw_in, OUTPUT = raw_out, LIKE = text); CREATE TABLE t AS SELECT 'x'::raw AS x"]
        => ["CREATE OR REPLACE FUNCTION raw_out(raw) RETURNS cstring LANGUAGE internal STRICT IMMUTABLE AS 'byteaout'"];
}

#[test]
fn a_label_renamed_there_and_back_between_two_backups_harms_nothing() {
    let (ground, first) =
        backed_up("CREATE TYPE mood AS ENUM ('sad', 'calm'); CREATE TABLE t AS SELECT 'sad'::mood AS m");
    ground.execute(&format!("{RENAME}; ALTER TYPE mood RENAME VALUE 'blue' TO 'sad'"));
    let second = ground.back_up();
    assert_eq!(ground.rows(&first, "t"), ground.rows(&second, "t"));
}

#[test]
fn a_default_for_new_rows_alone_is_not_a_reason_to_read_again() {
    is_taken_over(
        "CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 9) g; ALTER TABLE t ADD COLUMN x int DEFAULT 5",
        "ALTER TABLE t ALTER COLUMN x SET DEFAULT 6",
    );
}

/// The bytes are the same and the columns are not: what the manifest calls them must be new.
#[test]
fn columns_that_change_names_carry_their_new_names() {
    let (ground, first) = backed_up("CREATE TABLE t AS SELECT 1 AS a, 2 AS b");
    ground.execute("ALTER TABLE t RENAME a TO x; ALTER TABLE t RENAME b TO a; ALTER TABLE t RENAME x TO b");
    let second = ground.back_up();
    let names = |backup: &crate::ground::Backup| -> Vec<String> {
        backup.table("t").columns.iter().map(|column| column.name.clone()).collect()
    };
    assert_eq!((names(&first), names(&second)), (vec!["a".into(), "b".into()], vec!["b".into(), "a".into()]));
    assert_eq!(ground.rows(&second, "t"), "1\t2");
}

/// Settings of the role that change bytes are pinned: they are no reason, and no danger.
#[test]
fn settings_of_the_role_change_nothing() {
    is_taken_over(
        "CREATE TABLE t AS SELECT now() AS a, '\\x00'::bytea AS b, interval '1 day' AS c, 1.1::float8 AS d",
        "ALTER ROLE postgres SET timezone = 'Asia/Tokyo'; ALTER ROLE postgres SET bytea_output = 'escape'; \
         ALTER ROLE postgres SET intervalstyle = 'iso_8601'; ALTER ROLE postgres SET extra_float_digits = -5; \
         ALTER ROLE postgres SET datestyle = 'German'",
    );
}

/// All that an ordinary table holds is of types whose text depends on the value alone.
#[test]
fn a_table_of_ordinary_types_is_taken_over() {
    is_taken_over(
        "CREATE TABLE t (a smallint, b integer, c bigint, d numeric(10, 2), e real, f double precision, g text, \
         h varchar(10), i char(4), j boolean, k date, l time, m timestamp, n timestamptz, o interval, p uuid, q json, \
         r jsonb, s bytea, u inet, v int[], w text[], x bit(3), y tsvector, z int4range, \"A b\" name); \
         INSERT INTO t (a, g, r) VALUES (1, 'x', '{}'), (2, NULL, NULL)",
        "VACUUM FREEZE t;; ANALYZE t",
    );
}
