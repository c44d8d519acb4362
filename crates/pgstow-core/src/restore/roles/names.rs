//! Names of roles in text that a server or pg_dump wrote: reading them, and writing others in their
//! place. Pure.

use std::collections::BTreeSet;

use crate::postgres::identifier::quote_identifier;

/// Who a policy or a privilege is for; `None` is PUBLIC.
pub(super) type Holder = Option<String>;

/// The name that `text` begins with, and what follows it. Only what `quote_ident` would write is
/// taken: anything else is not what it seems.
pub(super) fn read(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else { return read_plain(text) };
    let mut name = String::new();
    loop {
        let end = rest.find('"')?;
        let (part, after) = rest.split_at(end);
        name.push_str(part);
        let after = after.strip_prefix('"')?;
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return (!name.is_empty()).then_some((name, after)),
        }
    }
}

fn read_plain(text: &str) -> Option<(String, &str)> {
    let end = text.find(|character| !is_plain(character)).unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    let starts_well = name.starts_with(|first: char| !first.is_ascii_digit());
    starts_well.then(|| (name.to_owned(), after))
}

fn is_plain(character: char) -> bool {
    character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_'
}

/// The holder that `text` begins with. No role can be called `public`.
pub(super) fn read_holder(text: &str) -> Option<(Holder, &str)> {
    let (name, after) = read(text)?;
    Some(((name != "public").then_some(name), after))
}

/// Holders separated by commas, and what follows them.
pub(super) fn read_holders(text: &str) -> Option<(BTreeSet<Holder>, &str)> {
    let mut holders = BTreeSet::new();
    let mut rest = text;
    loop {
        let (holder, after) = read_holder(rest)?;
        holders.insert(holder);
        match after.strip_prefix(", ") {
            Some(more) => rest = more,
            None => return Some((holders, after)),
        }
    }
}

/// The holder as a statement takes it.
pub(super) fn quoted(holder: &Holder) -> String {
    holder.as_deref().map_or_else(|| "PUBLIC".to_owned(), quote_identifier)
}

/// Roles that get another name, and how the target spells names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Naming<'a> {
    /// The role of the target for each role of the backup that is mapped.
    pub(super) renamed: &'a std::collections::BTreeMap<String, String>,
    /// Names that the target quotes although they look plain: keywords.
    pub(super) keywords: &'a BTreeSet<String>,
}

impl Naming<'_> {
    /// The role's name at the target.
    pub(super) fn name<'n>(&'n self, role: &'n str) -> &'n str {
        self.renamed.get(role).map_or(role, String::as_str)
    }

    /// The holder at the target.
    pub(super) fn holder(&self, holder: &Holder) -> Holder {
        holder.as_deref().map(|role| self.name(role).to_owned())
    }

    /// The name as `quote_ident` of the target writes it.
    pub(super) fn spelled(&self, role: &str) -> String {
        let is_plain = matches!(read_plain(role), Some((_, ""))) && !self.keywords.contains(role);
        if is_plain { role.to_owned() } else { quote_identifier(role) }
    }

    /// The holder as the catalog of the target writes it.
    pub(super) fn spelled_holder(&self, holder: &Holder) -> String {
        holder.as_deref().map_or_else(|| "public".to_owned(), |role| self.spelled(role))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    pub(in crate::restore::roles) fn renamed(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned())).collect()
    }

    #[test]
    fn names_are_read_as_the_server_quotes_them() {
        assert_eq!(read("app, x"), Some(("app".into(), ", x")));
        assert_eq!(read("\"a \"\"b\"\", c\" USING"), Some(("a \"b\", c".into(), " USING")));
        for wrong in ["", "\"open", "App", "1a", "\"\"", "$a"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn lists_end_where_no_comma_follows() {
        let (holders, rest) = read_holders("public, \"b, c\" USING (a, b)").expect("a list");
        assert_eq!(holders, BTreeSet::from([None, Some("b, c".to_owned())]));
        assert_eq!(rest, " USING (a, b)");
        assert_eq!(read_holders("a, "), None);
    }

    #[test]
    fn names_are_spelled_as_the_target_spells_them() {
        let (renamed, keywords) = (renamed(&[("app", "user")]), BTreeSet::from(["user".to_owned()]));
        let naming = Naming { renamed: &renamed, keywords: &keywords };
        assert_eq!(naming.spelled(naming.name("app")), "\"user\"");
        assert_eq!(naming.spelled("reader"), "reader");
        assert_eq!(naming.spelled("Reader"), "\"Reader\"");
        assert_eq!(naming.spelled_holder(&None), "public");
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_quoted_is_read_back(name in "[^\0]{1,12}", rest in "[ ,;()a\"]{0,4}") {
            proptest::prop_assume!(!rest.starts_with('"'));
            let text = format!("{}{rest}", quote_identifier(&name));
            proptest::prop_assert_eq!(read(&text), Some((name, rest.as_str())));
        }
    }
}
