//! Backups that did not come to their end: what they had read serves the next one, under the same
//! proof.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use pgstow_core::backup::{self, BackupOptions, BackupReport};
use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::{Event, Monitor};
use pgstow_core::postgres::ConnectionSettings;
use pgstow_core::postgres::settings::Host;
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::id::EnvironmentName;
use pgstow_core::repository::format::manifest::{Chunk, Manifest};
use pgstow_core::repository::store::LocalStore;
use pgstow_core::{ErrorKind, Result};

use crate::ground::{Ground, Vault, connect, flushed, options_for, settle, until};

/// Six tables that are chunks of their own (more than 1 MiB), read one after the other, and a
/// large one of several chunks that is read first.
const TABLES: &str = "DO $$ BEGIN FOR i IN 1..6 LOOP EXECUTE format('CREATE TABLE medium_%s AS \
     SELECT g AS id, repeat(md5((g * %s)::text), 31) AS body FROM generate_series(1, 1500) g', i, i); END LOOP; END $$; \
     CREATE TABLE t AS SELECT g AS id, repeat(md5(g::text), 31) AS body FROM generate_series(1, 40000) g;";

/// Interrupts a backup when something has happened in it.
struct Stop<'i> {
    interrupt: &'i Interrupt,
    when: Box<dyn Fn(&Event<'_>) -> bool + Send + Sync + 'i>,
    finished: Mutex<Vec<String>>,
}

impl Monitor for Stop<'_> {
    fn event(&self, event: Event<'_>) {
        if let Event::TableFinished { table, .. } = &event {
            self.finished.lock().unwrap().push((*table).to_owned());
        }
        if (self.when)(&event) {
            self.interrupt.trigger();
        }
    }
}

/// Interrupts a backup when `when` says so, if it ever does; the outcome and the tables it finished.
fn stopped(
    ground: &Ground,
    when: impl Fn(&Event<'_>) -> bool + Send + Sync,
) -> (Result<BackupReport>, Vec<String>) {
    let interrupt = Interrupt::new();
    let monitor = Stop { interrupt: &interrupt, when: Box::new(when), finished: Mutex::default() };
    let options = BackupOptions { jobs: 1, ..ground.options() };
    let outcome = backup::run(&ground.vault.repository(), &options, &monitor, &interrupt);
    (outcome, monitor.finished.into_inner().unwrap())
}

/// Interrupts a backup when `when` says so; the tables it had finished.
#[track_caller]
pub(crate) fn interrupted(ground: &Ground, when: impl Fn(&Event<'_>) -> bool + Send + Sync) -> Vec<String> {
    let (outcome, finished) = stopped(ground, when);
    assert_eq!(outcome.expect_err("it was interrupted").kind(), ErrorKind::Interrupted);
    finished
}

/// Interrupts a backup as soon as a table is read, and what was read of `t` is written down.
#[track_caller]
fn interrupt_after_a_table(ground: &Ground, name: &'static str) -> Vec<String> {
    interrupted(ground, move |event| match event {
        Event::TableFinished { table, .. } if *table == name => {
            until_written_down(&ground.vault.repository(), |manifest| !chunks_of_t(manifest).is_empty());
            true
        }
        _ => false,
    })
}

/// Waits until the backup that runs has written down enough of what it has finished. A reader says what it
/// has read before the backup knows of it, and that it is kept needs the server's log on disk besides.
fn until_written_down(repository: &Repository, is_enough: impl Fn(&Manifest) -> bool) {
    let environment = EnvironmentName::new("test").expect("a name");
    until("what is finished is written down", || {
        repository.unfinished(&environment).expect("a repository").iter().any(&is_enough)
    });
}

fn chunks_of_t(manifest: &Manifest) -> &[Chunk] {
    let table = manifest.tables.iter().find(|table| table.name == "t");
    table.map(|table| table.chunks.as_slice()).unwrap_or_default()
}

#[test]
fn an_interrupted_backup_leaves_nothing_visible() {
    let ground = Ground::new(TABLES);
    interrupt_after_a_table(&ground, "public.medium_3");
    assert!(ground.vault.repository().list().unwrap().backups.is_empty());
}

#[test]
fn what_an_interrupted_backup_had_read_is_taken_over() {
    let ground = Ground::new(TABLES);
    settle(&mut ground.connect());
    let finished = interrupt_after_a_table(&ground, "public.medium_3");
    assert!(finished.contains(&"public.t".to_owned()), "the largest table is read first: {finished:?}");
    let next = ground.back_up();
    assert!(next.report.reuse.reused >= next.table("t").chunks.len(), "{:#?}", next.report.reuse);
    assert!(next.report.reuse.reused < next.report.reuse.chunks, "some were not read yet");
    ground.back_up().assert_nothing_read();
}

#[test]
fn what_changed_since_an_interrupted_backup_is_read() {
    let ground = Ground::new(TABLES);
    settle(&mut ground.connect());
    interrupt_after_a_table(&ground, "public.medium_5");
    ground.execute("UPDATE t SET body = 'new' WHERE id = 20000; DELETE FROM medium_1 WHERE id = 7");
    ground.execute("DROP TABLE medium_2; ALTER TABLE medium_3 ADD COLUMN more int DEFAULT 5");
    let next = ground.back_up();
    assert!(next.report.reuse.reused >= 2, "chunks of t: {:#?}", next.report.reuse);
    assert!(ground.rows(&next, "t").contains("20000\tnew"));
    assert_eq!(next.table("medium_1").rows, 1499);
    assert!(ground.rows(&next, "medium_3").lines().all(|row| row.ends_with("\t5")));
}

/// Each interruption comes a little later, and what an earlier one had read is not lost.
#[test]
fn backups_interrupted_again_and_again_get_further() {
    let ground = Ground::new(TABLES);
    settle(&mut ground.connect());
    for name in ["public.t", "public.medium_2", "public.medium_4"] {
        // A table that was taken over may not be told of: then the backup comes to its end.
        let (outcome, _) = stopped(
            &ground,
            move |event| matches!(event, Event::TableFinished { table, .. } if *table == name),
        );
        if let Err(error) = outcome {
            assert_eq!(error.kind(), ErrorKind::Interrupted);
        }
    }
    let next = ground.back_up();
    assert!(next.report.reuse.reused >= next.table("t").chunks.len(), "{:#?}", next.report.reuse);
}

/// An interrupted backup after a whole one: both serve, each for what it read last.
#[test]
fn an_interrupted_backup_does_not_hide_the_whole_one_before_it() {
    let ground = Ground::new(TABLES);
    let first = ground.back_up();
    ground.execute("UPDATE medium_1 SET id = -id; UPDATE t SET id = -1 WHERE id = 1");
    settle(&mut ground.connect());
    interrupted(&ground, |event| matches!(event, Event::Snapshot { .. }));
    let next = ground.back_up();
    let read = next.report.reuse.chunks - next.report.reuse.reused;
    assert!(read <= 3, "medium_1 and where t changed: {:#?}", next.report.reuse);
    assert_eq!(next.table("medium_2").chunks[0].rows, first.table("medium_2").chunks[0].rows);
}

/// The leader's session is lost in the middle: its locks are gone, and with them the certainty
/// about everything that was read after.
#[test]
fn a_backup_that_lost_its_locks_does_not_mislead_the_next() {
    let ground = Ground::new(TABLES);
    settle(&mut ground.connect());
    struct Loss<'g>(&'g Ground, Mutex<bool>);
    impl Monitor for Loss<'_> {
        fn event(&self, event: Event<'_>) {
            if let Event::TableFinished { table: "public.t", .. } = event
                && !std::mem::replace(&mut *self.1.lock().unwrap(), true)
            {
                self.0.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                      WHERE application_name = 'pgstow' AND pid <> pg_backend_pid() AND backend_type = 'client backend' \
                        AND pid IN (SELECT pid FROM pg_locks WHERE relation = 'medium_6'::regclass \
                                     AND mode = 'AccessShareLock')",
                );
                self.0.execute(
                    "SET lock_timeout = '2s'; ALTER TABLE medium_5 ALTER body TYPE text USING 'other'",
                );
            }
        }
    }
    let mut options = ground.options();
    options.jobs = 1;
    let loss = Loss(&ground, Mutex::new(false));
    let outcome = ground.vault.back_up_watched(&options, &loss);
    assert!(*loss.1.lock().unwrap());
    assert!(outcome.is_err(), "a backup without its locks is none");
    let next = ground.back_up();
    assert!(ground.rows(&next, "medium_5").lines().all(|row| row.ends_with("other")));
}

/// Only the first of two chunks was finished. What lies behind it was never read, and must not be
/// counted as if it belonged to it: here as many rows are left as the chunk held, and none is new.
#[test]
fn rows_behind_the_last_finished_chunk_are_not_taken_for_its_rows() {
    let ground = Ground::new(
        "CREATE TABLE t AS SELECT g AS id, repeat(md5(g::text), 31) AS body FROM generate_series(1, 20000) g",
    );
    settle(&mut ground.connect());
    let elsewhere = Vault::new().back_up(&ground.options(), &|_| ());
    let [first, _] = &elsewhere.table("t").chunks[..] else {
        panic!("two chunks: {:?}", elsewhere.table("t").chunks)
    };
    let (bytes, rows) = (first.bytes, first.rows);
    let read = AtomicU64::new(0);
    interrupted(&ground, |event| match event {
        Event::TableProgress { table: "public.t", bytes: more } => {
            // What is finished is kept once the server's log is on disk.
            if read.load(Ordering::SeqCst) == 0 {
                flushed(&mut ground.connect());
            }
            let in_the_second = read.fetch_add(*more, Ordering::SeqCst) + more > bytes + 1_000_000;
            if in_the_second {
                until_written_down(&ground.vault.repository(), |manifest| chunks_of_t(manifest).len() == 1);
            }
            in_the_second
        }
        _ => false,
    });
    let environment = ground.options().environment;
    let unfinished = ground.vault.repository().unfinished(&environment).unwrap();
    let chunks = |manifest: &Manifest| manifest.tables[0].chunks.len();
    assert_eq!(unfinished.iter().map(chunks).collect::<Vec<_>>(), [1], "one chunk was finished");
    ground.execute(&format!(
        "DELETE FROM t WHERE ctid IN (SELECT ctid FROM t ORDER BY ctid LIMIT {})",
        20000 - rows
    ));
    let next = ground.back_up();
    assert_eq!(next.table("t").rows, rows);
}

/// Where the child finds server and repository.
const SOCKET: &str = "PGSTOW_TEST_SOCKET";
const REPOSITORY: &str = "PGSTOW_TEST_REPOSITORY";

/// A process that is killed writes nothing down at the end, and tidies nothing up.
#[test]
fn what_a_killed_process_had_read_is_taken_over() {
    let ground = Ground::new(TABLES);
    settle(&mut ground.connect());
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "interruption::child_that_dies_within_a_backup", "--ignored"])
        .env(SOCKET, ground.server.socket_directory())
        .env(REPOSITORY, ground.vault.path())
        .output()
        .expect("the child runs");
    assert_eq!(child.status.code(), None, "it was ended by a signal: {child:?}");
    assert!(ground.vault.repository().list().unwrap().backups.is_empty());
    // How much of it depends on how often it was written down what was finished.
    let next = ground.back_up();
    assert!(next.report.reuse.reused >= 1, "{:#?}", next.report.reuse);
    ground.back_up().assert_nothing_read();
}

fn repository_in(folder: &Path) -> Repository {
    let store = LocalStore::new(folder);
    Repository::open_or_init(Box::new(store), jiff::Timestamp::now()).expect("a repository")
}

#[test]
#[ignore = "only run by another test"]
fn child_that_dies_within_a_backup() {
    struct Death(ConnectionSettings, PathBuf);
    impl Monitor for Death {
        fn event(&self, event: Event<'_>) {
            match event {
                Event::TableFinished { table: "public.medium_3", .. } => {
                    until_written_down(&repository_in(&self.1), |manifest| !manifest.tables.is_empty());
                    std::process::abort()
                }
                // What is finished is kept once the server's log is on disk.
                Event::TableStarted { table: "public.t", .. } => flushed(&mut connect(&self.0)),
                _ => {}
            }
        }
    }
    let folder = |name: &str| PathBuf::from(std::env::var_os(name).expect("only run by another test"));
    let mut options = options_for(ConnectionSettings::new(
        Host::Socket { directory: folder(SOCKET), port: 5432 },
        "postgres",
        "postgres",
    ));
    options.jobs = 1;
    let death = Death(options.connection.clone(), folder(REPOSITORY));
    let report = backup::run(&repository_in(&folder(REPOSITORY)), &options, &death, &Interrupt::new());
    panic!("it goes on: {report:?}");
}
