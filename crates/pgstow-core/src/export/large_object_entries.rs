//! Large objects as entries of an archive of version 1.14: one for each, with its comment and privileges,
//! and one for the bytes of all. Pure.

use std::collections::BTreeMap;

use super::plan::plain;
use crate::archive::write::{Data, Item};
use crate::archive::{Entry, Section};
use crate::inventory::Privilege;
use crate::postgres::identifier::{quote_identifier, quote_literal};
use crate::repository::format::manifest::{LargeObject, Manifest};

/// `pg_largeobject`, whose OID large objects have as their catalog.
const CATALOG: u32 = 2613;

/// The entries that create large objects.
pub(super) fn definitions(manifest: &Manifest, privileges: &[Privilege], next_id: &mut i32) -> Vec<Item> {
    let mut id = || {
        *next_id = next_id.saturating_add(1);
        *next_id
    };
    let mut of: BTreeMap<&str, Vec<&Privilege>> = BTreeMap::new();
    for held in privileges.iter().filter(|held| held.target == "LARGE OBJECT") {
        of.entry(held.name.as_str()).or_default().push(held);
    }
    let mut items = Vec::new();
    for object in &manifest.large_objects.list {
        let created = Entry {
            id: id(),
            catalog_oid: CATALOG,
            oid: object.oid,
            tag: object.oid.to_string(),
            owner: Some(object.owner.clone()),
            definition: format!("SELECT pg_catalog.lo_create('{}');\n", object.oid),
            drop_statement: format!("SELECT pg_catalog.lo_unlink('{}');\n", object.oid),
            section: Section::PreData,
            ..plain("BLOB")
        };
        let about = |kind: &str, id: i32, definition: String| Entry {
            id,
            tag: format!("LARGE OBJECT {}", object.oid),
            owner: Some(object.owner.clone()),
            definition,
            dependencies: vec![created.id],
            section: Section::None,
            ..plain(kind)
        };
        let comment = object.comment.as_ref().map(|comment| {
            let text = quote_literal(comment);
            format!("COMMENT ON LARGE OBJECT {} IS {};\n", object.oid, text.trim_start())
        });
        let comment = comment.map(|comment| about("COMMENT", id(), comment));
        let held = of.get(created.tag.as_str()).map(Vec::as_slice).unwrap_or_default();
        let grants = grants(object, held).map(|grants| about("ACL", id(), grants));
        items.push(created);
        items.extend(comment);
        items.extend(grants);
    }
    items.into_iter().map(Item::of).collect()
}

/// The entry with the bytes of the large objects among `items`.
pub(super) fn data(items: &[Item], next_id: &mut i32) -> Option<Item> {
    let objects = items.iter().filter(|item| item.entry.kind == "BLOB");
    let dependencies: Vec<i32> = objects.map(|item| item.entry.id).collect();
    if dependencies.is_empty() {
        return None;
    }
    *next_id = next_id.saturating_add(1);
    let entry = Entry {
        id: *next_id,
        tag: "BLOBS".to_owned(),
        dependencies,
        section: Section::Data,
        ..plain("BLOBS")
    };
    Some(Item { entry, copy_statement: None, data: Data::LargeObjects })
}

/// Statements that make the privileges of a large object what they were; `None` where they are the
/// default.
fn grants(object: &LargeObject, held: &[&Privilege]) -> Option<String> {
    let name = object.oid;
    if held.is_empty() {
        return None;
    }
    let owner = quote_identifier(&object.owner);
    let owners = held.iter().filter(|held| held.grantee.as_deref() == Some(object.owner.as_str())).count();
    let mut statements = String::new();
    // SELECT and UPDATE are all there is.
    if owners < 2 {
        statements.push_str(&format!("REVOKE ALL ON LARGE OBJECT {name} FROM {owner};\n"));
    }
    let mut grants: BTreeMap<(&str, Option<&str>, bool), Vec<&str>> = BTreeMap::new();
    for held in held {
        if owners == 2 && held.grantee.as_deref() == Some(object.owner.as_str()) {
            continue;
        }
        let key = (held.grantor.as_str(), held.grantee.as_deref(), held.grantable);
        grants.entry(key).or_default().push(&held.privilege);
    }
    // Who grants on was given the right to by the owner, whose grants come first.
    let (own, others): (Vec<_>, Vec<_>) =
        grants.into_iter().partition(|((grantor, _, _), _)| *grantor == object.owner);
    for ((grantor, grantee, grantable), privileges) in own.into_iter().chain(others) {
        let grantee = grantee.map_or_else(|| "PUBLIC".to_owned(), quote_identifier);
        let option = if grantable { " WITH GRANT OPTION" } else { "" };
        let grant = format!("GRANT {} ON LARGE OBJECT {name} TO {grantee}{option};\n", privileges.join(","));
        if grantor == object.owner {
            statements.push_str(&grant);
        } else {
            let grantor = quote_identifier(grantor);
            statements.push_str(&format!(
                "SET SESSION AUTHORIZATION {grantor};\n{grant}RESET SESSION AUTHORIZATION;\n"
            ));
        }
    }
    Some(statements)
}
