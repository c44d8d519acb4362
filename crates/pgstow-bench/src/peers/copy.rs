//! The floor: the server writes every table into `/dev/null`. Nothing leaves it, nothing is kept.

use std::process::Command;

use pgstow_core::{Error, Result};

use super::{Peer, source_url};
use crate::cases::Activity;
use crate::measure::Work;
use crate::stage::{SOURCE, Stage};

/// COPY of all tables on some connections.
pub(super) struct Copy {
    key: &'static str,
    label: &'static str,
    connections: usize,
}

pub(super) const ONE: Copy =
    Copy { key: "copy", label: "floor: COPY … TO '/dev/null', one connection", connections: 1 };
pub(super) const TWO: Copy =
    Copy { key: "copy-2", label: "floor: COPY … TO '/dev/null', two connections", connections: 2 };

const NO_BACKUP: &str = "it keeps nothing that could be restored";

/// Name and size of every table, largest first.
const TABLES: &str = "SELECT format('%I.%I', nspname, relname), pg_table_size(pg_class.oid) FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind = 'r' AND nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 2 DESC, 1";

impl Peer for Copy {
    fn key(&self) -> &'static str {
        self.key
    }

    fn label(&self, activity: Activity) -> Result<&'static str, &'static str> {
        match activity {
            Activity::First | Activity::Next => Ok(self.label),
            Activity::Restore => Err(NO_BACKUP),
        }
    }

    fn version_command(&self) -> (&'static str, &'static str) {
        ("psql", "--version")
    }

    fn restores_backups(&self) -> bool {
        false
    }

    fn backup(&self, stage: &Stage, _activity: Activity) -> Result<Work> {
        let rows = stage.connect(SOURCE)?.query(TABLES)?;
        let tables =
            rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect::<Result<Vec<(String, u64)>>>()?;
        let folder = stage.new_folder(&format!("{}-statements", self.key))?;
        let mut commands = Vec::new();
        for (number, tables) in shared_out(tables, self.connections).into_iter().enumerate() {
            let file = folder.join(format!("{number}.sql"));
            let statements: String =
                tables.iter().map(|table| format!("COPY {table} TO '/dev/null';\n")).collect();
            std::fs::write(&file, statements)
                .map_err(|error| Error::failed(format!("cannot write {}", file.display())).source(error))?;
            commands.push(psql(stage, &file));
        }
        Ok(Work::together(commands))
    }

    fn restore(&self, _stage: &Stage) -> Result<Work> {
        Err(Error::failed(NO_BACKUP))
    }
}

fn psql(stage: &Stage, file: &std::path::Path) -> Command {
    let mut command = stage.command("psql");
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &source_url(stage), "-f"]).arg(file);
    command
}

/// Gives each table, largest first, to the connection that has least.
fn shared_out(tables: Vec<(String, u64)>, connections: usize) -> Vec<Vec<String>> {
    let mut shares: Vec<(u64, Vec<String>)> = vec![(0, Vec::new()); connections];
    for (table, bytes) in tables {
        if let Some(least) = shares.iter_mut().min_by_key(|(total, _)| *total) {
            least.0 += bytes;
            least.1.push(table);
        }
    }
    shares.into_iter().map(|(_, tables)| tables).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_shared_out_by_size() {
        let tables = [("a", 9), ("b", 5), ("c", 4), ("d", 1)].map(|(name, bytes)| (name.to_owned(), bytes));
        assert_eq!(shared_out(tables.to_vec(), 2), [vec!["a", "d"], vec!["b", "c"]]);
        assert_eq!(shared_out(tables.to_vec(), 1), [vec!["a", "b", "c", "d"]]);
    }
}
