//! `[env.NAME.retention]` and its labels: how many backups are kept.

use std::collections::BTreeMap;

use jiff::Span;
use pgstow_core::repository::format::id::{EnvironmentName, Label};
use pgstow_core::retention::{EnvironmentRules, Rules};
use pgstow_core::{Error, ErrorKind, Result};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// What the keys of a table of rules are.
pub(super) const RULES: [&str; 7] = ["keep_last", "within", "hourly", "daily", "weekly", "monthly", "yearly"];

/// `[env.NAME.retention]`.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RetentionSection {
    /// The environment's own rules.
    #[serde(flatten)]
    pub(crate) rules: RulesSection,
    /// Rules of labels.
    pub(crate) label: BTreeMap<String, RulesSection>,
}

/// The rules of an environment or of a label.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct RulesSection {
    keep_last: Option<u32>,
    #[serde(deserialize_with = "span")]
    within: Option<String>,
    hourly: Option<u32>,
    daily: Option<u32>,
    weekly: Option<u32>,
    monthly: Option<u32>,
    yearly: Option<u32>,
}

/// Kept as text once it is known to be a length of time.
fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match parse_span(&text) {
        Some(_) => Ok(Some(text)),
        None => Err(D::Error::custom("expected a time such as 14 days, 12h or 3 months")),
    }
}

/// A length of time such as `14 days` or `3 months`, counted back in the calendar.
fn parse_span(text: &str) -> Option<Span> {
    let span: Span = text.parse().ok()?;
    (!span.is_negative()).then_some(span)
}

impl RulesSection {
    fn rules(&self) -> Rules {
        Rules {
            keep_last: self.keep_last.unwrap_or_default(),
            within: self.within.as_deref().and_then(parse_span),
            hourly: self.hourly.unwrap_or_default(),
            daily: self.daily.unwrap_or_default(),
            weekly: self.weekly.unwrap_or_default(),
            monthly: self.monthly.unwrap_or_default(),
            yearly: self.yearly.unwrap_or_default(),
        }
    }
}

impl RetentionSection {
    /// The rules of the environment `name`.
    ///
    /// # Errors
    /// Usage: rules that would keep nothing, a name that is no label.
    pub(crate) fn rules(&self, name: &EnvironmentName) -> Result<EnvironmentRules> {
        let place = format!("env.{name}.retention");
        let own = (self.rules != RulesSection::default() || self.label.is_empty()).then_some(&self.rules);
        let own = own.map(|rules| require_some(rules, &place)).transpose()?;
        let mut labels = BTreeMap::new();
        for (label, rules) in &self.label {
            let place = format!("{place}.label.{label}");
            let label = Label::new(label)
                .map_err(|error| Error::new(ErrorKind::Usage, format!("{place}: {error}")))?;
            labels.insert(label, require_some(rules, &place)?);
        }
        Ok(EnvironmentRules { rules: own, labels })
    }
}

/// Rules that keep nothing are a mistake: they would delete all but the newest good backup.
fn require_some(section: &RulesSection, place: &str) -> Result<Rules> {
    let rules = section.rules();
    if rules.is_empty() {
        return Err(Error::new(ErrorKind::Usage, format!("{place} keeps nothing"))
            .why("it would delete every backup but the newest good one")
            .hint(format!("give one of {} a value above 0", RULES.join(", ")))
            .hint("or remove the section: without rules everything is kept"));
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Result<EnvironmentRules> {
        let section: RetentionSection = toml::from_str(text).expect("the section can be read");
        section.rules(&EnvironmentName::new("prod").expect("a name"))
    }

    #[test]
    fn rules_that_would_delete_everything_are_refused_with_words() {
        for text in ["", "keep_last = 0", "keep_last = 0\nwithin = '0s'", "daily = 1\n[label.a]\ndaily = 0"] {
            let error = rules(text).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.message().ends_with("keeps nothing"), "{error}");
        }
    }

    #[test]
    fn rules_for_labels_alone_leave_the_others_without_rules() {
        let rules = rules("[label.pre-upgrade]\nkeep_last = 2").expect("rules");
        assert!(rules.rules.is_none());
        assert_eq!(rules.labels.len(), 1);
    }

    #[test]
    fn a_wrong_label_is_named() {
        let error = rules("[label.latest]\nkeep_last = 2").expect_err("a reserved word");
        assert!(error.message().starts_with("env.prod.retention.label.latest: "), "{error}");
    }
}
