//! What is left of the rows of two sides when those that both have cancel out.

use std::collections::HashMap;
use std::io;

use super::fields::Digest;
use super::spool::{Of, Record, Spool};

/// Key and values of a row.
pub(crate) type Identity = (Digest, Digest);

/// A row that one side has more often than the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) identity: Identity,
    /// The first row of its side that is so.
    pub(crate) ordinal: u64,
    /// How much more often.
    pub(crate) times: u64,
}

/// Differences with one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Difference {
    /// Only the side before has the key, or more often.
    Removed(Left),
    /// Only the side after has the key, or more often.
    Added(Left),
    /// Both have the key, with other values.
    Changed(Left, Left),
}

/// Settles all partitions, one after the other.
///
/// # Errors
/// The file's, and `each`'s.
pub(crate) fn settle(spool: &Spool, each: &mut dyn FnMut(Difference) -> io::Result<()>) -> io::Result<()> {
    for partition in 0..spool.partitions() {
        let mut net: HashMap<Identity, (i64, u64)> = HashMap::new();
        spool.read(partition, &mut |record| count(&mut net, &record))?;
        let mut left: Vec<(Identity, i64, u64)> =
            net.into_iter().map(|(identity, (net, ordinal))| (identity, net, ordinal)).collect();
        left.sort_unstable_by_key(|((key, _), _, ordinal)| (*key, *ordinal));
        for group in left.chunk_by(|((one, _), ..), ((other, _), ..)| one == other) {
            pair(group, each)?;
        }
    }
    Ok(())
}

fn count(net: &mut HashMap<Identity, (i64, u64)>, record: &Record) {
    let step = if record.of == Of::Before { 1 } else { -1 };
    let identity = (record.key, record.values);
    let entry = net.entry(identity).or_insert((0, record.ordinal));
    // What turns to the other side begins anew there.
    if entry.0 == 0 {
        entry.1 = record.ordinal;
    }
    entry.0 += step;
    if entry.0 == 0 {
        net.remove(&identity);
    }
}

/// Rows with one key: as many as both sides have changed, the others are gone or new.
fn pair(
    group: &[(Identity, i64, u64)],
    each: &mut dyn FnMut(Difference) -> io::Result<()>,
) -> io::Result<()> {
    let side = |before: bool| -> Vec<Left> {
        let of_side = group.iter().filter(|(_, net, _)| (*net > 0) == before);
        of_side
            .map(|(identity, net, ordinal)| Left {
                identity: *identity,
                ordinal: *ordinal,
                times: net.unsigned_abs(),
            })
            .collect()
    };
    let (mut gone, mut new) = (side(true), side(false));
    while let (Some(old), Some(now)) = (gone.last_mut(), new.last_mut()) {
        let both = old.times.min(now.times);
        each(Difference::Changed(Left { times: both, ..*old }, Left { times: both, ..*now }))?;
        (old.times, now.times) = (old.times - both, now.times - both);
        gone.retain(|left| left.times > 0);
        new.retain(|left| left.times > 0);
    }
    gone.into_iter().try_for_each(|left| each(Difference::Removed(left)))?;
    new.into_iter().try_for_each(|left| each(Difference::Added(left)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Rows `(key, value)` of both sides; the numbers of removed, added and changed ones.
    fn settled(before: &[(u8, u8)], after: &[(u8, u8)]) -> (u64, u64, u64) {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(folder.path(), 600_000).unwrap();
        for (of, rows) in [(Of::Before, before), (Of::After, after)] {
            for (ordinal, (key, value)) in (0..).zip(rows) {
                spool.push(&Record { key: [*key; 16], values: [*value; 16], ordinal, of }).unwrap();
            }
        }
        let mut counts = (0, 0, 0);
        settle(&spool, &mut |difference| {
            match difference {
                Difference::Removed(left) => counts.0 += left.times,
                Difference::Added(left) => counts.1 += left.times,
                Difference::Changed(old, new) => {
                    assert_eq!(old.identity.0, new.identity.0);
                    assert_eq!(old.times, new.times);
                    counts.2 += old.times;
                }
            }
            Ok(())
        })
        .unwrap();
        counts
    }

    #[test]
    fn equal_rows_cancel_out_as_often_as_both_sides_have_them() {
        assert_eq!(settled(&[(1, 1), (2, 2)], &[(2, 2), (1, 1)]), (0, 0, 0));
        assert_eq!(settled(&[(1, 1), (1, 1)], &[(1, 1)]), (1, 0, 0));
        assert_eq!(settled(&[(1, 1)], &[(1, 2), (3, 3)]), (0, 1, 1));
    }

    proptest! {
        #[test]
        fn counts_are_those_of_multisets(
            before in prop::collection::vec((0_u8..4, 0_u8..4), 0..12),
            after in prop::collection::vec((0_u8..4, 0_u8..4), 0..12),
        ) {
            let mut net: BTreeMap<(u8, u8), i64> = BTreeMap::new();
            before.iter().for_each(|row| *net.entry(*row).or_default() += 1);
            after.iter().for_each(|row| *net.entry(*row).or_default() -= 1);
            let mut by_key: BTreeMap<u8, (u64, u64)> = BTreeMap::new();
            for ((key, _), net) in net {
                let sums = by_key.entry(key).or_default();
                if net > 0 { sums.0 += net.unsigned_abs() } else { sums.1 += net.unsigned_abs() }
            }
            let changed: u64 = by_key.values().map(|(gone, new)| gone.min(new)).sum();
            let gone: u64 = by_key.values().map(|(gone, _)| gone).sum();
            let new: u64 = by_key.values().map(|(_, new)| new).sum();
            prop_assert_eq!(settled(&before, &after), (gone - changed, new - changed, changed));
        }
    }
}
