//! Which columns have a rendering at all.

use std::collections::BTreeSet;

use pgstow_core::postgres::server::ServerOptions;

use crate::ground::{Ground, MAJORS, renderings};

/// Tables without a proof, each with what it has that forbids one.
const UNPROVABLE: &str = "
    CREATE TABLE no_money (x money);
    CREATE TABLE no_money_array (x money[]);
    CREATE TABLE no_regclass (id int, x regclass);
    CREATE TABLE no_regclass_array (x regclass[]);
    CREATE TABLE no_regtype (x regtype);
    CREATE TABLE no_aclitem (x aclitem);
    CREATE TABLE no_aclitem_array (x aclitem[]);
    CREATE DOMAIN amount AS money; CREATE TABLE no_domain (x amount[]);
    CREATE TYPE holder AS (a int, b regproc[]); CREATE TABLE no_composite (x holder);
    CREATE TABLE no_composite_array (x holder[]);
    CREATE TYPE amounts AS RANGE (SUBTYPE = money); CREATE TABLE no_range (x amounts);
    CREATE TABLE no_catalog_row (x pg_catalog.pg_class);
    CREATE UNLOGGED TABLE no_unlogged (x int);
    CREATE TYPE own;
    CREATE FUNCTION own_in(cstring) RETURNS own AS 'textin' LANGUAGE internal IMMUTABLE STRICT;
    CREATE FUNCTION own_out(own) RETURNS cstring AS 'textout' LANGUAGE internal IMMUTABLE STRICT;
    CREATE TYPE own (INPUT = own_in, OUTPUT = own_out, LIKE = text);
    CREATE TABLE no_own (x own); CREATE TABLE no_own_array (x own[]);
    CREATE TABLE no_partitions (x int) PARTITION BY LIST (x);";

/// Base types of the server that write their values by more than the value, or that no user's table
/// should hold.
const DENIED: [&str; 18] = [
    "aclitem",
    "gtsvector",
    "money",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_ndistinct",
    "pg_node_tree",
    "refcursor",
    "regclass",
    "regcollation",
    "regconfig",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
];

#[test]
fn a_table_whose_values_depend_on_more_than_themselves_has_no_proof() {
    for major in MAJORS {
        let ground = Ground::new(major, &[]);
        ground.execute(UNPROVABLE);
        let manifest = ground.back_up();
        let renderings = renderings(&manifest);
        assert_eq!(
            renderings.len(),
            UNPROVABLE.matches("TABLE no_").count(),
            "every table is in the manifest"
        );
        for (table, rendering) in renderings {
            assert_eq!(rendering, None, "PostgreSQL {major}: {table}");
        }
    }
}

/// A base type that a new server brings is on neither list, and this fails until somebody has decided.
#[test]
fn every_base_type_of_the_server_is_either_allowed_or_denied_by_name() {
    let denied: BTreeSet<&str> = DENIED.into_iter().chain(["regprocedure", "regrole", "regtype"]).collect();
    for major in 13..=18 {
        let ground = Ground::new(major, &[]);
        ground.execute(
            "DO $$ DECLARE t record; BEGIN
                 FOR t IN SELECT typname, format_type(oid, NULL) AS x, format_type(typarray, NULL) AS y
                            FROM pg_type WHERE typtype IN ('b', 'r', 'm') AND typname !~ '^_'
                             AND typnamespace = 'pg_catalog'::regnamespace LOOP
                     EXECUTE format('CREATE TABLE %I (x %s)', t.typname, t.x);
                     IF t.y <> '-' THEN
                         EXECUTE format('ALTER TABLE %I ADD y %s', t.typname, t.y);
                     END IF;
                 END LOOP;
             END $$",
        );
        let manifest = ground.back_up();
        let renderings = renderings(&manifest);
        assert!(renderings.len() > 60, "PostgreSQL {major}: {}", renderings.len());
        for (name, rendering) in renderings {
            assert_eq!(rendering.is_none(), denied.contains(name), "PostgreSQL {major}: {name}");
        }
    }
}

/// A database of encoding SQL_ASCII takes any bytes, also as what older rows show in a new column.
#[test]
fn bytes_that_are_no_text_do_not_stand_in_the_way() {
    let ascii =
        ServerOptions { locale: "C".into(), encoding: "SQL_ASCII".into(), ..ServerOptions::default() };
    let ground = Ground::with(15, ascii);
    ground.execute(
        "CREATE TABLE raw (x int); INSERT INTO raw VALUES (1);
         DO $$ BEGIN EXECUTE format('ALTER TABLE raw ADD y text DEFAULT %L', E'\\xff'); END $$;
         ALTER TABLE raw ALTER y DROP DEFAULT",
    );
    let manifest = ground.back_up();
    assert!(renderings(&manifest)["raw"].is_some());
}
