//! Objects that a clearing would drop and the login may not: what is in the way of the backup is refused,
//! the rest stays and is told. Pure.

use std::collections::BTreeSet;

use super::Doomed;
use crate::error::{Error, Result};
use crate::inventory::catalog::Catalog;
use crate::inventory::name_parts;
use crate::inventory::{Item, ObjectKind};
use crate::restore::entry::visible;
use crate::restore::identity::{Identity, of_name};

/// Objects in the way that a refusal names.
const NAMED: usize = 10;

/// An object that the login may not drop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::restore) struct Staying {
    pub(super) object: Doomed,
    pub(super) owner: String,
    /// The schema that it is in.
    pub(in crate::restore) schema: Option<String>,
}

impl Staying {
    /// Which object it is.
    pub(in crate::restore) fn identity(&self) -> Option<Identity> {
        Some(of_name(self.object.kind?, &self.object.identity))
    }

    fn statement(&self) -> String {
        let statement = &self.object.statement;
        let statement = statement.replacen(" IF EXISTS ", " ", 1);
        visible(statement.strip_suffix(" CASCADE").unwrap_or(&statement))
    }

    /// Whether an object of the backup has its name. Functions and the like count by their names alone: what
    /// their arguments are called is not compared.
    fn is_in_the_way_of(&self, item: &Item) -> bool {
        let same_kind = Some(item.kind) == self.object.kind;
        let routine = |kind: ObjectKind| {
            matches!(kind, ObjectKind::Function | ObjectKind::Procedure | ObjectKind::Aggregate)
        };
        let same_space =
            |kinds: &dyn Fn(ObjectKind) -> bool| kinds(item.kind) && self.object.kind.is_some_and(kinds);
        (same_kind || same_space(&ObjectKind::shares_names) || same_space(&routine))
            && name_parts(bare(&item.name)) == name_parts(bare(&self.object.identity))
    }
}

/// A name without arguments and what else stands behind it.
fn bare(name: &str) -> &str {
    let mut quoted = false;
    let end = name.find(|character| {
        quoted ^= character == '"';
        !quoted && matches!(character, '(' | ' ')
    });
    end.and_then(|end| name.get(..end)).unwrap_or(name)
}

/// What the plan says of an object that stays.
pub(in crate::restore) fn remark(staying: &Staying, login: &str) -> String {
    format!(
        "{} stays: it belongs to role {}, and {login} may not drop it; its owner can: {}",
        visible(&staying.object.name),
        visible(&staying.owner),
        staying.statement()
    )
}

/// What is told of an object that stays and is what it was.
pub(in crate::restore) fn unchanged(staying: &Staying, login: &str) -> String {
    format!(
        "{} stays, and is what it was: it belongs to role {}, and {login} may not drop it",
        visible(&staying.object.name),
        visible(&staying.owner)
    )
}

/// `untouched` are equal already, and are not restored.
///
/// # Errors
/// Refused when objects that stay have the names of objects of the backup.
pub(in crate::restore) fn check_in_the_way(
    staying: &[Staying],
    catalog: &Catalog,
    untouched: &BTreeSet<Identity>,
    login: &str,
) -> Result<()> {
    let items = &catalog.inventory.items;
    let is_untouched = |staying: &Staying| staying.identity().is_some_and(|own| untouched.contains(&own));
    let in_the_way: Vec<&Staying> = staying
        .iter()
        .filter(|staying| !is_untouched(staying))
        .filter(|staying| items.iter().any(|item| staying.is_in_the_way_of(item)))
        .collect();
    let Some(first) = in_the_way.first() else { return Ok(()) };
    let others = match in_the_way.len() {
        1 => " is".to_owned(),
        count => format!(" and {} more are", count - 1),
    };
    let name = visible(&first.object.name);
    let mut error =
        Error::refused(format!("{name}{others} in the way, and {login} may not drop it")).why(format!(
            "{name} belongs to role {}, and the backup has an object of that name",
            visible(&first.owner)
        ));
    for staying in in_the_way.iter().take(NAMED) {
        error = error.hint(format!("as role {}: {}", visible(&staying.owner), staying.statement()));
    }
    if in_the_way.len() > NAMED {
        error = error.hint(format!("and {} more", in_the_way.len() - NAMED));
    }
    let owner = crate::postgres::identifier::quote_identifier(&first.owner);
    let login = crate::postgres::identifier::quote_identifier(login);
    Err(error
        .hint(format!("or make {login} a member of the owner: GRANT {owner} TO {login}"))
        .hint("or restore as the owner of the schema, who may drop everything in it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staying(kind: ObjectKind, name: &str) -> Staying {
        Staying {
            object: Doomed {
                kind: Some(kind),
                name: format!("{} {name}", kind.singular()),
                identity: name.to_owned(),
                statement: format!("DROP TABLE IF EXISTS {name} CASCADE"),
            },
            owner: "other".to_owned(),
            schema: Some("public".to_owned()),
        }
    }

    fn item(kind: ObjectKind, name: &str) -> Item {
        Item { kind, name: name.to_owned(), owner: None, definition: String::new() }
    }

    #[test]
    fn what_shares_a_name_space_is_in_the_way() {
        use ObjectKind::{Function, Index, Operator, Procedure, Table, View};
        let cases = [
            (Table, "public.t", Table, "public.t", true),
            (Table, "public.t", View, "public.t", true),
            (Table, "public.\"a b\"", Index, "public.\"a b\"", true),
            (Table, "public.t", Table, "public.u", false),
            (Table, "public.t", Function, "public.t()", false),
            (Function, "public.f(pg_catalog.text)", Procedure, "public.f(text)", true),
            (Operator, "public.+(a,b)", Operator, "public.-(a,b)", false),
        ];
        for (kind, name, other, other_name, expected) in cases {
            let found = staying(kind, name).is_in_the_way_of(&item(other, other_name));
            assert_eq!(found, expected, "{name} {other_name}");
        }
    }

    #[test]
    fn who_can_drop_what_stays_is_told() {
        let said = remark(&staying(ObjectKind::Table, "public.t"), "me");
        assert!(said.contains("belongs to role other") && said.ends_with("DROP TABLE public.t"), "{said}");
    }
}
