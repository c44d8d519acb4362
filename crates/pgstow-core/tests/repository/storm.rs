//! Two backups and a prune as processes in one repository, killed and frozen at random moments: no
//! committed backup is ever damaged. Times are tiny, so that leases run out, lists are swept and
//! tombstones go while somebody is frozen.
#![allow(clippy::print_stdout, reason = "a random test prints its seed and what it did")]

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use pgstow_core::Result;
use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::Silent;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::store::LocalStore;
use pgstow_core::repository::{Repository, Timing};
use pgstow_core::verify::{Reading, verify};
use rustix::process::{Pid, Signal, kill_process};

use crate::children;
use crate::crash::all_good;
use crate::faulty::fast_folder;
use crate::prune::{objects, options};
use crate::sample::*;

/// Contents that come and go and come back.
const SEEDS: u64 = 5;
/// Between two looks at everything.
const BLOWS: usize = 25;
const DAMAGE: &str = "damage.txt";

const TIMING: Timing = Timing {
    heartbeat: Duration::from_millis(4),
    lease: Duration::from_millis(60),
    tombstone: Duration::from_millis(150),
};

/// Numbers that look random and follow from a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Self(u64::from(since.subsec_nanos()) ^ (u64::from(std::process::id()) << 32))
    }
}

fn open_quick(root: &Path) -> Repository {
    Repository::open(Box::new(LocalStore::new(root))).unwrap().with_timing(TIMING)
}

/// Ends this process when the one that started it has gone.
fn end_with_parent() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_string(&mut String::new());
        std::process::exit(0);
    });
}

#[test]
#[ignore = "run by the tests of this file"]
fn one_that_backs_up() {
    end_with_parent();
    let (root, mut chance) = (children::folder(), Chance::now());
    loop {
        let repository = open_quick(&root);
        // Failing is allowed; damage is not.
        if let Ok(header) = back_up(&repository, &mut chance) {
            require_whole(&root, &repository, &header);
        }
    }
}

/// A time that no other run has: ten microseconds count as a second. Ids come again only where a clock
/// goes back.
fn distinct_now() -> Timestamp {
    let now = Timestamp::now();
    let since = now.as_microsecond().rem_euclid(1_000_000_000_000);
    Timestamp::from_second(1_800_000_000 + since / 10).unwrap()
}

/// Takes over what an earlier backup holds, or stores it.
fn back_up(repository: &Repository, chance: &mut Chance) -> Result<Header> {
    let now = distinct_now();
    let newest = repository.list()?.backups.pop();
    let mut draft = repository.begin_backup(&environment("prod"), None, now)?;
    let bases: Vec<_> = newest.iter().map(|header| header.id.clone()).collect();
    let usable = draft.build_on(&bases)?;
    if let Some(base) = newest.filter(|base| usable.contains(&base.id) && chance.below(2) == 0)
        && let Ok(manifest) = repository.manifest(&base)
        && manifest.objects.iter().all(|object| repository.take_over(manifest.object_key.as_ref(), object))
    {
        return finish(draft, now, &Stored::of(&manifest));
    }
    let stored = store_objects(repository, chance.below(SEEDS) * 10)?;
    if chance.below(3) == 0 {
        draft.write_progress(&progress(&draft.id().clone(), now, &stored, 2))?;
    }
    finish(draft, now, &stored)
}

/// A backup that cannot be verified although it is there is damaged.
fn require_whole(root: &Path, repository: &Repository, header: &Header) {
    let report = verify(repository, header, &Reading::All, &Silent, &Interrupt::new());
    // A prune may have let it go, and another run may have taken its id since.
    let is_there = repository.header(&header.id).is_ok_and(|now| now == *header);
    if report.as_ref().is_ok_and(|report| report.is_good()) || !is_there {
        return;
    }
    fs::write(root.join(DAMAGE), format!("{}: {report:?}", header.id)).unwrap();
    panic!("{} is damaged: {report:?}", header.id);
}

#[test]
#[ignore = "run by the tests of this file"]
fn one_that_prunes() {
    end_with_parent();
    let (root, mut chance) = (children::folder(), Chance::now());
    loop {
        let repository = open_quick(&root);
        let grace = Duration::from_millis(chance.below(3) * 10);
        let pruned =
            repository.plan_prune(options(grace)).and_then(|plan| repository.prune(plan, &Interrupt::new()));
        if let Err(error) = pruned {
            eprintln!("{error}: {:?}", error.reason());
        }
    }
}

/// A child that is started anew when it was killed.
struct Runner<'p> {
    name: &'static str,
    root: &'p Path,
    child: Child,
}

impl<'p> Runner<'p> {
    fn start(name: &'static str, root: &'p Path) -> Self {
        Self { name, root, child: children::start(name, &[], root) }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        // It is not waited for yet, so the number is its own.
        kill_process(pid, signal).unwrap();
    }

    fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }

    fn start_anew(&mut self) {
        self.child = children::start(self.name, &[], self.root);
    }
}

fn rest(chance: &mut Chance, limit_ms: u64) {
    std::thread::sleep(Duration::from_millis(chance.below(limit_ms)));
}

fn storm(seed: u64, length: Duration) {
    println!("seed {seed}");
    let mut chance = Chance(seed);
    let place = fast_folder();
    let root = place.path();
    init(root);
    store_backup(&open_quick(root), &environment("prod"), None, distinct_now(), 0).unwrap();
    let (begun, mut blows, mut committed, mut looks) = (Instant::now(), 0, 0, 0);
    while begun.elapsed() < length {
        let names = ["storm::one_that_backs_up", "storm::one_that_backs_up", "storm::one_that_prunes"];
        let mut runners = names.map(|name| Runner::start(name, root));
        for _ in 0..BLOWS {
            rest(&mut chance, 60);
            let victim = &mut runners[usize::try_from(chance.below(3)).unwrap()];
            blows += 1;
            if chance.below(3) == 0 {
                victim.kill();
                victim.start_anew();
            } else {
                victim.signal(Signal::STOP);
                rest(&mut chance, 250);
                victim.signal(Signal::CONT);
            }
        }
        runners.iter_mut().for_each(Runner::kill);
        assert!(!root.join(DAMAGE).exists(), "seed {seed}: {:?}", fs::read_to_string(root.join(DAMAGE)));
        let backups = all_good(root);
        assert!(!backups.is_empty(), "seed {seed}");
        committed += backups.len();
        looks += 1;
        // A rerun succeeds, whatever was left.
        back_up(&open_quick(root), &mut chance).unwrap();
        let repository = open_quick(root);
        let plan = repository.plan_prune(options(Duration::ZERO)).unwrap();
        let _ = repository.prune(plan, &Interrupt::new()).unwrap();
        all_good(root);
    }
    println!(
        "{blows} blows, {looks} looks at everything, {committed} backups read, {} objects left",
        objects(root).len()
    );
    assert!(looks > 0);
}

#[test]
fn backups_and_a_prune_that_are_killed_and_frozen_at_random_never_damage_a_backup() {
    storm(Chance::now().0, Duration::from_secs(45));
}

#[test]
#[ignore = "long: make soak"]
fn soak() {
    let minutes = std::env::var("PGSTOW_SOAK_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    storm(Chance::now().0, Duration::from_secs(60 * minutes));
}
