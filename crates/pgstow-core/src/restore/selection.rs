//! Which entries of an archive a restore replays, when the backup carries some tables only: an
//! archive always holds the whole schema. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::entry::{self, Treatment};
use crate::archive::Entry;

/// A table by schema and name.
pub(super) type TableName = (String, String);

/// Which tables a backup carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Carried {
    /// All.
    Everything,
    /// These, what they need and what belongs to them (`--table`).
    Only(BTreeSet<TableName>),
    /// All but the tables that are not among these, and what needs those (`--exclude-table`).
    AllBut(BTreeSet<TableName>),
}

/// What is replayed, and what is not although the archive has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    /// Indexes of entries, ascending.
    pub(super) entries: Vec<usize>,
    /// One sentence for each thing left out that the user might expect.
    pub(super) remarks: Vec<String>,
    /// Triggers and policies on the platform's tables that the login may not make: kind, schema, tag.
    pub(super) forbidden: Vec<(String, String, String)>,
}

/// The entries of an archive with their dependencies by index.
pub(super) struct Graph<'a> {
    pub(super) entries: &'a [Entry],
    by_id: HashMap<i32, usize>,
}

impl<'a> Graph<'a> {
    pub(super) fn new(entries: &'a [Entry]) -> Self {
        let by_id = entries.iter().enumerate().map(|(index, entry)| (entry.id, index)).collect();
        Self { entries, by_id }
    }

    /// Entries that `index` depends on, as far as they are in the archive.
    pub(super) fn dependencies(&self, index: usize) -> impl Iterator<Item = usize> {
        let ids = self.entries.get(index).map(|entry| entry.dependencies.as_slice()).unwrap_or_default();
        ids.iter().filter_map(|id| self.by_id.get(id).copied())
    }

    fn is_table(&self, index: usize) -> bool {
        self.entries.get(index).is_some_and(|entry| entry.kind == "TABLE")
    }

    fn table_name(&self, index: usize) -> Option<TableName> {
        let entry = self.entries.get(index).filter(|entry| entry.kind == "TABLE")?;
        Some((entry.schema.clone()?, entry.tag.clone()))
    }

    /// Everything that `index` needs, itself included.
    fn needs(&self, index: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::from([index]);
        let mut open = vec![index];
        while let Some(next) = open.pop() {
            for dependency in self.dependencies(next) {
                if found.insert(dependency) {
                    open.push(dependency);
                }
            }
        }
        found
    }
}

/// Chooses the entries to replay.
pub(super) fn choose(graph: &Graph<'_>, carried: &Carried) -> Chosen {
    let mut chosen = match carried {
        Carried::Everything => {
            Chosen { entries: (0..graph.entries.len()).collect(), remarks: Vec::new(), ..Chosen::default() }
        }
        Carried::Only(tables) => only(graph, tables),
        Carried::AllBut(tables) => all_but(graph, tables),
    };
    let mut remarks = std::mem::take(&mut chosen.remarks);
    chosen.entries.retain(|&index| {
        let entry = &graph.entries[index];
        match entry::treatment(entry) {
            Treatment::Replayed(_) => true,
            Treatment::Replaced => false,
            Treatment::LeftOut(reason) => {
                remarks.push(format!("{} is not restored: {reason}", entry::name(entry)));
                false
            }
        }
    });
    Chosen { entries: chosen.entries, remarks, ..Chosen::default() }
}

/// Kinds that belong to the table (or to another part of a table) they depend on.
fn belongs_to_table(kind: &str) -> bool {
    matches!(
        kind,
        "INDEX"
            | "INDEX ATTACH"
            | "TABLE ATTACH"
            | "CONSTRAINT"
            | "CHECK CONSTRAINT"
            | "FK CONSTRAINT"
            | "TRIGGER"
            | "RULE"
            | "POLICY"
            | "ROW SECURITY"
            | "DEFAULT"
            | "SEQUENCE"
            | "SEQUENCE OWNED BY"
            | "STATISTICS"
            | "COMMENT"
            | "SECURITY LABEL"
    )
}

/// The tables, all they need, and all that belongs to them without needing another table.
fn only(graph: &Graph<'_>, tables: &BTreeSet<TableName>) -> Chosen {
    let mut included: BTreeSet<usize> = BTreeSet::new();
    for index in 0..graph.entries.len() {
        if graph.table_name(index).is_some_and(|name| tables.contains(&name)) {
            included.extend(graph.needs(index));
        }
    }
    let mut remarks = Vec::new();
    let mut refused: BTreeSet<usize> = BTreeSet::new();
    loop {
        let before = included.len();
        for (index, entry) in graph.entries.iter().enumerate() {
            let is_part = belongs_to_table(&entry.kind)
                && !included.contains(&index)
                && !refused.contains(&index)
                && is_owned_by(graph, index, &included);
            if !is_part {
                continue;
            }
            let needs = graph.needs(index);
            let foreign: Vec<usize> = needs
                .iter()
                .copied()
                .filter(|need| graph.is_table(*need) && !included.contains(need))
                .collect();
            if let Some(table) = foreign.first() {
                refused.insert(index);
                remarks.push(format!(
                    "{} is not restored: it needs {}, which the backup does not carry",
                    entry::name(entry),
                    entry::name(&graph.entries[*table])
                ));
            } else {
                included.extend(needs);
            }
        }
        if included.len() == before {
            return Chosen { entries: included.into_iter().collect(), remarks, ..Chosen::default() };
        }
    }
}

/// Whether the entry belongs to something included: a comment or an attachment to all it depends
/// on, anything else to a table or a part of one.
fn is_owned_by(graph: &Graph<'_>, index: usize, included: &BTreeSet<usize>) -> bool {
    let entry = &graph.entries[index];
    let mut dependencies = graph.dependencies(index);
    if matches!(entry.kind.as_str(), "COMMENT" | "SECURITY LABEL" | "TABLE ATTACH" | "INDEX ATTACH") {
        let all: Vec<usize> = dependencies.collect();
        return !all.is_empty() && all.iter().all(|dependency| included.contains(dependency));
    }
    let own_table = |dependency: usize| {
        let table = &graph.entries[dependency];
        let named = entry.tag.strip_prefix(table.tag.as_str()).is_some_and(|rest| rest.starts_with(' '));
        table.kind == "TABLE"
            && table.schema == entry.schema
            && (named || entry.tag == table.tag || !has_table_in_tag(&entry.kind))
    };
    dependencies.any(|dependency| {
        included.contains(&dependency)
            && (own_table(dependency)
                || (entry.kind == "SEQUENCE OWNED BY" && graph.entries[dependency].kind == "SEQUENCE"))
    })
}

/// Whether pg_dump's tag of this kind begins with the table's name.
fn has_table_in_tag(kind: &str) -> bool {
    !matches!(kind, "INDEX" | "STATISTICS" | "SEQUENCE")
}

/// Everything but the tables that are not carried, and what depends on those.
fn all_but(graph: &Graph<'_>, carried: &BTreeSet<TableName>) -> Chosen {
    let mut gone: BTreeMap<usize, usize> = BTreeMap::new();
    for index in 0..graph.entries.len() {
        if graph.table_name(index).is_some_and(|name| !carried.contains(&name)) {
            gone.insert(index, index);
        }
    }
    let mut remarks = Vec::new();
    loop {
        let mut found = Vec::new();
        for (index, entry) in graph.entries.iter().enumerate() {
            if gone.contains_key(&index) {
                continue;
            }
            if let Some(cause) = graph.dependencies(index).find_map(|dependency| gone.get(&dependency)) {
                found.push((index, *cause));
                if !is_owned_by(graph, index, &BTreeSet::from([*cause])) && is_worth_a_remark(&entry.kind) {
                    remarks.push(format!(
                        "{} is not restored: it needs {}, which the backup does not carry",
                        entry::name(entry),
                        entry::name(&graph.entries[*cause])
                    ));
                }
            }
        }
        if found.is_empty() {
            let entries = (0..graph.entries.len()).filter(|index| !gone.contains_key(index)).collect();
            return Chosen { entries, remarks, ..Chosen::default() };
        }
        gone.extend(found);
    }
}

fn is_worth_a_remark(kind: &str) -> bool {
    !matches!(
        kind,
        "COMMENT" | "SECURITY LABEL" | "ACL" | "TABLE ATTACH" | "INDEX ATTACH" | "SEQUENCE OWNED BY"
    )
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::sample;
    use super::*;

    fn archive() -> Vec<Entry> {
        vec![
            sample(1, "TYPE", "mood", &[]),
            sample(2, "TABLE", "orders", &[1]),
            sample(3, "TABLE", "customers", &[]),
            sample(4, "FUNCTION", "touch()", &[]),
            sample(5, "SEQUENCE", "orders_id_seq", &[2]),
            sample(6, "SEQUENCE OWNED BY", "orders_id_seq", &[5]),
            sample(7, "DEFAULT", "orders id", &[2, 5]),
            sample(8, "CONSTRAINT", "customers customers_pkey", &[3]),
            sample(9, "INDEX", "orders_day", &[2]),
            sample(10, "TRIGGER", "orders touch", &[2, 4]),
            sample(11, "FK CONSTRAINT", "orders orders_customer_fkey", &[2, 3, 8]),
            sample(12, "COMMENT", "TRIGGER touch ON orders", &[10]),
            sample(13, "VIEW", "recent", &[2]),
            sample(14, "COMMENT", "VIEW recent", &[13]),
            sample(15, "SUBSCRIPTION", "sub", &[]),
        ]
    }

    fn ids(entries: &[Entry], chosen: &Chosen) -> Vec<i32> {
        chosen.entries.iter().map(|&index| entries[index].id).collect()
    }

    fn names(list: &[&str]) -> BTreeSet<TableName> {
        list.iter().map(|name| ("public".to_owned(), (*name).to_owned())).collect()
    }

    #[test]
    fn one_table_comes_with_what_it_needs_and_what_belongs_to_it() {
        let entries = archive();
        let chosen = choose(&Graph::new(&entries), &Carried::Only(names(&["orders"])));
        assert_eq!(ids(&entries, &chosen), [1, 2, 4, 5, 6, 7, 9, 10, 12]);
        assert_eq!(chosen.remarks.len(), 1);
        assert!(chosen.remarks[0].contains("orders_customer_fkey"), "{:?}", chosen.remarks);
        assert!(chosen.remarks[0].contains("table public.customers"), "{:?}", chosen.remarks);
    }

    #[test]
    fn a_referenced_table_does_not_bring_the_tables_that_refer_to_it() {
        let entries = archive();
        let chosen = choose(&Graph::new(&entries), &Carried::Only(names(&["customers"])));
        assert_eq!(ids(&entries, &chosen), [3, 8]);
        assert!(chosen.remarks.is_empty(), "{:?}", chosen.remarks);
    }

    #[test]
    fn an_excluded_table_takes_what_needs_it_along() {
        let entries = archive();
        let chosen = choose(&Graph::new(&entries), &Carried::AllBut(names(&["customers"])));
        assert_eq!(ids(&entries, &chosen), [1, 3, 4, 8]);
        assert!(chosen.remarks.iter().any(|remark| remark.starts_with("view public.recent")), "{chosen:?}");
        assert!(!chosen.remarks.iter().any(|remark| remark.contains("orders_day")), "{chosen:?}");
    }

    #[test]
    fn everything_but_subscriptions_is_replayed() {
        let entries = archive();
        let chosen = choose(&Graph::new(&entries), &Carried::Everything);
        assert_eq!(ids(&entries, &chosen), (1..15).collect::<Vec<_>>());
        assert!(chosen.remarks[0].contains("subscription"), "{chosen:?}");
    }
}
