//! Makes definitions comparable across a dump and a restore.
//!
//! PostgreSQL prints a stored expression, and a restore parses that print and stores it anew. One
//! construct comes out differently the second time, and it is a common one: `x IN ('a', 'b')` on a
//! `varchar` column prints as `(ARRAY['a'::character varying, …])::text[]`, and what is read back
//! from that prints as `ARRAY[('a'::character varying)::text, …]`. Both mean the same. Here the
//! first form is rewritten into the second, which is stable.

/// The definition with every cast of an array constructor moved into its elements.
pub(super) fn canonical(definition: &str) -> String {
    let mut out = String::with_capacity(definition.len());
    let mut rest = definition;
    while let Some(first) = rest.chars().next() {
        if let Some((rewritten, after)) = cast_of_array(rest) {
            out.push_str(&rewritten);
            rest = after;
            continue;
        }
        let length = quoted_length(rest).unwrap_or(first.len_utf8());
        let (token, after) = rest.split_at(length);
        out.push_str(token);
        rest = after;
    }
    out
}

const OPENING: &str = "(ARRAY[";

/// Rewrites a cast array constructor that `text` begins with; also what follows it.
fn cast_of_array(text: &str) -> Option<(String, &str)> {
    let inside = text.strip_prefix(OPENING)?;
    let (elements, after) = split_elements(inside)?;
    let after = after.strip_prefix(")::")?;
    let (type_name, after) = after.split_once("[]")?;
    let plain = |c: char| c.is_alphanumeric() || " _.\"(),$".contains(c);
    if type_name.is_empty() || !type_name.chars().all(plain) || after.starts_with('[') {
        return None;
    }
    let cast: Vec<String> =
        elements.iter().map(|element| format!("({})::{type_name}", canonical(element))).collect();
    Some((format!("ARRAY[{}]", cast.join(", ")), after))
}

/// The elements of an array constructor up to its closing bracket, and what follows the bracket.
fn split_elements(text: &str) -> Option<(Vec<&str>, &str)> {
    let mut elements = Vec::new();
    let mut depth = 0_usize;
    let mut start = 0;
    let mut position = 0;
    loop {
        let rest = text.get(position..)?;
        let first = rest.chars().next()?;
        let length = quoted_length(rest).unwrap_or(first.len_utf8());
        match first {
            '(' | '[' => depth += 1,
            ']' if depth == 0 => {
                elements.push(text.get(start..position)?.trim());
                return Some((elements, text.get(position + length..)?));
            }
            ')' | ']' => depth = depth.checked_sub(1)?,
            ',' if depth == 0 => {
                elements.push(text.get(start..position)?.trim());
                start = position + length;
            }
            _ => {}
        }
        position += length;
    }
}

/// Length in bytes of the string literal or quoted identifier that `text` begins with. PostgreSQL
/// doubles quotes and backslashes within what it prints, so a doubled quote is simply the end of
/// one literal and the start of the next, and no backslash needs care.
fn quoted_length(text: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|first| matches!(first, '\'' | '"'))?;
    let closing = text.get(1..)?.find(quote)?;
    Some(closing + 2)
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn a_cast_of_an_array_constructor_moves_into_its_elements() {
        let first = "CHECK (((status)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])))";
        let second = "CHECK (((status)::text = ANY (ARRAY[('a'::character varying)::text, ('b'::character varying)::text])))";
        assert_eq!(canonical(first), second);
        assert_eq!(canonical(second), second);
    }

    #[test]
    fn commas_and_brackets_within_strings_and_calls_separate_nothing() {
        let first = "(ARRAY['a,]('::character varying, f(1, x[2]), \"it's, \"])::text[]";
        let second = "ARRAY[('a,]('::character varying)::text, (f(1, x[2]))::text, (\"it's, \")::text]";
        assert_eq!(canonical(first), second);
    }

    #[test]
    fn text_that_only_looks_like_a_cast_array_stays() {
        for text in [
            "'(ARRAY[1])::text[]'",
            "\"(ARRAY[1])::text[]\"",
            "(ARRAY[1, 2])",
            "(ARRAY[1, 2]",
            "(ARRAY[1, 2])::public.box",
            "naïve – 😀",
        ] {
            assert_eq!(canonical(text), text);
        }
    }

    #[test]
    fn nested_constructors_are_rewritten_too() {
        let first = "(ARRAY[f((ARRAY[a, b])::text[])])::public.\"T x\"[]";
        assert_eq!(canonical(first), "ARRAY[(f(ARRAY[(a)::text, (b)::text]))::public.\"T x\"]");
    }

    proptest::proptest! {
        #[test]
        fn canonical_form_is_stable(text in "[(ARAY\\[\\]x',\":te )é]{0,40}|(\\(ARRAY\\[a, 'b'\\]\\)::text\\[\\]){0,3}") {
            let once = canonical(&text);
            proptest::prop_assert_eq!(canonical(&once), once);
        }
    }
}
