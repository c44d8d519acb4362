//! Who owns what at the target: the role of the backup where it can be, else the login. Pure.

use std::collections::BTreeMap;

/// Why a role of the backup does not own its objects at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// There is no such role.
    Missing,
    /// The login may not act as it.
    OutOfReach,
}

/// The roles of the backup as the target can have them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Owners {
    login: String,
    mapped: BTreeMap<String, Obstacle>,
}

impl Owners {
    /// Looks at every role that owns something in the backup. `roles` are the target's, each with
    /// whether the login may give objects to it.
    pub(super) fn new<'a>(
        login: &str,
        owners: impl IntoIterator<Item = &'a str>,
        roles: &BTreeMap<String, bool>,
    ) -> Self {
        let obstacle = |owner: &str| match roles.get(owner) {
            Some(true) => None,
            Some(false) => Some(Obstacle::OutOfReach),
            None => Some(Obstacle::Missing),
        };
        let mapped = owners
            .into_iter()
            .filter(|owner| *owner != login)
            .filter_map(|owner| Some((owner.to_owned(), obstacle(owner)?)))
            .collect();
        Self { login: login.to_owned(), mapped }
    }

    /// The role that owns at the target what `owner` owns in the backup.
    pub(super) fn at_target<'a>(&'a self, owner: &'a str) -> &'a str {
        if self.mapped.contains_key(owner) { &self.login } else { owner }
    }

    /// One sentence for each mapped role with the number of its objects.
    pub(super) fn remarks(&self, counts: &BTreeMap<String, usize>) -> Vec<String> {
        self.mapped
            .iter()
            .filter_map(|(role, obstacle)| {
                let count = counts.get(role).copied().filter(|count| *count > 0)?;
                let login = &self.login;
                let objects = if count == 1 { "1 object".to_owned() } else { format!("{count} objects") };
                Some(match obstacle {
                    Obstacle::Missing => format!("{objects} of role {role} will belong to {login}: the target has no such role"),
                    Obstacle::OutOfReach => {
                        format!("{objects} of role {role} will belong to {login}: {login} may not give objects to that role")
                    }
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_that_cannot_own_are_mapped_to_the_login_with_one_remark_each() {
        let roles =
            BTreeMap::from([("me".to_owned(), true), ("app".to_owned(), true), ("boss".to_owned(), false)]);
        let owners = Owners::new("me", ["me", "app", "boss", "gone", "unused"], &roles);
        assert_eq!(owners.at_target("app"), "app");
        assert_eq!(owners.at_target("boss"), "me");
        assert_eq!(owners.at_target("gone"), "me");
        assert_eq!(owners.at_target("me"), "me");
        let counts = BTreeMap::from([("gone".to_owned(), 12), ("boss".to_owned(), 1), ("app".to_owned(), 3)]);
        let remarks = owners.remarks(&counts);
        assert_eq!(remarks.len(), 2, "{remarks:?}");
        assert!(remarks[0].starts_with("1 object of role boss will belong to me"), "{remarks:?}");
        assert!(
            remarks[1].contains("12 objects of role gone") && remarks[1].contains("no such role"),
            "{remarks:?}"
        );
    }
}
