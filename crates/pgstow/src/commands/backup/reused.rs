//! What the summary of a backup says of data that was taken over, and why not more. Pure.

use pgstow_core::backup::{ReadReason, ReuseReport};

use crate::ui::format;

/// How many reasons the summary names; the JSON report has all.
const REASONS_SHOWN: usize = 3;

/// `312 MiB read, 3.9 GiB taken over`.
pub(super) fn amounts(reuse: &ReuseReport) -> String {
    let read = format!("{} read", format::size(reuse.read_bytes));
    if reuse.reused == 0 {
        return read;
    }
    format!("{read}, {} taken over", format::size(reuse.reused_bytes))
}

/// The field of the summary; `None` when there was nothing that could have been taken over.
pub(super) fn field(reuse: &ReuseReport) -> Option<(&'static str, String)> {
    if let Some(why) = &reuse.full {
        return Some(("read", format!("everything: {}", one_line(why))));
    }
    let definitions = match &reuse.definitions_read {
        _ if reuse.definitions_reused => Some("definitions taken over, proven unchanged".to_owned()),
        Some(why) if reuse.base.is_some() => Some(format!("definitions read: {}", one_line(why))),
        _ => None,
    };
    if reuse.chunks == 0 {
        return definitions.filter(|_| reuse.definitions_reused).map(|line| ("reused", line));
    }
    let lines: Vec<String> = std::iter::once(chunks(reuse)).chain(definitions).collect();
    Some(("reused", lines.join("\n")))
}

/// `431 of 446 chunks, proven unchanged; read 15: 12 changed, 3 because public.orders has …`.
fn chunks(reuse: &ReuseReport) -> String {
    let all = format::count(reuse.chunks as u64, "chunk");
    let mut line = format!("{} of {all}", format::number(reuse.reused as u64));
    if reuse.reused > 0 {
        line.push_str(", proven unchanged");
    }
    if !reuse.read.is_empty() {
        let read: usize = reuse.read.iter().map(|reason| reason.chunks).sum();
        line.push_str(&format!("; read {}: {}", format::number(read as u64), reasons(&reuse.read)));
    }
    line
}

fn reasons(all: &[ReadReason]) -> String {
    let reason = |reason: &ReadReason| {
        let because = if reason.is_sentence { "because " } else { "" };
        format!("{} {because}{}", format::number(reason.chunks as u64), one_line(&reason.reason))
    };
    let mut shown: Vec<String> = all.iter().take(REASONS_SHOWN).map(reason).collect();
    if let more @ 1.. = all.len().saturating_sub(REASONS_SHOWN) {
        shown.push(format!("and {}, all with --json", format::count(more as u64, "more reason")));
    }
    shown.join(", ")
}

/// A name in a reason may hold a line feed, which would begin a line of the summary.
fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use pgstow_core::repository::format::id::BackupId;

    use super::*;

    fn reason(chunks: usize, reason: &str, is_sentence: bool) -> ReadReason {
        ReadReason { chunks, reason: reason.into(), is_sentence }
    }

    fn report(reused: usize, read: Vec<ReadReason>) -> ReuseReport {
        ReuseReport {
            base: BackupId::new("prod_2026-11-20T09-12-04Z").ok(),
            chunks: reused + read.iter().map(|reason| reason.chunks).sum::<usize>(),
            reused,
            reused_bytes: reused as u64 * (16 << 20),
            read_bytes: 312 << 20,
            read,
            ..ReuseReport::default()
        }
    }

    fn shown(reuse: &ReuseReport) -> String {
        field(reuse).map_or_else(String::new, |(label, value)| format!("{label} {value}"))
    }

    #[test]
    fn reasons_follow_their_counts_and_sentences_follow_because() {
        let unprovable = "public.orders has a regclass column (kind)";
        let read = vec![reason(12, "changed", false), reason(3, unprovable, true)];
        assert_eq!(
            shown(&report(431, read)),
            "reused 431 of 446 chunks, proven unchanged; read 15: 12 changed, \
             3 because public.orders has a regclass column (kind)"
        );
        assert_eq!(shown(&report(1446, Vec::new())), "reused 1,446 of 1,446 chunks, proven unchanged");
        let none = report(0, vec![reason(1, "changed", false)]);
        assert_eq!(shown(&none), "reused 0 of 1 chunk; read 1: 1 changed");
    }

    #[test]
    fn more_reasons_than_a_summary_holds_are_counted() {
        let read = (1..=5).rev().map(|chunks| reason(chunks, "changed", false)).collect();
        assert!(
            shown(&report(1, read))
                .ends_with("5 changed, 4 changed, 3 changed, and 2 more reasons, all with --json")
        );
    }

    #[test]
    fn a_backup_that_reads_everything_says_why_in_one_sentence() {
        let read = vec![reason(2, "the server was restarted", true), reason(1, "of large objects", false)];
        let full = Some("the server was restarted".to_owned());
        let reuse = ReuseReport { full, ..report(0, read) };
        assert_eq!(shown(&reuse), "read everything: the server was restarted");
        assert_eq!(amounts(&reuse), "312 MiB read");
        assert_eq!(amounts(&report(4, Vec::new())), "312 MiB read, 64 MiB taken over");
    }

    #[test]
    fn definitions_have_a_line_of_their_own() {
        let reused = ReuseReport { definitions_reused: true, ..report(1, Vec::new()) };
        assert_eq!(
            shown(&reused),
            "reused 1 of 1 chunk, proven unchanged\ndefinitions taken over, proven unchanged"
        );
        let why = Some("definitions changed (pg_class)".to_owned());
        let read = ReuseReport { definitions_read: why, ..report(1, Vec::new()) };
        assert_eq!(
            shown(&read),
            "reused 1 of 1 chunk, proven unchanged\ndefinitions read: definitions changed (pg_class)"
        );
        let alone = ReuseReport { definitions_reused: true, ..report(0, Vec::new()) };
        assert_eq!(shown(&alone), "reused definitions taken over, proven unchanged");
        assert_eq!(field(&report(0, Vec::new())), None);
    }

    #[test]
    fn a_hostile_name_in_a_reason_begins_no_line() {
        let reuse = report(1, vec![reason(1, "public.\"a\nb\" has a money column (m)", true)]);
        assert_eq!(shown(&reuse).lines().count(), 1);
    }
}
