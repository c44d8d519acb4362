//! Counts the rows of restored tables, on several sessions at once.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::contents::Group;
use super::selection::TableName;
use super::session::{Session, describe};
use crate::error::Result;
use crate::postgres::QueryError;

/// Tables counted by one statement.
const BATCH: usize = 50;
/// Rows counted by one statement, unless a single table has more.
const BATCH_ROWS: u64 = 200_000;

/// Rows of a group, or why they could not be counted.
pub(super) type Count = std::result::Result<u64, String>;

/// The counts of all groups, as far as they are known.
pub(super) struct Counting<'g> {
    groups: &'g [Group<'g>],
    /// What is not counted yet, the largest tables first.
    queue: Mutex<VecDeque<Vec<usize>>>,
    counts: Mutex<Vec<Count>>,
}

impl<'g> Counting<'g> {
    /// Nothing is counted yet; groups that are not among `existing` have no table.
    pub(super) fn new(groups: &'g [Group<'g>], existing: &BTreeSet<TableName>) -> Self {
        let present = groups.iter().enumerate().filter(|(_, group)| existing.contains(&group.name));
        let rows = present.map(|(index, group)| (index, group.rows())).collect();
        let missing = || Err("there is no such table".to_owned());
        Self {
            groups,
            queue: Mutex::new(batches(rows).into()),
            counts: Mutex::new(groups.iter().map(|_| missing()).collect()),
        }
    }

    /// Counts on one session until nothing is left.
    ///
    /// # Errors
    /// Interruption, and the loss of the session.
    pub(super) fn work(&self, session: &mut Session) -> Result<()> {
        let next = || self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        while let Some(batch) = next() {
            session.interrupt.check()?;
            let found = self.count(session, &batch)?;
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            for (index, count) in found {
                counts[index] = count;
            }
        }
        Ok(())
    }

    /// One count for each group, in order.
    pub(super) fn counts(self) -> Vec<Count> {
        self.counts.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, session: &mut Session, batch: &[usize]) -> Result<Vec<(usize, Count)>> {
        let counts: Vec<String> = batch
            .iter()
            .map(|&index| {
                format!("SELECT {index}, (SELECT pg_catalog.count(*) {})", self.groups[index].from())
            })
            .collect();
        let asked = session.guarded(|connection| connection.query(&counts.join(" UNION ALL ")));
        match asked {
            Ok(rows) => {
                let pairs = rows.iter().map(|row| Ok((row.get::<u32>(0)? as usize, Ok(row.get(1)?))));
                Ok(pairs.collect::<std::result::Result<_, QueryError>>()?)
            }
            Err(error) if error.is_lost() => Err(error.into()),
            Err(error) => match batch {
                [only] => Ok(vec![(*only, Err(describe(&error)))]),
                several => {
                    let mut found = Vec::new();
                    for index in several {
                        found.extend(self.count(session, std::slice::from_ref(index))?);
                    }
                    Ok(found)
                }
            },
        }
    }
}

/// Groups, given with their rows, divided into statements: the largest first.
fn batches(mut groups: Vec<(usize, u64)>) -> Vec<Vec<usize>> {
    groups.sort_by_key(|&(index, rows)| (std::cmp::Reverse(rows), index));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut sum = 0_u64;
    for (index, rows) in groups {
        sum = sum.saturating_add(rows);
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH && sum <= BATCH_ROWS => batch.push(index),
            _ => {
                batches.push(vec![index]);
                sum = rows;
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_tables_are_counted_first_and_alone_and_small_ones_together() {
        let rows = vec![(0, 10), (1, 5_000_000), (2, 7), (3, 700_000), (4, 0)];
        assert_eq!(batches(rows), [vec![1], vec![3], vec![0, 2, 4]]);
    }

    #[test]
    fn every_table_is_counted_once() {
        let rows: Vec<(usize, u64)> = (0..333).map(|index| (index, index as u64 * 97)).collect();
        let batches = batches(rows);
        assert!(batches.iter().all(|batch| batch.len() <= BATCH));
        let mut all: Vec<usize> = batches.concat();
        all.sort_unstable();
        assert_eq!(all, (0..333).collect::<Vec<_>>());
    }
}
