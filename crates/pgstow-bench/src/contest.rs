//! Runs the cases on one data set: in every round all competitors in turn, each round beginning with
//! another one, and every result compared with the source.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use pgstow_core::{Error, ErrorKind, Result};

use crate::cases::{Activity, Case};
use crate::data::{self, Change};
use crate::equality::Digest;
use crate::machine;
use crate::measure::{Limits, Meter, Usage, Work};
use crate::peers::{self, Peer, Pgstow};
use crate::report::text;
use crate::results::{Results, Sample};
use crate::say;
use crate::stage::{SOURCE, Stage};

/// Longer than anybody takes who gets there at all.
const TIME_LIMIT: Duration = Duration::from_secs(30 * 60);

/// One data set, its competitors, and how far each of them is.
pub(crate) struct Contest<'c> {
    stage: &'c Stage,
    peers: Vec<Box<dyn Peer>>,
    rounds: u32,
    scale: f64,
    limits: Limits,
    results: &'c mut Results,
    /// How often the source was changed.
    state: u32,
    changes: Vec<Change>,
    /// State of the source in each competitor's last backup.
    backed_up: BTreeMap<&'static str, u32>,
    /// What the source holds, once asked.
    source: Option<Digest>,
}

impl<'c> Contest<'c> {
    pub(crate) fn new(
        stage: &'c Stage,
        peers: Vec<Box<dyn Peer>>,
        rounds: u32,
        scale: f64,
        results: &'c mut Results,
    ) -> Self {
        // The rest is for the server and the system.
        let limits = Limits { time: TIME_LIMIT, memory_bytes: machine::memory_bytes() / 2 };
        let (changes, backed_up) = (Vec::new(), BTreeMap::new());
        Self { stage, peers, rounds, scale, limits, results, state: 0, changes, backed_up, source: None }
    }

    /// Measures one case.
    ///
    /// # Errors
    /// A failure of pgstow or of the server, an unequal result of anybody, an interrupt. The
    /// failure of another competitor is noted and no error.
    pub(crate) fn run(&mut self, case: Case) -> Result<()> {
        let peers = std::mem::take(&mut self.peers);
        let outcome = self.run_rounds(case, &peers);
        self.peers = peers;
        outcome.map_err(|error| error.context(case.title()))
    }

    fn run_rounds(&mut self, case: Case, peers: &[Box<dyn Peer>]) -> Result<()> {
        for round in 0..self.rounds {
            let mut able = Vec::new();
            for peer in peers {
                if self.takes_part(case, peer.as_ref())? {
                    able.push(peer.as_ref());
                }
            }
            if let Some(change) = case.change() {
                self.change(change)?;
            }
            let length = able.len().max(1);
            able.rotate_left(usize::try_from(round).unwrap_or_default() % length);
            for peer in able {
                self.stage.interrupt.check()?;
                let outcome = self.take_turn(case, peer);
                self.note(case, round, peer, outcome)?;
            }
        }
        let proving = case.activity() != Activity::Restore && self.rounds > 0;
        match peers.iter().find(|peer| peer.key() == Pgstow.key()) {
            Some(pgstow) if proving => self.prove(pgstow.as_ref()),
            _ => Ok(()),
        }
    }

    /// Whether a competitor can do this; makes the backup that it builds on.
    fn takes_part(&mut self, case: Case, peer: &dyn Peer) -> Result<bool> {
        let entry = self.results.entry(case, peer.key());
        if entry.reason.is_some() {
            return Ok(false);
        }
        match peer.label(case.activity()) {
            Ok(label) => entry.label = label,
            Err(reason) => {
                entry.reason = Some(reason.to_owned());
                return Ok(false);
            }
        }
        let builds_on_a_backup = match case.activity() {
            Activity::First => false,
            Activity::Next => peer.keeps_repository(),
            Activity::Restore => peer.restores_backups(),
        };
        if builds_on_a_backup && self.backed_up.get(peer.key()) != Some(&self.state) {
            say(&format!("{}: {} makes the backup that is built on", case.name(), peer.key()));
            if let Err(error) = self.back_up(peer, Activity::Next) {
                self.excuse(case, peer, error)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Changes the source, and reads it once: nobody shall pay for being its first reader.
    fn change(&mut self, change: Change) -> Result<()> {
        let earlier = self.changes.iter().filter(|&&before| before == change).count();
        let earlier = u32::try_from(earlier).unwrap_or(u32::MAX);
        data::apply(&mut self.stage.connect(SOURCE)?, change, self.scale, earlier)?;
        self.changes.push(change);
        self.state += 1;
        self.source = None;
        self.source_digest().map(drop)
    }

    fn source_digest(&mut self) -> Result<&Digest> {
        let digest = match self.source.take() {
            Some(digest) => digest,
            None => Digest::of(&self.stage.server.settings(SOURCE), &self.stage.interrupt)?,
        };
        Ok(self.source.insert(digest))
    }

    /// One measurement.
    fn take_turn(&mut self, case: Case, peer: &dyn Peer) -> Result<Sample> {
        let sample = match case.activity() {
            Activity::Restore => self.restore(peer)?,
            activity => self.back_up(peer, activity)?,
        };
        if peer.key() == Pgstow.key() && case.activity() != Activity::Restore {
            Pgstow::verify(self.stage)?;
        }
        Ok(sample)
    }

    fn back_up(&mut self, peer: &dyn Peer, activity: Activity) -> Result<Sample> {
        let first = activity == Activity::First || !self.backed_up.contains_key(peer.key());
        if first || !peer.keeps_repository() {
            peer.empty(self.stage)?;
            self.backed_up.remove(peer.key());
        }
        peer.before_backup(self.stage)?;
        let outcome = self.measure_backup(peer, if first { Activity::First } else { activity });
        peer.after_backup(self.stage)?;
        let sample = outcome?;
        self.backed_up.insert(peer.key(), self.state);
        Ok(sample)
    }

    fn measure_backup(&self, peer: &dyn Peer, activity: Activity) -> Result<Sample> {
        let folder = self.stage.folder(peer.key());
        let before = size_of(&folder)?;
        let work = peer.backup(self.stage, activity)?;
        let usage = self.measure(work)?;
        let stored_bytes = peer.restores_backups().then_some(size_of(&folder)?.saturating_sub(before));
        Ok(Sample { usage, stored_bytes })
    }

    fn measure(&self, work: Work) -> Result<Usage> {
        self.stage.quiesce()?;
        let (postmaster, said) = (self.stage.postmaster()?, self.stage.folder("said"));
        Meter { postmaster, said: &said, interrupt: &self.stage.interrupt, limits: self.limits }.measure(work)
    }

    /// Restores, compares and removes the target.
    fn restore(&mut self, peer: &dyn Peer) -> Result<Sample> {
        self.source_digest()?;
        peer.before_restore(self.stage)?;
        let outcome = self.restore_and_compare(peer);
        // The first failure is the one to tell of.
        let removed = peer.after_restore(self.stage);
        let sample = outcome?;
        removed?;
        Ok(sample)
    }

    fn restore_and_compare(&mut self, peer: &dyn Peer) -> Result<Sample> {
        let work = peer.restore(self.stage)?;
        let usage = self.measure(work)?;
        let restored = Digest::of(&peer.restored(self.stage)?, &self.stage.interrupt)?;
        // An unequal result is the end of the bench, whoever made it: figures mean nothing then.
        self.source_digest()?.must_equal(&restored).map_err(|error| {
            Error::new(ErrorKind::Refused, error.message()).why(error.reason().unwrap_or_default())
        })?;
        Ok(Sample { usage, stored_bytes: None })
    }

    /// Shows that pgstow's last backup restores to what the source holds; not measured.
    fn prove(&mut self, pgstow: &dyn Peer) -> Result<()> {
        self.restore(pgstow)?;
        say("pgstow's last backup restores to exactly what the source holds");
        Ok(())
    }

    fn note(&mut self, case: Case, round: u32, peer: &dyn Peer, outcome: Result<Sample>) -> Result<()> {
        match outcome {
            Ok(sample) => {
                let wall: Duration = sample.usage.wall;
                let (round, rounds) = (round + 1, self.rounds);
                say(&format!("{} {round}/{rounds}: {} {}", case.name(), peer.key(), text::seconds(wall)));
                self.results.entry(case, peer.key()).samples.push(sample);
                Ok(())
            }
            Err(error) => self.excuse(case, peer, error),
        }
    }

    /// Notes why another competitor cannot go on; for pgstow, unequal results and interrupts there
    /// is no excuse.
    fn excuse(&mut self, case: Case, peer: &dyn Peer, error: Error) -> Result<()> {
        if peer.key() == Pgstow.key() || error.kind() != ErrorKind::Failed {
            return Err(error.context(peer.key()));
        }
        let reason = error.in_one_line();
        say(&format!("{}: {} cannot: {reason}", case.name(), peer.key()));
        self.backed_up.remove(peer.key());
        let entry = self.results.entry(case, peer.key());
        entry.samples.clear();
        entry.reason = Some(reason);
        Ok(())
    }
}

/// Those of all competitors that take part.
pub(crate) fn competitors(includes: impl Fn(&str) -> bool) -> Vec<Box<dyn Peer>> {
    peers::all().into_iter().filter(|peer| includes(peer.key())).collect()
}

/// Bytes of all files in a folder; 0 when there is none.
fn size_of(folder: &Path) -> Result<u64> {
    let failed = |error| Error::failed(format!("cannot read {}", folder.display())).source(error);
    if !folder.exists() {
        return Ok(0);
    }
    let mut total = 0;
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let data = entry.metadata().map_err(failed)?;
        total += if data.is_dir() { size_of(&entry.path())? } else { data.len() };
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_folder_is_that_of_all_files_below_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        std::fs::write(folder.path().join("one"), [0; 100]).unwrap();
        std::fs::write(folder.path().join("a/b/two"), [0; 11]).unwrap();
        assert_eq!(size_of(folder.path()).unwrap(), 111);
        assert_eq!(size_of(&folder.path().join("missing")).unwrap(), 0);
    }
}
