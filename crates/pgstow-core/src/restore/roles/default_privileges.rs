//! Default privileges as data: read from the inventory, written as statements for the roles that
//! the target has. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::names::{self, Holder, Naming};
use crate::postgres::identifier::quote_identifier;

/// What one role's new objects of one kind come with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DefaultPrivileges {
    /// Whose objects.
    pub(super) role: String,
    /// Only those in this schema.
    pub(super) schema: Option<String>,
    /// `tables`, `sequences` …
    pub(super) kind: String,
    pub(super) grants: BTreeSet<Grant>,
}

/// One privilege of one holder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Grant {
    pub(super) holder: Holder,
    grantable: bool,
    privilege: String,
}

impl DefaultPrivileges {
    /// Reads an inventory item's name and definition; `None` when they are not as expected.
    pub(super) fn read(name: &str, definition: &str) -> Option<Self> {
        let (role, rest) = names::read(name.strip_prefix("for role ")?)?;
        let (schema, rest) = match rest.strip_prefix(" in schema ") {
            Some(rest) => names::read(rest).map(|(schema, rest)| (Some(schema), rest))?,
            None => (None, rest),
        };
        let kind = rest.strip_prefix(" on ")?.to_owned();
        let mut grants = BTreeSet::new();
        let mut rest = if definition == "nothing" { "" } else { definition };
        while !rest.is_empty() {
            let (grant, after) = Grant::read(rest)?;
            grants.insert(grant);
            rest = match after.strip_prefix('\n') {
                Some(more) => more,
                None if after.is_empty() => after,
                None => return None,
            };
        }
        Some(Self { role, schema, kind, grants })
    }

    /// The same with the roles of the target, without the holders in `lost`. What was given to
    /// somebody who is the owner now needs no grant.
    pub(super) fn at_target(&self, naming: &Naming<'_>, lost: &BTreeSet<&str>) -> Self {
        let owner = naming.name(&self.role);
        let stays = |grant: &&Grant| {
            grant
                .holder
                .as_deref()
                .is_none_or(|role| !lost.contains(role) && (role == self.role || naming.name(role) != owner))
        };
        let grants = self.grants.iter().filter(stays);
        let grants = grants.map(|grant| Grant { holder: naming.holder(&grant.holder), ..grant.clone() });
        Self { role: owner.to_owned(), grants: grants.collect(), ..self.clone() }
    }

    /// Whether this is what holds anyway, so that no server keeps a list of it.
    pub(super) fn is_built_in(&self) -> bool {
        if self.schema.is_some() {
            return self.grants.is_empty();
        }
        let owner = Some(self.role.clone());
        let (own, others): (Vec<&Grant>, Vec<&Grant>) =
            self.grants.iter().partition(|grant| grant.holder == owner);
        let everybody = built_in(&self.kind, false);
        self.holds(&owner, built_in(&self.kind, true))
            && own.iter().all(|grant| !grant.grantable)
            && self.holds(&None, everybody)
            && others.len() == everybody.len()
    }

    /// Name and definition as the inventory of the target has them.
    pub(super) fn item(&self, naming: &Naming<'_>) -> (String, String) {
        let schema = self.schema.as_deref();
        let schema =
            schema.map(|schema| format!(" in schema {}", naming.spelled(schema))).unwrap_or_default();
        let name = format!("for role {}{schema} on {}", naming.spelled(&self.role), self.kind);
        let line = |grant: &Grant| {
            let option = if grant.grantable { " with grant option" } else { "" };
            format!("{} to {}{option}", grant.privilege, naming.spelled_holder(&grant.holder))
        };
        let lines: BTreeSet<String> = self.grants.iter().map(line).collect();
        let lines: Vec<String> = lines.into_iter().collect();
        (name, if lines.is_empty() { "nothing".to_owned() } else { lines.join("\n") })
    }

    /// The statements that set them where only the built-in ones hold.
    pub(super) fn statements(&self) -> String {
        let place = self.schema.as_deref();
        let place =
            place.map(|schema| format!(" IN SCHEMA {}", quote_identifier(schema))).unwrap_or_default();
        let kind = self.kind.to_uppercase();
        let head = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {}{place}", quote_identifier(&self.role));
        let mut statements = String::new();
        let mut kept: BTreeSet<Holder> = BTreeSet::new();
        let (owner, everybody) = (built_in(&self.kind, true), built_in(&self.kind, false));
        for (holder, words) in [(Some(self.role.clone()), owner), (None, everybody)] {
            // What every new object comes with is granted for all schemas, never for one.
            if words.is_empty() || self.schema.is_some() {
                continue;
            }
            if self.holds(&holder, words) {
                kept.insert(holder);
            } else {
                let from = names::quoted(&holder);
                statements.push_str(&format!("{head} REVOKE ALL ON {kind} FROM {from};\n"));
            }
        }
        let mut together: BTreeMap<(&Holder, bool), Vec<&str>> = BTreeMap::new();
        for grant in self.grants.iter().filter(|grant| !kept.contains(&grant.holder)) {
            together.entry((&grant.holder, grant.grantable)).or_default().push(&grant.privilege);
        }
        for ((holder, grantable), words) in together {
            let option = if grantable { " WITH GRANT OPTION" } else { "" };
            let (words, to) = (words.join(", "), names::quoted(holder));
            statements.push_str(&format!("{head} GRANT {words} ON {kind} TO {to}{option};\n"));
        }
        statements
    }

    /// Whether the holder has all of these, none of them with grant option.
    fn holds(&self, holder: &Holder, words: &[&str]) -> bool {
        let own = self.grants.iter().filter(|grant| grant.holder == *holder && !grant.grantable);
        let held: BTreeSet<&str> = own.map(|grant| grant.privilege.as_str()).collect();
        words.iter().all(|word| held.contains(word))
    }
}

impl Grant {
    fn read(line: &str) -> Option<(Self, &str)> {
        let (privilege, rest) = line.split_once(" to ")?;
        if privilege.is_empty() || !privilege.chars().all(|c| c.is_ascii_uppercase() || c == ' ') {
            return None;
        }
        let (holder, rest) = names::read_holder(rest)?;
        let (grantable, rest) = match rest.strip_prefix(" with grant option") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        Some((Self { holder, grantable, privilege: privilege.to_owned() }, rest))
    }
}

/// What PostgreSQL gives the owner, or everybody, of a new object (without MAINTAIN, which only
/// newer servers know).
fn built_in(kind: &str, owner: bool) -> &'static [&'static str] {
    match (kind, owner) {
        ("tables", true) => &["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"],
        ("sequences", true) => &["SELECT", "USAGE", "UPDATE"],
        ("functions", _) => &["EXECUTE"],
        ("types", _) => &["USAGE"],
        ("schemas", true) => &["USAGE", "CREATE"],
        ("large objects", true) => &["SELECT", "UPDATE"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::super::names::tests::renamed;
    use super::*;

    const FUNCTIONS: &str = "EXECUTE to app\nEXECUTE to \"the \"\"web\"\"\" with grant option";

    #[test]
    fn what_is_read_is_written_again_with_other_roles() {
        let read = DefaultPrivileges::read("for role app in schema \"S\" on functions", FUNCTIONS).unwrap();
        let (renamed, keywords) = (renamed(&[("app", "me")]), BTreeSet::new());
        let naming = Naming { renamed: &renamed, keywords: &keywords };
        let (name, definition) = read.at_target(&naming, &BTreeSet::new()).item(&naming);
        assert_eq!(name, "for role me in schema \"S\" on functions");
        assert_eq!(definition, "EXECUTE to \"the \"\"web\"\"\" with grant option\nEXECUTE to me");
        let (_, less) = read.at_target(&naming, &BTreeSet::from(["app"])).item(&naming);
        assert_eq!(less, "EXECUTE to \"the \"\"web\"\"\" with grant option");
    }

    #[test]
    fn statements_take_away_what_everybody_would_have_and_leave_what_is_built_in() {
        let read = DefaultPrivileges::read("for role app on functions", FUNCTIONS).unwrap();
        assert_eq!(
            read.statements(),
            "ALTER DEFAULT PRIVILEGES FOR ROLE \"app\" REVOKE ALL ON FUNCTIONS FROM PUBLIC;\n\
             ALTER DEFAULT PRIVILEGES FOR ROLE \"app\" GRANT EXECUTE ON FUNCTIONS TO \"the \"\"web\"\"\" WITH GRANT OPTION;\n"
        );
        let nothing = DefaultPrivileges::read("for role app on tables", "nothing").unwrap();
        assert_eq!(
            nothing.statements(),
            "ALTER DEFAULT PRIVILEGES FOR ROLE \"app\" REVOKE ALL ON TABLES FROM \"app\";\n"
        );
        let schema =
            DefaultPrivileges::read("for role app in schema s on tables", "SELECT to public").unwrap();
        assert_eq!(
            schema.statements(),
            "ALTER DEFAULT PRIVILEGES FOR ROLE \"app\" IN SCHEMA \"s\" GRANT SELECT ON TABLES TO PUBLIC;\n"
        );
    }

    #[test]
    fn what_the_owner_was_given_by_another_name_needs_no_list() {
        let own = "DELETE to app\nINSERT to app\nREFERENCES to app\nSELECT to app\nTRIGGER to app\nTRUNCATE to app\n\
                   UPDATE to app";
        let definition = format!("{own}\nSELECT to reader with grant option");
        let read = DefaultPrivileges::read("for role app on tables", &definition).unwrap();
        assert!(!read.is_built_in());
        let (renamed, keywords) = (renamed(&[("app", "me"), ("reader", "me")]), BTreeSet::new());
        let naming = Naming { renamed: &renamed, keywords: &keywords };
        let found = read.at_target(&naming, &BTreeSet::new());
        assert!(found.is_built_in(), "{found:?}");
        assert_eq!(found.statements(), "");
        let schema =
            DefaultPrivileges::read("for role app in schema s on tables", "SELECT to reader").unwrap();
        assert!(schema.at_target(&naming, &BTreeSet::new()).is_built_in());
        let functions = DefaultPrivileges::read("for role app on functions", "EXECUTE to app").unwrap();
        assert!(!functions.at_target(&naming, &BTreeSet::new()).is_built_in());
    }

    #[test]
    fn anything_else_is_not_read() {
        for (name, definition) in [
            ("for role App on tables", "nothing"),
            ("role app on tables", "nothing"),
            ("for role app on tables", "select to app"),
            ("for role app on tables", "SELECT to app and more"),
        ] {
            assert_eq!(DefaultPrivileges::read(name, definition), None, "{name}: {definition}");
        }
    }
}
