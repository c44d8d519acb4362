//! The repository of format version 1 that is kept in `testdata/`.
#![cfg(test)]

use std::path::Path;

/// The ids of its backups.
pub(in crate::repository) const FORMAT_1_BACKUPS: [&str; 3] =
    ["dev_2026-11-19T00-00-00Z", "prod_2026-11-20T02-00-00Z", "prod_2026-11-21T09-12-04Z_pre-upgrade"];

/// A file of it.
pub(in crate::repository) fn read(path: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/format-1");
    std::fs::read(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
