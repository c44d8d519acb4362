//! What a restore would do, as people read it.

use jiff::Timestamp;
use pgstow_core::Result;
use pgstow_core::repository::format::header::Header;
use pgstow_core::restore::RestorePlan;
use serde::Serialize;

use crate::app::App;
use crate::ui::{Text, format};

/// Names of one list that are shown.
const NAMES_SHOWN: usize = 8;

/// The result of `--dry-run` in JSON.
#[derive(Serialize)]
struct JsonPlan<'r> {
    dry_run: bool,
    plan: &'r RestorePlan,
}

/// Prints the plan as the result.
pub(super) fn dry_run(app: &App<'_>, plan: &RestorePlan, header: &Header, title: &str) -> Result<()> {
    if app.output.is_json() {
        return app.output.print_json(&JsonPlan { dry_run: true, plan });
    }
    let mut text = self::plan(app, plan, header, title);
    text.line("nothing was changed");
    app.output.print(&text)
}

/// The plan in words.
pub(super) fn plan(app: &App<'_>, plan: &RestorePlan, header: &Header, title: &str) -> Text {
    let mut text = app.output.text();
    let taken = format::ago(header.snapshot_at, Timestamp::now());
    // Without an environment the place is the title.
    let name = if title == plan.target { String::new() } else { format!("{title}  ") };
    text.fields(&[
        ("from", format!("{}   taken {taken}", plan.backup)),
        ("to", format!("{name}{}  {}", plan.target, plan.target_server)),
    ]);
    text.fields(&steps(plan));
    text.line(&way_of_working(plan, title));
    text
}

/// What a failure would leave.
pub(super) fn way_of_working(plan: &RestorePlan, title: &str) -> String {
    if plan.atomic {
        return format!("one transaction: if anything fails, {title} stays as it is");
    }
    let sessions = format::count(plan.sessions as u64, "session");
    match &plan.not_atomic_because {
        None if plan.safety_backup => {
            format!(
                "{sessions}: if anything fails, what was created until then stays; pgstow undo takes it back"
            )
        }
        None => format!("{sessions}: if anything fails, what was created until then stays and is named"),
        Some(why) if plan.safety_backup => {
            format!("{sessions} ({why}): if anything fails, the safety backup is put back")
        }
        Some(why) => {
            format!("{sessions} ({why}) and no safety backup: if anything fails, {title} is left incomplete")
        }
    }
}

pub(super) fn steps(plan: &RestorePlan) -> Vec<(&'static str, String)> {
    let mut fields = part(plan);
    if plan.destructive {
        let rows = format::count(plan.drop_rows, "row");
        let tables = format::count(plan.emptied.len() as u64, "table");
        if !plan.dropped.is_empty() {
            fields.push(("would drop", format!("{}, about {rows}", format::counts(&plan.drop))));
        }
        if !plan.emptied.is_empty() {
            fields.push(("would empty", format!("{tables}: {}", cut(&plan.emptied))));
        }
        let safety = if plan.safety_backup {
            "a safety backup comes first; pgstow undo puts it back"
        } else {
            "no safety backup: what is dropped is gone"
        };
        fields.push(("safety", safety.to_owned()));
    }
    if !plan.left_alone.is_empty() {
        fields.push(("leaves alone", format!("what is in schemas {}", cut(&plan.left_alone))));
    }
    if !plan.create.is_empty() {
        fields.push(("would create", format::counts(&plan.create)));
    }
    let rows = format::count(plan.load_rows, "row");
    let tables = format::count(plan.load_tables as u64, "table");
    let to = if plan.appends { ", added to those that are there" } else { "" };
    fields.push(("would load", format!("{rows} of {tables} ({}){to}", format::size(plan.load_bytes))));
    fields.extend(privileges(plan).map(|privileges| ("would grant", privileges)));
    if !plan.grant_to.is_empty() {
        let roles = plan.grant_to.join(", ");
        fields.push(("would grant", format!("what an application needs to {roles} (grant_to)")));
    }
    if !plan.create_roles.is_empty() {
        fields.push(("would create", format!("roles {}", plan.create_roles.join(", "))));
    }
    let mapped = plan.map_roles.iter().map(|(old, new)| ("maps", format!("role {old} to {new}")));
    fields.extend(mapped);
    let missing = plan.missing_roles.iter();
    fields.extend(
        missing.map(|role| ("missing", format!("role {} is not there: {}", role.role, role.in_words()))),
    );
    fields.extend(plan.remarks.iter().map(|remark| ("remark", remark.clone())));
    fields.extend(plan.notes.iter().map(|note| ("note", note.clone())));
    fields.extend(plan.hints.iter().map(|hint| ("try", hint.clone())));
    fields
}

/// What was chosen of the backup, and what comes and stays because of it.
fn part(plan: &RestorePlan) -> Vec<(&'static str, String)> {
    let lists = [
        ("chosen", &plan.chosen),
        ("as copy", &plan.renamed),
        ("with it", &plan.along),
        ("stays", &plan.stays),
    ];
    let lists = lists.into_iter().filter(|(_, names)| !names.is_empty());
    lists.map(|(word, names)| (word, cut(names))).collect()
}

/// The first names and how many there are besides.
fn cut(names: &[String]) -> String {
    let shown = names.iter().take(NAMES_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// `privileges equal to the backup's (12 of app, 3 of PUBLIC); revokes what is more`.
fn privileges(plan: &RestorePlan) -> Option<String> {
    let roles: Vec<String> =
        plan.privileges.iter().map(|(role, count)| format!("{count} of {role}")).collect();
    (!roles.is_empty())
        .then(|| format!("privileges equal to the backup's ({}), and revoke what is more", cut(&roles)))
}
