//! `pgstow restore --only-missing`: finds the rows that are gone, asks, puts them back, says what came
//! of it.

use jiff::Timestamp;
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::header::Header;
use pgstow_core::restore::RestoreOptions;
use pgstow_core::restore::missing::{self, MissingOptions, MissingPlan, MissingReport, MissingTable};
use pgstow_core::{Error, ErrorKind, Result};
use serde::Serialize;

use super::Arguments;
use super::ask::ask;
use super::guard::Request;
use super::order::{PLAN_WITHOUT_ASKING, protection};
use crate::app::{App, Database};
use crate::exit::{Exit, Failure};
use crate::ui::{Text, format, progress};

/// The result of `--dry-run` in JSON, and of a run that finds nothing to do.
#[derive(Serialize)]
struct JsonPlan<'p> {
    dry_run: bool,
    plan: &'p MissingPlan,
}

pub(super) fn run(
    app: &App<'_>,
    arguments: &Arguments,
    repository: &Repository,
    header: &Header,
    target: &Database<'_>,
) -> Result<Exit, Failure> {
    let nothing_changed = |error| Failure::closing("nothing was changed")(error);
    let selection = arguments.part.selection();
    if selection.tables.is_empty() && selection.schemas.is_empty() {
        let error = Error::new(ErrorKind::Usage, "--only-missing needs the tables whose rows are gone");
        return Err(error.hint("--table PATTERN, several times if need be, or --schema PATTERN").into());
    }
    let defaults = RestoreOptions::new(target.connection.clone());
    let options = MissingOptions {
        connection: target.connection.clone(),
        selection,
        key: arguments.key.clone(),
        fire_triggers: arguments.fire_triggers,
        lock_timeout: target.lock_timeout().unwrap_or(defaults.lock_timeout),
        trusted_for: target.full_every(),
        spool: app.process.temporary_folder(),
    };
    repository.unlock().map_err(nothing_changed)?;
    let title = target.title();
    let prepared = {
        let monitor = progress::monitor(app.output, &title);
        missing::prepare(repository, header, &options, monitor.as_ref(), &app.interrupt)
            .map_err(nothing_changed)?
    };
    let plan = prepared.plan();
    if arguments.dry_run || plan.missing() == 0 {
        print_plan(app, plan, header, &title, arguments.dry_run)?;
        return Ok(Exit::Done);
    }
    app.output.note(&plan_text(app, plan, header, &title));
    confirm(app, arguments, target, plan).map_err(nothing_changed)?;
    let report = {
        let monitor = progress::monitor(app.output, &title);
        prepared.apply(monitor.as_ref(), &app.interrupt)?
    };
    present(app, &report, &title)?;
    Ok(Exit::Done)
}

fn print_plan(app: &App<'_>, plan: &MissingPlan, header: &Header, title: &str, dry_run: bool) -> Result<()> {
    if app.output.is_json() {
        return app.output.print_json(&JsonPlan { dry_run, plan });
    }
    let mut text = plan_text(app, plan, header, title);
    text.line(if plan.missing() == 0 {
        "no row is missing: nothing was changed"
    } else {
        "nothing was changed"
    });
    app.output.print(&text)
}

fn plan_text(app: &App<'_>, plan: &MissingPlan, header: &Header, title: &str) -> Text {
    let mut text = app.output.text();
    let taken = format::ago(header.snapshot_at, Timestamp::now());
    let mut fields = vec![
        ("from", format!("{}   taken {taken}", plan.backup)),
        ("to", format!("{title}  {}  {}", plan.target, plan.target_server)),
    ];
    for table in &plan.tables {
        fields.push(("would put back", gone(table)));
    }
    for MissingTable { table, columns_by_default, computed_columns, missing, .. } in &plan.tables {
        if *missing == 0 {
            continue;
        }
        if !columns_by_default.is_empty() {
            let columns = columns_by_default.join(", ");
            fields.push((
                "by default",
                format!("{columns} of {table}: the backup does not have these columns"),
            ));
        }
        if !computed_columns.is_empty() {
            fields.push(("computed", format!("{} of {table}", computed_columns.join(", "))));
        }
    }
    if plan.missing() > 0 {
        if !plan.silenced.is_empty() {
            fields.push(("silent", format!("{} (--fire-triggers lets them fire)", plan.silenced.join(", "))));
        }
        if !plan.fire.is_empty() {
            fields.push(("would fire", plan.fire.join(", ")));
        }
    }
    text.fields(&fields);
    if plan.missing() > 0 {
        text.line(&format!(
            "rows that are there stay as they are; one transaction: if anything fails, {title} stays as it is"
        ));
    }
    text
}

fn gone(table: &MissingTable) -> String {
    format!(
        "{} of {} of {}, by key ({}); it holds {} now",
        format::number(table.missing),
        format::count(table.backup_rows, "row"),
        table.table,
        table.key.join(", "),
        format::number(table.live_rows)
    )
}

/// Asks for what has to be confirmed.
///
/// # Errors
/// Refused, or interrupted at the question.
fn confirm(app: &App<'_>, arguments: &Arguments, target: &Database<'_>, plan: &MissingPlan) -> Result<()> {
    let title = target.title();
    let protected = protection(app, target);
    let request = Request {
        destructive: true,
        target: &title,
        protected: protected.as_deref(),
        yes: arguments.yes.as_deref(),
        interactive: app.output.terminal().interactive,
    };
    let effect =
        format!("This puts {} into tables of {}.", format::count(plan.missing(), "row"), plan.target);
    ask(app, &request, &effect, PLAN_WITHOUT_ASKING)
}

fn present(app: &App<'_>, report: &MissingReport, title: &str) -> Result<()> {
    let output = app.output;
    if output.is_json() {
        return output.print_json(report);
    }
    let mut text = output.text();
    for table in &report.tables {
        let rows = format!(
            "{}: {} of {} were missing and are back; {} before, {} now",
            table.table,
            format::number(table.rows),
            format::count(table.backup_rows, "row"),
            format::number(table.rows_before),
            format::number(table.rows_after)
        );
        text.plain("  ").line(&rows);
    }
    for note in &report.notes {
        text.plain("  ").line(note);
    }
    let all: u64 = report.tables.iter().map(|table| table.rows).sum();
    let (tone, mark) = output.mark(true);
    let backup = &report.receipt.backup;
    let seconds = format::seconds(report.seconds);
    let done =
        format!("{} put back into {title} from {backup} in {seconds}", format::count(all, "missing row"));
    text.put(tone, mark).plain(" ").put(tone, &done).end();
    output.print(&text)
}
