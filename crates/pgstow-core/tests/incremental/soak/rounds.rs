//! The rounds of the test: writes, a backup, a comparison.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pgstow_core::backup::{self, BackupOptions};
use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::{Event, Silent};
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::manifest::Manifest;
use pgstow_core::verify::{Reading, verify};
use pgstow_core::{Error, ErrorKind};

use super::random::Random;
use super::world::{self, SEEN_THROUGH_DEFINITIONS};
use super::writer::{Shared, Writer, operations};
use crate::ground::{Ground, told};
use crate::processes::{crash, until_it_is_back};
use crate::transaction_ids::start_at;
use crate::witness::Witness;

const WRITERS: u64 = 4;
/// Where transaction ids of 32 bits begin anew.
const TURN: u64 = 1 << 32;
/// How long writers may take for what they were granted.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// Chunks in a hundred that must have been taken over.
const LEAST_REUSED: usize = 20;

/// What a round is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Open,
    Still,
    Interrupted,
    Crash,
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Tally {
    rounds: usize,
    kinds: BTreeMap<String, usize>,
    backups: usize,
    /// Backups that gave up for a reason that is none of theirs.
    given_up: BTreeMap<String, usize>,
    chunks: usize,
    reused: usize,
    definitions_reused: usize,
    definitions_read: BTreeMap<String, usize>,
    compared: usize,
    skipped: usize,
    definitions_compared: usize,
    /// The xmin of the newest backup's snapshot.
    last_transaction: u64,
}

/// The test.
pub(crate) struct Soak {
    seed: u64,
    random: Random,
    ground: Ground,
    shared: Shared,
    tally: Tally,
    turning: bool,
    /// Rounds until it is decided again whether only rows change.
    phase: u64,
    /// The first backup that used each object, to tell what was taken over.
    objects: BTreeMap<String, String>,
}

impl Soak {
    /// `turning`: transaction ids begin anew at zero while the test runs, after a few rounds.
    pub(crate) fn new(seed: u64, turning: bool) -> Self {
        let mut random = Random::new(seed);
        let wal_level = *random.pick(&["minimal", "replica"]);
        let configuration = [
            "autovacuum = on",
            "autovacuum_naptime = 1s",
            "checkpoint_timeout = 30s",
            "deadlock_timeout = 100ms",
            "max_wal_senders = 0",
            &format!("wal_level = {wal_level}"),
        ];
        println!("PGSTOW_SOAK_SEED={seed} (wal_level = {wal_level})");
        let ground = Ground::with_configuration(&configuration, "SELECT 1");
        if turning {
            start_at(&ground, 0, TURN - 3000);
        }
        ground.execute(&world::setup());
        let shared = Shared::new(ground.settings());
        Self {
            seed,
            random,
            ground,
            shared,
            tally: Tally::default(),
            turning,
            phase: 0,
            objects: BTreeMap::new(),
        }
    }

    /// Runs rounds for `duration`, and on until every kind of operation has happened.
    pub(crate) fn run(mut self, duration: Duration) {
        let begin = Instant::now();
        let shared = std::mem::replace(&mut self.shared, Shared::new(self.ground.settings()));
        let failure = std::thread::scope(|threads| {
            for number in 0..WRITERS {
                let random = Random::new(self.random.next());
                let shared = &shared;
                threads.spawn(move || Writer::new(shared, format!("writer {number}"), random).work());
            }
            let mut failure = None;
            while failure.is_none() && (begin.elapsed() < duration || self.is_due(&shared)) {
                let longest = duration * 2 + Duration::from_secs(120);
                failure = self.round(&shared).err();
                if begin.elapsed() > longest && failure.is_none() {
                    failure = Some(format!("something never happened: {}", missing(&shared).join(", ")));
                }
            }
            shared.pace.end();
            failure
        });
        println!("{:#?}\n{}", self.tally, shared.journal.tally());
        if let Some(failure) = failure {
            let lines = shared.journal.lines();
            let (seed, place) = (self.seed, self.ground.vault.keep());
            panic!(
                "{lines}\n{failure}\nPGSTOW_SOAK_SEED={seed}; the repository is kept in {}",
                place.display()
            );
        }
        self.judge(&shared);
        self.verify_the_last();
    }

    /// What was taken over from many backups is all there, to the last byte and row.
    fn verify_the_last(&self) {
        let repository = self.ground.vault.repository();
        let backups = repository.list().expect("a list").backups;
        for header in backups.iter().rev().take(3) {
            let report = verify(&repository, header, &Reading::All, &Silent, &Interrupt::new())
                .expect("not interrupted");
            assert!(report.is_good(), "{report:#?}");
        }
    }

    fn is_due(&self, shared: &Shared) -> bool {
        let turned = || self.tally.last_transaction > TURN;
        !missing(shared).is_empty() || self.tally.kinds.len() < 4 || (self.turning && !turned())
    }

    fn judge(&self, shared: &Shared) {
        let tally = &self.tally;
        assert!(missing(shared).is_empty(), "never happened: {:?}", missing(shared));
        let given_up: usize = tally.given_up.values().sum();
        assert!(given_up * 3 <= tally.rounds, "most backups come to their end: {:?}", tally.given_up);
        assert!(tally.skipped * 4 <= tally.compared, "most tables are compared: {tally:?}");
        assert!(tally.definitions_compared > 0, "{tally:?}");
        let long = tally.backups > 60;
        assert!(!long || tally.definitions_reused > 0, "definitions are taken over too: {tally:?}");
        assert!(
            tally.chunks > 0 && tally.reused * 100 >= tally.chunks * LEAST_REUSED,
            "{} of {} chunks were taken over; with nothing taken over the test shows nothing",
            tally.reused,
            tally.chunks
        );
    }

    /// One round; what is wrong with the backup.
    fn round(&mut self, shared: &Shared) -> Result<(), String> {
        self.tally.rounds += 1;
        let kind = match self.random.below(100) {
            0..42 => Kind::Still,
            42..84 => Kind::Open,
            84..95 => Kind::Interrupted,
            _ => Kind::Crash,
        };
        // Each kind comes in a short run too.
        let kind = match self.tally.rounds {
            1 | 3 => Kind::Still,
            2 => Kind::Open,
            4 => Kind::Interrupted,
            7 => Kind::Crash,
            _ => kind,
        };
        *self.tally.kinds.entry(format!("{kind:?}")).or_default() += 1;
        shared.journal.note("rounds", &format!("round {} ({kind:?})", self.tally.rounds));
        self.change_phase(shared);
        let meanwhile = self.random.below(25);
        shared.pace.grant(meanwhile);
        match kind {
            Kind::Crash => self.crash(shared),
            Kind::Interrupted => self.interrupted(shared),
            Kind::Open => self.backup(shared, false)?,
            Kind::Still => self.backup(shared, true)?,
        }
        let between = if self.random.percent(10) { 0 } else { self.random.below(30) };
        shared.pace.grant(between);
        if !shared.pace.wait_until_idle(IDLE_LIMIT) {
            return Err("the writers do not come to an end".to_owned());
        }
        if self.random.percent(25) {
            self.finish_prepared();
        }
        Ok(())
    }

    /// Now and then definitions stay as they are for some rounds, so that they can be taken over.
    fn change_phase(&mut self, shared: &Shared) {
        if self.phase == 0 {
            self.phase = 1 + self.random.below(4);
            let only_rows = self.tally.rounds > 4 && self.random.percent(40);
            shared.only_rows.store(only_rows, Ordering::SeqCst);
        }
        self.phase -= 1;
    }

    fn options(&mut self) -> BackupOptions {
        let mut options = self.ground.options();
        options.jobs = usize::try_from(1 + self.random.below(4)).expect("a small number");
        options.lock_timeout = Duration::from_secs(5);
        options.full = self.random.percent(3);
        options
    }

    fn backup(&mut self, shared: &Shared, still: bool) -> Result<(), String> {
        let gate = still.then(|| shared.definitions.write().unwrap());
        let options = self.options();
        let also = |event: &Event<'_>| match event {
            Event::Snapshot { .. } => {
                shared.snapshots.fetch_add(1, Ordering::SeqCst);
                shared.journal.note("backup", "snapshot");
            }
            Event::Warning { message } => shared.journal.note("backup", message),
            _ => {}
        };
        let witness = Witness::new(&options.connection, &also);
        let repository = self.ground.vault.repository();
        let report = match backup::run(&repository, &options, &witness, &Interrupt::new()) {
            Ok(report) => report,
            Err(error) => return self.given_up(shared, &error),
        };
        let manifest = repository.manifest(&report.header).map_err(|error| told(&error))?;
        shared.journal.note("backup", &format!("{} {:?}", report.header.id, report.reuse));
        self.tally.backups += 1;
        self.tally.last_transaction = manifest.snapshot.xmin;
        self.tally.chunks += report.reuse.chunks;
        self.tally.reused += report.reuse.reused;
        self.tally.definitions_reused += usize::from(report.reuse.definitions_reused);
        if let Some(why) = report.reuse.definitions_read {
            *self.tally.definitions_read.entry(why).or_default() += 1;
        }
        let mut found = Vec::new();
        if still {
            self.tally.definitions_compared += 1;
            let pg_dump = self.ground.server.binaries().program("pg_dump");
            let compared = witness.compare_definitions(&repository, &manifest, &pg_dump);
            found.extend(compared.map_err(|error| error.to_string())?);
        }
        let passed_over = |name: &str| !still && is_unsteady(name);
        let comparison =
            witness.try_compare(&repository, &manifest, &passed_over).map_err(|error| error.to_string())?;
        drop(gate);
        self.tally.compared += comparison.compared;
        self.tally.skipped += comparison.skipped.len();
        found.extend(comparison.differences);
        let outcome =
            if found.is_empty() { Ok(()) } else { Err(self.explained(&found, &repository, &manifest)) };
        for object in &manifest.objects {
            self.objects.entry(object.id.to_string()).or_insert_with(|| manifest.backup.to_string());
        }
        outcome
    }

    /// Says of each object in a difference whether an earlier backup had it already.
    fn explained(&self, found: &[String], repository: &Repository, manifest: &Manifest) -> String {
        let mut text = format!("backup {} in {} differs:\n", manifest.backup, repository.location());
        for difference in found {
            text.push_str(difference);
            let known = self.objects.iter().find(|(object, _)| difference.contains(object.as_str()));
            match known {
                Some((_, backup)) => text.push_str(&format!("\n  taken over: first in backup {backup}\n")),
                None => text.push_str("\n  read by this backup\n"),
            }
        }
        text
    }

    /// A statement that waits for a lock, or a table that keeps changing, may end a backup.
    fn given_up(&mut self, shared: &Shared, error: &Error) -> Result<(), String> {
        let message = told(error);
        shared.journal.note("backup", &message);
        let passing = error.kind() == ErrorKind::Failed
            && ["lock", "changed", "does not exist", "could not open relation", "cache lookup failed"]
                .iter()
                .any(|word| message.contains(word));
        if !passing {
            return Err(message);
        }
        *self.tally.given_up.entry(error.message().to_owned()).or_default() += 1;
        Ok(())
    }

    /// A backup that is interrupted at a random moment; it may come to its end before.
    fn interrupted(&mut self, shared: &Shared) {
        let interrupt = Interrupt::new();
        let (moment, events) = (1 + self.random.below(30), AtomicUsize::new(0));
        let options = self.options();
        let trigger = interrupt.clone();
        let also = move |event: &Event<'_>| {
            if matches!(
                event,
                Event::Snapshot { .. } | Event::TableStarted { .. } | Event::TableFinished { .. }
            ) && events.fetch_add(1, Ordering::SeqCst) as u64 >= moment
            {
                trigger.trigger();
            }
        };
        let witness = Witness::new(&options.connection, &also);
        let outcome = backup::run(&self.ground.vault.repository(), &options, &witness, &interrupt);
        shared.journal.note(
            "backup",
            &format!("to be interrupted at event {moment}: {:?}", outcome.map(|report| report.reuse)),
        );
    }

    /// Kills a process amid the writes: what was committed without waiting may be lost.
    fn crash(&mut self, shared: &Shared) {
        shared.crashing.store(true, Ordering::SeqCst);
        crash(&self.ground);
        until_it_is_back(&self.ground);
        shared.journal.note("rounds", "the server is back");
        shared.crashing.store(false, Ordering::SeqCst);
    }

    fn finish_prepared(&mut self) {
        let mut session = self.ground.connect();
        let rows = session.query("SELECT gid FROM pg_prepared_xacts").expect("the prepared ones");
        for row in rows.iter() {
            let name: String = row.get(0).expect("a name");
            let how = if self.random.percent(60) { "COMMIT" } else { "ROLLBACK" };
            // A writer may have been faster.
            let _ = session.execute(&format!("{how} PREPARED '{name}'"));
        }
    }
}

/// Whether a read at another moment may give another text.
fn is_unsteady(name: &str) -> bool {
    SEEN_THROUGH_DEFINITIONS.contains(&name) || name == "kinds"
}

/// Operations that never worked.
fn missing(shared: &Shared) -> Vec<&'static str> {
    let names = operations().into_iter().map(|operation| operation.name);
    names.filter(|name| !shared.journal.has_succeeded(name)).collect()
}
