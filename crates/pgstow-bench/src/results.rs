//! What was measured: for every case and competitor the samples of all rounds, or why there are none.

use std::time::Duration;

use crate::cases::Case;
use crate::measure::Usage;
use crate::statistics::{self, Spread};

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) usage: Usage,
    /// What the repository or dump grew by; `None` where nothing is stored.
    pub(crate) stored_bytes: Option<u64>,
}

/// One competitor in one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) case: Case,
    pub(crate) key: &'static str,
    pub(crate) label: &'static str,
    /// In the order of the rounds; empty when it could not take part.
    pub(crate) samples: Vec<Sample>,
    /// Why it could not take part or go on.
    pub(crate) reason: Option<String>,
}

/// All entries.
#[derive(Debug, Default)]
pub(crate) struct Results {
    entries: Vec<Entry>,
}

impl Entry {
    pub(crate) fn wall(&self) -> Option<Spread> {
        Spread::of(self.samples.iter().map(|sample| sample.usage.wall))
    }

    pub(crate) fn client_processor(&self) -> Option<Duration> {
        self.median_of(|usage| usage.client_processor)
    }

    pub(crate) fn server_processor(&self) -> Option<Duration> {
        self.median_of(|usage| usage.server_processor)
    }

    pub(crate) fn stored_bytes(&self) -> Option<u64> {
        statistics::median(self.samples.iter().filter_map(|sample| sample.stored_bytes))
    }

    /// The largest of all rounds.
    pub(crate) fn peak_process_bytes(&self) -> Option<u64> {
        self.samples.iter().map(|sample| sample.usage.peak_process_bytes).max()
    }

    /// The largest of all rounds.
    pub(crate) fn peak_total_bytes(&self) -> Option<u64> {
        self.samples.iter().map(|sample| sample.usage.peak_total_bytes).max()
    }

    fn median_of(&self, value: impl Fn(&Usage) -> Duration) -> Option<Duration> {
        Spread::of(self.samples.iter().map(|sample| value(&sample.usage))).map(|spread| spread.median)
    }
}

impl Results {
    /// The entry of a competitor in a case, made when it is not there yet.
    pub(crate) fn entry(&mut self, case: Case, key: &'static str) -> &mut Entry {
        let found = self.entries.iter().position(|entry| entry.case == case && entry.key == key);
        let index = found.unwrap_or_else(|| {
            self.entries.push(Entry { case, key, label: key, samples: Vec::new(), reason: None });
            self.entries.len() - 1
        });
        &mut self.entries[index]
    }

    /// Everybody in a case.
    pub(crate) fn of_case(&self, case: Case) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.case == case)
    }

    /// Every case of a competitor.
    pub(crate) fn of_competitor(&self, key: &str) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.key == key)
    }

    /// Median wall time of a competitor in a case.
    pub(crate) fn median_wall(&self, case: Case, key: &str) -> Option<Duration> {
        let mut entries = self.of_case(case);
        Some(entries.find(|entry| entry.key == key)?.wall()?.median)
    }

    pub(crate) fn cases(&self) -> Vec<Case> {
        let measured = |case: &Case| self.of_case(*case).next().is_some();
        Case::ALL.into_iter().filter(measured).collect()
    }
}
