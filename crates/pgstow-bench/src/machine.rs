//! What the machine has and how busy it is.

use std::fs;

/// Memory of the machine; 0 when the system does not tell.
pub(crate) fn memory_bytes() -> u64 {
    memory_bytes_in(&fs::read_to_string("/proc/meminfo").unwrap_or_default()).unwrap_or(0)
}

fn memory_bytes_in(text: &str) -> Option<u64> {
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// Number and model of the processors.
pub(crate) fn processors() -> String {
    let count = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    format!("{count} × {}", model.map_or("unknown", |(_, name)| name.trim()))
}

/// Averages of the load over 1, 5 and 15 minutes.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_in_kibibytes() {
        assert_eq!(memory_bytes_in("MemTotal:       24683520 kB\nMemFree: 1 kB\n"), Some(24_683_520 << 10));
        assert_eq!(memory_bytes_in(""), None);
    }
}
