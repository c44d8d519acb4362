//! Which names of objects the runs of this process use, and which are dead to them.
//!
//! A name is one or the other: what is in use never becomes dead, and what is dead is never used.
//! Both are decided under one lock, so that the heartbeat, which learns of condemned lists, and the
//! readers, which store objects, agree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::format::id::{ObjectId, ObjectName};

/// The names that this process uses, and the condemned lists that it knows.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    runs: usize,
    used: BTreeSet<ObjectName>,
    /// Names under which something lies that nobody here can judge: nothing is stored there.
    avoided: BTreeSet<ObjectName>,
    /// Sorted names by the name of their list.
    known: BTreeMap<String, Vec<ObjectName>>,
}

impl Claims {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run begins.
    pub(super) fn enter(&self) {
        self.state().runs += 1;
    }

    /// A run ends; with the last one nothing is in use any more.
    pub(super) fn leave(&self) {
        let mut state = self.state();
        state.runs = state.runs.saturating_sub(1);
        if state.runs == 0 {
            state.used.clear();
            state.avoided.clear();
        }
    }

    /// Whether the names of this list are dead.
    pub(super) fn knows(&self, list: &str) -> bool {
        self.state().known.contains_key(list)
    }

    /// The lists whose names are dead.
    pub(super) fn known(&self) -> Vec<String> {
        self.state().known.keys().cloned().collect()
    }

    /// Makes the names of a list dead, unless one of them is in use.
    pub(super) fn learn(&self, list: &str, names: Vec<ObjectName>) {
        let mut state = self.state();
        if !names.iter().any(|name| state.used.contains(name)) {
            state.known.insert(list.to_owned(), names);
        }
    }

    /// Whether a list that is known names one of `used`, which are sorted.
    pub(super) fn condemns(&self, list: &str, used: &[ObjectName]) -> bool {
        let state = self.state();
        let names = state.known.get(list).map(Vec::as_slice).unwrap_or_default();
        names.iter().any(|name| used.binary_search(name).is_ok())
    }

    /// The name under which content of this id is stored: the smallest copy that is not dead, or one
    /// that is in use already.
    pub(super) fn claim_new(&self, id: ObjectId) -> ObjectName {
        let mut state = self.state();
        let copies = ObjectName { id, copy: 0 }..=ObjectName { id, copy: u32::MAX };
        if let Some(used) = state.used.range(copies).next() {
            return *used;
        }
        let mut name = ObjectName { id, copy: 0 };
        while state.is_dead(&name) || state.avoided.contains(&name) {
            name.copy += 1;
        }
        state.used.insert(name);
        name
    }

    /// As [`Claims::claim_new`], for content that cannot be stored under `name`, whatever lies there.
    pub(super) fn claim_instead(&self, name: ObjectName) -> ObjectName {
        let mut state = self.state();
        state.used.remove(&name);
        state.avoided.insert(name);
        drop(state);
        self.claim_new(name.id)
    }

    /// Takes a stored object into use; false when its name is dead.
    pub(super) fn claim(&self, name: ObjectName) -> bool {
        let mut state = self.state();
        if state.is_dead(&name) {
            return false;
        }
        state.used.insert(name);
        true
    }
}

impl State {
    fn is_dead(&self, name: &ObjectName) -> bool {
        self.known.values().any(|names| names.binary_search(name).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> ObjectId {
        ObjectId::of(&[number])
    }

    fn name(number: u8, copy: u32) -> ObjectName {
        ObjectName { id: id(number), copy }
    }

    #[test]
    fn content_is_stored_under_the_smallest_copy_that_is_not_dead() {
        let claims = Claims::default();
        assert_eq!(claims.claim_new(id(1)), name(1, 0));
        claims.learn("a", vec![name(2, 0)]);
        claims.learn("b", vec![name(2, 1)]);
        assert_eq!(claims.claim_new(id(2)), name(2, 2));
    }

    #[test]
    fn a_name_in_use_never_becomes_dead_and_its_list_stays_unknown() {
        let claims = Claims::default();
        claims.enter();
        assert!(claims.claim(name(1, 0)));
        let mut list = vec![name(1, 0), name(2, 0)];
        list.sort_unstable();
        claims.learn("a", list.clone());
        assert_eq!(claims.known(), Vec::<String>::new());
        assert!(claims.claim(name(2, 0)), "none of its names is dead");
        claims.leave();
        claims.learn("a", list);
        assert_eq!(claims.known(), ["a"]);
        assert!(!claims.claim(name(1, 0)));
    }

    #[test]
    fn content_that_cannot_be_stored_under_a_name_gets_the_next_copy_for_good() {
        let claims = Claims::default();
        let first = claims.claim_new(id(1));
        assert_eq!(claims.claim_instead(first), name(1, 1));
        assert_eq!(claims.claim_new(id(1)), name(1, 1));
    }

    #[test]
    fn a_later_copy_that_is_in_use_is_used_again() {
        let claims = Claims::default();
        assert!(claims.claim(name(1, 4)));
        assert_eq!(claims.claim_new(id(1)), name(1, 4));
    }
}
