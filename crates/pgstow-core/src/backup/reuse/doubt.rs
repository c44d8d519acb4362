//! Why something is read rather than taken over. `docs/incremental.md` explains every reason.

use std::fmt;

/// Why a chunk is read. Shown to people, and equal doubts are counted together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(in crate::backup) enum Doubt {
    /// There is no earlier backup.
    #[default]
    NoBase,
    /// The manifests of earlier backups are encrypted, and neither a copy nor a key is here.
    NoCopy,
    /// Earlier backups are encrypted to other public keys.
    Recipients,
    /// A full backup was asked for.
    Asked,
    /// Everything was last read too long ago.
    Due,
    /// The server, or how it runs, gives no proof; in words.
    History(&'static str),
    /// The earlier backup does not hold this table.
    NewTable,
    /// The table was truncated or rewritten since (or replaced by another one).
    Rewritten,
    /// The table is of a kind that cannot be proven; its name and why.
    Unprovable {
        /// Schema-qualified, for people.
        table: String,
        /// Such as `has a regclass column (kind)`.
        why: String,
    },
    /// A column, or the definition of its type, is another one than it was.
    Rendering {
        /// Schema-qualified, for people.
        table: String,
        /// Name.
        column: String,
    },
    /// No earlier chunk covers these pages.
    NewPages,
    /// Rows came, went or changed.
    Changed,
    /// The question could not be asked (planning it failed).
    NoAnswer,
    /// The stored object is missing or has another size.
    Object,
    /// Little of the object that holds it would still be used.
    Sparse,
    /// Large objects are only proven where the role may read their catalogs.
    LargeObjects,
}

impl Doubt {
    /// Whether it concerns the whole backup rather than some of its chunks.
    pub(super) fn is_general(&self) -> bool {
        matches!(
            self,
            Self::NoBase | Self::NoCopy | Self::Recipients | Self::Asked | Self::Due | Self::History(_)
        )
    }

    /// Whether its text is a whole sentence (`12 chunks were read because …`) rather than the end of one
    /// (`12 chunks changed`).
    pub(in crate::backup) fn is_sentence(&self) -> bool {
        self.is_general()
            || matches!(self, Self::Unprovable { .. } | Self::Rendering { .. } | Self::LargeObjects)
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBase => formatter.write_str("there is no earlier backup to compare with"),
            Self::NoCopy => formatter
                .write_str("no copy of the last manifest is on this host, and no key to read it is at hand"),
            Self::Recipients => {
                formatter.write_str("earlier backups are encrypted to other public keys (encrypt_to changed)")
            }
            Self::Asked => formatter.write_str("a full backup was asked for"),
            Self::Due => formatter.write_str("all is read anew from time to time (full_every)"),
            Self::History(why) => formatter.write_str(why),
            Self::NewTable => formatter.write_str("in new tables"),
            Self::Rewritten => formatter.write_str("in rewritten tables"),
            Self::Unprovable { table, why } => write!(formatter, "{table} {why}"),
            Self::Rendering { table, column } => {
                write!(formatter, "{table}.{column} or its type was altered")
            }
            Self::NewPages => formatter.write_str("appended"),
            Self::Changed => formatter.write_str("changed"),
            Self::NoAnswer => formatter.write_str("of tables that could not be asked about"),
            Self::Object => formatter.write_str("missing or damaged in the repository"),
            Self::Sparse => formatter.write_str("stored with others that changed"),
            Self::LargeObjects => {
                formatter.write_str("this role may not read pg_largeobject, or could not last time")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The text constants of the code of a file, its tests excepted.
    fn constants(source: &'static str) -> Vec<&'static str> {
        let code = source.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        lines.flat_map(|line| line.split('"').skip(1).step_by(2)).collect()
    }

    /// One of each kind; the texts that other files make are taken from there.
    fn all() -> Vec<Doubt> {
        let table = || "public.orders".to_owned();
        let mut all = vec![
            Doubt::NoBase,
            Doubt::NoCopy,
            Doubt::Recipients,
            Doubt::Asked,
            Doubt::Due,
            Doubt::NewTable,
            Doubt::Rewritten,
            Doubt::Rendering { table: table(), column: "kind".into() },
            Doubt::NewPages,
            Doubt::Changed,
            Doubt::NoAnswer,
            Doubt::Object,
            Doubt::Sparse,
            Doubt::LargeObjects,
        ];
        all.extend(constants(include_str!("history.rs")).into_iter().map(Doubt::History));
        let files = [include_str!("earlier.rs"), include_str!("../read_plan.rs")];
        let mut unprovable: BTreeSet<String> = files
            .into_iter()
            .flat_map(constants)
            .filter(|text| ["is ", "has ", "could "].iter().any(|start| text.starts_with(start)))
            .map(|text| {
                text.replace("{unprovable}", "a regclass column (kind)").replace("{method}", "columnar")
            })
            .collect();
        unprovable.insert("has a column with regclass inside (kind)".to_owned());
        all.extend(unprovable.into_iter().map(|why| Doubt::Unprovable { table: table(), why }));
        // A kind that is added here has to be added above.
        let is_listed = |doubt: &Doubt| match doubt {
            Doubt::NoBase
            | Doubt::NoCopy
            | Doubt::Recipients
            | Doubt::Asked
            | Doubt::Due
            | Doubt::History(_)
            | Doubt::NewTable
            | Doubt::Rewritten
            | Doubt::Unprovable { .. }
            | Doubt::Rendering { .. }
            | Doubt::NewPages
            | Doubt::Changed
            | Doubt::NoAnswer
            | Doubt::Object
            | Doubt::Sparse
            | Doubt::LargeObjects => true,
        };
        assert!(all.iter().all(is_listed));
        all
    }

    /// First cells of the tables whose first column is called `reason`, each with whether it stands in
    /// the table of those for the whole backup.
    fn documented() -> BTreeSet<(String, bool)> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/incremental.md");
        let document = std::fs::read_to_string(path).unwrap();
        let mut tables = document.split("| reason | what it means | what to do |\n").skip(1);
        let mut found = BTreeSet::new();
        for general in [true, false] {
            let rows = tables.next().unwrap().lines().skip(1).take_while(|line| line.starts_with("| "));
            for row in rows {
                let cells: Vec<&str> = row.split(" | ").collect();
                assert_eq!(cells.len(), 3, "{row}");
                let reason = cells[0].trim_start_matches("| ").trim_matches('`');
                assert!(found.insert((reason.to_owned(), general)), "twice: {row}");
            }
        }
        assert_eq!(tables.next(), None);
        found
    }

    #[test]
    fn the_document_explains_every_reason_and_no_other() {
        let reasons = all().iter().map(|doubt| (doubt.to_string(), doubt.is_general())).collect();
        let documented = documented();
        let lacking: Vec<_> = BTreeSet::difference(&reasons, &documented).collect();
        let unknown: Vec<_> = documented.difference(&reasons).collect();
        assert!(lacking.is_empty() && unknown.is_empty(), "lacking: {lacking:?}, unknown: {unknown:?}");
    }
}
