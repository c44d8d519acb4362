//! Condemned lists in the store: names of objects that are never used again, and how far the sweep
//! of each has come (`docs/format.md`, "Concurrent runs").

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::claims::Claims;
use super::format::id::{ObjectName, RunTag};
use super::format::layout::{self, CondemnedFile};
use super::format::{self, FormatError};
use super::open::write;
use super::store::{Store, StoreError};
use crate::error::{Error, Result};

/// A condemned list and its marks, as they are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ListState {
    /// The list itself is there.
    pub(super) is_there: bool,
    /// When it was written, by the store's clock.
    pub(super) written: Option<SystemTime>,
    /// Paths of the marks of those who sweep it or began to.
    pub(super) sweeping: Vec<String>,
    /// It is swept.
    pub(super) swept: bool,
    /// Since when, by the store's clock.
    pub(super) swept_at: Option<SystemTime>,
}

impl ListState {
    /// Whether its names may be deleted by now, or at any moment.
    pub(super) fn is_deadly(&self) -> bool {
        self.swept || !self.sweeping.is_empty()
    }
}

/// What lies below `condemned/`.
#[derive(Debug, Default)]
pub(super) struct Condemned {
    /// Lists by name.
    pub(super) lists: BTreeMap<String, ListState>,
    /// Files that tell the time, and when they were written.
    pub(super) clocks: Vec<(String, Option<SystemTime>)>,
    /// Paths of files that are none of these, sorted.
    pub(super) foreign: Vec<String>,
}

impl Condemned {
    /// Lists what is there.
    pub(super) fn list(store: &dyn Store) -> Result<Self> {
        let mut condemned = Self::default();
        for listed in store.list(layout::CONDEMNED)? {
            let written = listed.modified;
            match layout::condemned_file(&listed.path) {
                Some(CondemnedFile::List(name)) => {
                    let list = condemned.of(name);
                    (list.is_there, list.written) = (true, written);
                }
                Some(CondemnedFile::Sweeping(name)) => {
                    let path = listed.path.clone();
                    condemned.of(name).sweeping.push(path);
                }
                Some(CondemnedFile::Swept(name)) => {
                    let list = condemned.of(name);
                    (list.swept, list.swept_at) = (true, written);
                }
                Some(CondemnedFile::Clock) => condemned.clocks.push((listed.path, written)),
                None => condemned.foreign.push(listed.path),
            }
        }
        condemned.foreign.sort_unstable();
        Ok(condemned)
    }

    fn of(&mut self, name: &str) -> &mut ListState {
        self.lists.entry(name.to_owned()).or_default()
    }
}

/// The names of a list; `None` when it is no longer there.
///
/// # Errors
/// The store's; a damaged list, named.
pub(super) fn read(store: &dyn Store, name: &str) -> Result<Option<Vec<ObjectName>>> {
    let path = layout::condemned_list(name);
    let file = match store.read_all(&path, layout::FILE_LIMIT_BYTES) {
        Ok(file) => file,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let damaged = |error: FormatError| {
        error
            .into_error(&format!("{}/{path}", store.location()))
            .hint("put the file back from a copy of the repository")
            .hint("or remove it when nothing else works in the repository: what it named is condemned anew")
    };
    format::condemned::from_file(&file).map(Some).map_err(damaged)
}

/// Stores a new list.
pub(super) fn write_list(store: &dyn Store, name: &str, names: &[ObjectName]) -> Result<()> {
    let path = layout::condemned_list(name);
    if write(store, &path, &format::condemned::to_file(names))? {
        Ok(())
    } else {
        Err(Error::failed(format!("{}/{path} exists already", store.location())))
    }
}

/// Reads the lists that `claims` does not know yet; their names become dead as far as none is in use.
///
/// # Errors
/// The store's; a damaged list.
pub(super) fn learn(store: &dyn Store, claims: &Claims) -> Result<()> {
    let condemned = Condemned::list(store)?;
    let lists = condemned.lists.iter().filter(|(name, list)| list.is_there && !claims.knows(name));
    for (name, _) in lists {
        if let Some(names) = read(store, name)? {
            claims.learn(name, names);
        }
    }
    Ok(())
}

/// Makes sure that nothing that is deleted by now, or at any moment, is among `used`, which are sorted.
///
/// # Errors
/// An object that is; a mark whose list is not there; the store's.
pub(super) fn require_unswept(store: &dyn Store, claims: &Claims, used: &[ObjectName]) -> Result<()> {
    let condemned = Condemned::list(store)?;
    for (name, list) in condemned.lists.iter().filter(|(_, list)| list.is_deadly()) {
        if claims.knows(name) {
            if claims.condemns(name, used) {
                return Err(taken(name));
            }
            continue;
        }
        // One that goes away now was swept long ago.
        let names = if list.is_there { read(store, name)? } else { None };
        if names.iter().flatten().any(|name| used.binary_search(name).is_ok()) {
            return Err(taken(name));
        }
        if !list.is_there && !list.sweeping.is_empty() {
            return Err(without_list(store, list));
        }
    }
    Ok(())
}

fn taken(list: &str) -> Error {
    Error::failed("an object that this backup uses was condemned while it ran, and is being deleted")
        .why(format!("this run was silent for too long, so a prune did not wait for it ({list})"))
        .hint("run the backup again: what is still there is not stored anew")
}

fn without_list(store: &dyn Store, list: &ListState) -> Error {
    let mark = list.sweeping.first().map_or("", String::as_str);
    Error::failed(format!("{}/{mark} belongs to a condemned list that is not there", store.location()))
        .why("nobody can tell which objects may be deleted at any moment")
        .hint("remove that file when no prune is running, and run this again")
}

/// A name for a list that the run of this tag makes.
pub(super) fn new_name(now: jiff::Timestamp, tag: &RunTag) -> String {
    layout::list_name(&format::id::time_text(now), tag)
}
