//! The command line of the bench.

use std::path::PathBuf;

use clap::Parser;

use crate::cases::Case;
use crate::peers;

/// Measures pgstow against other ways to back up and restore PostgreSQL
#[derive(Debug, Parser)]
#[command(name = "pgstow-bench", version)]
pub(crate) struct Arguments {
    /// Size of the main data set: 1 is about 1.2 GB of tables
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = parse_scale)]
    scale: f64,

    /// Tables of the data set of many tables
    #[arg(long, value_name = "N", default_value = "10000", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    tables: u32,

    /// How often everything is measured
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,

    /// A small trial of everything: --scale 0.02 --tables 300 --rounds 1
    #[arg(long, conflicts_with_all = ["scale", "tables", "rounds"])]
    quick: bool,

    /// Only these cases
    #[arg(long = "case", value_name = "CASE", value_enum, value_delimiter = ',')]
    cases: Vec<Case>,

    /// Only these competitors
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(peers::KEYS))]
    only: Vec<String>,

    /// Write the figures into this document, between its two markers
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// Where servers, repositories and dumps are put and removed again: a disk, not memory
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    pub(crate) directory: PathBuf,

    /// The pgstow to measure [default: the one beside this program]
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) pgstow: Option<PathBuf>,

    /// Folder of PostgreSQL's programs
    #[arg(long, value_name = "DIR", default_value = "/usr/lib/postgresql/15/bin")]
    pub(crate) postgres: PathBuf,
}

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Extent {
    /// Size of the main data set.
    pub(crate) scale: f64,
    /// Tables of the data set of many tables.
    pub(crate) tables: u32,
    /// Rounds.
    pub(crate) rounds: u32,
}

const QUICK: Extent = Extent { scale: 0.02, tables: 300, rounds: 1 };

impl Arguments {
    pub(crate) fn extent(&self) -> Extent {
        if self.quick {
            return QUICK;
        }
        Extent { scale: self.scale, tables: self.tables, rounds: self.rounds }
    }

    /// The cases to measure, in the order they are measured in.
    pub(crate) fn cases(&self) -> Vec<Case> {
        Case::ALL.into_iter().filter(|case| self.cases.is_empty() || self.cases.contains(case)).collect()
    }

    /// Whether a competitor takes part.
    pub(crate) fn includes(&self, key: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == key)
    }
}

fn parse_scale(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(scale) if (0.005..=100.0).contains(&scale) => Ok(scale),
        _ => Err("a number from 0.005 to 100 is needed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Arguments {
        Arguments::try_parse_from([&["pgstow-bench"], words].concat()).unwrap()
    }

    #[test]
    fn without_arguments_everything_is_measured_at_full_size() {
        let arguments = parsed(&[]);
        assert_eq!(arguments.extent(), Extent { scale: 1.0, tables: 10_000, rounds: 3 });
        assert_eq!(arguments.cases(), Case::ALL);
        assert!(peers::KEYS.iter().all(|key| arguments.includes(key)));
    }

    #[test]
    fn cases_and_competitors_are_chosen_by_name() {
        let arguments = parsed(&["--case", "restore,full", "--only", "pgstow,pg_dump-Fc", "--quick"]);
        assert_eq!(arguments.cases(), [Case::Full, Case::Restore]);
        assert!(arguments.includes("pg_dump-Fc"));
        assert!(!arguments.includes("pg_dump-Fd"));
        assert_eq!(arguments.extent(), QUICK);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for words in [
            ["--only", "tar"],
            ["--case", "nothing"],
            ["--scale", "NaN"],
            ["--scale", "0"],
            ["--rounds", "0"],
        ] {
            assert!(
                Arguments::try_parse_from([&["pgstow-bench"], &words[..]].concat()).is_err(),
                "{words:?}"
            );
        }
        assert!(Arguments::try_parse_from(["pgstow-bench", "--quick", "--scale", "1"]).is_err());
    }
}
