//! In which order, and which at once, the statements after the data run. Pure.
//!
//! A task may run when all it depends on is done and no running task holds a lock it conflicts
//! with: two index builds share a table, everything else on a table runs alone. So our own
//! sessions never wait for each other, and never deadlock.

use std::collections::{BTreeSet, HashMap};

/// How a task holds a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// With others of its kind: an index build.
    Shared,
    /// Alone.
    Alone,
}

/// One task; tasks are known by their index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Task {
    /// Tasks that must be done before.
    pub(super) after: Vec<usize>,
    /// Tables (any number the caller chose) and how they are held.
    pub(super) holds: Vec<(usize, Hold)>,
    /// Larger runs earlier.
    pub(super) weight: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Held {
    shared: usize,
    alone: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Ended,
}

/// The state of a run through all tasks.
#[derive(Debug)]
pub(super) struct Schedule {
    tasks: Vec<Task>,
    states: Vec<State>,
    missing: Vec<usize>,
    dependents: Vec<Vec<usize>>,
    /// Ready tasks, heaviest first.
    ready: BTreeSet<(std::cmp::Reverse<u64>, usize)>,
    held: HashMap<usize, Held>,
    running: usize,
    waiting: usize,
}

impl Schedule {
    /// Begins a run. Dependencies on tasks that do not exist, or on itself, are none.
    pub(super) fn new(mut tasks: Vec<Task>) -> Self {
        let count = tasks.len();
        let mut dependents = vec![Vec::new(); count];
        let mut missing = vec![0; count];
        for (index, task) in tasks.iter_mut().enumerate() {
            task.after.retain(|&before| before < count && before != index);
            task.after.sort_unstable();
            task.after.dedup();
            merge(&mut task.holds);
            missing[index] = task.after.len();
            for &before in &task.after {
                dependents[before].push(index);
            }
        }
        let ready = (0..count)
            .filter(|&index| missing[index] == 0)
            .map(|index| (std::cmp::Reverse(tasks[index].weight), index))
            .collect();
        let states = vec![State::Waiting; count];
        Self { tasks, states, missing, dependents, ready, held: HashMap::new(), running: 0, waiting: count }
    }

    /// The next task that may run now; it counts as running until [`Schedule::end`]. `None` while
    /// nothing may run before a running task ends, and when all have ended.
    pub(super) fn next(&mut self) -> Option<usize> {
        if self.ready.is_empty() && self.running == 0 && self.waiting > 0 {
            self.break_cycle();
        }
        let chosen = self.ready.iter().find(|(_, index)| self.is_free(*index)).copied()?;
        self.ready.remove(&chosen);
        let (_, index) = chosen;
        self.states[index] = State::Running;
        self.running += 1;
        self.waiting -= 1;
        for &(table, hold) in &self.tasks[index].holds {
            let held = self.held.entry(table).or_default();
            match hold {
                Hold::Shared => held.shared += 1,
                Hold::Alone => held.alone = true,
            }
        }
        Some(index)
    }

    /// Notes that a running task ended, whether it worked or not: those after it may run (the
    /// caller decides whether to skip them).
    pub(super) fn end(&mut self, index: usize) {
        self.states[index] = State::Ended;
        self.running -= 1;
        for &(table, hold) in &self.tasks[index].holds {
            let held = self.held.entry(table).or_default();
            match hold {
                Hold::Shared => held.shared -= 1,
                Hold::Alone => held.alone = false,
            }
        }
        for dependent in std::mem::take(&mut self.dependents[index]) {
            self.missing[dependent] = self.missing[dependent].saturating_sub(1);
            if self.missing[dependent] == 0 && self.states[dependent] == State::Waiting {
                self.ready.insert((std::cmp::Reverse(self.tasks[dependent].weight), dependent));
            }
        }
    }

    /// How many tasks have not ended.
    pub(super) fn left(&self) -> usize {
        self.waiting + self.running
    }

    /// Whether every task has ended.
    pub(super) fn is_finished(&self) -> bool {
        self.left() == 0
    }

    fn is_free(&self, index: usize) -> bool {
        self.tasks[index].holds.iter().all(|(table, hold)| match (self.held.get(table), hold) {
            (None, _) => true,
            (Some(held), Hold::Shared) => !held.alone,
            (Some(held), Hold::Alone) => !held.alone && held.shared == 0,
        })
    }

    /// Dependencies that go in a circle would stop everything: the first task in order goes on.
    fn break_cycle(&mut self) {
        if let Some(index) = self.states.iter().position(|state| *state == State::Waiting) {
            self.missing[index] = 0;
            self.ready.insert((std::cmp::Reverse(self.tasks[index].weight), index));
        }
    }
}

/// One hold for each table, the stronger one.
fn merge(holds: &mut Vec<(usize, Hold)>) {
    holds.sort_by_key(|(table, hold)| (*table, *hold == Hold::Shared));
    holds.dedup_by_key(|(table, _)| *table);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_tasks(cyclic: bool) -> impl Strategy<Value = Vec<Task>> {
        let one = (
            prop::collection::vec(any::<prop::sample::Index>(), 0..4),
            prop::collection::vec((0_usize..6, any::<bool>()), 0..3),
            0_u64..5,
        );
        prop::collection::vec(one, 1..40).prop_map(move |list| {
            let count = list.len();
            list.into_iter()
                .enumerate()
                .map(|(index, (after, holds, weight))| Task {
                    after: after
                        .into_iter()
                        .filter(|_| cyclic || index > 0)
                        .map(|other| other.index(if cyclic { count } else { index }))
                        .collect(),
                    holds: holds
                        .into_iter()
                        .map(|(table, shared)| (table, if shared { Hold::Shared } else { Hold::Alone }))
                        .collect(),
                    weight,
                })
                .collect()
        })
    }

    /// Runs all tasks, `width` at once, ending running ones in an order picked by `picks`.
    fn run(tasks: &[Task], width: usize, picks: &[prop::sample::Index], acyclic: bool) -> Vec<usize> {
        let mut schedule = Schedule::new(tasks.to_vec());
        let (mut running, mut ended): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
        let mut picks = picks.iter().cycle();
        while !schedule.is_finished() {
            while running.len() < width {
                let Some(index) = schedule.next() else { break };
                if acyclic {
                    assert!(
                        tasks[index].after.iter().all(|before| ended.contains(before)),
                        "{index} too early"
                    );
                }
                for &other in &running {
                    for (table, hold) in &tasks[index].holds {
                        for (other_table, other_hold) in &tasks[other].holds {
                            let both_shared = *hold == Hold::Shared && *other_hold == Hold::Shared;
                            assert!(table != other_table || both_shared, "{index} and {other} conflict");
                        }
                    }
                }
                running.push(index);
            }
            assert!(!running.is_empty(), "nothing runs and {} of {} ended", ended.len(), tasks.len());
            let picked = picks.next().expect("picks are not empty").index(running.len());
            let index = running.swap_remove(picked);
            schedule.end(index);
            ended.push(index);
        }
        ended
    }

    fn any_picks() -> impl Strategy<Value = Vec<prop::sample::Index>> {
        prop::collection::vec(any::<prop::sample::Index>(), 1..20)
    }

    proptest! {
        #[test]
        fn every_task_runs_once_after_what_it_needs_and_never_beside_a_conflict(
            tasks in any_tasks(false), width in 1_usize..9, picks in any_picks(),
        ) {
            let mut ended = run(&tasks, width, &picks, true);
            ended.sort_unstable();
            prop_assert_eq!(ended, (0..tasks.len()).collect::<Vec<_>>());
        }

        #[test]
        fn dependencies_in_a_circle_do_not_stop_the_run(
            tasks in any_tasks(true), width in 1_usize..9, picks in any_picks(),
        ) {
            prop_assert_eq!(run(&tasks, width, &picks, false).len(), tasks.len());
        }
    }

    #[test]
    fn the_heaviest_ready_task_runs_first() {
        let task = |weight| Task { after: vec![], holds: vec![], weight };
        let mut schedule = Schedule::new(vec![task(1), task(9), task(5)]);
        assert_eq!([schedule.next(), schedule.next(), schedule.next()], [Some(1), Some(2), Some(0)]);
    }

    #[test]
    fn a_task_that_names_a_table_twice_holds_it_the_stronger_way() {
        let both = Task { after: vec![], holds: vec![(1, Hold::Shared), (1, Hold::Alone)], weight: 1 };
        let shared = Task { after: vec![], holds: vec![(1, Hold::Shared)], weight: 0 };
        let mut schedule = Schedule::new(vec![both, shared]);
        assert_eq!(schedule.next(), Some(0));
        assert_eq!(schedule.next(), None);
        schedule.end(0);
        assert_eq!(schedule.next(), Some(1));
    }
}
