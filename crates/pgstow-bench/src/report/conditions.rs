//! Under which conditions the figures were made: machine, versions, settings, sizes.

use std::process::Command;

use pgstow_core::Result;

use crate::arguments::Extent;
use crate::machine;
use crate::peers::Peer;
use crate::programs::Programs;
use crate::stage::{CONFIGURATION, Stage};

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// What a figure depends on, as lines of name and value.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    lines: Vec<(String, String)>,
}

impl Conditions {
    /// Looks at the machine and asks every program for its version.
    ///
    /// # Errors
    /// A competitor that is not installed.
    pub(crate) fn look(extent: Extent, programs: &Programs, peers: &[Box<dyn Peer>]) -> Result<Self> {
        let mut conditions = Self::default();
        let now = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string();
        conditions.add("date", &now);
        conditions.add("commit", &commit());
        conditions.add("processors", &machine::processors());
        let gibibytes = machine::memory_bytes() as f64 / GIB;
        conditions.add("memory", &format!("{gibibytes:.1} GiB"));
        conditions.add("load before", &format!("{} (averages of 1, 5 and 15 minutes)", machine::load()));
        conditions.add("rounds", &extent.rounds.to_string());
        let mut versions = vec![programs.version_of("postgres", "--version")?];
        for peer in peers {
            let (program, argument) = peer.version_command();
            let version = programs.version_of(program, argument)?;
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
        conditions.add("versions", &versions.join("; "));
        let settings: Vec<String> =
            CONFIGURATION.iter().map(|(line, why)| format!("`{line}` ({why})")).collect();
        conditions.add("server", &format!("stock settings, `fsync = on`, but {}", settings.join("; ")));
        Ok(conditions)
    }

    /// Notes the size of a data set.
    ///
    /// # Errors
    /// The server's.
    pub(crate) fn add_size(&mut self, name: &str, stage: &Stage) -> Result<()> {
        let rows = stage.connect(crate::stage::SOURCE)?.query(
            "SELECT count(*), pg_size_pretty(sum(pg_table_size(oid))), pg_size_pretty(sum(pg_indexes_size(oid))) \
             FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
        )?;
        let row = rows.only()?;
        let (tables, table_size, index_size): (u64, &str, &str) = (row.get(0)?, row.get(1)?, row.get(2)?);
        self.add(name, &format!("{tables} tables of {table_size} with indexes of {index_size}"));
        Ok(())
    }

    fn add(&mut self, name: &str, value: &str) {
        self.lines.push((name.to_owned(), value.to_owned()));
    }

    /// As a list.
    pub(super) fn text(&self) -> String {
        self.lines.iter().map(|(name, value)| format!("- {name}: {value}\n")).collect()
    }
}

/// Of the sources this program was built from, as far as the current folder tells.
fn commit() -> String {
    let ask = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = ask(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let changed = ask(&["status", "--porcelain", "--", "crates", "Cargo.lock"]);
    let clean = changed.is_some_and(|changed| changed.is_empty());
    if clean { commit } else { format!("{commit} with changes") }
}
