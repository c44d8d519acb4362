//! Retention: which backups are kept, and why. Pure: it is told what there is, and deletes nothing.
//!
//! Backups are judged in groups: those of one environment, those of one of its labels that has rules
//! of its own, and apart from whole backups those of definitions only, of rows only and of chosen
//! tables. In each group periods count only if they have a good backup, and durations count from the
//! newest good one. So a long outage deletes nothing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::fmt::friendly::{Designator, Spacing, SpanPrinter};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

use crate::repository::format::header::{Header, SAFETY_LABEL, Safety};
use crate::repository::format::id::{BackupId, EnvironmentName, Label};
use crate::repository::format::manifest::Sections;

/// How many backups of a group are kept. Zero, or no duration: that rule keeps none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules {
    /// The newest so many.
    pub keep_last: u32,
    /// All that are not older than this, counted back from the newest good one; never negative.
    pub within: Option<Span>,
    /// The newest of each of the last so many hours that have a backup.
    pub hourly: u32,
    /// The same by days.
    pub daily: u32,
    /// The same by ISO weeks.
    pub weekly: u32,
    /// The same by months.
    pub monthly: u32,
    /// The same by years.
    pub yearly: u32,
}

impl Rules {
    /// Whether they would keep nothing at all.
    pub fn is_empty(&self) -> bool {
        let counts = [self.keep_last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly];
        counts.iter().all(|count| *count == 0) && self.within.is_none_or(Span::is_zero)
    }
}

/// The rules of one environment.
#[derive(Debug, Clone, Default)]
pub struct EnvironmentRules {
    /// For backups whose label has no rules of its own; `None` keeps them all.
    pub rules: Option<Rules>,
    /// For backups with these labels.
    pub labels: BTreeMap<Label, Rules>,
}

/// What retention needs to know of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its id, which tells environment and label.
    pub id: BackupId,
    /// Of which environment.
    pub environment: EnvironmentName,
    /// With which label.
    pub label: Option<Label>,
    /// The moment that it shows.
    pub snapshot_at: Timestamp,
    /// What it holds.
    pub sections: Sections,
    /// Only chosen tables.
    pub limited: bool,
    /// Nothing is missing that should be there.
    pub complete: bool,
    /// It is pinned.
    pub pinned: bool,
    /// It is a safety backup.
    pub safety: Option<Safety>,
}

impl Candidate {
    /// The candidate of a header.
    pub fn of(header: &Header, pinned: bool) -> Self {
        Self {
            id: header.id.clone(),
            environment: header.environment.clone(),
            label: header.label.clone(),
            snapshot_at: header.snapshot_at,
            sections: header.sections,
            limited: header.limited,
            complete: header.not_carried == 0,
            pinned,
            safety: header.safety.clone(),
        }
    }

    /// Whether it is judged as a good one. What a safety backup could not carry was told when it was taken.
    fn is_good(&self) -> bool {
        self.complete || self.safety.is_some()
    }

    fn is_whole(&self) -> bool {
        self.sections == Sections::All && !self.limited
    }

    /// Newest last; the id decides between equal times, so that the order of input never does.
    fn age(&self) -> (Timestamp, &BackupId) {
        (self.snapshot_at, &self.id)
    }
}

/// What becomes of a backup.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Verdict {
    /// Which backup.
    pub id: BackupId,
    /// Whether it is kept.
    pub keep: bool,
    /// Why, in words; never empty.
    pub reasons: Vec<String>,
}

/// Backups that are judged together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group<'c> {
    environment: &'c EnvironmentName,
    /// A label that has rules of its own.
    label: Option<&'c Label>,
    /// Definitions, rows or both.
    sections: u8,
    limited: bool,
    safety: bool,
}

/// What is kept of safety backups where the environment has rules, and none for their label.
const SAFETY_RULES: Rules =
    Rules { keep_last: 5, within: None, hourly: 0, daily: 7, weekly: 0, monthly: 0, yearly: 0 };

/// Judges all backups; the verdicts are in the order of `candidates`.
pub fn judge(
    candidates: &[Candidate],
    rules: &BTreeMap<EnvironmentName, EnvironmentRules>,
    zone: &TimeZone,
) -> Vec<Verdict> {
    let mut groups: BTreeMap<Group<'_>, Vec<usize>> = BTreeMap::new();
    for (place, candidate) in candidates.iter().enumerate() {
        groups.entry(group(candidate, rules)).or_default().push(place);
    }
    let mut verdicts: Vec<Verdict> = candidates
        .iter()
        .map(|candidate| Verdict { id: candidate.id.clone(), keep: false, reasons: Vec::new() })
        .collect();
    let mut note = |place: usize, keep: bool, reason: String| {
        if let Some(verdict) = verdicts.get_mut(place) {
            verdict.keep |= keep;
            if !verdict.reasons.contains(&reason) {
                verdict.reasons.push(reason);
            }
        }
    };
    for (place, candidate) in candidates.iter().enumerate() {
        if candidate.pinned {
            note(place, true, "pinned".to_owned());
        }
    }
    for place in newest_good_whole(candidates) {
        note(place, true, "newest good backup".to_owned());
    }
    for place in undo_needs(candidates) {
        note(place, true, "undo puts it back".to_owned());
    }
    for (group, places) in &groups {
        let of_environment = rules.get(group.environment);
        let (rules, prefix) = match group.label {
            None if group.safety => (of_environment.map(|_| &SAFETY_RULES), format!("{SAFETY_LABEL}: ")),
            Some(label) => {
                let rules = of_environment.and_then(|rules| rules.labels.get(label));
                (rules, format!("label {label}: "))
            }
            None => (of_environment.and_then(|rules| rules.rules.as_ref()), String::new()),
        };
        match rules {
            None => {
                let reason = format!("no rules for {}", group.environment);
                places.iter().for_each(|place| note(*place, true, reason.clone()));
            }
            Some(rules) => {
                for (place, reason) in kept(candidates, places, rules, zone) {
                    note(place, true, format!("{prefix}{reason}"));
                }
            }
        }
    }
    for (verdict, candidate) in verdicts.iter_mut().zip(candidates) {
        if !verdict.keep {
            let why =
                if candidate.is_good() { "no rule keeps it" } else { "incomplete, and a newer one is good" };
            verdict.reasons.push(why.to_owned());
        }
    }
    verdicts
}

fn group<'c>(candidate: &'c Candidate, rules: &'c BTreeMap<EnvironmentName, EnvironmentRules>) -> Group<'c> {
    let of_environment = rules.get(&candidate.environment);
    let label = candidate.label.as_ref();
    Group {
        environment: &candidate.environment,
        label: label.filter(|label| of_environment.is_some_and(|rules| rules.labels.contains_key(*label))),
        sections: match candidate.sections {
            Sections::All => 0,
            Sections::SchemaOnly => 1,
            Sections::DataOnly => 2,
        },
        limited: candidate.limited,
        safety: candidate.safety.is_some(),
    }
}

/// The newest safety backup of each database, and the one that was to be put back when it was taken:
/// an undo that failed is done again with that.
fn undo_needs(candidates: &[Candidate]) -> Vec<usize> {
    let mut newest: BTreeMap<(&EnvironmentName, &str), usize> = BTreeMap::new();
    for (place, candidate) in candidates.iter().enumerate() {
        let Some(safety) = &candidate.safety else { continue };
        let key = (&candidate.environment, safety.target.as_str());
        let known = newest.get(&key).and_then(|place| candidates.get(*place));
        if known.is_none_or(|known| known.age() < candidate.age()) {
            newest.insert(key, place);
        }
    }
    let before = |place: &usize| {
        let safety = candidates.get(*place)?.safety.as_ref()?;
        candidates.iter().position(|other| other.safety.is_some() && other.id.as_str() == safety.before)
    };
    let mut needed: Vec<usize> = newest.into_values().collect();
    let earlier: Vec<usize> = needed.iter().filter_map(before).collect();
    needed.extend(earlier);
    needed
}

/// The newest good whole backup of each environment.
fn newest_good_whole(candidates: &[Candidate]) -> Vec<usize> {
    let mut newest: BTreeMap<&EnvironmentName, usize> = BTreeMap::new();
    for (place, candidate) in candidates.iter().enumerate() {
        if !candidate.complete || !candidate.is_whole() || candidate.safety.is_some() {
            continue;
        }
        let known = newest.get(&candidate.environment).and_then(|place| candidates.get(*place));
        if known.is_none_or(|known| known.age() < candidate.age()) {
            newest.insert(&candidate.environment, place);
        }
    }
    newest.into_values().collect()
}

/// What the rules keep of a group, with the reason.
fn kept(candidates: &[Candidate], places: &[usize], rules: &Rules, zone: &TimeZone) -> Vec<(usize, String)> {
    let mut group: Vec<(usize, &Candidate)> =
        places.iter().filter_map(|place| Some((*place, candidates.get(*place)?))).collect();
    group.sort_by(|(_, one), (_, other)| other.age().cmp(&one.age()));
    let (good, incomplete): (Vec<_>, Vec<_>) =
        group.into_iter().partition(|(_, candidate)| candidate.is_good());
    let newest_good = good.first().map(|(_, candidate)| *candidate);
    let mut kept = Vec::new();
    for (place, candidate) in incomplete {
        if newest_good.is_none_or(|good| good.age() < candidate.age()) {
            kept.push((place, "incomplete, and no newer one is good".to_owned()));
        }
    }
    for (place, _) in good.iter().take(count(rules.keep_last)) {
        kept.push((*place, format!("last {}", rules.keep_last)));
    }
    if let Some((span, newest)) = rules.within.zip(newest_good) {
        let limit =
            newest.snapshot_at.to_zoned(zone.clone()).checked_sub(span).map(|limit| limit.timestamp());
        // Further back than time is counted: everything.
        let limit = limit.unwrap_or(Timestamp::MIN);
        let recent = good.iter().filter(|(_, candidate)| candidate.snapshot_at >= limit);
        kept.extend(recent.map(|(place, _)| (*place, format!("within {}", in_words(&span)))));
    }
    let periods: [(u32, &str, PeriodOf); 5] = [
        (rules.hourly, "hourly", hour),
        (rules.daily, "daily", day),
        (rules.weekly, "weekly", week),
        (rules.monthly, "monthly", month),
        (rules.yearly, "yearly", year),
    ];
    for (wanted, reason, period) in periods {
        let mut seen = BTreeSet::new();
        for (place, candidate) in &good {
            let period = period(&candidate.snapshot_at.to_zoned(zone.clone()));
            if seen.len() < count(wanted) && seen.insert(period) {
                kept.push((*place, reason.to_owned()));
            }
        }
    }
    kept
}

/// `14 days`.
fn in_words(span: &Span) -> String {
    let printer = SpanPrinter::new().designator(Designator::Verbose);
    printer.spacing(Spacing::BetweenUnitsAndDesignators).span_to_string(span)
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A period of time: year, then month or week, day, and hour with its offset from UTC, since clocks
/// that are put back show an hour twice.
type Period = (i16, i8, i8, i8, i32);

/// The period that a time falls into.
type PeriodOf = fn(&Zoned) -> Period;

fn hour(time: &Zoned) -> Period {
    (time.year(), time.month(), time.day(), time.hour(), time.offset().seconds())
}

fn day(time: &Zoned) -> Period {
    (time.year(), time.month(), time.day(), 0, 0)
}

fn week(time: &Zoned) -> Period {
    let week = time.date().iso_week_date();
    (week.year(), week.week(), 0, 0, 0)
}

fn month(time: &Zoned) -> Period {
    (time.year(), time.month(), 0, 0, 0)
}

fn year(time: &Zoned) -> Period {
    (time.year(), 0, 0, 0, 0)
}

#[cfg(test)]
mod tests;
