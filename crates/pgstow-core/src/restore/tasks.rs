//! What a restore on several sessions does after the definitions, as tasks of a schedule: rows,
//! the entries of the archive that come after them, statistics. Pure.
//!
//! A table's indexes and constraints need the rows of that table (and of those it shares a
//! partition or inheritance tree with), not of all. But what may run functions of the database
//! waits for all rows: nobody knows what they read.

use std::collections::{BTreeMap, HashMap};

use super::schedule::{Hold, Task};
use super::selection::{Graph, TableName};
use crate::archive::Entry;

// Weights are in bytes of rows that COPY loads in the same time.

/// What an index adds for each row of its table.
const INDEXED_ROW: u64 = 50;
/// What a foreign key adds for each row it looks up.
const CHECKED_ROW: u64 = 25;
/// What any statement takes.
const STATEMENT: u64 = 50_000;
/// ANALYZE reads a sample.
const SAMPLE: u64 = 20 << 20;

/// What is done in one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Load the rows of one object: index into the loads.
    Load(usize),
    /// Replay an entry of the archive.
    Replay(usize),
    /// Collect the planner's statistics: index into the tables to be analyzed.
    Analyze(usize),
    /// Nothing. What comes after it waits for all that comes before it.
    Milestone,
    /// As a milestone: all rows are loaded.
    AllLoaded,
}

/// Rows that are loaded in one step.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    /// The tables they go into.
    pub(super) tables: Vec<TableName>,
    pub(super) bytes: u64,
}

/// How large a table is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) bytes: u64,
    pub(super) rows: u64,
}

/// What there is to do.
pub(super) struct Input<'a> {
    pub(super) graph: &'a Graph<'a>,
    /// Entries to replay.
    pub(super) entries: &'a [usize],
    pub(super) loads: &'a [Rows],
    /// Tables to analyze.
    pub(super) analyzed: &'a [TableName],
    pub(super) size: &'a dyn Fn(&TableName) -> Size,
}

/// Steps, each with the task of the same index.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) steps: Vec<Step>,
    pub(super) tasks: Vec<Task>,
    /// For each the rows that it sorts, where it does: those of a B-tree that is built.
    pub(super) sorted_rows: Vec<u64>,
}

impl Work {
    /// Arranges everything.
    pub(super) fn new(input: &Input<'_>) -> Self {
        let mut work = Self::default();
        let trees = Trees::new(input.graph);
        let loaded = work.add_loads(input, &trees);
        let last = work.add_entries(input, &trees, &loaded);
        work.add_statistics(input, &trees, &loaded, last);
        work
    }

    fn add(&mut self, step: Step, task: Task) -> usize {
        self.steps.push(step);
        self.tasks.push(task);
        self.sorted_rows.push(0);
        self.steps.len() - 1
    }

    /// A task after which all of `after` have ended.
    fn milestone(&mut self, after: Vec<usize>) -> usize {
        match after.as_slice() {
            [only] => *only,
            _ => self.add(Step::Milestone, Task { after, ..Task::default() }),
        }
    }

    fn add_loads(&mut self, input: &Input<'_>, trees: &Trees) -> Loaded {
        let mut by_tree: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut all = Vec::new();
        for (index, rows) in input.loads.iter().enumerate() {
            let weight = rows.bytes + STATEMENT;
            let task = self.add(Step::Load(index), Task { weight, ..Task::default() });
            all.push(task);
            let mut roots: Vec<usize> = rows.tables.iter().filter_map(|name| trees.root_of(name)).collect();
            roots.sort_unstable();
            roots.dedup();
            for root in roots {
                by_tree.entry(root).or_default().push(task);
            }
        }
        let trees = by_tree.into_iter().map(|(root, after)| (root, self.milestone(after))).collect();
        let all =
            (!all.is_empty()).then(|| self.add(Step::AllLoaded, Task { after: all, ..Task::default() }));
        Loaded { trees, all }
    }

    /// The tasks that must have ended before a tree is complete, by its root.
    fn add_entries(
        &mut self,
        input: &Input<'_>,
        trees: &Trees,
        loaded: &Loaded,
    ) -> BTreeMap<usize, Vec<usize>> {
        let graph = input.graph;
        let first = self.steps.len();
        let task_of: HashMap<usize, usize> =
            input.entries.iter().enumerate().map(|(position, &index)| (index, first + position)).collect();
        let mut by_tree: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for &index in input.entries {
            let entry = &graph.entries[index];
            let hold = if entry.kind == "INDEX" { Hold::Shared } else { Hold::Alone };
            let relations = trees.relations_of(graph, index);
            let roots: Vec<usize> = relations.iter().map(|&relation| trees.root(relation)).collect();
            let mut after: Vec<usize> =
                graph.dependencies(index).filter_map(|other| task_of.get(&other).copied()).collect();
            if needs_own_rows_only(graph, index) {
                after.extend(roots.iter().filter_map(|root| loaded.trees.get(root)));
            } else {
                after.extend(loaded.all);
            }
            let sizes = relations.iter().filter_map(|&relation| name(&graph.entries[relation]));
            let rows = sizes.map(|name| (input.size)(&name).rows).max().unwrap_or(0);
            let holds = roots.iter().map(|&root| (root, hold)).collect();
            let task = self.add(Step::Replay(index), Task { after, holds, weight: weight(entry, rows) });
            self.sorted_rows[task] = if builds_tree(entry) { rows } else { 0 };
            for root in roots {
                by_tree.entry(root).or_default().push(task);
            }
        }
        by_tree
    }

    fn add_statistics(
        &mut self,
        input: &Input<'_>,
        trees: &Trees,
        loaded: &Loaded,
        mut entries: BTreeMap<usize, Vec<usize>>,
    ) {
        let mut complete: HashMap<usize, usize> = HashMap::new();
        for (index, table) in input.analyzed.iter().enumerate() {
            let mut task =
                Task { weight: (input.size)(table).bytes.min(SAMPLE) + STATEMENT, ..Task::default() };
            if let Some(root) = trees.root_of(table) {
                let before = *complete.entry(root).or_insert_with(|| {
                    let mut before = entries.remove(&root).unwrap_or_default();
                    before.extend(loaded.trees.get(&root));
                    self.milestone(before)
                });
                task.after = vec![before];
                task.holds = vec![(root, Hold::Shared)];
            } else {
                task.after.extend(loaded.all);
            }
            self.add(Step::Analyze(index), task);
        }
    }
}

/// What ends when rows are there.
struct Loaded {
    /// The rows of a tree, by its root.
    trees: HashMap<usize, usize>,
    /// All rows.
    all: Option<usize>,
}

fn weight(entry: &Entry, rows: u64) -> u64 {
    let each = match entry.kind.as_str() {
        "INDEX" | "CONSTRAINT" => INDEXED_ROW,
        "FK CONSTRAINT" => CHECKED_ROW,
        _ => 0,
    };
    rows.saturating_mul(each).saturating_add(STATEMENT)
}

fn builds_tree(entry: &Entry) -> bool {
    let definition = entry.definition.as_str();
    match entry.kind.as_str() {
        "INDEX" => definition.contains(" USING btree "),
        "CONSTRAINT" => definition.contains("PRIMARY KEY") || definition.contains("UNIQUE"),
        _ => false,
    }
}

/// Whether replaying the entry reads no rows but those of its own tables. A function of the
/// database may read any; those of extensions know no tables but their own.
fn needs_own_rows_only(graph: &Graph<'_>, index: usize) -> bool {
    let builds = matches!(
        graph.entries[index].kind.as_str(),
        "INDEX" | "INDEX ATTACH" | "CONSTRAINT" | "FK CONSTRAINT" | "STATISTICS" | "COMMENT"
    );
    builds
        && graph.dependencies(index).all(|other| {
            let kind = graph.entries[other].kind.as_str();
            is_relation(kind)
                || matches!(
                    kind,
                    "INDEX" | "INDEX ATTACH" | "CONSTRAINT" | "FK CONSTRAINT" | "STATISTICS" | "SCHEMA"
                )
                || matches!(kind, "TABLE ATTACH" | "EXTENSION" | "COLLATION" | "TYPE")
        })
}

fn name(entry: &Entry) -> Option<TableName> {
    Some((entry.schema.clone()?, entry.tag.clone()))
}

/// Which tables share a partition or inheritance tree.
struct Trees {
    /// For each entry one that it is joined with, or itself.
    parents: Vec<usize>,
    tables: HashMap<TableName, usize>,
}

impl Trees {
    fn new(graph: &Graph<'_>) -> Self {
        let entries = graph.entries.iter().enumerate();
        let tables = entries
            .filter(|(_, entry)| entry.kind == "TABLE")
            .filter_map(|(index, entry)| Some((name(entry)?, index)))
            .collect();
        let mut trees = Self { parents: (0..graph.entries.len()).collect(), tables };
        for (index, entry) in graph.entries.iter().enumerate() {
            let joins = matches!(entry.kind.as_str(), "TABLE" | "TABLE ATTACH");
            let mut first = (entry.kind == "TABLE").then_some(index);
            for other in
                graph.dependencies(index).filter(|&other| joins && graph.entries[other].kind == "TABLE")
            {
                let one = *first.get_or_insert(other);
                let (one, other) = (trees.root(one), trees.root(other));
                trees.parents[one] = other;
            }
        }
        trees
    }

    fn root(&self, mut index: usize) -> usize {
        while self.parents[index] != index {
            index = self.parents[index];
        }
        index
    }

    fn root_of(&self, table: &TableName) -> Option<usize> {
        self.tables.get(table).map(|&index| self.root(index))
    }

    /// The tables and views an entry works on: those it depends on, also through other entries
    /// that come after the rows (a comment on an index locks the index's table).
    fn relations_of(&self, graph: &Graph<'_>, index: usize) -> Vec<usize> {
        let mut found = Vec::new();
        let mut seen = vec![index];
        let mut open = vec![index];
        while let Some(next) = open.pop() {
            for other in graph.dependencies(next) {
                if is_relation(&graph.entries[other].kind) {
                    found.push(other);
                } else if graph.entries[other].section == crate::archive::Section::PostData
                    && !seen.contains(&other)
                {
                    seen.push(other);
                    open.push(other);
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

fn is_relation(kind: &str) -> bool {
    matches!(kind, "TABLE" | "VIEW" | "MATERIALIZED VIEW" | "FOREIGN TABLE")
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::sample;
    use super::super::schedule::Schedule;
    use super::*;

    fn table(name: &str) -> TableName {
        ("public".into(), name.into())
    }

    fn rows(tables: &[&str], bytes: u64) -> Rows {
        Rows { tables: tables.iter().map(|name| table(name)).collect(), bytes }
    }

    fn work(entries: &[Entry], chosen: &[usize], loads: &[Rows], analyzed: &[&str]) -> Work {
        let analyzed: Vec<TableName> = analyzed.iter().map(|name| table(name)).collect();
        let graph = Graph::new(entries);
        let size = |name: &TableName| Size { bytes: 1000, rows: if name.1 == "orders" { 100 } else { 7 } };
        Work::new(&Input { graph: &graph, entries: chosen, loads, analyzed: &analyzed, size: &size })
    }

    fn shop() -> Vec<Entry> {
        vec![
            sample(1, "TABLE", "orders", &[]),
            sample(2, "TABLE", "customers", &[]),
            sample(3, "INDEX", "a", &[1]),
            sample(4, "INDEX", "b", &[1]),
            sample(5, "CONSTRAINT", "customers pk", &[2]),
            sample(6, "FK CONSTRAINT", "orders fk", &[1, 2, 5]),
            sample(7, "COMMENT", "INDEX a", &[3]),
            sample(8, "FUNCTION", "f", &[]),
            sample(9, "INDEX", "by_function", &[2, 8]),
            sample(10, "TRIGGER", "customers t", &[2]),
        ]
    }

    /// The steps that end before `step` can begin.
    fn before(work: &Work, step: Step) -> Vec<Step> {
        let mut open = vec![work.steps.iter().position(|other| *other == step).expect("the step")];
        let mut found = Vec::new();
        while let Some(task) = open.pop() {
            for &other in &work.tasks[task].after {
                let is_new = !found.contains(&work.steps[other]);
                if !matches!(work.steps[other], Step::Milestone | Step::AllLoaded) && is_new {
                    found.push(work.steps[other]);
                }
                open.push(other);
            }
        }
        found.sort_by_key(|step| format!("{step:?}"));
        found
    }

    #[test]
    fn indexes_of_one_table_build_together_and_keys_hold_both_tables() {
        let work = work(&shop(), &[2, 3, 5, 6], &[], &[]);
        assert_eq!(work.tasks[0].holds, [(0, Hold::Shared)]);
        assert_eq!(work.tasks[0].weight, 100 * INDEXED_ROW + STATEMENT);
        assert_eq!(work.tasks[2].holds, [(0, Hold::Alone), (1, Hold::Alone)]);
        assert_eq!(work.tasks[3], Task { after: vec![0], holds: vec![(0, Hold::Alone)], weight: STATEMENT });
    }

    #[test]
    fn only_trees_are_sorted() {
        let mut entries = shop();
        entries[2].definition = "CREATE INDEX a ON public.orders USING btree (x);".into();
        entries[3].definition = "CREATE INDEX b ON public.orders USING gin (y);".into();
        let work = work(&entries, &[2, 3, 5], &[], &[]);
        assert_eq!(work.sorted_rows, [100, 0, 0]);
    }

    #[test]
    fn an_index_waits_for_the_rows_of_its_table_and_a_key_for_those_of_both() {
        let loads =
            [rows(&["orders"], 1), rows(&["orders"], 2), rows(&["customers"], 3), rows(&["other"], 4)];
        let work = work(&shop(), &[2, 3, 4, 5, 6, 8, 9], &loads, &["orders", "customers"]);
        assert_eq!(before(&work, Step::Replay(2)), [Step::Load(0), Step::Load(1)]);
        assert_eq!(before(&work, Step::Replay(4)), [Step::Load(2)]);
        let key = before(&work, Step::Replay(5));
        assert_eq!(key, [Step::Load(0), Step::Load(1), Step::Load(2), Step::Replay(4)]);
    }

    #[test]
    fn what_may_run_functions_of_the_database_waits_for_all_rows() {
        let loads = [rows(&["orders"], 1), rows(&["customers"], 3)];
        let work = work(&shop(), &[4, 8, 9], &loads, &[]);
        assert_eq!(before(&work, Step::Replay(4)), [Step::Load(1)]);
        assert_eq!(before(&work, Step::Replay(8)), [Step::Load(0), Step::Load(1)]);
        assert_eq!(before(&work, Step::Replay(9)), [Step::Load(0), Step::Load(1)]);
    }

    #[test]
    fn a_table_is_analyzed_when_its_rows_and_all_that_holds_it_are_there() {
        let loads = [rows(&["orders"], 1), rows(&["customers"], 3)];
        let work = work(&shop(), &[2, 3, 4, 5, 6], &loads, &["orders", "customers"]);
        let orders = before(&work, Step::Analyze(0));
        assert_eq!(orders.len(), 2 + 5, "{orders:?}");
        let customers = before(&work, Step::Analyze(1));
        assert!(customers.contains(&Step::Replay(5)) && customers.contains(&Step::Load(1)), "{customers:?}");
    }

    #[test]
    fn a_partition_tree_counts_as_one_table() {
        let entries = vec![
            sample(1, "TABLE", "events", &[]),
            sample(2, "TABLE", "events_1", &[1]),
            sample(3, "TABLE", "events_2", &[]),
            sample(4, "TABLE ATTACH", "events_2", &[3, 1]),
            sample(5, "CONSTRAINT", "events_1 pk", &[2]),
            sample(6, "CONSTRAINT", "events_2 pk", &[3]),
        ];
        let loads = [rows(&["events_1"], 1), rows(&["events_2"], 1)];
        let work = work(&entries, &[4, 5], &loads, &["events_1", "events_2"]);
        let holds = |step| &work.tasks[work.steps.iter().position(|other| *other == step).expect("it")].holds;
        assert_eq!(holds(Step::Replay(4)), holds(Step::Replay(5)));
        assert_eq!(before(&work, Step::Replay(4)), [Step::Load(0), Step::Load(1)]);
        let statistics = before(&work, Step::Analyze(1));
        assert_eq!(statistics, [Step::Load(0), Step::Load(1), Step::Replay(4), Step::Replay(5)]);
    }

    #[test]
    fn a_schedule_runs_every_step_once_and_all_rows_are_told_when_they_are_there() {
        let loads = [rows(&["orders"], 900), rows(&["customers"], 3), rows(&["unknown"], 4)];
        let work = work(&shop(), &[2, 3, 4, 5, 6, 8, 9], &loads, &["orders", "customers", "unknown"]);
        let mut schedule = Schedule::new(work.tasks.clone());
        let mut order = Vec::new();
        while let Some(task) = schedule.next(0, |_| true) {
            order.push(work.steps[task]);
            schedule.end(task);
        }
        assert!(schedule.is_finished());
        assert_eq!(order.len(), work.steps.len());
        let position = |step| order.iter().position(|other| *other == step).expect("every step");
        let loaded = position(Step::AllLoaded);
        assert!((0..3).all(|index| position(Step::Load(index)) < loaded));
        assert!(loaded < position(Step::Replay(8)));
    }
}
