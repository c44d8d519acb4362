//! Which entries of an archive a restore replays, when the backup carries some tables only: an
//! archive always holds the whole schema. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::entry::{self, Treatment};
use super::part::{Part, is_relation};
use crate::archive::Entry;

/// A table by schema and name.
pub(crate) type TableName = (String, String);

/// Which tables a restore carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Carried {
    /// All.
    Everything,
    /// This part, what it needs and what belongs to it (`--table`, `--schema`).
    Only(Part),
    /// All but the tables that are not among the relations of this part, and what needs those
    /// (`--exclude-table`).
    AllBut(Part),
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
pub(crate) struct Graph<'a> {
    pub(crate) entries: &'a [Entry],
    by_id: HashMap<i32, usize>,
}

impl<'a> Graph<'a> {
    pub(crate) fn new(entries: &'a [Entry]) -> Self {
        let by_id = entries.iter().enumerate().map(|(index, entry)| (entry.id, index)).collect();
        Self { entries, by_id }
    }

    /// Entries that `index` depends on, as far as they are in the archive.
    pub(crate) fn dependencies(&self, index: usize) -> impl Iterator<Item = usize> {
        let ids = self.entries.get(index).map(|entry| entry.dependencies.as_slice()).unwrap_or_default();
        ids.iter().filter_map(|id| self.by_id.get(id).copied())
    }

    pub(crate) fn is_table(&self, index: usize) -> bool {
        self.entries.get(index).is_some_and(|entry| entry.kind == "TABLE")
    }

    pub(super) fn table_name(&self, index: usize) -> Option<TableName> {
        let entry = self.entries.get(index).filter(|entry| entry.kind == "TABLE")?;
        Some((entry.schema.clone()?, entry.tag.clone()))
    }

    /// Everything that `index` needs, itself included.
    pub(crate) fn needs(&self, index: usize) -> BTreeSet<usize> {
        self.needs_up_to(index, &|_| false)
    }

    /// Everything that `index` needs, itself included, up to what `stays`.
    fn needs_up_to(&self, index: usize, stays: &dyn Fn(usize) -> bool) -> BTreeSet<usize> {
        let mut found = BTreeSet::from([index]);
        let mut open = vec![index];
        while let Some(next) = open.pop() {
            for dependency in self.dependencies(next) {
                if !stays(dependency) && found.insert(dependency) {
                    open.push(dependency);
                }
            }
        }
        found
    }
}

/// The entries that go with a choice of tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selected {
    /// Indexes of entries, ascending.
    pub(crate) entries: Vec<usize>,
    /// What is left out that the user might expect, each with what it needs and what does not come.
    pub(crate) left_out: Vec<(usize, usize)>,
}

/// Selects the entries that go with a choice, whatever is done with them.
pub(crate) fn select(graph: &Graph<'_>, carried: &Carried) -> Selected {
    match carried {
        Carried::Everything => Selected { entries: (0..graph.entries.len()).collect(), left_out: Vec::new() },
        Carried::Only(part) => Growth::new(graph, part).grow(),
        Carried::AllBut(part) => all_but(graph, part),
    }
}

/// Chooses the entries to replay.
pub(super) fn choose(graph: &Graph<'_>, carried: &Carried) -> Chosen {
    let Selected { mut entries, left_out } = select(graph, carried);
    let reason = match carried {
        Carried::Everything => "",
        Carried::Only(part) | Carried::AllBut(part) => part.reason(),
    };
    let name = |index: usize| entry::name(&graph.entries[index]);
    let mut remarks: Vec<String> = left_out
        .into_iter()
        .map(|(index, need)| format!("{} is not restored: it needs {}, {reason}", name(index), name(need)))
        .collect();
    entries.retain(|&index| {
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
    Chosen { entries, remarks, ..Chosen::default() }
}

/// Kinds that belong to the table (or to another part of a table) they depend on.
pub(super) fn belongs_to_table(kind: &str) -> bool {
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

/// A part of a backup while what it needs and what belongs to it is added.
struct Growth<'a> {
    graph: &'a Graph<'a>,
    part: &'a Part,
    included: BTreeSet<usize>,
    /// Entries that need what does not come.
    refused: BTreeSet<usize>,
    left_out: Vec<(usize, usize)>,
}

impl<'a> Growth<'a> {
    fn new(graph: &'a Graph<'a>, part: &'a Part) -> Self {
        Self { graph, part, included: BTreeSet::new(), refused: BTreeSet::new(), left_out: Vec::new() }
    }

    /// The chosen tables with all they need, then all that was chosen besides and all that belongs to
    /// something chosen, as long as it needs no other table.
    fn grow(mut self) -> Selected {
        for index in 0..self.graph.entries.len() {
            if self.graph.is_table(index) && self.part.names(&self.graph.entries[index]) {
                let needs = self.needs(index);
                self.included.extend(needs);
            }
        }
        loop {
            let before = (self.included.len(), self.refused.len());
            for index in 0..self.graph.entries.len() {
                if !self.included.contains(&index) && !self.refused.contains(&index) && self.belongs(index) {
                    self.add(index);
                }
            }
            if (self.included.len(), self.refused.len()) == before {
                let entries = self.included.into_iter().collect();
                return Selected { entries, left_out: self.left_out };
            }
        }
    }

    /// Whether the entry was chosen, or is a part of something that comes.
    fn belongs(&self, index: usize) -> bool {
        let entry = &self.graph.entries[index];
        match entry.kind.as_str() {
            "TABLE" => false,
            "PUBLICATION TABLE" => self
                .graph
                .dependencies(index)
                .any(|other| self.graph.is_table(other) && self.included.contains(&other)),
            "TABLE ATTACH" => {
                let is_included = |other| self.included.contains(&other);
                is_owned_by(self.graph, index, &|other| is_included(other) || self.stays(other))
                    && self.graph.dependencies(index).any(is_included)
            }
            _ if self.part.brought_back.contains(&entry.id) => true,
            kind if belongs_to_table(kind) && !is_relation(kind) => self.is_owned(index),
            _ => self.part.names(entry) || belongs_to_table(&entry.kind) && self.is_owned(index),
        }
    }

    fn is_owned(&self, index: usize) -> bool {
        is_owned_by(self.graph, index, &|other| self.included.contains(&other))
    }

    fn add(&mut self, index: usize) {
        let needs = self.needs(index);
        let missing = |need: &usize| {
            let is_publication = self.graph.entries[*need].kind == "PUBLICATION";
            !self.included.contains(need) && (self.graph.is_table(*need) || is_publication)
        };
        let Some(missing) = needs.iter().find(|need| missing(need)) else {
            self.included.extend(needs);
            return;
        };
        self.refused.insert(index);
        if is_worth_a_remark(&self.graph.entries[index].kind) {
            self.left_out.push((index, *missing));
        }
    }

    fn needs(&self, index: usize) -> BTreeSet<usize> {
        self.graph.needs_up_to(index, &|other| !self.included.contains(&other) && self.stays(other))
    }

    /// Whether the entry's object is at the target and stays there: a relation, a part of one, or a
    /// publication.
    fn stays(&self, index: usize) -> bool {
        let entry = &self.graph.entries[index];
        let is_there = |entry: &Entry| {
            let name = entry.schema.clone().map(|schema| (schema, entry.tag.clone()));
            is_relation(&entry.kind)
                && !self.part.names(entry)
                && name.is_some_and(|name| self.part.there.contains(&name))
        };
        match entry.kind.as_str() {
            "PUBLICATION" => self.part.publications.contains(&entry.tag),
            kind if belongs_to_table(kind) && !is_relation(kind) => {
                self.graph.dependencies(index).any(|other| is_there(&self.graph.entries[other]))
            }
            _ => is_there(entry),
        }
    }
}

/// Whether the entry belongs to something included: a comment or an attachment to all it depends
/// on, anything else to a table or a part of one.
fn is_owned_by(graph: &Graph<'_>, index: usize, is_included: &dyn Fn(usize) -> bool) -> bool {
    let entry = &graph.entries[index];
    let mut dependencies = graph.dependencies(index);
    if matches!(entry.kind.as_str(), "COMMENT" | "SECURITY LABEL" | "TABLE ATTACH" | "INDEX ATTACH") {
        let all: Vec<usize> = dependencies.collect();
        return !all.is_empty() && all.iter().all(|dependency| is_included(*dependency));
    }
    let own_table = |dependency: usize| {
        let table = &graph.entries[dependency];
        let named = entry.tag.strip_prefix(table.tag.as_str()).is_some_and(|rest| rest.starts_with(' '));
        is_relation(&table.kind)
            && table.kind != "SEQUENCE"
            && table.schema == entry.schema
            && (named || entry.tag == table.tag || !has_table_in_tag(&entry.kind))
    };
    dependencies.any(|dependency| {
        is_included(dependency)
            && (own_table(dependency)
                || (entry.kind == "SEQUENCE OWNED BY" && graph.entries[dependency].kind == "SEQUENCE"))
    })
}

/// Whether pg_dump's tag of this kind begins with the table's name.
fn has_table_in_tag(kind: &str) -> bool {
    !matches!(kind, "INDEX" | "STATISTICS" | "SEQUENCE")
}

/// Everything but the tables that are not carried, and what depends on those; where such a table is at
/// the target and stays, only what belongs to it.
fn all_but(graph: &Graph<'_>, part: &Part) -> Selected {
    let mut gone: BTreeMap<usize, usize> = BTreeMap::new();
    let mut stays: BTreeSet<usize> = BTreeSet::new();
    for index in 0..graph.entries.len() {
        if let Some(name) = graph.table_name(index).filter(|name| !part.relations.contains(name)) {
            gone.insert(index, index);
            if part.there.contains(&name) {
                stays.insert(index);
            }
        }
    }
    let mut left_out = Vec::new();
    loop {
        let mut found = Vec::new();
        for (index, entry) in graph.entries.iter().enumerate() {
            let Some(cause) = graph.dependencies(index).find_map(|dependency| gone.get(&dependency)) else {
                continue;
            };
            let is_owned = is_owned_by(graph, index, &|other| gone.contains_key(&other));
            if entry.kind == "SEQUENCE OWNED BY" && stays.contains(cause) {
                let sequences = graph.dependencies(index);
                found
                    .extend(sequences.filter(|other| !gone.contains_key(other)).map(|other| (other, *cause)));
            }
            if gone.contains_key(&index) || stays.contains(cause) && !is_owned {
                continue;
            }
            found.push((index, *cause));
            if !is_owned && is_worth_a_remark(&entry.kind) {
                left_out.push((index, *cause));
            }
        }
        if found.is_empty() {
            let entries = (0..graph.entries.len()).filter(|index| !gone.contains_key(index)).collect();
            return Selected { entries, left_out };
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

    fn part(list: &[&str]) -> Part {
        Part { relations: names(list), by_request: true, ..Part::default() }
    }

    #[test]
    fn one_table_comes_with_what_it_needs_and_what_belongs_to_it() {
        let entries = archive();
        let chosen = choose(&Graph::new(&entries), &Carried::Only(part(&["orders"])));
        assert_eq!(ids(&entries, &chosen), [1, 2, 4, 5, 6, 7, 9, 10, 12]);
        assert_eq!(chosen.remarks.len(), 1);
        assert!(chosen.remarks[0].contains("orders_customer_fkey"), "{:?}", chosen.remarks);
        assert!(chosen.remarks[0].contains("table public.customers"), "{:?}", chosen.remarks);
    }

    #[test]
    fn a_referenced_table_does_not_bring_the_tables_that_refer_to_it() {
        let entries = archive();
        let chosen = choose(&Graph::new(&entries), &Carried::Only(part(&["customers"])));
        assert_eq!(ids(&entries, &chosen), [3, 8]);
        assert!(chosen.remarks.is_empty(), "{:?}", chosen.remarks);
    }

    #[test]
    fn an_excluded_table_takes_what_needs_it_along() {
        let entries = archive();
        let chosen = choose(&Graph::new(&entries), &Carried::AllBut(part(&["customers"])));
        assert_eq!(ids(&entries, &chosen), [1, 3, 4, 8]);
        assert!(chosen.remarks.iter().any(|remark| remark.starts_with("view public.recent")), "{chosen:?}");
        assert!(!chosen.remarks.iter().any(|remark| remark.contains("orders_day")), "{chosen:?}");
    }

    #[test]
    fn an_excluded_table_that_is_at_the_target_is_left_alone_with_its_parts() {
        let entries = archive();
        let there = Part { there: names(&["customers"]), ..part(&["orders"]) };
        let chosen = choose(&Graph::new(&entries), &Carried::AllBut(there));
        assert_eq!(ids(&entries, &chosen), [1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14]);
    }

    #[test]
    fn everything_but_subscriptions_is_replayed() {
        let entries = archive();
        let chosen = choose(&Graph::new(&entries), &Carried::Everything);
        assert_eq!(ids(&entries, &chosen), (1..15).collect::<Vec<_>>());
        assert!(chosen.remarks[0].contains("subscription"), "{chosen:?}");
    }
}
