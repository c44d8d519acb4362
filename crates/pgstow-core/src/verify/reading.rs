//! How much of the objects is read, and which: all, a random sample, or none.

use std::collections::HashSet;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};
use crate::random;
use crate::repository::format::id::ObjectName;

/// How much of the objects' content is read. Whatever is not read is looked at: is it there, with
/// its size?
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reading {
    /// Nothing.
    Sizes,
    /// A random part.
    Sample(Sample),
    /// Every byte.
    All,
}

/// A random part of the objects: the same seed means the same choice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    share: Share,
    seed: u64,
}

/// A part of all bytes, above 0 and at most the whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(f64);

impl FromStr for Share {
    type Err = Error;

    /// `5%`, `0.5%`, or without the sign.
    fn from_str(text: &str) -> Result<Self> {
        let number = text.strip_suffix('%').unwrap_or(text).trim_end();
        match number.parse::<f64>() {
            Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(Self(percent / 100.0)),
            _ => Err(Error::new(ErrorKind::Usage, "a percentage is needed, such as 5%")),
        }
    }
}

impl Sample {
    /// A sample whose seed is given.
    pub fn new(share: Share, seed: u64) -> Self {
        Self { share, seed }
    }

    /// A sample with a seed of its own.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn random(share: Share) -> Result<Self> {
        // Short enough to be typed.
        Ok(Self { share, seed: u64::from(u32::from_le_bytes(random::bytes()?)) })
    }

    /// Repeats the choice.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Chooses among objects and their stored bytes: in a random order, until the share of all
    /// bytes is reached. At least one, if there is one.
    pub(crate) fn choose(&self, objects: impl Iterator<Item = (ObjectName, u64)>) -> HashSet<ObjectName> {
        let mut shuffled: Vec<([u8; 32], ObjectName, u64)> =
            objects.map(|(name, bytes)| (self.place(&name), name, bytes)).collect();
        shuffled.sort_unstable();
        let total: u64 =
            shuffled.iter().map(|(.., bytes)| bytes).fold(0, |sum, bytes| sum.saturating_add(*bytes));
        let wanted = total as f64 * self.share.0;
        let mut chosen = HashSet::new();
        let mut reached = 0u64;
        for (_, name, bytes) in shuffled {
            if !chosen.is_empty() && reached as f64 >= wanted {
                break;
            }
            chosen.insert(name);
            reached = reached.saturating_add(bytes);
        }
        chosen
    }

    /// Where an object stands in the random order.
    fn place(&self, name: &ObjectName) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes()).update(&name.id.0).update(&name.copy.to_le_bytes());
        hasher.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::format::id::ObjectId;

    fn objects(count: u64) -> Vec<(ObjectName, u64)> {
        let name = |number: u64| ObjectName { id: ObjectId::of(&number.to_le_bytes()), copy: 0 };
        (0..count).map(|number| (name(number), 1000 + number % 7 * 1000)).collect()
    }

    fn sample(share: &str, seed: u64) -> Sample {
        Sample::new(share.parse().unwrap(), seed)
    }

    #[test]
    fn a_share_is_a_percentage_and_nothing_else() {
        for (text, share) in [("5%", 0.05), ("5", 0.05), ("0.5%", 0.005), ("100%", 1.0), ("5 %", 0.05)] {
            assert_eq!(text.parse::<Share>().unwrap(), Share(share), "{text}");
        }
        for text in ["", "%", "0", "0%", "-5%", "100.1%", "NaN", "inf", "five", "5%%", "1/2"] {
            assert_eq!(text.parse::<Share>().unwrap_err().kind(), ErrorKind::Usage, "{text}");
        }
    }

    #[test]
    fn a_sample_has_its_share_of_the_bytes_and_no_object_more() {
        let objects = objects(1000);
        let total: u64 = objects.iter().map(|(_, bytes)| bytes).sum();
        for seed in 0..20 {
            let chosen = sample("5%", seed).choose(objects.iter().copied());
            let bytes: u64 =
                objects.iter().filter(|(name, _)| chosen.contains(name)).map(|(_, bytes)| bytes).sum();
            assert!(
                bytes * 20 >= total && (bytes - 7000) * 20 < total,
                "{bytes} of {total} with seed {seed}"
            );
        }
    }

    #[test]
    fn the_same_seed_means_the_same_objects_and_another_seed_others() {
        let objects = objects(1000);
        let choose = |seed| sample("5%", seed).choose(objects.iter().copied());
        let reversed = sample("5%", 1).choose(objects.iter().rev().copied());
        assert_eq!(choose(1), reversed, "the order does not matter");
        assert_ne!(choose(1), choose(2));
    }

    #[test]
    fn every_object_is_chosen_by_some_seed_and_large_ones_are_no_exception() {
        let mut objects = objects(20);
        objects[0].1 = 1 << 40;
        let mut seen = HashSet::new();
        for seed in 0..400 {
            seen.extend(sample("5%", seed).choose(objects.iter().copied()));
        }
        assert_eq!(seen.len(), objects.len());
    }

    #[test]
    fn a_small_sample_reads_something_and_a_whole_one_everything() {
        assert_eq!(sample("0.001%", 1).choose(objects(5).into_iter()).len(), 1);
        assert_eq!(sample("100%", 1).choose(objects(50).into_iter()).len(), 50);
        assert!(sample("5%", 1).choose(std::iter::empty()).is_empty());
    }
}
