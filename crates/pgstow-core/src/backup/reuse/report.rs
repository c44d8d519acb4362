//! How much was taken over, and why not more.

use std::collections::HashMap;

use super::doubt::Doubt;
use crate::repository::format::id::BackupId;

/// Reasons that differ in the table only are listed up to so many.
const MOST_ALIKE: usize = 10;

/// What a backup took over from earlier ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct ReuseReport {
    /// The newest backup that was compared with; `None` when there was nothing to compare with.
    pub base: Option<BackupId>,
    /// Chunks of this backup, tables and large objects.
    pub chunks: usize,
    /// Those of them that were proven unchanged and taken over.
    pub reused: usize,
    /// Uncompressed bytes of the chunks taken over.
    pub reused_bytes: u64,
    /// Uncompressed bytes of the other chunks.
    pub read_bytes: u64,
    /// Why nothing could be taken over, when one reason holds for the whole backup, such as
    /// `the server was restarted`.
    pub full: Option<String>,
    /// The schema archive and the catalog were proven unchanged and taken over.
    pub definitions_reused: bool,
    /// Why they were not although there was something to compare with, as the end of the sentence
    /// `definitions were read: …`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definitions_read: Option<String>,
    /// Why the other chunks were read, most chunks first.
    pub read: Vec<ReadReason>,
}

/// Why chunks were read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ReadReason {
    /// How many.
    pub chunks: usize,
    /// Why, as the end of the sentence `12 chunks were read: …`, such as `changed` or
    /// `public.orders has a regclass column (kind)`.
    pub reason: String,
    /// The reason is a whole sentence, to be put after `because`, not an ending such as `changed`.
    #[serde(skip)]
    pub is_sentence: bool,
}

/// Where a chunk of this backup comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backup) enum Origin {
    /// Taken over from the base with this index.
    Reused {
        /// Index of the base.
        base: usize,
    },
    /// Read, and why.
    Read(Doubt),
}

/// Counts where chunks come from.
#[derive(Debug, Default)]
pub(in crate::backup) struct Tally {
    report: ReuseReport,
    read: HashMap<Doubt, usize>,
    bases: Vec<usize>,
}

impl Tally {
    /// Counts one chunk.
    pub(in crate::backup) fn add(&mut self, origin: &Origin, bytes: u64) {
        self.report.chunks += 1;
        match origin {
            Origin::Reused { base } => {
                self.report.reused += 1;
                self.report.reused_bytes += bytes;
                if !self.bases.contains(base) {
                    self.bases.push(*base);
                }
            }
            Origin::Read(doubt) => {
                self.report.read_bytes += bytes;
                *self.read.entry(doubt.clone()).or_default() += 1;
            }
        }
    }

    /// Bases that chunks were taken over from.
    pub(in crate::backup) fn bases(&self) -> &[usize] {
        &self.bases
    }

    /// The report, as far as chunks go.
    pub(in crate::backup) fn into_report(self, base: Option<BackupId>) -> ReuseReport {
        let general = self.read.iter().filter(|(doubt, _)| doubt.is_general());
        let general = general.map(|(doubt, chunks)| (chunks, doubt.to_string())).max();
        let full = general.filter(|_| self.report.reused == 0).map(|(_, reason)| reason);
        let mut alike: HashMap<std::mem::Discriminant<Doubt>, Vec<ReadReason>> = HashMap::new();
        for (doubt, chunks) in self.read {
            let (reason, is_sentence) = (doubt.to_string(), doubt.is_sentence());
            let reason = ReadReason { chunks, reason, is_sentence };
            alike.entry(std::mem::discriminant(&doubt)).or_default().push(reason);
        }
        let mut read: Vec<ReadReason> = alike.into_values().flat_map(summed_up).collect();
        read.sort_by(by_chunks);
        ReuseReport { base, full, read, ..self.report }
    }
}

/// Most chunks first.
fn by_chunks(one: &ReadReason, other: &ReadReason) -> std::cmp::Ordering {
    other.chunks.cmp(&one.chunks).then_with(|| one.reason.cmp(&other.reason))
}

/// Reasons that differ in the table only: the first few, and the rest in one.
fn summed_up(mut alike: Vec<ReadReason>) -> Vec<ReadReason> {
    alike.sort_by(by_chunks);
    if alike.len() > MOST_ALIKE {
        let rest = alike.split_off(MOST_ALIKE - 1);
        let chunks = rest.iter().map(|reason| reason.chunks).sum();
        let reason = format!("of {} more tables, for a like reason", rest.len());
        alike.push(ReadReason { chunks, reason, is_sentence: false });
    }
    alike
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_tables_have_in_common_is_summed_up() {
        let mut tally = Tally::default();
        for table in 0..100 {
            let doubt = Doubt::Rendering { table: format!("public.t{table:02}"), column: "id".into() };
            tally.add(&Origin::Read(doubt), 5);
        }
        tally.add(&Origin::Read(Doubt::Changed), 5);
        tally.add(&Origin::Reused { base: 1 }, 7);
        assert_eq!(tally.bases(), [1]);
        let report = tally.into_report(None);
        assert_eq!((report.chunks, report.reused, report.reused_bytes), (102, 1, 7));
        assert_eq!(report.read.len(), MOST_ALIKE + 1);
        let first = report.read.first().map(|reason| (reason.chunks, reason.reason.as_str()));
        assert_eq!(first, Some((91, "of 91 more tables, for a like reason")));
        assert_eq!(report.read.iter().map(|reason| reason.chunks).sum::<usize>(), 101);
    }
    fn report(origins: &[(Origin, u64)]) -> ReuseReport {
        let mut tally = Tally::default();
        origins.iter().for_each(|(origin, bytes)| tally.add(origin, *bytes));
        tally.into_report(None)
    }

    fn read(doubt: Doubt) -> Origin {
        Origin::Read(doubt)
    }

    #[test]
    fn equal_reasons_are_counted_together_and_the_most_frequent_comes_first() {
        let unprovable = |why: &str| Doubt::Unprovable { table: "public.t".into(), why: why.into() };
        let report = report(&[
            (Origin::Reused { base: 0 }, 100),
            (read(unprovable("has a regclass column (kind)")), 1),
            (read(Doubt::Changed), 10),
            (read(Doubt::Changed), 20),
        ]);
        assert_eq!((report.chunks, report.reused, report.reused_bytes, report.read_bytes), (4, 1, 100, 31));
        let reasons: Vec<_> =
            report.read.iter().map(|read| (read.chunks, read.reason.as_str(), read.is_sentence)).collect();
        assert_eq!(reasons, [(2, "changed", false), (1, "public.t has a regclass column (kind)", true)]);
        assert_eq!(report.full, None);
    }

    #[test]
    fn a_reason_for_the_whole_backup_is_told_as_such_unless_something_was_taken_over() {
        let restarted = || (read(Doubt::History("the server was restarted")), 1);
        let objects = || (read(Doubt::LargeObjects), 1);
        let of = |origins: &[(Origin, u64)]| report(origins).full;
        assert_eq!(of(&[objects(), objects(), restarted()]).as_deref(), Some("the server was restarted"));
        assert_eq!(of(&[(Origin::Reused { base: 0 }, 1), restarted()]), None);
        assert_eq!(of(&[objects()]), None);
        assert_eq!(of(&[]), None);
    }
}
