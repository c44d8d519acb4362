//! What the roles of `grant_to` get beyond the backup's privileges. Pure.
//!
//! The application's everyday rights and no more: no functions, since what PUBLIC may not call was closed on
//! purpose, and nothing that could change a definition.

use std::collections::{BTreeMap, BTreeSet};

use super::reconcile::Object;
use crate::inventory::Privilege;

/// Privileges by kind of object, as GRANT names it.
const GIVEN: [(&str, &[&str]); 3] = [
    ("SCHEMA", &["USAGE"]),
    ("TABLE", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("SEQUENCE", &["USAGE", "SELECT", "UPDATE"]),
];

/// The privileges of `roles` on the objects in `wanted`, with their owners.
pub(super) fn privileges(
    roles: &[String],
    wanted: &BTreeSet<Object>,
    owned: &BTreeMap<Object, String>,
) -> Vec<Privilege> {
    let mut privileges = Vec::new();
    for (object, owner) in wanted.iter().filter_map(|object| Some((object, owned.get(object)?))) {
        let given = GIVEN.iter().find(|(target, _)| *target == object.0).map_or(&[][..], |(_, given)| given);
        // An owner holds everything already.
        for role in roles.iter().filter(|role| *role != owner) {
            privileges.extend(given.iter().map(|privilege| Privilege {
                target: object.0.clone(),
                name: object.1.clone(),
                column: None,
                owner: owner.clone(),
                grantor: owner.clone(),
                grantee: Some(role.clone()),
                privilege: (*privilege).to_owned(),
                grantable: false,
            }));
        }
    }
    privileges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_get_the_rights_of_an_application_and_no_more() {
        let object = |target: &str, name: &str| (target.to_owned(), name.to_owned());
        let wanted = BTreeSet::from([
            object("SCHEMA", "shop"),
            object("TABLE", "shop.\"User\""),
            object("SEQUENCE", "shop.ids"),
            object("FUNCTION", "shop.f()"),
            object("TABLE", "shop.gone"),
        ]);
        let owner = |object: &Object| (object.clone(), "owner".to_owned());
        let owned: BTreeMap<Object, String> =
            wanted.iter().filter(|object| object.1 != "shop.gone").map(owner).collect();
        let given = privileges(&["app".to_owned(), "owner".to_owned()], &wanted, &owned);
        let said: Vec<String> =
            given.iter().map(|held| format!("{} {} {}", held.privilege, held.target, held.name)).collect();
        assert_eq!(
            said,
            [
                "USAGE SCHEMA shop",
                "USAGE SEQUENCE shop.ids",
                "SELECT SEQUENCE shop.ids",
                "UPDATE SEQUENCE shop.ids",
                "SELECT TABLE shop.\"User\"",
                "INSERT TABLE shop.\"User\"",
                "UPDATE TABLE shop.\"User\"",
                "DELETE TABLE shop.\"User\"",
            ]
        );
        assert!(given.iter().all(|held| held.grantee.as_deref() == Some("app") && held.grantor == "owner"));
    }
}
