//! Many counterexamples on one server: each has a schema and a test of its own, and all share the
//! two backups before and after their changes.

use std::sync::OnceLock;

use pgstow_core::monitor::Silent;

use crate::change::STILL;
use crate::ground::{Ground, Vault, settle, told};
use crate::witness::Witness;

/// Statements that make a table `t`, and statements that change its text without a new row version.
pub(crate) struct Counterexample {
    pub(crate) name: &'static str,
    pub(crate) setup: &'static [&'static str],
    pub(crate) change: &'static [&'static str],
}

/// What the second backup was like for one of them.
struct Finding {
    /// The file of `t` before and after the change.
    filenodes: [String; 2],
    /// The rows of `t` in both backups.
    rows: [Vec<String>; 2],
    /// How the second backup differs from its snapshot.
    differences: Vec<String>,
}

struct Findings {
    of_each: Vec<Finding>,
    /// Chunks of the second backup that were taken over.
    reused: usize,
}

/// Fails unless the second backup holds the rows of `t` as they have become.
#[track_caller]
pub(crate) fn judge(all: &'static [Counterexample], name: &str) {
    static FINDINGS: OnceLock<Findings> = OnceLock::new();
    let findings = FINDINGS.get_or_init(|| look(all));
    let place = all.iter().position(|example| example.name == name).expect("one of them");
    let Finding { filenodes, rows, differences } = &findings.of_each[place];
    assert_eq!(filenodes[0], filenodes[1], "the storage guard would see a table that was written anew");
    assert_ne!(rows[0], rows[1], "the change shows in the rows");
    assert!(differences.is_empty(), "the backup holds what was: {differences:#?}");
    assert!(findings.reused >= 4, "tables that did not change are taken over, those in the bundle too");
}

/// Tables that share a bundle with all of them and outweigh them: what shares an object with little
/// else that is still good would be read again for that alone.
const BALLAST: &str = "DO $$ BEGIN FOR i IN 1..3 LOOP EXECUTE format('CREATE TABLE ballast_%s AS \
     SELECT g AS id, repeat(md5(g::text), 31) AS body FROM generate_series(1, 800) g', i); END LOOP; END $$;";

fn look(all: &'static [Counterexample]) -> Findings {
    let ground = Ground::new(&format!("{STILL} {BALLAST}"));
    let schema = |place: usize| format!("case_{place}");
    let each = |of: fn(&Counterexample) -> &[&str]| {
        for (place, example) in all.iter().enumerate() {
            let path =
                format!("CREATE SCHEMA IF NOT EXISTS {0}; SET search_path = {0}, public;", schema(place));
            ground.execute(&format!("{path} {}", of(example).join(" ")));
        }
    };
    let filenodes = || -> Vec<String> {
        let places = 0..all.len();
        places
            .map(|place| ground.value(&format!("SELECT pg_relation_filenode('{}.t')", schema(place))))
            .collect()
    };
    each(|example| example.setup);
    let before = filenodes();
    settle(&mut ground.connect());
    let first = ground.vault.back_up_watched(&ground.options(), &Silent).expect("a backup");
    each(|example| example.change);
    let after = filenodes();
    let options = ground.options();
    let witness = Witness::new(&options.connection, &|_| ());
    let second =
        ground.vault.back_up_watched(&options, &witness).unwrap_or_else(|error| panic!("{}", told(&error)));
    let comparison = witness.compare(&ground.vault.repository(), &second.manifest, &|_| false);
    let rows = |vault: &Vault, backup: &crate::ground::Backup, place: usize| {
        let schema = schema(place);
        let table = backup.manifest.tables.iter().find(|table| table.schema == schema && table.name == "t");
        backup.rows_of(vault, table.expect("the table is in the manifest"))
    };
    let of_each = before.into_iter().zip(after).enumerate().map(|(place, (before, after))| {
        let prefix = format!("{}.", schema(place));
        Finding {
            filenodes: [before, after],
            rows: [rows(&ground.vault, &first, place), rows(&ground.vault, &second, place)],
            differences: comparison
                .differences
                .iter()
                .filter(|found| found.contains(&prefix))
                .cloned()
                .collect(),
        }
    });
    Findings { of_each: of_each.collect(), reused: second.report.reuse.reused }
}

/// A test for each `name: [setup…] => [change…];`.
macro_rules! counterexamples {
    ($($name:ident: [$($setup:expr),* $(,)?] => [$($change:expr),* $(,)?];)*) => {
        const COUNTEREXAMPLES: &[crate::counterexamples::Counterexample] = &[
            $(crate::counterexamples::Counterexample {
                name: stringify!($name),
                setup: &[$($setup),*],
                change: &[$($change),*],
            }),*
        ];
        $(
            #[test]
            fn $name() {
                crate::counterexamples::judge(COUNTEREXAMPLES, stringify!($name));
            }
        )*
    };
}
pub(crate) use counterexamples;
