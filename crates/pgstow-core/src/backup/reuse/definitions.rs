//! Proves that the system catalogs hold exactly the rows that an earlier backup read its definitions
//! from, so that its files can be taken over. Pure: the catalogs are read by
//! [`system_catalogs`](crate::postgres::catalog::system_catalogs).
//!
//! **Rows.** A row version keeps its xmin for ever, frozen or moved, and nobody edits it in place.
//! Given one history (the caller's part), let W be the xmin of the earlier backup's snapshot: every
//! transaction below W had ended before that snapshot was taken. A catalog in which no visible row
//! has an xmin of W or later shows only rows that were committed then; being visible still, they
//! were not deleted then. So what is visible now was visible then, and when it is as many rows as
//! then, it is all of them. Nothing here rests on a hash.
//!
//! **Newer than the snapshot.** `pg_get_viewdef` and its like, and names in access lists, come from
//! the current catalogs. The earlier backup may hold something newer than its snapshot. Whatever
//! that was came with a row of W or later; this row is visible now, or its successor is, or a row
//! is missing. In each case the proof fails. (A row that came after the snapshot and went again
//! leaves no trace. The objects that are written are those in the snapshot, so it is not written.)
//!
//! **In place.** Servers 13 to 18 overwrite these columns of catalog rows without a new version:
//! - `pg_class`: `relpages`, `reltuples`, `relallvisible`, `relallfrozen`, `relfrozenxid`,
//!   `relminmxid` (VACUUM, ANALYZE, CREATE INDEX). pg_dump writes them as statistics, which are
//!   switched off, and for pg_upgrade; it orders its parallel work by them. The inventory does not
//!   read them.
//! - `pg_class`: `relhasindex`, `relhasrules`, `relhastriggers`. They say where to look: VACUUM
//!   clears one when `pg_index`, `pg_rewrite` or `pg_trigger` have no row of the table any more, CREATE
//!   INDEX sets the first together with its new row. Those rows are counted, and a flag that is
//!   still set without any gives the same text.
//! - `pg_database`: `datfrozenxid`, `datminmxid`, `dathasloginevt`, which are not written, and
//!   `datconnlimit` of a database that is being dropped, to which nobody can be connected.
//! - `pg_index`: `indisvalid`, `indisready`, `indislive`, `indisclustered`, `indisreplident`, on servers
//!   of version 13 before its last updates. There they are part of what follows.
//!
//! **Not in rows.** The rest is in a fingerprint, [`Circumstances`]. It covers views, read in the
//! snapshot, that stand for catalogs hidden from the role. They show no xmin, so something could be
//! renamed after the snapshot, be written under its new name, and be renamed back before the next
//! backup. For that reason they are looked at again when all has been read, and a backup during
//! which they changed records no proof. What remains is a name that changes and changes back while
//! pg_dump runs; a role that may read `pg_authid` is safe from that too.
//!
//! A temporary table of anybody makes new rows as long as it lives: then definitions are read anew.

use std::fmt;

use crate::platform::Hosting;
use crate::postgres::catalog::system_catalogs::SystemCatalogs;
use crate::repository::format::manifest::{Sections, Source};
use crate::repository::format::proof::{DefinitionsProof, Fingerprint, SystemCatalog};

/// Version of what this program makes of equal catalogs: raise it whenever the catalog's queries,
/// the arguments of pg_dump or the readable files change, between releases too.
const WRITING: u32 = 2;

/// From here on `age` cannot tell old from new.
const TOO_MANY_TRANSACTIONS: u64 = 1 << 31;

/// All that is in no counted row and decides what is written.
pub(in crate::backup) struct Circumstances<'a> {
    /// The server, its database and the role.
    pub(in crate::backup) source: &'a Source,
    /// Role that logged in.
    pub(in crate::backup) user: &'a str,
    /// pg_dump's version; `None` when the schema archive is not wanted.
    pub(in crate::backup) pg_dump_version: Option<&'a str>,
    /// Which files there are.
    pub(in crate::backup) sections: Sections,
    /// Client encoding.
    pub(in crate::backup) encoding: &'a str,
    /// Tables that pg_dump leaves alone.
    pub(in crate::backup) exclude: &'a [(String, String)],
    /// Which schemas are the platform's: those that are left out, and what is left out by role.
    pub(in crate::backup) hosting: &'a Hosting,
    /// What the catalog holds of the rows of the platform's tables.
    pub(in crate::backup) managed: &'a [u8],
}

impl Circumstances<'_> {
    fn fingerprint(&self, catalogs: &SystemCatalogs) -> Fingerprint {
        let writing = WRITING.to_string();
        let mut parts: Vec<&[u8]> = vec![
            writing.as_bytes(),
            env!("CARGO_PKG_VERSION").as_bytes(),
            self.source.server_version.as_bytes(),
            self.source.role.as_bytes(),
            self.user.as_bytes(),
            self.pg_dump_version.unwrap_or("none").as_bytes(),
            match self.sections {
                Sections::All => b"all",
                Sections::SchemaOnly => b"schema-only",
                Sections::DataOnly => b"data-only",
            },
            self.encoding.as_bytes(),
            &catalogs.uncounted,
            self.managed,
        ];
        let platform = self.hosting.platform.to_string();
        let counts = [self.hosting.managed.len(), self.hosting.internal.len()].map(usize::to_le_bytes);
        parts.push(platform.as_bytes());
        parts.extend(counts.iter().map(<[u8; 8]>::as_slice));
        parts.extend(self.hosting.managed.iter().chain(&self.hosting.internal).map(String::as_bytes));
        let exclude = self.exclude.iter().flat_map(|(schema, name)| [schema.as_bytes(), name.as_bytes()]);
        parts.extend(exclude);
        Fingerprint::of(parts)
    }
}

/// Why definitions are read again, as the end of the sentence `definitions were read: …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backup) enum Doubt {
    /// Catalogs that this role may not read, and for which nothing stands.
    Hidden(Vec<String>),
    /// The snapshot is older than the earlier one, or so much newer that ages mean nothing.
    Transactions,
    /// Something in [`Circumstances`].
    Circumstances,
    /// Other catalogs were counted.
    OtherCatalogs,
    /// Catalogs whose rows were moved.
    Rewritten(Vec<String>),
    /// Catalogs with newer or fewer rows.
    Changed(Vec<String>),
    /// A file of the earlier backup could not be read.
    File(String),
}

impl fmt::Display for Doubt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hidden(names) => write!(formatter, "this role may not read {}", names.join(", ")),
            Self::Transactions => formatter.write_str("too many transactions ran since"),
            Self::Circumstances => formatter
                .write_str("a version, role, setting or privilege that they depend on is not what it was"),
            Self::OtherCatalogs => formatter.write_str("other system catalogs can be read"),
            Self::Rewritten(names) => write!(formatter, "{} rewritten", names.join(", ")),
            Self::Changed(names) => write!(formatter, "definitions changed ({})", names.join(", ")),
            Self::File(what) => formatter.write_str(what),
        }
    }
}

/// What this backup records of the catalogs; `None` when a later one could prove nothing.
pub(in crate::backup) fn proof(
    circumstances: &Circumstances<'_>,
    catalogs: &SystemCatalogs,
) -> Option<DefinitionsProof> {
    let counted = catalogs.counted.iter().map(|catalog| SystemCatalog {
        name: catalog.name.clone(),
        filenode: catalog.filenode,
        rows: catalog.rows,
    });
    catalogs.hidden.is_empty().then(|| DefinitionsProof {
        circumstances: circumstances.fingerprint(catalogs),
        catalogs: counted.collect(),
    })
}

/// Whether the catalogs hold the rows that `earlier` was made of. `earlier_xmin` is the xmin of its
/// snapshot, `xmin` that of the snapshot in which `catalogs` were read since `earlier_xmin`. That
/// both are of one history is for the caller to show.
pub(in crate::backup) fn unchanged(
    earlier: &DefinitionsProof,
    earlier_xmin: u64,
    xmin: u64,
    circumstances: &Circumstances<'_>,
    catalogs: &SystemCatalogs,
) -> Result<(), Doubt> {
    if !catalogs.hidden.is_empty() {
        return Err(Doubt::Hidden(catalogs.hidden.clone()));
    }
    // The age is signed and modulo 2^32. No snapshot's xmin lies 2^31 behind the next transaction id,
    // so together these say that fewer than 2^31 transactions ran.
    let transactions = xmin.checked_sub(earlier_xmin);
    let few = transactions.is_some_and(|transactions| transactions < TOO_MANY_TRANSACTIONS);
    if !few || catalogs.age.is_none_or(|age| age < 0) {
        return Err(Doubt::Transactions);
    }
    if earlier.circumstances != circumstances.fingerprint(catalogs) {
        return Err(Doubt::Circumstances);
    }
    compare(earlier, catalogs)
}

fn compare(earlier: &DefinitionsProof, catalogs: &SystemCatalogs) -> Result<(), Doubt> {
    let names = catalogs.counted.iter().map(|catalog| &catalog.name);
    if catalogs.counted.is_empty() || !names.eq(earlier.catalogs.iter().map(|catalog| &catalog.name)) {
        return Err(Doubt::OtherCatalogs);
    }
    let pairs = || earlier.catalogs.iter().zip(&catalogs.counted);
    let changed = pairs().filter(|(then, now)| now.newer > 0 || now.rows != then.rows);
    let changed: Vec<String> = changed.map(|(_, now)| now.name.clone()).collect();
    if !changed.is_empty() {
        return Err(Doubt::Changed(changed));
    }
    let rewritten = pairs().filter(|(then, now)| now.filenode != then.filenode);
    let rewritten: Vec<String> = rewritten.map(|(_, now)| now.name.clone()).collect();
    if rewritten.is_empty() { Ok(()) } else { Err(Doubt::Rewritten(rewritten)) }
}

#[cfg(test)]
mod tests;
