//! Numbers, sizes and times as people read them. Sizes are in binary units.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use pgstow_core::inventory::ObjectKind;

/// `0 B`, `312 MiB`, `4.2 GiB`: three digits at most.
pub(crate) fn size(bytes: u64) -> String {
    let (value, unit) = scaled(bytes);
    format!("{value} {unit}")
}

/// `3.3 of 4.2 GiB`, or with both units where they differ.
pub(crate) fn size_of(done: u64, total: u64) -> String {
    let ((done_value, done_unit), (total_value, total_unit)) = (scaled(done), scaled(total));
    if done_unit == total_unit {
        format!("{done_value} of {total_value} {total_unit}")
    } else {
        format!("{done_value} {done_unit} of {total_value} {total_unit}")
    }
}

fn scaled(bytes: u64) -> (String, &'static str) {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return (bytes.to_string(), "B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        // 1023.5 would be shown as 1024 of the smaller unit.
        if value < 1023.5 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    // 9.95 would be shown as 10.0.
    if value < 9.95 { (format!("{value:.1}"), unit) } else { (format!("{value:.0}"), unit) }
}

/// `1,204,883`.
pub(crate) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// `1 table`, `63 tables`, `88 policies`.
pub(crate) fn count(value: u64, noun: &str) -> String {
    if value == 1 { format!("1 {noun}") } else { format!("{} {}", number(value), plural(noun)) }
}

fn plural(noun: &str) -> String {
    const UNCHANGED: [&str; 2] = ["statistics", "default privileges"];
    if UNCHANGED.contains(&noun) {
        return noun.to_owned();
    }
    if ["s", "x", "ch", "sh"].iter().any(|ending| noun.ends_with(ending)) {
        return format!("{noun}es");
    }
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{noun}s"),
    }
}

/// `63 tables, 41 functions, 1 publication`; columns belong to their tables and are left out.
pub(crate) fn counts(counts: &BTreeMap<ObjectKind, usize>) -> String {
    let parts: Vec<String> = counts
        .iter()
        .filter(|(kind, number)| **kind != ObjectKind::Column && **number > 0)
        .map(|(kind, number)| count(*number as u64, &kind_name(*kind)))
        .collect();
    if parts.is_empty() { "no objects".to_owned() } else { parts.join(", ") }
}

/// `materialized view`: the kind's stored name in words.
pub(crate) fn kind_name(kind: ObjectKind) -> String {
    let name = serde_json::to_value(kind).ok();
    name.as_ref().and_then(|name| name.as_str()).unwrap_or("object").replace('-', " ")
}

/// `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    // At most u64::MAX / 60; rounding cannot overflow what as_secs gave.
    let whole = duration.as_secs().saturating_add(u64::from(duration.subsec_millis() >= 500));
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Seconds as the library reports them; nonsense counts as none.
pub(crate) fn seconds(seconds: f64) -> String {
    duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// `just now`, `5 min ago`, `2 h ago`, `1 day ago`; `in the future` when clocks disagree.
pub(crate) fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs();
    match seconds {
        ..-60 => "in the future".to_owned(),
        -60..60 => "just now".to_owned(),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86400 => format!("{} h ago", seconds / 3600),
        86400..172_800 => "1 day ago".to_owned(),
        _ => format!("{} days ago", number((seconds / 86400).unsigned_abs())),
    }
}

/// `2026-11-21 10:12:04 CET`.
pub(crate) fn moment(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// `10:12:04 CET`.
pub(crate) fn clock(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%H:%M:%S %Z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_and_have_three_digits_at_most() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (10_188, "9.9 KiB"),
            (10_239, "10 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (312 << 20, "312 MiB"),
            (4_509_715_660, "4.2 GiB"),
            (u64::MAX, "16 EiB"),
        ];
        for (bytes, shown) in cases {
            assert_eq!(size(bytes), shown, "{bytes}");
        }
        assert_eq!(size_of(1_181_116_006, 1_717_986_918), "1.1 of 1.6 GiB");
        assert_eq!(size_of(5 << 20, 1_717_986_918), "5.0 MiB of 1.6 GiB");
    }

    #[test]
    fn numbers_have_thousands_separators() {
        for (value, shown) in [(0, "0"), (999, "999"), (1000, "1,000"), (6_410_227, "6,410,227")] {
            assert_eq!(number(value), shown);
        }
        assert_eq!(number(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn nouns_are_counted_in_english() {
        let cases = [
            (1, "policy", "1 policy"),
            (2, "policy", "2 policies"),
            (0, "index", "0 indexes"),
            (3, "operator class", "3 operator classes"),
            (2, "foreign key", "2 foreign keys"),
            (4, "statistics", "4 statistics"),
            (1000, "table", "1,000 tables"),
        ];
        for (value, noun, shown) in cases {
            assert_eq!(count(value, noun), shown);
        }
    }

    #[test]
    fn counts_leave_out_columns_and_absent_kinds() {
        let shown = counts(&BTreeMap::from([
            (ObjectKind::Table, 2),
            (ObjectKind::Column, 40),
            (ObjectKind::MaterializedView, 1),
            (ObjectKind::Policy, 0),
        ]));
        assert_eq!(shown, "2 tables, 1 materialized view");
        assert_eq!(counts(&BTreeMap::new()), "no objects");
    }

    #[test]
    fn durations_read_naturally() {
        let cases = [
            (0.0, "0.0 s"),
            (9.12, "9.1 s"),
            (9.96, "10 s"),
            (59.4, "59 s"),
            (185.0, "3 min 5 s"),
            (7800.0, "2 h 10 min"),
        ];
        for (value, shown) in cases {
            assert_eq!(seconds(value), shown, "{value}");
        }
        assert_eq!(seconds(f64::NAN), "0.0 s");
        assert_eq!(seconds(-1.0), "0.0 s");
    }

    #[test]
    fn times_are_relative_and_in_a_named_zone() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let cases = [
            ("2026-11-21T11:59:30Z", "just now"),
            ("2026-11-21T11:55:00Z", "5 min ago"),
            ("2026-11-21T09:12:04Z", "2 h ago"),
            ("2026-11-20T02:00:00Z", "1 day ago"),
            ("2026-11-01T12:00:00Z", "20 days ago"),
            ("2026-11-21T13:00:00Z", "in the future"),
        ];
        for (then, shown) in cases {
            assert_eq!(ago(then.parse().unwrap(), now), shown);
        }
        assert_eq!(moment(now, &TimeZone::UTC), "2026-11-21 12:00:00 UTC");
        assert_eq!(clock(now, &TimeZone::UTC), "12:00:00 UTC");
    }
}
