//! The same work for many things, several at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::Result;
use crate::interrupt::Interrupt;

/// More threads than this gain nothing, whatever the machine has.
const JOBS_LIMIT: usize = 8;
/// Fewer than this let a distant store wait.
const JOBS_LEAST: usize = 4;

/// Calls `work` with each item, on as many threads as suit the machine; the results are in the
/// items' order.
///
/// # Errors
/// When interrupted. Work that has begun is finished first.
pub(crate) fn for_each<T: Sync, R: Send>(
    items: &[T],
    interrupt: &Interrupt,
    work: impl Fn(&T) -> R + Sync,
) -> Result<Vec<R>> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = processors.clamp(JOBS_LEAST, JOBS_LIMIT).min(items.len());
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while !interrupt.is_triggered() {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { break };
                    let result = work(item);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    interrupt.check()?;
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn every_item_is_worked_on_once_and_results_keep_their_order() {
        let items: Vec<usize> = (0..1000).collect();
        let calls = AtomicUsize::new(0);
        let doubled = for_each(&items, &Interrupt::new(), |item| {
            calls.fetch_add(1, Ordering::SeqCst);
            item * 2
        });
        assert_eq!(doubled.unwrap(), items.iter().map(|item| item * 2).collect::<Vec<_>>());
        assert_eq!(calls.load(Ordering::SeqCst), 1000);
        assert_eq!(for_each(&[], &Interrupt::new(), |(): &()| ()).unwrap(), []);
    }

    #[test]
    fn an_interrupt_ends_it_early() {
        let interrupt = Interrupt::new();
        let calls = AtomicUsize::new(0);
        let items = vec![(); 1000];
        let outcome = for_each(&items, &interrupt, |()| {
            calls.fetch_add(1, Ordering::SeqCst);
            interrupt.trigger();
        });
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Interrupted);
        assert!(calls.load(Ordering::SeqCst) <= JOBS_LIMIT);
    }
}
