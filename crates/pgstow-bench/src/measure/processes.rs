//! What `/proc` tells of processes and their descendants. A process that ends while it is looked at
//! counts as nothing.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// The processes and all their descendants, each after its parent.
pub(super) fn with_descendants(ids: &[u32]) -> Vec<u32> {
    let mut family = ids.to_vec();
    let mut next = 0;
    while let Some(&id) = family.get(next) {
        family.extend(children(id));
        next += 1;
    }
    family
}

fn children(id: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{id}/task")) else { return Vec::new() };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|text| text.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

/// Resident memory of processes together; what several share is counted once, divided among them.
pub(super) fn resident_bytes(ids: &[u32]) -> u64 {
    ids.iter()
        .filter_map(|id| fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok())
        .filter_map(|maps| proportional_bytes_in(&maps))
        .sum()
}

fn proportional_bytes_in(maps: &str) -> Option<u64> {
    let field = maps.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kilobytes: u64 = field.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// User and system time of a server since it started: its postmaster, what that waited for, and
/// what runs now.
pub(super) fn processor_time_of_server(postmaster: u32) -> Duration {
    let stat = |id: u32| fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let (own, waited_for) = ticks_in(&stat(postmaster)).unwrap_or_default();
    let running: u64 = children(postmaster)
        .into_iter()
        .filter_map(|id| ticks_in(&stat(id)))
        .map(|(own, waited_for)| own + waited_for)
        .sum();
    let ticks = own + waited_for + running;
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second().max(1))
}

/// Clock ticks of a process itself and of the children it has waited for: fields 14 to 17 of
/// `/proc/…/stat`. The second field is a name in parentheses that may hold anything.
fn ticks_in(stat: &str) -> Option<(u64, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: Vec<u64> =
        fields.split_whitespace().skip(11).take(4).filter_map(|field| field.parse().ok()).collect();
    match ticks[..] {
        [user, system, children_user, children_system] => {
            Some((user + system, children_user + children_system))
        }
        _ => None,
    }
}

/// Asks processes to end.
pub(super) fn end(ids: &[u32]) {
    for id in ids.iter().filter_map(|&id| Pid::from_raw(i32::try_from(id).ok()?)) {
        // It may have ended by itself.
        let _ = kill_process(id, Signal::TERM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_read_after_any_name() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1163 5 6 7 110 20 3000 400 20 0 1 0 100 2 3";
        assert_eq!(ticks_in(stat), Some((130, 3400)));
        assert_eq!(ticks_in("42 (a) S 1"), None);
    }

    #[test]
    fn resident_memory_is_in_kibibytes() {
        let maps = "55-7f ---p 0 00:00 0 [rollup]\nRss:   4096 kB\nPss:   2048 kB\nPss_Anon:  9 kB\n";
        assert_eq!(proportional_bytes_in(maps), Some(2 * 1024 * 1024));
        assert_eq!(proportional_bytes_in(""), None);
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(resident_bytes(&with_descendants(&[std::process::id()])) > 0);
    }
}
