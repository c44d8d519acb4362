//! Compares what is known of two states. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::TableName;
use super::contents::shared;
use super::facts::{Facts, Rows};
use super::lines;
use super::narrow::Narrowing;
use super::report::{
    Change, Content, DiffReport, ExtensionChange, ObjectChange, PrivilegeChange, RoleChange, RowCount,
    SequenceChange, StateSummary,
};
use crate::error::and_more;
use crate::inventory::catalog::{DatabaseSetting, Role};
use crate::inventory::compare::{Depth, Difference, compare as compare_inventories};
use crate::inventory::{Inventory, Privilege};
use crate::postgres::identifier::display_name;
use crate::repository::format::manifest::{Manifest, Sections, Table, TableData};

/// Everything but the rows themselves; `numbers`: how many there are too.
pub(super) fn compare(before: &Facts, after: &Facts, narrowing: &Narrowing, numbers: bool) -> DiffReport {
    let definitions_compared = before.major() == after.major();
    let depth = if definitions_compared { Depth::Definitions } else { Depth::Names };
    let narrowed = |facts: &Facts| narrowed(&facts.catalog.inventory, narrowing);
    let differences = compare_inventories(&narrowed(before), &narrowed(after), depth);
    let mut report = DiffReport {
        before: summary(before),
        after: summary(after),
        definitions_compared,
        objects: differences.iter().filter_map(object_change).collect(),
        privileges: differences.iter().filter_map(privilege_change).collect(),
        extensions: Vec::new(),
        roles: Vec::new(),
        settings: Vec::new(),
        sequences: sequences(before, after, narrowing),
        row_counts: Vec::new(),
        contents: Vec::new(),
        tables_with_equal_counts: 0,
        tables_proven_equal: 0,
        rows_compared: Vec::new(),
        not_compared: Vec::new(),
        notes: Vec::new(),
    };
    if !definitions_compared {
        report.notes.push(format!(
            "definitions are not compared: PostgreSQL {} and {} write them differently",
            before.major(),
            after.major()
        ));
    }
    if !narrowing.is_narrow() {
        report.extensions = extensions(before, after);
        report.roles = roles(before, after);
        report.settings = settings(before, after);
        large_objects(before, after, &mut report);
    }
    if numbers {
        rows(before, after, narrowing, &mut report);
    }
    report
}

fn summary(facts: &Facts) -> StateSummary {
    StateSummary {
        name: facts.name.clone(),
        live: facts.is_live(),
        taken_at: facts.taken_at,
        server_version: facts.server_version.clone(),
    }
}

fn narrowed(inventory: &Inventory, narrowing: &Narrowing) -> Inventory {
    Inventory {
        items: inventory.items.iter().filter(|item| narrowing.takes_item(item)).cloned().collect(),
        privileges: inventory
            .privileges
            .iter()
            .filter(|held| narrowing.takes_privilege(held))
            .cloned()
            .collect(),
    }
}

fn object_change(difference: &Difference) -> Option<ObjectChange> {
    let plain = |change, kind, name: &String| ObjectChange {
        change,
        kind,
        name: name.clone(),
        owner_before: None,
        owner_after: None,
        lines: Vec::new(),
    };
    Some(match difference {
        Difference::Missing { kind, name } => plain(Change::Removed, *kind, name),
        Difference::Extra { kind, name } => plain(Change::Added, *kind, name),
        Difference::Changed { kind, name, expected, actual } => {
            ObjectChange { lines: lines::difference(expected, actual), ..plain(Change::Changed, *kind, name) }
        }
        Difference::Owner { kind, name, expected, actual } => ObjectChange {
            owner_before: Some(expected.clone()),
            owner_after: Some(actual.clone()),
            ..plain(Change::Owner, *kind, name)
        },
        Difference::MissingPrivilege(_) | Difference::ExtraPrivilege(_) => return None,
    })
}

fn privilege_change(difference: &Difference) -> Option<PrivilegeChange> {
    let held = |change, held: &Privilege| PrivilegeChange {
        change,
        grantee: held.grantee.clone(),
        privilege: held.privilege.clone(),
        grantable: held.grantable,
        target: held.target.clone(),
        name: held.name.clone(),
        column: held.column.clone(),
    };
    match difference {
        Difference::MissingPrivilege(lost) => Some(held(Change::Removed, lost)),
        Difference::ExtraPrivilege(gained) => Some(held(Change::Added, gained)),
        _ => None,
    }
}

/// Those that both states have; the others are objects that were added or removed.
fn extensions(before: &Facts, after: &Facts) -> Vec<ExtensionChange> {
    let versions: BTreeMap<&str, &str> = after
        .catalog
        .extensions
        .iter()
        .map(|extension| (extension.name.as_str(), extension.version.as_str()))
        .collect();
    let both = before.catalog.extensions.iter().filter_map(|extension| {
        let version = versions.get(extension.name.as_str())?;
        (*version != extension.version).then(|| ExtensionChange {
            name: extension.name.clone(),
            before: extension.version.clone(),
            after: (*version).to_owned(),
        })
    });
    both.collect()
}

fn roles(before: &Facts, after: &Facts) -> Vec<RoleChange> {
    let by_name = |facts: &Facts| -> BTreeMap<String, Role> {
        facts.catalog.roles.iter().map(|role| (role.name.clone(), role.clone())).collect()
    };
    let (old, new) = (by_name(before), by_name(after));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut changes = Vec::new();
    for name in names {
        let (change, details) = match (old.get(name), new.get(name)) {
            (Some(old), Some(new)) => (Change::Changed, role_details(old, new)),
            (Some(_), None) => (Change::Removed, vec!["it owns and holds nothing any more".to_owned()]),
            _ => (Change::Added, vec!["it owns or holds something now".to_owned()]),
        };
        if !details.is_empty() {
            changes.push(RoleChange { name: name.clone(), change, details });
        }
    }
    changes
}

fn role_details(old: &Role, new: &Role) -> Vec<String> {
    let mut details = Vec::new();
    if old.attributes != new.attributes {
        details.push(format!("{} instead of {}", new.attributes, old.attributes));
    }
    let set = |list: &[String]| list.iter().cloned().collect::<BTreeSet<String>>();
    let (was, is) = (set(&old.member_of), set(&new.member_of));
    details.extend(is.difference(&was).map(|role| format!("became a member of {role}")));
    details.extend(was.difference(&is).map(|role| format!("is no member of {role} any more")));
    let (was, is) = (set(&old.settings), set(&new.settings));
    let names: BTreeSet<&str> = was.symmetric_difference(&is).map(|setting| setting_name(setting)).collect();
    details.extend(names.into_iter().map(|name| format!("setting {name} differs")));
    details
}

/// What stands before the value, which may be a secret.
fn setting_name(setting: &str) -> &str {
    setting.split_once('=').map_or(setting, |(name, _)| name)
}

fn settings(before: &Facts, after: &Facts) -> Vec<String> {
    let of = |facts: &Facts| -> BTreeSet<(Option<String>, String)> {
        let all = facts.catalog.database_settings.iter();
        all.map(|DatabaseSetting { role, setting }| (role.clone(), setting.clone())).collect()
    };
    let (old, new) = (of(before), of(after));
    let differing: BTreeSet<String> = old
        .symmetric_difference(&new)
        .map(|(role, setting)| {
            let name = setting_name(setting);
            role.as_ref().map_or_else(|| name.to_owned(), |role| format!("{name} of role {role}"))
        })
        .collect();
    differing.into_iter().collect()
}

fn sequences(before: &Facts, after: &Facts, narrowing: &Narrowing) -> Vec<SequenceChange> {
    let both =
        before.sequences.iter().filter_map(|(name, old)| Some((name, old, after.sequences.get(name)?)));
    both.filter(|(name, old, new)| narrowing.takes(name) && old != new)
        .map(|(name, old, new)| SequenceChange {
            name: shown(name),
            before: old.0,
            after: new.0,
            called_before: old.1,
            called_after: new.1,
        })
        .collect()
}

fn shown((schema, name): &TableName) -> String {
    display_name(schema, name)
}

/// Numbers of rows, and what is known of contents.
fn rows(before: &Facts, after: &Facts, narrowing: &Narrowing, report: &mut DiffReport) {
    let mut without: Vec<String> = Vec::new();
    let mut not_counted = 0;
    for (name, old) in before.tables.iter().filter(|(name, _)| narrowing.takes(name)) {
        let Some(new) = after.tables.get(name) else { continue };
        match (&old.rows, &new.rows) {
            (Rows::Known(old), Rows::Known(new)) if old == new => {
                report.tables_with_equal_counts += 1;
                contents(before, after, name, *old, report);
            }
            (Rows::Known(old), Rows::Known(new)) => {
                report.row_counts.push(RowCount { table: shown(name), before: *old, after: *new });
            }
            (Rows::Unknown(reason), _) | (_, Rows::Unknown(reason)) => {
                report.not_compared.push(format!("rows of {}: {reason}", shown(name)));
            }
            (Rows::None, Rows::None) => {}
            (Rows::None, Rows::Known(_)) | (Rows::Known(_), Rows::None) => without.push(shown(name)),
            _ => not_counted += 1,
        }
    }
    if not_counted > 0 {
        report.notes.push("rows of the live database were not counted".to_owned());
    }
    if let Some(first) = without.first() {
        let more = and_more(without.len() - 1);
        report.notes.push(format!("rows of {first}{more} are not compared: only one state holds them"));
    }
}

fn contents(before: &Facts, after: &Facts, name: &TableName, rows: u64, report: &mut DiffReport) {
    let (Some((manifest, table)), Some((other, counterpart))) = (stored(before, name), stored(after, name))
    else {
        return;
    };
    let common = shared((manifest, &table.chunks), (other, &counterpart.chunks));
    if common.all && table.columns == counterpart.columns {
        report.tables_proven_equal += 1;
        return;
    }
    let reason = if manifest.object_key != other.object_key {
        "the backups name their objects by different keys".to_owned()
    } else if table.columns != counterpart.columns {
        "its columns differ".to_owned()
    } else {
        "it was read again in other pieces or with other contents".to_owned()
    };
    report.contents.push(Content { table: shown(name), rows, equal_rows: common.rows, reason });
}

fn stored<'f>(facts: &'f Facts, name: &TableName) -> Option<(&'f Manifest, &'f Table)> {
    let manifest = facts.manifest.as_ref()?;
    let table = manifest.tables.iter().find(|table| table.schema == name.0 && table.name == name.1)?;
    matches!(table.data, TableData::Carried | TableData::Configuration { .. }).then_some((manifest, table))
}

/// Bytes of large objects; which there are is told by the inventory.
fn large_objects(before: &Facts, after: &Facts, report: &mut DiffReport) {
    let (Some(old), Some(new)) = (&before.manifest, &after.manifest) else { return };
    let carried = |manifest: &Manifest| {
        manifest.selection.sections != Sections::SchemaOnly && manifest.selection.tables.is_empty()
    };
    if !carried(old) || !carried(new) {
        return;
    }
    let common = shared((old, &old.large_objects.chunks), (new, &new.large_objects.chunks));
    if !common.all {
        report.contents.push(Content {
            table: "large objects".to_owned(),
            rows: new.large_objects.list.len() as u64,
            equal_rows: 0,
            reason: "they were read again in other pieces or with other contents".to_owned(),
        });
    }
}
