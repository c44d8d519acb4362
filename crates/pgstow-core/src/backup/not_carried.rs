//! What exists at the source and is not in the backup: nothing is left out silently. Pure.

use super::read_plan::ReadPlan;
use super::scope::Scope;
use crate::postgres::catalog::relations::Relation;
use crate::postgres::identifier::{display_name, quote_identifier};
use crate::repository::format::manifest::{NotCarried, TableData};

/// What exists at the source and is not in the backup.
pub(super) fn list(
    relations: &[Relation],
    scope: &Scope,
    plan: &ReadPlan,
    subscriptions: &[String],
) -> Vec<NotCarried> {
    let mut list = Vec::new();
    let mut add = |what: String, reason: &str, expected: bool| {
        list.push(NotCarried { what, reason: reason.to_owned(), expected });
    };
    for table in &plan.tables {
        let name = || display_name(&table.relation.schema, &table.relation.name);
        if table.data == TableData::Unreadable {
            let reason =
                "it is unlogged, and its rows exist on the primary only; back up from there to carry them";
            add(format!("rows of {}", name()), reason, false);
        }
    }
    for (schema, name) in &plan.sequences.unread {
        let reason = "it is unlogged, and its position exists on the primary only";
        add(format!("position of sequence {}", display_name(schema, name)), reason, false);
    }
    let excluded = plan.tables.iter().filter(|table| table.data == TableData::Excluded).count();
    if excluded > 0 && scope.wants_rows() {
        add(format!("rows of {excluded} tables"), "left out by --exclude-data", true);
    }
    let left = relations.iter().filter(|relation| scope.leaves(relation)).count();
    if left > 0 {
        add(format!("{left} tables"), "left out by --table or --exclude-table", true);
    }
    for relation in relations.iter().filter(|relation| relation.kind == 'f' && relation.extension.is_none()) {
        let name = display_name(&relation.schema, &relation.name);
        add(
            format!("rows of foreign table {name}"),
            "they live on another server; the definition is carried",
            true,
        );
    }
    for subscription in subscriptions {
        let what = format!("subscription {}", quote_identifier(subscription));
        add(what, "its connection string may hold a password; create it anew after a restore", true);
    }
    list
}
