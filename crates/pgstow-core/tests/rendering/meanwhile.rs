//! What happens when types or columns change while a backup reads.

use std::sync::Mutex;

use pgstow_core::monitor::{Event, Monitor};

use crate::ground::{Ground, find, renderings};

/// Runs a statement after each of the first snapshots.
struct Change<'g> {
    ground: &'g Ground,
    /// What is run after the first snapshot, the second, …
    statements: Mutex<Vec<&'static str>>,
    warnings: Mutex<Vec<String>>,
}

impl<'g> Change<'g> {
    fn new(ground: &'g Ground, statements: &[&'static str]) -> Self {
        let statements = statements.iter().rev().copied().collect();
        Self { ground, statements: Mutex::new(statements), warnings: Mutex::default() }
    }

    fn warned_of(&self, text: &str) -> bool {
        self.warnings.lock().unwrap().iter().any(|warning| warning.contains(text))
    }
}

impl Monitor for Change<'_> {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Snapshot { .. } => {
                if let Some(statement) = self.statements.lock().unwrap().pop() {
                    self.ground.execute(statement);
                }
            }
            Event::Warning { message } => self.warnings.lock().unwrap().push(message.to_owned()),
            _ => {}
        }
    }
}

const COLOURS: &str = "CREATE TYPE colour AS ENUM ('red', 'green'); CREATE TABLE painted (x colour);
     INSERT INTO painted VALUES ('red')";

#[test]
fn a_label_renamed_while_its_values_are_read_begins_the_backup_anew() {
    for rename in [
        "ALTER TYPE colour RENAME VALUE 'red' TO 'crimson'",
        "ALTER TYPE colour RENAME VALUE 'red' TO 'mauve'; ALTER TYPE colour RENAME VALUE 'mauve' TO 'red'",
    ] {
        let ground = Ground::new(15, &[]);
        ground.execute(COLOURS);
        let change = Change::new(&ground, &[rename]);
        let manifest = ground.back_up_as("postgres", &change).expect("a backup");
        assert!(change.warned_of("its type was changed"), "{:?}", change.warnings);
        let now = format!("{}\n", ground.ask("SELECT x::text FROM painted"));
        assert_eq!(ground.content(&manifest, "painted"), now);
        assert_eq!(renderings(&manifest), renderings(&ground.back_up()));
    }
}

#[test]
fn labels_that_are_renamed_again_and_again_end_the_backup() {
    let ground = Ground::new(15, &[]);
    ground.execute(COLOURS);
    let change = Change::new(
        &ground,
        &[
            "ALTER TYPE colour RENAME VALUE 'red' TO 'a'",
            "ALTER TYPE colour RENAME VALUE 'a' TO 'b'",
            "ALTER TYPE colour RENAME VALUE 'b' TO 'c'",
        ],
    );
    let error = ground.back_up_as("postgres", &change).expect_err("no backup");
    assert!(error.to_string().contains("columns or their types were changed"), "{error}");
}

#[test]
fn a_change_that_no_row_can_show_does_not_begin_the_backup_anew() {
    let ground = Ground::new(15, &[]);
    ground.execute(COLOURS);
    ground.execute("CREATE TYPE other AS ENUM ('a'); CREATE ROLE someone");
    let statements = ["ALTER TYPE other RENAME VALUE 'a' TO 'b'; CREATE TABLE later (x other);
         ALTER TABLE painted ALTER x SET STATISTICS 50;
         GRANT USAGE ON TYPE colour TO someone; ALTER TYPE colour OWNER TO someone;
         ALTER TYPE colour ADD VALUE 'blue' BEFORE 'red'"];
    let change = Change::new(&ground, &statements);
    ground.back_up_as("postgres", &change).expect("a backup");
    assert!(change.warnings.lock().unwrap().is_empty(), "{:?}", change.warnings);
}

/// Nobody holds a lock on the table between the snapshot and its reader, and its storage stays as it is.
#[test]
fn a_column_changed_before_its_reader_locks_it_begins_the_backup_anew() {
    let ground = Ground::new(15, &["max_connections = 20", "max_locks_per_transaction = 24"]);
    ground.execute("CREATE TABLE moment (x timestamp); INSERT INTO moment VALUES ('2024-05-06 07:08:09')");
    for first in (1..=4000).step_by(200) {
        ground.execute(&format!(
            "DO $$ BEGIN FOR i IN {first}..{first} + 199 LOOP EXECUTE format('CREATE TABLE t%s ()', i);
             END LOOP; END $$"
        ));
    }
    let filenode = ground.ask("SELECT pg_relation_filenode('moment')::text");
    let change = Change::new(&ground, &["SET timezone = 'UTC'; ALTER TABLE moment ALTER x TYPE timestamptz"]);
    let manifest = ground.back_up_as("postgres", &change).expect("a backup");
    assert!(change.warned_of("no room to lock") && change.warned_of("was changed"), "{:?}", change.warnings);
    assert_eq!(find(&manifest, "moment").columns[0].type_name, "timestamp with time zone");
    assert_eq!(ground.content(&manifest, "moment"), "2024-05-06 07:08:09+00\n");
    assert_eq!(ground.ask("SELECT pg_relation_filenode('moment')::text"), filenode);
}
