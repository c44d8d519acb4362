//! What pgstow is meant to reach, and whether it did. Pure.

use super::text;
use crate::cases::Case;
use crate::results::Results;
use crate::statistics;

/// Memory that no run may exceed.
const MEMORY_BYTES: u64 = 256 * 1024 * 1024;
const PGSTOW: &str = "pgstow";

/// Who has to be faster than whom, and by how much.
struct Lead {
    what: &'static str,
    case: Case,
    /// The fastest of these counts.
    rivals: &'static [&'static str],
    times: f64,
}

const LEADS: [Lead; 4] = [
    Lead { what: "full backup, against pg_dump -Fc", case: Case::Full, rivals: &["pg_dump-Fc"], times: 5.0 },
    Lead {
        what: "full backup, against the best pg_dump pipeline",
        case: Case::Full,
        rivals: &["pg_dump-Fd", "pg_dump-zstd", "pg_dump-restic"],
        times: 2.0,
    },
    Lead {
        what: "nothing changed, against pg_dump -Fc",
        case: Case::Unchanged,
        rivals: &["pg_dump-Fc"],
        times: 30.0,
    },
    Lead {
        what: "restore, against the better pg_restore -j2",
        case: Case::Restore,
        rivals: &["pg_dump-Fc", "pg_dump-Fd"],
        times: 1.3,
    },
];

/// One row for each target: what, wanted, measured, reached or not.
pub(super) fn rows(results: &Results) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = LEADS.iter().map(|lead| lead.row(results)).collect();
    rows.push(memory_row(results));
    rows
}

impl Lead {
    fn row(&self, results: &Results) -> Vec<String> {
        let measured = self.measured(results);
        let wanted = format!("≥ {}×", self.times);
        row(self.what, wanted, measured.map(text::times), measured.map(|ratio| ratio >= self.times))
    }

    fn measured(&self, results: &Results) -> Option<f64> {
        let pgstow = results.median_wall(self.case, PGSTOW)?;
        // All of them must have been measured: the best may be the one that is missing.
        let rivals: Option<Vec<_>> =
            self.rivals.iter().map(|rival| results.median_wall(self.case, rival)).collect();
        statistics::ratio(rivals?.into_iter().min()?, pgstow)
    }
}

fn memory_row(results: &Results) -> Vec<String> {
    let peak = results.of_competitor(PGSTOW).filter_map(|entry| entry.peak_total_bytes()).max();
    row(
        "memory of pgstow and its pg_dump together, in every case",
        format!("≤ {}", text::mebibytes(MEMORY_BYTES)),
        peak.map(text::mebibytes),
        peak.map(|bytes| bytes <= MEMORY_BYTES),
    )
}

fn row(what: &str, wanted: String, measured: Option<String>, reached: Option<bool>) -> Vec<String> {
    let verdict = match reached {
        Some(true) => "reached",
        Some(false) => "not reached",
        None => "not measured",
    };
    vec![what.to_owned(), wanted, measured.unwrap_or_else(|| "—".to_owned()), verdict.to_owned()]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::Usage;
    use crate::results::Sample;

    fn took(results: &mut Results, case: Case, key: &'static str, seconds: u64, mebibytes: u64) {
        let peak_total_bytes = mebibytes * 1024 * 1024;
        let usage = Usage { wall: Duration::from_secs(seconds), peak_total_bytes, ..Usage::default() };
        results.entry(case, key).samples.push(Sample { usage, stored_bytes: None });
    }

    #[test]
    fn a_target_is_reached_against_the_fastest_rival() {
        let mut results = Results::default();
        took(&mut results, Case::Restore, "pgstow", 10, 100);
        took(&mut results, Case::Restore, "pg_dump-Fc", 20, 0);
        took(&mut results, Case::Restore, "pg_dump-Fd", 12, 0);
        took(&mut results, Case::Full, "pgstow", 2, 300);
        took(&mut results, Case::Full, "pg_dump-Fc", 10, 0);
        took(&mut results, Case::Full, "pg_dump-zstd", 5, 0);
        let verdicts: Vec<String> = rows(&results).iter().map(|row| row[2..].join(" ")).collect();
        assert_eq!(
            verdicts,
            ["5.00× reached", "— not measured", "— not measured", "1.20× not reached", "300 MiB not reached"]
        );
    }
}
