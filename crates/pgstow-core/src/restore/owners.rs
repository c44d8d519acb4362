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
    /// The role of the target for each role of the backup that was mapped on request.
    renamed: BTreeMap<String, String>,
    mapped: BTreeMap<String, Obstacle>,
}

impl Owners {
    /// Looks at every role that owns something in the backup. `roles` are the target's, each with
    /// whether the login may give objects to it; `renamed` are those that have another name there.
    pub(super) fn new<'a>(
        login: &str,
        owners: impl IntoIterator<Item = &'a str>,
        roles: &BTreeMap<String, bool>,
        renamed: &BTreeMap<String, String>,
    ) -> Self {
        let mut new = Self { login: login.to_owned(), renamed: renamed.clone(), mapped: BTreeMap::new() };
        for owner in owners {
            let obstacle = match roles.get(new.renamed(owner)) {
                _ if new.renamed(owner) == login => continue,
                Some(true) => continue,
                Some(false) => Obstacle::OutOfReach,
                None => Obstacle::Missing,
            };
            new.mapped.insert(owner.to_owned(), obstacle);
        }
        new
    }

    /// The role's name at the target.
    pub(super) fn renamed<'a>(&'a self, role: &'a str) -> &'a str {
        self.renamed.get(role).map_or(role, String::as_str)
    }

    /// The role that owns at the target what `owner` owns in the backup.
    pub(super) fn at_target<'a>(&'a self, owner: &'a str) -> &'a str {
        if self.mapped.contains_key(owner) { &self.login } else { self.renamed(owner) }
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
                        let named = match self.renamed(role) {
                            same if same == role => "that role".to_owned(),
                            other => format!("role {other}"),
                        };
                        format!("{objects} of role {role} will belong to {login}: {login} may not give objects to {named}")
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
        let owners = Owners::new("me", ["me", "app", "boss", "gone", "unused"], &roles, &BTreeMap::new());
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

    #[test]
    fn a_mapped_role_owns_under_its_new_name_where_that_is_within_reach() {
        let roles = BTreeMap::from([("web".to_owned(), true), ("boss".to_owned(), false)]);
        let renamed = [("app", "web"), ("mine", "me"), ("top", "boss")]
            .map(|(old, new)| (old.to_owned(), new.to_owned()));
        let owners = Owners::new("me", ["app", "mine", "top"], &roles, &BTreeMap::from(renamed));
        assert_eq!(owners.at_target("app"), "web");
        assert_eq!(owners.at_target("mine"), "me");
        assert_eq!(owners.at_target("top"), "me");
        let remarks = owners.remarks(&BTreeMap::from([("top".to_owned(), 2), ("app".to_owned(), 1)]));
        assert_eq!(
            remarks,
            ["2 objects of role top will belong to me: me may not give objects to role boss"]
        );
    }
}
