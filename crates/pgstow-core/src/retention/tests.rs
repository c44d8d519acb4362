//! Tables for each rule, and what holds for all of them.

use proptest::prelude::*;

use super::*;

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn prod() -> EnvironmentName {
    EnvironmentName::new("prod").unwrap()
}

fn labelled(at: &str, label: Option<&str>) -> Candidate {
    let label = label.map(|label| Label::new(label).unwrap());
    Candidate {
        id: BackupId::compose(&prod(), time(at), label.as_ref()),
        environment: prod(),
        label,
        snapshot_at: time(at),
        sections: Sections::All,
        limited: false,
        complete: true,
        pinned: false,
        safety: None,
    }
}

fn at(at: &str) -> Candidate {
    labelled(at, None)
}

fn rules_of(rules: Rules) -> BTreeMap<EnvironmentName, EnvironmentRules> {
    BTreeMap::from([(prod(), EnvironmentRules { rules: Some(rules), labels: BTreeMap::new() })])
}

/// The verdicts as `time: reasons`, or `time: -` for what goes.
fn judged(candidates: &[Candidate], rules: &BTreeMap<EnvironmentName, EnvironmentRules>) -> Vec<String> {
    in_zone(candidates, rules, &TimeZone::UTC)
}

fn in_zone(
    candidates: &[Candidate],
    rules: &BTreeMap<EnvironmentName, EnvironmentRules>,
    zone: &TimeZone,
) -> Vec<String> {
    let verdicts = judge(candidates, rules, zone);
    let said = |verdict: &Verdict| if verdict.keep { verdict.reasons.join(", ") } else { "-".to_owned() };
    verdicts.iter().map(said).collect()
}

fn days(days: &[u32]) -> Vec<Candidate> {
    days.iter().map(|day| at(&format!("2026-11-{day:02}T02:00:00Z"))).collect()
}

#[test]
fn the_last_ones_are_kept_and_the_newest_good_one_always() {
    let rules = rules_of(Rules { keep_last: 2, ..Rules::default() });
    assert_eq!(judged(&days(&[1, 2, 3]), &rules), ["-", "last 2", "newest good backup, last 2"]);
}

#[test]
fn periods_without_backups_do_not_count() {
    let rules = rules_of(Rules { daily: 3, ..Rules::default() });
    assert_eq!(judged(&days(&[1, 2, 9, 20]), &rules), ["-", "daily", "daily", "newest good backup, daily"]);
}

#[test]
fn the_newest_of_each_period_is_kept() {
    let rules = rules_of(Rules { daily: 2, ..Rules::default() });
    let twice = [at("2026-11-01T02:00:00Z"), at("2026-11-01T14:00:00Z"), at("2026-11-02T02:00:00Z")];
    assert_eq!(judged(&twice, &rules), ["-", "daily", "newest good backup, daily"]);
}

#[test]
fn durations_count_from_the_newest_good_backup_and_not_from_now() {
    let within = Some("14 days".parse().unwrap());
    let rules = rules_of(Rules { within, ..Rules::default() });
    let mut long_ago = days(&[1, 5, 19]);
    for candidate in &mut long_ago {
        candidate.snapshot_at -= jiff::SignedDuration::from_hours(24 * 3650);
    }
    assert_eq!(judged(&long_ago, &rules), ["-", "within 14 days", "newest good backup, within 14 days"]);
}

#[test]
fn weeks_are_iso_weeks_and_cross_the_year() {
    let rules = rules_of(Rules { weekly: 1, ..Rules::default() });
    // Monday and Sunday of week 53 of 2026.
    let week = [at("2026-12-28T00:00:00Z"), at("2027-01-03T23:00:00Z")];
    assert_eq!(judged(&week, &rules), ["-", "newest good backup, weekly"]);
    let next = [at("2027-01-03T23:00:00Z"), at("2027-01-04T00:00:00Z")];
    let rules = rules_of(Rules { weekly: 2, ..Rules::default() });
    assert_eq!(judged(&next, &rules), ["weekly", "newest good backup, weekly"]);
}

#[test]
fn months_and_years_are_those_of_the_calendar() {
    let rules = rules_of(Rules { monthly: 2, yearly: 2, ..Rules::default() });
    let some = [
        at("2024-12-31T00:00:00Z"),
        at("2025-12-30T00:00:00Z"),
        at("2025-12-31T00:00:00Z"),
        at("2026-01-01T00:00:00Z"),
    ];
    let expected = ["-", "-", "monthly, yearly", "newest good backup, monthly, yearly"];
    assert_eq!(judged(&some, &rules), expected);
}

#[test]
fn days_begin_where_the_time_zone_says() {
    let rules = rules_of(Rules { daily: 5, ..Rules::default() });
    let some = [at("2026-11-01T22:30:00Z"), at("2026-11-01T23:30:00Z")];
    assert_eq!(in_zone(&some, &rules, &TimeZone::UTC), ["-", "newest good backup, daily"]);
    let ahead = TimeZone::fixed(jiff::tz::offset(1));
    assert_eq!(in_zone(&some, &rules, &ahead), ["daily", "newest good backup, daily"]);
}

#[test]
fn a_label_with_rules_of_its_own_uses_up_none_of_the_environments() {
    let labels =
        BTreeMap::from([(Label::new("pre-upgrade").unwrap(), Rules { keep_last: 1, ..Rules::default() })]);
    let rules = Some(Rules { keep_last: 1, ..Rules::default() });
    let rules = BTreeMap::from([(prod(), EnvironmentRules { rules, labels })]);
    let some = [
        labelled("2026-11-01T00:00:00Z", Some("nightly")),
        at("2026-11-02T00:00:00Z"),
        labelled("2026-11-03T00:00:00Z", Some("pre-upgrade")),
        labelled("2026-11-04T00:00:00Z", Some("pre-upgrade")),
    ];
    let expected = ["-", "last 1", "-", "newest good backup, label pre-upgrade: last 1"];
    assert_eq!(judged(&some, &rules), expected);
}

#[test]
fn an_environment_without_rules_keeps_everything_and_says_so() {
    let expected = ["no rules for prod", "newest good backup, no rules for prod"];
    assert_eq!(judged(&days(&[1, 2]), &BTreeMap::new()), expected);
}

#[test]
fn incomplete_backups_fill_no_period_and_go_when_a_newer_one_is_good() {
    let rules = rules_of(Rules { keep_last: 2, ..Rules::default() });
    let mut some = days(&[1, 2, 3, 4]);
    some[1].complete = false;
    some[3].complete = false;
    let expected = ["last 2", "-", "newest good backup, last 2", "incomplete, and no newer one is good"];
    assert_eq!(judged(&some, &rules), expected);
    let verdicts = judge(&some, &rules, &TimeZone::UTC);
    assert_eq!(verdicts[1].reasons, ["incomplete, and a newer one is good"]);
}

#[test]
fn backups_of_a_part_are_judged_apart_from_whole_ones() {
    let rules = rules_of(Rules { keep_last: 1, ..Rules::default() });
    let mut some = days(&[1, 2, 3, 4, 5]);
    some[1].sections = Sections::SchemaOnly;
    some[2].sections = Sections::DataOnly;
    some[3].limited = true;
    some[4].limited = true;
    let expected = ["newest good backup, last 1", "last 1", "last 1", "-", "last 1"];
    assert_eq!(judged(&some, &rules), expected);
}

#[test]
fn a_pinned_backup_is_kept_and_counts_like_any_other() {
    let rules = rules_of(Rules { keep_last: 1, ..Rules::default() });
    let mut some = days(&[1, 2, 3]);
    some[0].pinned = true;
    assert_eq!(judged(&some, &rules), ["pinned", "-", "newest good backup, last 1"]);
}

#[test]
fn the_hour_that_a_clock_shows_twice_is_two_hours() {
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    let rules = rules_of(Rules { hourly: 9, ..Rules::default() });
    let some = [at("2026-10-25T00:30:00Z"), at("2026-10-25T01:30:00Z")];
    assert_eq!(in_zone(&some, &rules, &zone), ["hourly", "newest good backup, hourly"]);
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let some = || 0..6u32;
    (some(), proptest::option::of(0..40i64), some(), some(), some(), some(), some()).prop_map(
        |(keep_last, within, hourly, daily, weekly, monthly, yearly)| Rules {
            keep_last,
            within: within.map(|days| Span::new().days(days)),
            hourly,
            daily,
            weekly,
            monthly,
            yearly,
        },
    )
}

fn any_candidate() -> impl Strategy<Value = Candidate> {
    let label = proptest::option::of(prop_oneof!["a", "b"]);
    let sections = prop_oneof![
        4 => Just(Sections::All),
        1 => Just(Sections::SchemaOnly),
        1 => Just(Sections::DataOnly)
    ];
    (
        0..200_000_000i64,
        label,
        sections,
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(second, label, sections, limited, complete, pinned)| {
            let snapshot_at = Timestamp::from_second(1_700_000_000 + second).unwrap();
            let label = label.map(|label| Label::new(label).unwrap());
            let id = BackupId::compose(&prod(), snapshot_at, label.as_ref());
            Candidate {
                id,
                environment: prod(),
                label,
                snapshot_at,
                sections,
                limited,
                complete,
                pinned,
                safety: None,
            }
        })
}

fn any_candidates() -> impl Strategy<Value = Vec<Candidate>> {
    proptest::collection::vec(any_candidate(), 0..40).prop_map(|mut candidates| {
        candidates.sort_by(|one, other| one.id.cmp(&other.id));
        candidates.dedup_by(|one, other| one.id == other.id);
        candidates
    })
}

fn any_environment() -> impl Strategy<Value = BTreeMap<EnvironmentName, EnvironmentRules>> {
    (any_rules(), proptest::option::of(any_rules())).prop_map(|(rules, of_label)| {
        let labels = of_label.map(|rules| (Label::new("a").unwrap(), rules)).into_iter().collect();
        BTreeMap::from([(prod(), EnvironmentRules { rules: Some(rules), labels })])
    })
}

fn kept_ids(verdicts: &[Verdict]) -> BTreeSet<BackupId> {
    verdicts.iter().filter(|verdict| verdict.keep).map(|verdict| verdict.id.clone()).collect()
}

fn newest_good<'c>(candidates: impl IntoIterator<Item = &'c Candidate>) -> Option<&'c Candidate> {
    let good = candidates.into_iter().filter(|candidate| candidate.complete && candidate.is_whole());
    good.max_by_key(|candidate| candidate.age())
}

proptest! {
    #[test]
    fn the_newest_good_and_pinned_ones_never_go(candidates in any_candidates(), rules in any_environment()) {
        let kept = kept_ids(&judge(&candidates, &rules, &TimeZone::UTC));
        for candidate in newest_good(&candidates).into_iter().chain(candidates.iter().filter(|one| one.pinned)) {
            prop_assert!(kept.contains(&candidate.id));
        }
    }

    #[test]
    fn every_verdict_has_its_reasons(candidates in any_candidates(), rules in any_environment()) {
        let verdicts = judge(&candidates, &rules, &TimeZone::UTC);
        prop_assert_eq!(verdicts.len(), candidates.len());
        for (verdict, candidate) in verdicts.iter().zip(&candidates) {
            prop_assert_eq!(&verdict.id, &candidate.id);
            prop_assert!(!verdict.reasons.is_empty());
            let distinct: BTreeSet<&String> = verdict.reasons.iter().collect();
            prop_assert_eq!(distinct.len(), verdict.reasons.len());
            prop_assert_eq!(candidate.pinned, verdict.reasons.contains(&"pinned".to_owned()));
        }
    }

    #[test]
    fn the_order_of_input_decides_nothing(
        (candidates, shuffled) in any_candidates().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        rules in any_environment(),
    ) {
        let mut one = judge(&candidates, &rules, &TimeZone::UTC);
        let mut other = judge(&shuffled, &rules, &TimeZone::UTC);
        one.sort_by(|left, right| left.id.cmp(&right.id));
        other.sort_by(|left, right| left.id.cmp(&right.id));
        prop_assert_eq!(one, other);
    }

    #[test]
    fn larger_rules_keep_no_less(candidates in any_candidates(), rules in any_rules(), more in any_rules()) {
        let longer = match (rules.within, more.within) {
            (Some(one), Some(other)) => Some(Span::new().days(one.get_days() + other.get_days())),
            (one, other) => one.or(other),
        };
        let larger = Rules {
            keep_last: rules.keep_last + more.keep_last,
            within: longer,
            hourly: rules.hourly + more.hourly,
            daily: rules.daily + more.daily,
            weekly: rules.weekly + more.weekly,
            monthly: rules.monthly + more.monthly,
            yearly: rules.yearly + more.yearly,
        };
        let kept = kept_ids(&judge(&candidates, &rules_of(rules), &TimeZone::UTC));
        let more = kept_ids(&judge(&candidates, &rules_of(larger), &TimeZone::UTC));
        prop_assert!(kept.is_subset(&more));
    }

    /// Of what was kept before, each rule that counts lets go of one at most; a duration may move past
    /// several, and incomplete ones go as soon as there is a newer good one.
    #[test]
    fn a_newer_backup_pushes_out_one_for_each_rule_at_most(candidates in any_candidates(), rules in any_rules()) {
        let rules = Rules { within: None, ..rules };
        let candidates: Vec<Candidate> = candidates.into_iter().filter(|one| one.complete).collect();
        let before = kept_ids(&judge(&candidates, &rules_of(rules), &TimeZone::UTC));
        let mut after = candidates.clone();
        after.push(at("2031-01-01T00:00:00Z"));
        let after = kept_ids(&judge(&after, &rules_of(rules), &TimeZone::UTC));
        let counts = [rules.keep_last, rules.hourly, rules.daily, rules.weekly, rules.monthly, rules.yearly];
        let counting = counts.iter().filter(|count| **count > 0).count();
        // One more: what was the newest good one without any rule's help.
        prop_assert!(before.difference(&after).count() <= counting + 1);
    }

    /// What a prune deleted does not change what the next one keeps.
    #[test]
    fn judging_again_what_was_kept_keeps_it(candidates in any_candidates(), rules in any_environment()) {
        let kept = kept_ids(&judge(&candidates, &rules, &TimeZone::UTC));
        let left: Vec<Candidate> = candidates.into_iter().filter(|one| kept.contains(&one.id)).collect();
        prop_assert_eq!(kept_ids(&judge(&left, &rules, &TimeZone::UTC)), kept);
    }
}

/// A safety backup of `prod`, taken of a database before a backup was restored.
fn safety(at: &str, target: &str, before: &BackupId) -> Candidate {
    let safety = Safety { target: target.to_owned(), before: before.to_string() };
    Candidate { safety: Some(safety), complete: false, ..labelled(at, Some(SAFETY_LABEL)) }
}

#[test]
fn safety_backups_are_apart_and_what_undo_needs_is_kept() {
    let ordinary = days(&[1, 2]);
    let mut all = ordinary.clone();
    all.push(safety("2026-11-03T02:00:00Z", "a/x", &ordinary[0].id));
    all.push(safety("2026-11-03T03:00:00Z", "b/y", &ordinary[0].id));
    all.push(safety("2026-11-04T02:00:00Z", "b/y", &ordinary[0].id));
    let put_back = all[4].id.clone();
    all.push(safety("2026-11-05T02:00:00Z", "b/y", &put_back));
    let none = Rules { keep_last: 0, yearly: 1, ..Rules::default() };
    let mut rules = rules_of(Rules { keep_last: 1, ..Rules::default() });
    let label = Label::new(SAFETY_LABEL).unwrap();
    rules.get_mut(&prod()).unwrap().labels.insert(label, none);
    let needed = "undo puts it back";
    let expected = ["-", "newest good backup, last 1", needed, "-", needed];
    assert_eq!(judged(&all, &rules)[..5], expected);
    assert_eq!(judged(&all, &rules)[5], format!("{needed}, label safety: yearly"));
    // One that carries everything is no backup to fall back to either.
    all.iter_mut().for_each(|candidate| candidate.complete = true);
    assert_eq!(judged(&all, &rules)[..5], expected);

    // Without rules of their own: the last five, and one a day for a week.
    let rules = rules_of(Rules { keep_last: 1, ..Rules::default() });
    let one_day: Vec<Candidate> =
        (0..8).map(|hour| safety(&format!("2026-11-03T{hour:02}:00:00Z"), "a/x", &ordinary[0].id)).collect();
    let kept = judge(&one_day, &rules, &TimeZone::UTC).iter().filter(|verdict| verdict.keep).count();
    assert_eq!(kept, 5);
    let many_days: Vec<Candidate> =
        (1..12).map(|day| safety(&format!("2026-11-{day:02}T00:00:00Z"), "a/x", &ordinary[0].id)).collect();
    let kept = judge(&many_days, &rules, &TimeZone::UTC).iter().filter(|verdict| verdict.keep).count();
    assert_eq!(kept, 7);
}
