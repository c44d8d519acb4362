//! Types that change while a backup reads: their text is that of the moment, whatever the snapshot.
//!
//! Guards: nothing that the rendering rests on changed between the snapshot and the end of reading,
//! and the catalog's own row versions are part of the fingerprints.

use std::sync::Mutex;

use pgstow_core::monitor::{Event, Monitor};

use crate::change::backed_up;
use crate::ground::Ground;

const MOOD: &str = "CREATE TYPE mood AS ENUM ('sad', 'calm'); CREATE TABLE t AS SELECT 'sad'::mood AS m";
const RENAME: &str = "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'";
const RENAME_BACK: &str = "ALTER TYPE mood RENAME VALUE 'blue' TO 'sad'";
const PAIR: &str = "CREATE TYPE pair AS (a int, b text); CREATE TABLE t AS SELECT ROW(1, 'x')::pair AS m";

/// Runs statements once the snapshot is taken, and others once `t` is read.
struct Moments<'g> {
    ground: &'g Ground,
    at_snapshot: &'static str,
    after_rows: &'static str,
    came: Mutex<(bool, bool)>,
}

impl Monitor for Moments<'_> {
    fn event(&self, event: Event<'_>) {
        let mut came = self.came.lock().unwrap();
        match event {
            Event::Snapshot { .. } if !came.0 => {
                came.0 = true;
                self.ground.execute(self.at_snapshot);
            }
            Event::TableFinished { table: "public.t", .. } if !came.1 => {
                came.1 = true;
                self.ground.execute(self.after_rows);
            }
            _ => {}
        }
    }
}

/// A backup that must read `t`, during which its type is another; then a backup when it is the
/// first one again: it must hold what the first backup holds.
#[track_caller]
fn what_was_read_in_between_is_not_kept(setup: &str, moments: [&'static str; 2], afterwards: &str) {
    let (ground, first) = backed_up(setup);
    ground.execute("UPDATE t SET m = m");
    let [at_snapshot, after_rows] = moments;
    let monitor = Moments { ground: &ground, at_snapshot, after_rows, came: Mutex::default() };
    let second = ground.vault.back_up_watched(&ground.options(), &monitor).expect("a backup");
    assert_eq!(*monitor.came.lock().unwrap(), (true, true), "both moments came");
    let now = ground.value("SELECT m FROM t");
    assert_eq!(ground.rows(&second, "t"), now, "rows and definitions of a backup belong together");
    ground.execute(afterwards);
    let third = ground.back_up();
    assert_eq!(ground.rows(&first, "t"), ground.rows(&third, "t"), "the type is the first one again");
    assert!(third.report.reuse.reused >= 1, "still is taken over: {:#?}", third.report.reuse);
}

/// The types of the second backup's snapshot are those of the third.
#[test]
fn a_label_renamed_while_a_backup_read_and_back_later_is_read_again() {
    what_was_read_in_between_is_not_kept(MOOD, [RENAME, "SELECT 1"], RENAME_BACK);
}

/// Looking at the types before and after the rows are read does not find this.
#[test]
fn a_label_renamed_there_and_back_while_a_backup_read_is_read_again() {
    what_was_read_in_between_is_not_kept(MOOD, [RENAME, RENAME_BACK], "SELECT 1");
}

#[test]
fn an_attribute_added_while_a_backup_read_and_dropped_later_is_read_again() {
    let (add, drop) = ("ALTER TYPE pair ADD ATTRIBUTE d int", "ALTER TYPE pair DROP ATTRIBUTE d");
    what_was_read_in_between_is_not_kept(PAIR, [add, "SELECT 1"], drop);
}

#[test]
fn an_attribute_added_and_dropped_while_a_backup_read_is_read_again() {
    let (add, drop) = ("ALTER TYPE pair ADD ATTRIBUTE d int", "ALTER TYPE pair DROP ATTRIBUTE d");
    what_was_read_in_between_is_not_kept(PAIR, [add, drop], "SELECT 1");
}
