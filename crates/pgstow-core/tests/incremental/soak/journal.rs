//! What the writers did, for the report of a failure, and how often each kind of operation worked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Instant;

/// Lines that are kept.
const LINES: usize = 400;

#[derive(Debug, Default)]
struct Record {
    lines: VecDeque<String>,
    succeeded: BTreeMap<&'static str, u64>,
    failures: BTreeMap<&'static str, (u64, String)>,
}

/// The newest lines, and counts of all operations.
#[derive(Debug)]
pub(crate) struct Journal {
    begin: Instant,
    record: Mutex<Record>,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self { begin: Instant::now(), record: Mutex::default() }
    }

    pub(crate) fn note(&self, who: &str, what: &str) {
        let what: String = what.chars().take(300).collect();
        let line = format!("{:9.3} {who}: {what}", self.begin.elapsed().as_secs_f64());
        let mut record = self.record.lock().unwrap();
        if record.lines.len() == LINES {
            record.lines.pop_front();
        }
        record.lines.push_back(line);
    }

    pub(crate) fn succeeded(&self, operation: &'static str) {
        *self.record.lock().unwrap().succeeded.entry(operation).or_default() += 1;
    }

    pub(crate) fn failed(&self, operation: &'static str, why: &str) {
        let mut record = self.record.lock().unwrap();
        let (count, last) = record.failures.entry(operation).or_default();
        *count += 1;
        last.clear();
        last.push_str(why);
    }

    pub(crate) fn has_succeeded(&self, operation: &str) -> bool {
        self.record.lock().unwrap().succeeded.contains_key(operation)
    }

    /// How often each operation worked and failed, with the last reason.
    pub(crate) fn tally(&self) -> String {
        let record = self.record.lock().unwrap();
        let names: std::collections::BTreeSet<&str> =
            record.succeeded.keys().chain(record.failures.keys()).copied().collect();
        let line = |name: &str| {
            let good = record.succeeded.get(name).copied().unwrap_or_default();
            match record.failures.get(name) {
                Some((bad, last)) => format!("{good:6} {bad:5} {name} ({last})\n"),
                None => format!("{good:6}     0 {name}\n"),
            }
        };
        names.into_iter().map(line).collect()
    }

    pub(crate) fn lines(&self) -> String {
        self.record.lock().unwrap().lines.iter().map(|line| format!("{line}\n")).collect()
    }
}
