//! Whether values of one type can be loaded into a column of another. Pure.

/// What becomes of values of one type in a column of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// Every value can be loaded.
    Always,
    /// It depends on the values.
    Perhaps,
    /// No value can be loaded, or hardly any.
    Never,
}

/// Types whose values are written alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Text,
    Number,
    Boolean,
    Moment,
    Duration,
    Document,
    Bytes,
    Identifier,
    Network,
}

/// Judges by the names that `format_type()` gives.
pub(super) fn fit(from: &str, to: &str) -> Fit {
    if from == to {
        return Fit::Always;
    }
    match (from.strip_suffix("[]"), to.strip_suffix("[]")) {
        (Some(from), Some(to)) => return fit(from, to),
        (None, Some(_)) => return if family(from) == Some(Family::Text) { Fit::Perhaps } else { Fit::Never },
        _ => {}
    }
    let is_array = from.ends_with("[]");
    let (base, limit) = base_and_limit(to);
    match (family(from).filter(|_| !is_array), family(base)) {
        (_, Some(Family::Text)) if limit.is_none() => Fit::Always,
        (_, Some(Family::Text)) | (Some(Family::Text), _) => Fit::Perhaps,
        (Some(from_family), Some(to_family)) if from_family != to_family => Fit::Never,
        (None, Some(_)) if is_array => Fit::Never,
        (Some(Family::Number), Some(Family::Number))
            if is_wider(base_and_limit(from).0, base) && limit.is_none() =>
        {
            Fit::Always
        }
        _ => Fit::Perhaps,
    }
}

fn is_wider(from: &str, to: &str) -> bool {
    let rank =
        |name: &str| ["smallint", "integer", "bigint", "numeric"].iter().position(|known| *known == name);
    rank(from).zip(rank(to)).is_some_and(|(from, to)| from <= to)
}

/// `character varying(20)` is `character varying` with a limit.
fn base_and_limit(name: &str) -> (&str, Option<&str>) {
    match name.split_once('(') {
        Some((base, limit)) => (base.trim_end(), Some(limit)),
        None => (name, None),
    }
}

fn family(name: &str) -> Option<Family> {
    let (base, _) = base_and_limit(name);
    Some(match base {
        "text" | "character varying" | "character" | "name" | "citext" | "\"char\"" => Family::Text,
        "smallint" | "integer" | "bigint" | "numeric" | "real" | "double precision" => Family::Number,
        "boolean" => Family::Boolean,
        "date" | "timestamp" | "timestamp without time zone" | "timestamp with time zone" => Family::Moment,
        "interval" => Family::Duration,
        "json" | "jsonb" => Family::Document,
        "bytea" => Family::Bytes,
        "uuid" => Family::Identifier,
        "inet" | "cidr" => Family::Network,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fit_always_perhaps_or_never() {
        for (from, to, expected) in [
            ("integer", "integer", Fit::Always),
            ("integer", "bigint", Fit::Always),
            ("bigint", "integer", Fit::Perhaps),
            ("integer", "numeric(4,2)", Fit::Perhaps),
            ("integer", "text", Fit::Always),
            ("integer", "character varying(2)", Fit::Perhaps),
            ("text", "integer", Fit::Perhaps),
            ("integer", "uuid", Fit::Never),
            ("boolean", "integer", Fit::Never),
            ("date", "timestamp with time zone", Fit::Perhaps),
            ("jsonb", "json", Fit::Perhaps),
            ("integer[]", "bigint[]", Fit::Always),
            ("integer[]", "integer", Fit::Never),
            ("integer", "integer[]", Fit::Never),
            ("integer[]", "text", Fit::Always),
            ("public.mood", "public.\"other mood\"", Fit::Perhaps),
            ("public.mood", "text", Fit::Always),
        ] {
            assert_eq!(fit(from, to), expected, "{from} into {to}");
        }
    }
}
