//! What a new repository's place can do: tried out, since stores say what they like.
//!
//! Two things every backup rests on; a place without them is refused. The others are recorded, for
//! people and for decisions about convenience: no committed backup is ever in danger without them.

use super::format::identity::Capabilities;
use super::store::{CloudCase, Store, StoreError};
use crate::error::{Error, Result};

/// Tries out a place with a file in `tmp/` that is named by `random`. It is removed if that is
/// permitted.
pub(super) fn probe(store: &dyn Store, random: [u8; 16]) -> Result<Capabilities> {
    let path = format!("tmp/probe-{:032x}", u128::from_be_bytes(random));
    super::open::write(store, &path, b"first")?;
    let lists_at_once = store.list("tmp")?.iter().any(|file| file.path == path && file.bytes == 5);
    if !lists_at_once {
        return Err(unsuitable(store, "a listing does not show what was written just before"));
    }
    overwrite(store, &path)?;
    Ok(Capabilities {
        lists_at_once,
        overwrites: true,
        // Leaves the file in a doubtful state, and so comes late.
        refuses_another: store.refuses_another(&path)?,
        deletes: deletes(store, &path)?,
    })
}

fn overwrite(store: &dyn Store, path: &str) -> Result<()> {
    let content = b"second and longer";
    match store.replace(path, content) {
        Ok(()) => {}
        Err(error) if is_forbidden(&error) => {
            return Err(unsuitable(store, "files may not be replaced by newer ones")
                .hint("permit it: marks of running backups are rewritten all the time"));
        }
        Err(error) => return Err(error.into()),
    }
    if store.read_all(path, 100)? == content {
        Ok(())
    } else {
        Err(unsuitable(store, "a file that was replaced is still read as it was before"))
    }
}

fn deletes(store: &dyn Store, path: &str) -> Result<bool> {
    match store.remove(path) {
        Ok(()) => Ok(store.size(path)?.is_none()),
        Err(error) if is_forbidden(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn is_forbidden(error: &StoreError) -> bool {
    match error {
        StoreError::Cloud(error) => matches!(error.case, CloudCase::Forbidden { .. }),
        StoreError::Io { source, .. } => source.kind() == std::io::ErrorKind::PermissionDenied,
        _ => false,
    }
}

fn unsuitable(store: &dyn Store, why: &str) -> Error {
    Error::refused(format!("{} is not fit for a repository", store.location()))
        .why(why)
        .hint("choose another place")
}
