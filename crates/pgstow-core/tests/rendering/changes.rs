//! A change of a table or of what its columns lead to, between two backups.

use crate::ground::{Ground, MAJORS, find, renderings};
use pgstow_core::monitor::Silent;

/// What becomes of a table's rendering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Becomes {
    /// Every column as it was.
    Same,
    /// Some column is not as it was, or there are more or fewer.
    Different,
    /// There was a proof, and there is none any more.
    Unprovable,
}

/// A table, made and changed.
struct Case {
    /// Name of the table.
    table: &'static str,
    /// Makes it.
    before: &'static str,
    /// Changes it, or what its columns lead to.
    change: &'static str,
    becomes: Becomes,
    /// The oldest server that knows these statements.
    since: u32,
}

const fn case(table: &'static str, before: &'static str, change: &'static str, becomes: Becomes) -> Case {
    Case { table, before, change, becomes, since: 13 }
}

const fn since(since: u32, case: Case) -> Case {
    Case { since, ..case }
}

/// Tables that these changes leave on disk as they are: nothing but the rendering tells.
const STORED_AS_BEFORE: [&str; 6] =
    ["dropped_and_added", "enum_renamed", "fast_default", "longer", "oid_to_regclass", "timestamp_kept"];

const CASES: [Case; 42] = [
    // Nothing that a value is written by.
    case("untouched", "CREATE TABLE untouched (a int, b text)", "SELECT 1", Becomes::Same),
    case(
        "attributes_of_columns",
        "CREATE TABLE attributes_of_columns (a int, b text, c jsonb DEFAULT '{}');
         INSERT INTO attributes_of_columns VALUES (1, 'x')",
        "ALTER TABLE attributes_of_columns ALTER a SET NOT NULL;
         ALTER TABLE attributes_of_columns ALTER b SET STATISTICS 500, ALTER b SET STORAGE EXTERNAL,
               ALTER b SET DEFAULT 'y', ALTER c DROP DEFAULT;
         COMMENT ON COLUMN attributes_of_columns.a IS 'number';
         COMMENT ON TABLE attributes_of_columns IS 'table';
         GRANT SELECT (a) ON attributes_of_columns TO PUBLIC;
         ALTER TABLE attributes_of_columns ADD CHECK (a > 0);
         CREATE INDEX ON attributes_of_columns (a); ANALYZE attributes_of_columns",
        Becomes::Same,
    ),
    case(
        "rows",
        "CREATE TABLE rows (a int, b text); INSERT INTO rows VALUES (1, 'x')",
        "INSERT INTO rows VALUES (2, 'y'); UPDATE rows SET a = 3; ALTER TABLE rows SET (fillfactor = 50)",
        Becomes::Same,
    ),
    case(
        "frozen_enum",
        "CREATE TYPE frozen AS ENUM ('a', 'b'); CREATE TABLE frozen_enum (x frozen)",
        "COMMENT ON TYPE frozen IS 'cold'",
        Becomes::Same,
    ),
    case(
        "constrained_domain",
        "CREATE DOMAIN positive AS int; CREATE TABLE constrained_domain (x positive)",
        "ALTER DOMAIN positive ADD CHECK (VALUE > 0)",
        Becomes::Same,
    ),
    // Enums: the rows hold the OID of a label.
    case(
        "enum_renamed",
        "CREATE TYPE colour AS ENUM ('red', 'green'); CREATE TABLE enum_renamed (id int, x colour);
         INSERT INTO enum_renamed VALUES (1, 'red')",
        "ALTER TYPE colour RENAME VALUE 'red' TO 'crimson'",
        Becomes::Different,
    ),
    case(
        "enum_back",
        "CREATE TYPE taste AS ENUM ('sweet', 'sour'); CREATE TABLE enum_back (x taste)",
        "ALTER TYPE taste RENAME VALUE 'sweet' TO 'mild'; ALTER TYPE taste RENAME VALUE 'mild' TO 'sweet'",
        Becomes::Different,
    ),
    // No stored value is written differently. One fingerprint stands for the whole list of labels, so
    // it changes all the same: one more reading, never a wrong one.
    case(
        "enum_grown",
        "CREATE TYPE size AS ENUM ('small'); CREATE TABLE enum_grown (x size)",
        "ALTER TYPE size ADD VALUE 'large'",
        Becomes::Different,
    ),
    case(
        "enum_array",
        "CREATE TYPE day AS ENUM ('mo', 'tu'); CREATE TABLE enum_array (x day[])",
        "ALTER TYPE day RENAME VALUE 'mo' TO 'monday'",
        Becomes::Different,
    ),
    case(
        "enum_domain",
        "CREATE TYPE unit AS ENUM ('m', 'kg'); CREATE DOMAIN measure AS unit;
         CREATE TABLE enum_domain (x measure)",
        "ALTER TYPE unit RENAME VALUE 'm' TO 'metre'",
        Becomes::Different,
    ),
    case(
        "range_over_domain",
        "CREATE TYPE grade AS ENUM ('a', 'b'); CREATE DOMAIN mark AS grade;
         CREATE TYPE marks AS RANGE (SUBTYPE = mark); CREATE TABLE range_over_domain (x marks)",
        "ALTER TYPE grade RENAME VALUE 'a' TO 'best'",
        Becomes::Different,
    ),
    since(
        14,
        case(
            "multirange_over_enum",
            "CREATE TYPE step AS ENUM ('one', 'two'); CREATE TYPE steps AS RANGE (SUBTYPE = step);
             CREATE TABLE multirange_over_enum (x steps_multirange)",
            "ALTER TYPE step RENAME VALUE 'one' TO 'first'",
            Becomes::Different,
        ),
    ),
    // Columns.
    case(
        "fast_default",
        "CREATE TABLE fast_default (a int); INSERT INTO fast_default VALUES (1)",
        "ALTER TABLE fast_default ADD COLUMN b int DEFAULT 7",
        Becomes::Different,
    ),
    case(
        "other_fast_default",
        "CREATE TABLE other_fast_default (a int); INSERT INTO other_fast_default VALUES (1);
         ALTER TABLE other_fast_default ADD COLUMN b int DEFAULT 7",
        "ALTER TABLE other_fast_default DROP COLUMN b; ALTER TABLE other_fast_default ADD COLUMN b int DEFAULT 8",
        Becomes::Different,
    ),
    case(
        "dropped_and_added",
        "CREATE TABLE dropped_and_added (a int, b int); INSERT INTO dropped_and_added VALUES (1, 2)",
        "ALTER TABLE dropped_and_added DROP COLUMN b; ALTER TABLE dropped_and_added ADD COLUMN b int",
        Becomes::Different,
    ),
    case(
        "column_renamed",
        "CREATE TABLE column_renamed (a int, b int)",
        "ALTER TABLE column_renamed RENAME a TO c; ALTER TABLE column_renamed RENAME b TO a",
        Becomes::Different,
    ),
    case(
        "expression_dropped",
        "CREATE TABLE expression_dropped (a int, b int GENERATED ALWAYS AS (a * 2) STORED);
         INSERT INTO expression_dropped VALUES (1)",
        "ALTER TABLE expression_dropped ALTER b DROP EXPRESSION",
        Becomes::Different,
    ),
    case(
        "longer",
        "CREATE TABLE longer (a varchar(10), b numeric(10, 2))",
        "ALTER TABLE longer ALTER a TYPE varchar(20), ALTER b TYPE numeric(12, 2)",
        Becomes::Different,
    ),
    case(
        "oid_to_regclass",
        "CREATE TABLE oid_to_regclass (x oid); INSERT INTO oid_to_regclass VALUES ('pg_class'::regclass)",
        "ALTER TABLE oid_to_regclass ALTER x TYPE regclass",
        Becomes::Unprovable,
    ),
    case(
        "timestamp_rewritten",
        "CREATE TABLE timestamp_rewritten (x timestamp); INSERT INTO timestamp_rewritten VALUES (now())",
        "SET timezone = 'Asia/Tokyo'; ALTER TABLE timestamp_rewritten ALTER x TYPE timestamptz",
        Becomes::Different,
    ),
    case(
        "timestamp_kept",
        "CREATE TABLE timestamp_kept (x timestamp); INSERT INTO timestamp_kept VALUES (now())",
        "SET timezone = 'UTC'; ALTER TABLE timestamp_kept ALTER x TYPE timestamptz",
        Becomes::Different,
    ),
    case(
        "text_to_domain",
        "CREATE DOMAIN word AS text; CREATE TABLE text_to_domain (x text)",
        "ALTER TABLE text_to_domain ALTER x TYPE word",
        Becomes::Different,
    ),
    // Composite types, alone and inside others.
    case(
        "attribute_added",
        "CREATE TYPE place AS (street text); CREATE TABLE attribute_added (x place);
         INSERT INTO attribute_added VALUES (ROW('x'))",
        "ALTER TYPE place ADD ATTRIBUTE number int",
        Becomes::Different,
    ),
    case(
        "attribute_dropped",
        "CREATE TYPE pair AS (a text, b text); CREATE TABLE attribute_dropped (x pair)",
        "ALTER TYPE pair DROP ATTRIBUTE b",
        Becomes::Different,
    ),
    case(
        "attribute_renamed",
        "CREATE TYPE named AS (a text, b text); CREATE TABLE attribute_renamed (x named)",
        "ALTER TYPE named RENAME ATTRIBUTE b TO c",
        Becomes::Different,
    ),
    case(
        "attribute_of_another_type",
        "CREATE TYPE retyped AS (a text, b text); CREATE TABLE attribute_of_another_type (x retyped)",
        "ALTER TYPE retyped DROP ATTRIBUTE b; ALTER TYPE retyped ADD ATTRIBUTE b int",
        Becomes::Different,
    ),
    case(
        "composite_in_domain",
        "CREATE TYPE home AS (a text); CREATE DOMAIN address AS home; CREATE TABLE composite_in_domain (x address)",
        "ALTER TYPE home ADD ATTRIBUTE b int",
        Becomes::Different,
    ),
    case(
        "composite_in_array",
        "CREATE TYPE item AS (a text, b text); CREATE TABLE composite_in_array (x item[])",
        "ALTER TYPE item DROP ATTRIBUTE a",
        Becomes::Different,
    ),
    case(
        "composite_in_domain_in_array",
        "CREATE TYPE leaf AS (a text); CREATE DOMAIN branch AS leaf; CREATE TYPE tree AS (b branch[], n int);
         CREATE TABLE composite_in_domain_in_array (x tree[])",
        "ALTER TYPE leaf ADD ATTRIBUTE b int",
        Becomes::Different,
    ),
    case(
        "composite_in_range",
        "CREATE TYPE key AS (a int); CREATE DOMAIN keys AS key; CREATE TYPE span AS RANGE (SUBTYPE = keys);
         CREATE TABLE composite_in_range (x span)",
        "ALTER TYPE key ADD ATTRIBUTE b int",
        Becomes::Different,
    ),
    case(
        "row_of_another_table",
        "CREATE TABLE another (a int, b text); CREATE TABLE row_of_another_table (x another)",
        "ALTER TABLE another ADD COLUMN c int",
        Becomes::Different,
    ),
    case(
        "composite_becomes_unprovable",
        "CREATE TYPE bag AS (a int); CREATE TABLE composite_becomes_unprovable (x bag)",
        "ALTER TYPE bag ADD ATTRIBUTE b regclass",
        Becomes::Unprovable,
    ),
    // Types of extensions, and their functions.
    case("citext_same", "CREATE TABLE citext_same (x citext, y citext[])", "ANALYZE citext_same", Becomes::Same),
    case(
        "hstore_updated",
        "CREATE TABLE hstore_updated (x hstore, y hstore[]); INSERT INTO hstore_updated VALUES ('a=>1')",
        "ALTER EXTENSION hstore UPDATE",
        Becomes::Different,
    ),
    case(
        "hstore_removed",
        "CREATE TABLE hstore_removed (x hstore); INSERT INTO hstore_removed VALUES ('a=>1')",
        "ALTER TABLE hstore_removed ALTER x TYPE text",
        Becomes::Different,
    ),
    case(
        "ltree_output_replaced",
        "CREATE TABLE ltree_output_replaced (x ltree)",
        "CREATE OR REPLACE FUNCTION ltree_out(ltree) RETURNS cstring
             AS '$libdir/ltree', 'ltree_out' LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE",
        Becomes::Different,
    ),
    case(
        "output_leaves_its_extension",
        "CREATE TABLE output_leaves_its_extension (x cube)",
        "ALTER EXTENSION cube DROP FUNCTION cube_out(cube)",
        Becomes::Unprovable,
    ),
    // What else has no proof or has one.
    case(
        "leaf_of_a_partition",
        "CREATE TABLE root (a int) PARTITION BY LIST (a);
         CREATE TABLE leaf_of_a_partition PARTITION OF root FOR VALUES IN (1)",
        "SELECT 1",
        Becomes::Same,
    ),
    case("no_columns", "CREATE TABLE no_columns ()", "SELECT 1", Becomes::Same),
    case(
        "becomes_unlogged",
        "CREATE TABLE becomes_unlogged (a int)",
        "ALTER TABLE becomes_unlogged SET UNLOGGED",
        Becomes::Unprovable,
    ),
    case(
        "geometry_and_time",
        "CREATE TABLE geometry_and_time (a point[], b tstzrange, c interval, d numeric[], e xml, f bytea)",
        "ALTER DATABASE postgres SET datestyle = 'German'; ALTER DATABASE postgres SET bytea_output = 'escape';
         ALTER DATABASE postgres SET intervalstyle = 'iso_8601'; ALTER DATABASE postgres SET timezone = 'Asia/Tokyo';
         ALTER DATABASE postgres SET extra_float_digits = -3",
        Becomes::Same,
    ),
    case("oid_vectors", "CREATE TABLE oid_vectors (a int2vector, b oidvector, c xid8)", "SELECT 1", Becomes::Same),
];

#[test]
fn a_rendering_changes_with_everything_that_a_value_is_written_by_and_with_little_else() {
    for major in MAJORS {
        let ground = Ground::new(major, &[]);
        ground.execute(
            "CREATE EXTENSION hstore VERSION '1.4'; CREATE EXTENSION citext; CREATE EXTENSION cube;
             CREATE EXTENSION ltree; CREATE ROLE reader LOGIN",
        );
        let cases: Vec<&Case> = CASES.iter().filter(|case| case.since <= major).collect();
        cases.iter().for_each(|case| ground.execute(case.before));
        ground.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader");
        let before = ground.back_up();
        // A role without any privilege but reading finds the same.
        let as_reader = ground.back_up_as("reader", &Silent).expect("a backup");
        assert_eq!(renderings(&before), renderings(&as_reader), "PostgreSQL {major}");

        cases.iter().for_each(|case| ground.execute(case.change));
        let after = ground.back_up();
        for name in STORED_AS_BEFORE {
            let filenodes = [&before, &after].map(|manifest| find(manifest, name).filenode);
            assert_eq!(filenodes[0], filenodes[1], "{name} was rewritten: its storage tells already");
        }
        let (was, is) = (renderings(&before), renderings(&after));
        for case in cases {
            let what = format!("PostgreSQL {major}: {} after {}", case.table, case.change);
            let was = was[case.table].unwrap_or_else(|| panic!("{what}: no proof to begin with"));
            match (case.becomes, is[case.table]) {
                (Becomes::Same, Some(is)) => assert_eq!(was, is, "{what}"),
                (Becomes::Different, Some(is)) => assert_ne!(was, is, "{what}"),
                (Becomes::Unprovable, None) => {}
                (expected, is) => panic!("{what}: expected {expected:?}, found {is:?}"),
            }
        }
    }
}
