//! In which order, and which at once, the steps of a restore on several sessions run. Pure.
//!
//! A task may run when all it depends on has ended and no other session holds a table in a way it
//! conflicts with: two index builds share a table, everything else on a table runs alone. So our
//! own sessions never wait for each other, and never deadlock. Of the tasks that may run, that one
//! comes first which begins the longest way to the end: itself and what waits for it.

use std::cmp::Reverse;
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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Task {
    /// Tasks that must be done before.
    pub(super) after: Vec<usize>,
    /// Tables (any number the caller chose) and how they are held.
    pub(super) holds: Vec<(usize, Hold)>,
    /// How long it takes, in any unit.
    pub(super) weight: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    /// For a session, known by its number.
    Running(usize),
    Ended,
}

/// The state of a run through all tasks.
#[derive(Debug)]
pub(super) struct Schedule {
    tasks: Vec<Task>,
    states: Vec<State>,
    missing: Vec<usize>,
    dependents: Vec<Vec<usize>>,
    /// For each task its weight and that of the heaviest chain of tasks that waits for it.
    ways: Vec<u64>,
    /// Ready tasks, those with the longest way first.
    ready: BTreeSet<(Reverse<u64>, usize)>,
    /// The sessions that hold a table.
    held: HashMap<usize, Vec<(usize, Hold)>>,
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
        let ways = ways(&tasks, &dependents);
        let ready = (0..count)
            .filter(|&index| missing[index] == 0)
            .map(|index| (Reverse(ways[index]), index))
            .collect();
        let states = vec![State::Waiting; count];
        let held = HashMap::new();
        Self { tasks, states, missing, dependents, ways, ready, held, running: 0, waiting: count }
    }

    /// The next task that `session` may run now among those that are `wanted`; it counts as
    /// running until [`Schedule::end`]. Tasks that a session runs already are no obstacle to more
    /// of its own: it runs them one after the other. `None` while nothing may run before a running
    /// task ends, and when all have ended.
    pub(super) fn next(&mut self, session: usize, wanted: impl Fn(usize) -> bool) -> Option<usize> {
        if self.ready.is_empty() && self.running == 0 && self.waiting > 0 {
            self.break_cycle();
        }
        let mut candidates = self.ready.iter();
        let chosen =
            candidates.find(|(_, index)| wanted(*index) && self.is_free(*index, session)).copied()?;
        self.ready.remove(&chosen);
        let (_, index) = chosen;
        self.states[index] = State::Running(session);
        self.running += 1;
        self.waiting -= 1;
        for &(table, hold) in &self.tasks[index].holds {
            self.held.entry(table).or_default().push((session, hold));
        }
        Some(index)
    }

    /// Notes that a running task ended, whether it worked or not: those after it may run (the
    /// caller decides whether to skip them).
    pub(super) fn end(&mut self, index: usize) {
        let State::Running(session) = self.states[index] else { return };
        self.states[index] = State::Ended;
        self.running -= 1;
        for hold in &self.tasks[index].holds {
            let (table, hold) = *hold;
            let Some(holders) = self.held.get_mut(&table) else { continue };
            if let Some(position) = holders.iter().position(|holder| *holder == (session, hold)) {
                holders.swap_remove(position);
            }
            if holders.is_empty() {
                self.held.remove(&table);
            }
        }
        for dependent in std::mem::take(&mut self.dependents[index]) {
            self.missing[dependent] = self.missing[dependent].saturating_sub(1);
            if self.missing[dependent] == 0 && self.states[dependent] == State::Waiting {
                self.ready.insert((Reverse(self.ways[dependent]), dependent));
            }
        }
    }

    /// How many more sessions would find a task at once, counted up to `limit`.
    pub(super) fn startable(&self, limit: usize) -> usize {
        // No session has this number.
        let stranger = usize::MAX;
        self.ready.iter().filter(|(_, index)| self.is_free(*index, stranger)).take(limit).count()
    }

    /// Sessions that run something.
    pub(super) fn busy(&self) -> usize {
        let running = self.states.iter().filter_map(|state| match state {
            State::Running(session) => Some(*session),
            _ => None,
        });
        running.collect::<BTreeSet<usize>>().len()
    }

    /// Whether every task has ended.
    pub(super) fn is_finished(&self) -> bool {
        self.waiting + self.running == 0
    }

    fn is_free(&self, index: usize, session: usize) -> bool {
        self.tasks[index].holds.iter().all(|(table, hold)| {
            let holders = self.held.get(table).map(Vec::as_slice).unwrap_or_default();
            holders
                .iter()
                .all(|(holder, held)| *holder == session || (*held, *hold) == (Hold::Shared, Hold::Shared))
        })
    }

    /// Dependencies that go in a circle would stop everything: the first task in order goes on.
    fn break_cycle(&mut self) {
        if let Some(index) = self.states.iter().position(|state| *state == State::Waiting) {
            self.missing[index] = 0;
            self.ready.insert((Reverse(self.ways[index]), index));
        }
    }
}

/// For each task its weight and that of the heaviest chain behind it. What goes in a circle, or
/// leads to one, may count for less.
fn ways(tasks: &[Task], dependents: &[Vec<usize>]) -> Vec<u64> {
    let mut ways: Vec<u64> = tasks.iter().map(|task| task.weight).collect();
    let mut left: Vec<usize> = dependents.iter().map(Vec::len).collect();
    let mut open: Vec<usize> = (0..tasks.len()).filter(|&index| left[index] == 0).collect();
    while let Some(index) = open.pop() {
        for &before in &tasks[index].after {
            let way = tasks[before].weight.saturating_add(ways[index]);
            ways[before] = ways[before].max(way);
            left[before] -= 1;
            if left[before] == 0 {
                open.push(before);
            }
        }
    }
    ways
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

    /// Runs all tasks on `sessions` sessions, up to three at once on each, ending running ones in
    /// an order picked by `picks`.
    fn run(tasks: &[Task], sessions: usize, picks: &[prop::sample::Index], acyclic: bool) -> Vec<usize> {
        let mut schedule = Schedule::new(tasks.to_vec());
        let (mut running, mut ended): (Vec<(usize, usize)>, Vec<usize>) = (Vec::new(), Vec::new());
        let mut picks = picks.iter().cycle();
        while !schedule.is_finished() {
            for session in (0..sessions).flat_map(|session| [session; 3]) {
                if running.iter().filter(|(_, runner)| *runner == session).count() >= 3 {
                    continue;
                }
                let Some(index) = schedule.next(session, |_| true) else { continue };
                if acyclic {
                    assert!(
                        tasks[index].after.iter().all(|before| ended.contains(before)),
                        "{index} too early"
                    );
                }
                for &(other, _) in running.iter().filter(|(_, runner)| *runner != session) {
                    for (table, hold) in &tasks[index].holds {
                        for (other_table, other_hold) in &tasks[other].holds {
                            let both_shared = *hold == Hold::Shared && *other_hold == Hold::Shared;
                            assert!(table != other_table || both_shared, "{index} and {other} conflict");
                        }
                    }
                }
                running.push((index, session));
            }
            assert!(!running.is_empty(), "nothing runs and {} of {} ended", ended.len(), tasks.len());
            let picked = picks.next().expect("picks are not empty").index(running.len());
            let (index, _) = running.swap_remove(picked);
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

    fn task(after: &[usize], weight: u64) -> Task {
        Task { after: after.to_vec(), holds: vec![], weight }
    }

    /// The order in which one session runs everything.
    fn order(tasks: Vec<Task>) -> Vec<usize> {
        let mut schedule = Schedule::new(tasks);
        let mut order = Vec::new();
        while let Some(index) = schedule.next(0, |_| true) {
            order.push(index);
            schedule.end(index);
        }
        order
    }

    #[test]
    fn the_heaviest_ready_task_runs_first() {
        assert_eq!(order(vec![task(&[], 1), task(&[], 9), task(&[], 5)]), [1, 2, 0]);
    }

    #[test]
    fn what_begins_the_longest_chain_runs_before_what_is_heavier_itself() {
        // A light task, on which heavy ones wait one after the other.
        let tasks = vec![task(&[], 8), task(&[], 1), task(&[1], 4), task(&[2], 5), task(&[], 7)];
        assert_eq!(order(tasks), [1, 2, 0, 4, 3]);
    }

    #[test]
    fn a_session_takes_only_what_it_wants_and_never_waits_for_itself() {
        let alone = || Task { after: vec![], holds: vec![(1, Hold::Alone)], weight: 0 };
        let mut schedule = Schedule::new(vec![alone(), alone(), alone()]);
        assert_eq!(schedule.next(0, |index| index > 0), Some(1));
        assert_eq!(schedule.next(1, |_| true), None, "another session holds the table");
        assert_eq!(schedule.next(0, |_| true), Some(0));
        schedule.end(1);
        assert_eq!(schedule.next(1, |_| true), None, "it still holds the table for its other task");
        schedule.end(0);
        assert_eq!(schedule.next(1, |_| true), Some(2));
    }

    #[test]
    fn a_task_that_names_a_table_twice_holds_it_the_stronger_way() {
        let both = Task { after: vec![], holds: vec![(1, Hold::Shared), (1, Hold::Alone)], weight: 1 };
        let shared = Task { after: vec![], holds: vec![(1, Hold::Shared)], weight: 0 };
        let mut schedule = Schedule::new(vec![both, shared]);
        assert_eq!(schedule.next(0, |_| true), Some(0));
        assert_eq!(schedule.next(1, |_| true), None);
        schedule.end(0);
        assert_eq!(schedule.next(1, |_| true), Some(1));
    }
}
