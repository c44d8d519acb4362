//! "Did you mean …": names near to a wrong one.

/// The candidates near to `name`, nearest first, three at most.
pub(crate) fn near<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Vec<&'c str> {
    let name = name.to_lowercase();
    let mut scored: Vec<(f64, &str)> = candidates
        .into_iter()
        .map(|candidate| (similarity(&name, &candidate.to_lowercase()), candidate))
        .filter(|(score, _)| *score >= 0.8)
        .collect();
    scored.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(right.1)));
    scored.into_iter().take(3).map(|(_, candidate)| candidate).collect()
}

/// From 0 to 1; one slip of the fingers is near whatever the length.
fn similarity(name: &str, candidate: &str) -> f64 {
    let slip = if strsim::osa_distance(name, candidate) == 1 { 0.85 } else { 0.0 };
    strsim::jaro_winkler(name, candidate).max(slip)
}

/// `did you mean "protected"?`, if anything is near.
pub(crate) fn hint<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<String> {
    let near: Vec<String> = near(name, candidates).iter().map(|name| format!("{name:?}")).collect();
    (!near.is_empty()).then(|| format!("did you mean {}?", near.join(" or ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let keys = ["url", "env_file", "protected", "password_file"];
        assert_eq!(near("protectd", keys), ["protected"]);
        assert_eq!(near("env-file", keys), ["env_file"]);
        assert_eq!(near("PROTECTED", keys), ["protected"]);
        assert!(near("bogus", keys).is_empty());
        assert_eq!(hint("ulr", keys).as_deref(), Some("did you mean \"url\"?"));
        assert_eq!(hint("bogus", keys), None);
    }
}
