//! The roles that a file names: which are mapped to others, created or missing, and what becomes of the
//! statements that name them. A file knows nothing of a role but its name.

use std::collections::{BTreeMap, BTreeSet};

use crate::archive::sql::{Mention, mentions};
use crate::error::{Error, Result};
use crate::postgres::identifier::{display_part, quote_identifier};
use crate::restore::MissingRole;
use crate::restore::target::TargetState;

use super::step::Act;

/// What statements say about roles, counted while the file is read.
#[derive(Debug, Clone, Default)]
pub(super) struct Uses(BTreeMap<String, MissingRole>);

impl Uses {
    /// Notes the roles that a statement names.
    pub(super) fn note(&mut self, text: &[u8], act: &Act, name: &str) {
        for Mention { role, .. } in mentions(text) {
            let known =
                self.0.entry(role.clone()).or_insert_with(|| MissingRole { role, ..MissingRole::default() });
            let is_default = text.starts_with(b"ALTER DEFAULT");
            match act {
                Act::Create { kind, .. } if kind == "POLICY" => known.policies.push(name.to_owned()),
                Act::Create { kind, .. } if kind == "USER MAPPING" => known.user_mappings += 1,
                Act::Privilege if is_default => known.default_privileges += 1,
                Act::Privilege => known.privileges += 1,
                Act::Authorization => known.granted += 1,
                _ => known.objects += 1,
            }
        }
    }
}

/// What becomes of the file's roles.
#[derive(Debug, Clone, Default)]
pub(super) struct FileRoles {
    login: String,
    is_superuser: bool,
    /// The role of the target for each that is mapped.
    pub(super) renamed: BTreeMap<String, String>,
    pub(super) created: Vec<String>,
    pub(super) missing: Vec<MissingRole>,
    /// Roles that the login may not act as.
    closed: BTreeSet<String>,
}

/// What becomes of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Settled {
    /// It is run, perhaps with other names.
    Run(Vec<u8>),
    /// It is left out for this role; the plan has told why.
    LeftOut,
}

impl FileRoles {
    /// Decides about every role that the file names.
    ///
    /// # Errors
    /// Refused: a role that another is mapped to is not there; the login may not create roles.
    pub(super) fn decide(
        uses: &Uses,
        map: &BTreeMap<String, String>,
        create: bool,
        target: &TargetState,
    ) -> Result<Self> {
        let mut roles = Self {
            login: target.login.clone(),
            is_superuser: target.is_superuser,
            renamed: map
                .iter()
                .filter(|(old, new)| old != new)
                .map(|(a, b)| (a.clone(), b.clone()))
                .collect(),
            ..Self::default()
        };
        for (old, new) in &roles.renamed {
            if !target.roles.contains_key(new) {
                return Err(Error::refused(format!("{} has no role {}", target.target, display_part(new)))
                    .why(format!("role {} of the file is mapped to it", display_part(old)))
                    .hint(format!("CREATE ROLE {} NOLOGIN;", quote_identifier(new))));
            }
        }
        for (name, use_of) in &uses.0 {
            let at_target = roles.renamed.get(name).unwrap_or(name).clone();
            match target.roles.get(&at_target) {
                Some(true) => {}
                Some(false) => drop(roles.closed.insert(at_target)),
                None if create && !name.starts_with("pg_") => roles.created.push(name.clone()),
                None => roles.missing.push(use_of.clone()),
            }
        }
        if let (Some(first), false) =
            (roles.created.first(), target.is_superuser || target.rights.create_role)
        {
            return Err(Error::refused(format!("role {} may not create role {first}", target.login))
                .hint("ask for CREATEROLE, or leave --create-roles out"));
        }
        Ok(roles)
    }

    /// Statements that create the roles, without the right to log in, and let the login act as them.
    pub(super) fn creation(&self) -> Vec<String> {
        let login = quote_identifier(&self.login);
        let join =
            |role: &str| if self.is_superuser { String::new() } else { format!(" GRANT {role} TO {login};") };
        let quoted = self.created.iter().map(|role| quote_identifier(role));
        quoted.map(|role| format!("CREATE ROLE {role} NOLOGIN;{}", join(&role))).collect()
    }

    /// One sentence for each role that is not there, or that the login may not act as.
    pub(super) fn remarks(&self) -> Vec<String> {
        let login = &self.login;
        let missing = self.missing.iter().map(|role| {
            format!(
                "role {} is not there: objects of it will belong to {login}, and privileges and policies for it \
                 are left out ({})",
                display_part(&role.role),
                role.in_words()
            )
        });
        let closed = self.closed.iter().map(|role| {
            format!(
                "objects of role {} will belong to {login}: {login} may not act as it",
                display_part(role)
            )
        });
        missing.chain(closed).collect()
    }

    /// What becomes of a statement of the file.
    pub(super) fn settle(&self, text: Vec<u8>, act: &Act) -> Settled {
        if *act == Act::Authorization && !self.is_superuser {
            return Settled::LeftOut;
        }
        let found = mentions(&text);
        let is_missing = |role: &String| self.missing.iter().any(|missing| missing.role == *role);
        let gives_away = text.windows(10).any(|window| window == b" OWNER TO ")
            && matches!(act, Act::Change | Act::LargeObject(_));
        let mut text = text;
        for Mention { role, place } in found.iter().rev() {
            if is_missing(role) {
                return Settled::LeftOut;
            }
            let at_target = self.renamed.get(role).unwrap_or(role);
            if gives_away && self.closed.contains(at_target) {
                return Settled::LeftOut;
            }
            if at_target != role {
                let new = quote_identifier(at_target).into_bytes();
                text.splice(place.clone(), new);
            }
        }
        Settled::Run(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> TargetState {
        let roles = [("me", true), ("app", true), ("boss", false)];
        TargetState {
            login: "me".to_owned(),
            roles: roles.map(|(name, reach)| (name.to_owned(), reach)).into(),
            ..TargetState::default()
        }
    }

    fn settled(statement: &str, act: &Act, map: &[(&str, &str)]) -> Option<String> {
        let mut uses = Uses::default();
        uses.note(statement.as_bytes(), act, "it");
        let map = map.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let roles = FileRoles::decide(&uses, &map, false, &target()).unwrap();
        match roles.settle(statement.as_bytes().to_vec(), act) {
            Settled::Run(text) => Some(String::from_utf8(text).unwrap()),
            Settled::LeftOut => None,
        }
    }

    #[test]
    fn statements_for_roles_that_are_not_there_are_left_out_and_mapped_ones_written_anew() {
        let owner = "ALTER TABLE t OWNER TO gone;";
        assert_eq!(settled(owner, &Act::Change, &[]), None);
        assert_eq!(
            settled(owner, &Act::Change, &[("gone", "app")]).as_deref(),
            Some("ALTER TABLE t OWNER TO \"app\";")
        );
        assert_eq!(settled("ALTER TABLE t OWNER TO boss;", &Act::Change, &[]), None);
        assert!(settled("GRANT SELECT ON t TO boss;", &Act::Privilege, &[]).is_some());
        assert_eq!(settled("SET SESSION AUTHORIZATION app;", &Act::Authorization, &[]), None);
        assert_eq!(
            settled(
                "GRANT ALL ON t TO gone, app, other;",
                &Act::Privilege,
                &[("gone", "app"), ("other", "me")]
            )
            .as_deref(),
            Some("GRANT ALL ON t TO \"app\", app, \"me\";")
        );
    }
}
