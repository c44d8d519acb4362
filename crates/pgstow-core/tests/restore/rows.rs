//! Definitions alone, and rows alone into tables that exist.

use pgstow_core::ErrorKind;
use pgstow_core::repository::format::manifest::{Sections, Selection};
use pgstow_core::restore::RestoreOptions;

use crate::ground::{EVERYTHING, Ground, assert_same_dump, told};

fn part(ground: &Ground, sections: Sections) -> RestoreOptions {
    RestoreOptions { sections, ..ground.options() }
}

const CHAIN: &str = "CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a); \
     CREATE TABLE c (id serial PRIMARY KEY, b int REFERENCES b, g int GENERATED ALWAYS AS (1) STORED); \
     INSERT INTO a VALUES (1, 'x'), (2, 'y'); INSERT INTO b VALUES (1, 1), (2, 2); INSERT INTO c (b) VALUES (1), (2), (2)";

#[test]
fn definitions_then_rows_give_the_same_as_both_at_once() {
    let ground = Ground::new(EVERYTHING);
    let header = ground.back_up(Selection::default());
    ground.restore_exactly(&header, &part(&ground, Sections::SchemaOnly));
    assert_eq!(ground.value("target", "SELECT count(*) FROM s.orders"), "0");
    assert_eq!(ground.value("target", "SELECT is_called FROM public.counter"), "f");
    ground.restore_exactly(&header, &part(&ground, Sections::DataOnly));
    assert_same_dump(&ground.dump("target"), &ground.dump("source"));
}

#[test]
fn rows_go_only_into_empty_tables_unless_they_may_be_emptied() {
    let ground = Ground::new(CHAIN);
    let header = ground.back_up(Selection::default());
    ground.restore_exactly(&header, &part(&ground, Sections::SchemaOnly));
    ground.execute("target", "INSERT INTO a VALUES (7, 'mine')");
    let error = ground.restore(&header, &part(&ground, Sections::DataOnly)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.message().contains("public.a"), "{}", told(&error));
    let clean = RestoreOptions { clean: true, ..part(&ground, Sections::DataOnly) };
    ground.restore_exactly(&header, &clean);
    assert_same_dump(&ground.dump("target"), &ground.dump("source"));
}

#[test]
fn tables_and_columns_that_do_not_match_are_listed_and_a_newer_schema_is_kept() {
    let ground = Ground::new(CHAIN);
    let header = ground.back_up(Selection { sections: Sections::DataOnly, ..Selection::default() });
    ground.execute(
        "target",
        "CREATE TABLE a (id int PRIMARY KEY, w text NOT NULL); CREATE TABLE c (id int, b int, g int, \
         more text DEFAULT 'new')",
    );
    let error = ground.restore(&header, &ground.options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let text = told(&error);
    for named in ["column v of table public.a", "column w of table public.a", "table public.b does not exist"]
    {
        assert!(text.contains(named), "{named}: {text}");
    }
    ground
        .execute("target", "ALTER TABLE a DROP w, ADD v text, ADD extra int; CREATE TABLE b (a int, id int)");
    ground.restore(&header, &ground.options()).unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!(ground.value("target", "SELECT string_agg(v, ',' ORDER BY id) FROM a"), "x,y");
    assert_eq!(ground.value("target", "SELECT string_agg(a::text, ',' ORDER BY id) FROM b"), "1,2");
    assert_eq!(ground.value("target", "SELECT DISTINCT more FROM c"), "new");
}

#[test]
fn a_login_that_cannot_silence_keys_loads_in_their_order_and_refuses_circles_and_triggers() {
    let ground = Ground::new(&format!(
        "CREATE ROLE plain LOGIN; GRANT CREATE ON SCHEMA public TO plain; SET ROLE plain; {CHAIN}; RESET ROLE"
    ));
    let header = ground.back_up(Selection::default());
    ground.execute("target", "GRANT CREATE ON SCHEMA public TO plain");
    let mut options = part(&ground, Sections::SchemaOnly);
    let mut whole = ground.restore(&header, &options).unwrap_or_else(|error| panic!("{}", told(&error)));
    whole.lines.retain(|line| !line.equal);
    assert!(whole.lines.is_empty(), "{whole:#?}");
    options.sections = Sections::DataOnly;
    options.connection.user = "plain".to_owned();
    ground.restore_exactly(&header, &options);
    assert_eq!(ground.value("target", "SELECT count(*) FROM c"), "3");

    options.clean = true;
    ground.execute("target", "ALTER TABLE a ADD c int; ALTER TABLE a ADD FOREIGN KEY (c) REFERENCES c");
    let error = ground.restore(&header, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.message().contains("circle") && error.message().contains("public.b"), "{}", told(&error));
    ground.execute(
        "target",
        "ALTER TABLE a DROP c; CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
         CREATE TRIGGER swallow BEFORE INSERT ON b FOR EACH ROW EXECUTE FUNCTION f()",
    );
    let error = ground.restore(&header, &options).unwrap_err();
    assert!(error.message().contains("trigger swallow of table public.b"), "{}", told(&error));
    // A superuser silences it.
    options.connection.user = "postgres".to_owned();
    ground.restore_exactly(&header, &options);
}

#[test]
fn a_part_that_the_backup_does_not_hold_is_a_usage_error() {
    let ground = Ground::new(CHAIN);
    let rows = ground.back_up(Selection { sections: Sections::DataOnly, ..Selection::default() });
    let error = ground.restore(&rows, &part(&ground, Sections::SchemaOnly)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    let definitions = ground.back_up(Selection { sections: Sections::SchemaOnly, ..Selection::default() });
    let error = ground.restore(&definitions, &part(&ground, Sections::DataOnly)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    ground.restore_exactly(&definitions, &ground.options());
}
