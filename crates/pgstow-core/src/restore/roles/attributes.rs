//! The attributes of a role that a restore creates: what the backup has, and what of it may be
//! given at the target. Pure.

use crate::postgres::identifier::quote_literal;

/// What the login may do about roles at the target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::restore) struct Rights {
    pub(in crate::restore) superuser: bool,
    /// CREATEROLE.
    pub(in crate::restore) create_role: bool,
    /// CREATEDB.
    pub(in crate::restore) create_database: bool,
    /// BYPASSRLS.
    pub(in crate::restore) bypass_rls: bool,
    /// Major version of the server.
    pub(in crate::restore) major: u32,
}

impl Rights {
    /// Whether roles can be created at all.
    pub(in crate::restore) fn may_create_roles(&self) -> bool {
        self.superuser || self.create_role
    }

    fn may_give(&self, word: &str) -> bool {
        // From 16 on CREATEROLE gives what its holder has; before, superusers alone gave BYPASSRLS.
        let by_own = self.major >= 16;
        match word {
            "SUPERUSER" | "REPLICATION" => false,
            "CREATEDB" => self.superuser || !by_own || self.create_database,
            "BYPASSRLS" => self.superuser || (by_own && self.bypass_rls),
            _ => true,
        }
    }
}

/// Attributes of one role, in words of `CREATE ROLE`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// Those that are given.
    pub(super) given: String,
    /// Those of the backup that are not.
    pub(super) denied: Vec<&'static str>,
    /// The role can log in; no backup holds its password.
    pub(super) login: bool,
}

/// Words that stand alone.
const WORDS: [&str; 8] =
    ["SUPERUSER", "CREATEDB", "CREATEROLE", "NOINHERIT", "LOGIN", "NOLOGIN", "REPLICATION", "BYPASSRLS"];

/// The attributes that the catalog lists, as far as `rights` reach; `None` when the list holds
/// anything unknown.
pub(super) fn attributes(listed: &str, rights: &Rights) -> Option<Attributes> {
    let mut attributes = Attributes::default();
    let mut given: Vec<String> = Vec::new();
    let mut rest = listed;
    while !rest.is_empty() {
        if let Some(limit) = rest.strip_prefix("CONNECTION LIMIT ") {
            let (number, after) = limit.split_once(' ').unwrap_or((limit, ""));
            let number: i32 = number.parse().ok()?;
            given.push(format!("CONNECTION LIMIT {number}"));
            rest = after;
        } else if let Some(time) = rest.strip_prefix("VALID UNTIL '") {
            let time = time.strip_suffix('\'').filter(|time| !time.contains(['\'', '\\']))?;
            given.push(format!("VALID UNTIL {}", quote_literal(time)));
            rest = "";
        } else {
            let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
            let word = WORDS.into_iter().find(|known| *known == word)?;
            attributes.login |= word == "LOGIN";
            if rights.may_give(word) {
                given.push(word.to_owned());
            } else {
                attributes.denied.push(word);
            }
            rest = after;
        }
    }
    attributes.given = given.join(" ");
    Some(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "SUPERUSER CREATEDB CREATEROLE NOINHERIT LOGIN REPLICATION BYPASSRLS CONNECTION LIMIT 5 \
                       VALID UNTIL '2030-01-01 00:00:00+00'";

    fn given(rights: Rights) -> (String, Vec<&'static str>) {
        let found = attributes(ALL, &rights).expect("attributes");
        assert!(found.login);
        let rest = " CONNECTION LIMIT 5 VALID UNTIL '2030-01-01 00:00:00+00'";
        (found.given.strip_suffix(rest).expect("the rest").to_owned(), found.denied)
    }

    #[test]
    fn nobody_makes_superusers_and_bypassing_row_security_is_given_by_those_who_may() {
        let creator = Rights { create_role: true, major: 15, ..Rights::default() };
        let superuser = Rights { superuser: true, major: 15, ..Rights::default() };
        let never = vec!["SUPERUSER", "REPLICATION"];
        let and_row_security = vec!["SUPERUSER", "REPLICATION", "BYPASSRLS"];
        assert_eq!(given(superuser), ("CREATEDB CREATEROLE NOINHERIT LOGIN BYPASSRLS".into(), never.clone()));
        assert_eq!(given(creator), ("CREATEDB CREATEROLE NOINHERIT LOGIN".into(), and_row_security.clone()));
        let bypassing = Rights { bypass_rls: true, ..creator };
        assert_eq!(given(bypassing).1, and_row_security);
        let newer = Rights { major: 16, ..bypassing };
        assert_eq!(
            given(newer),
            ("CREATEROLE NOINHERIT LOGIN BYPASSRLS".into(), vec!["SUPERUSER", "CREATEDB", "REPLICATION"])
        );
        assert_eq!(given(Rights { create_database: true, ..newer }).1, never);
    }

    #[test]
    fn a_list_with_anything_unknown_is_not_used() {
        let rights = Rights { superuser: true, major: 17, ..Rights::default() };
        for listed in
            ["LOGIN; DROP", "VALID UNTIL 'x' LOGIN'", "CONNECTION LIMIT many", "login", "PASSWORD 'x'"]
        {
            assert_eq!(attributes(listed, &rights), None, "{listed}");
        }
        assert_eq!(attributes("", &rights), Some(Attributes::default()));
    }
}
