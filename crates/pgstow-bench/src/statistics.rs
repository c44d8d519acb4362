//! Medians and extremes of a few measurements. Pure.

use std::time::Duration;

/// Median and extremes of several durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spread {
    pub(crate) median: Duration,
    pub(crate) least: Duration,
    pub(crate) most: Duration,
}

impl Spread {
    /// `None` when there are no values.
    pub(crate) fn of(values: impl IntoIterator<Item = Duration>) -> Option<Self> {
        let mut sorted: Vec<Duration> = values.into_iter().collect();
        sorted.sort_unstable();
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2 };
        Some(Self { median, least, most })
    }
}

/// Median of whole numbers, the lower one of two; `None` when there are none.
pub(crate) fn median(values: impl IntoIterator<Item = u64>) -> Option<u64> {
    let mut sorted: Vec<u64> = values.into_iter().collect();
    sorted.sort_unstable();
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

/// How many times as long `this` took as `reference`; `None` when the reference took no time.
pub(crate) fn ratio(this: Duration, reference: Duration) -> Option<f64> {
    (!reference.is_zero()).then(|| this.as_secs_f64() / reference.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(values: &[u64]) -> Option<Spread> {
        Spread::of(values.iter().copied().map(Duration::from_secs))
    }

    #[test]
    fn the_median_is_the_middle_of_the_sorted_values() {
        let spread = seconds(&[9, 1, 5]).unwrap();
        assert_eq!((spread.least.as_secs(), spread.median.as_secs(), spread.most.as_secs()), (1, 5, 9));
        assert_eq!(seconds(&[4, 1, 2, 9]).unwrap().median.as_secs(), 3);
        assert_eq!(seconds(&[7]).unwrap().median.as_secs(), 7);
        assert_eq!(seconds(&[]), None);
        assert_eq!(median([9, 1, 5]), Some(5));
        assert_eq!(median([9, 5]), Some(5));
        assert_eq!(median([]), None);
    }

    #[test]
    fn a_ratio_says_how_many_times_as_long() {
        assert_eq!(ratio(Duration::from_secs(6), Duration::from_secs(4)), Some(1.5));
        assert_eq!(ratio(Duration::from_secs(6), Duration::ZERO), None);
    }
}
