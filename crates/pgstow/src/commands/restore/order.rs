//! Carries out what `restore` and `undo` ask for: plan, confirmation, safety backup, restore, report.

use pgstow_core::repository::Repository;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::format::manifest::Sections;
use pgstow_core::repository::format::receipt::Outcome;
use pgstow_core::restore::{self, Prepared, Protection, RestoreOptions, RestorePlan, RestoreReport};
use pgstow_core::{Error, ErrorKind, Result};

use super::ask::ask;
use super::guard::Request;
use super::{present, safety, summary};
use crate::app::{App, Database};
use crate::exit::{Exit, Failure};
use crate::ui::progress;

/// What can be done instead of answering.
pub(super) const PLAN_WITHOUT_ASKING: &str = "--dry-run shows the plan without asking";

/// A restore as a command asks for it.
pub(in crate::commands) struct Order<'a> {
    /// What is restored.
    pub(in crate::commands) header: &'a Header,
    /// Where to.
    pub(in crate::commands) target: &'a Database<'a>,
    /// How. Whether a safety backup is taken is part of it.
    pub(in crate::commands) options: RestoreOptions,
    /// Stop after the plan.
    pub(in crate::commands) dry_run: bool,
    /// `--yes`.
    pub(in crate::commands) yes: Option<&'a str>,
    /// The command that undoes it, as the user would type it.
    pub(in crate::commands) undo_command: String,
    /// It is an undo, of a database at this place (`host:port/database`).
    pub(in crate::commands) undoes: Option<&'a str>,
}

/// Does it, after the plan was shown and confirmed.
pub(in crate::commands) fn carry_out(
    app: &App<'_>,
    repository: &Repository,
    order: &Order<'_>,
) -> Result<Exit, Failure> {
    let nothing_changed = |error| Failure::closing("nothing was changed")(error);
    let title = order.target.title();
    repository.unlock().map_err(nothing_changed)?;
    let prepared = prepare(app, repository, order.header, &order.options).map_err(nothing_changed)?;
    check_place(order, prepared.plan()).map_err(nothing_changed)?;
    if order.dry_run {
        present::dry_run(app, prepared.plan(), order.header, &title)?;
        return Ok(Exit::Done);
    }
    app.output.note(&present::plan(app, prepared.plan(), order.header, &title));
    let question = Question {
        target: order.target,
        yes: order.yes,
        only_rows: order.options.sections == Sections::DataOnly,
        undoes: order.undoes.is_some(),
    };
    confirm(app, &question, prepared.plan()).map_err(nothing_changed)?;
    let prepared = protect(app, repository, order, prepared).map_err(nothing_changed)?;
    let report = apply(app, prepared, &title)?;
    summary::present(app, &report, &title, &order.undo_command)?;
    Ok(exit_of(&report))
}

/// A safety backup goes back to where it came from and nowhere else.
fn check_place(order: &Order<'_>, plan: &RestorePlan) -> Result<()> {
    let Some(place) = order.undoes.filter(|place| *place != plan.target) else { return Ok(()) };
    Err(Error::refused(format!("{} was not taken of {}", plan.backup, plan.target))
        .why(format!("it is the safety backup of {place}"))
        .hint(format!(
            "if that is the same database, or you mean it: pgstow restore {} --to ENV --clean",
            plan.backup
        )))
}

/// Takes the safety backup, if the plan has one.
fn protect<'r>(
    app: &App<'_>,
    repository: &'r Repository,
    order: &Order<'_>,
    mut prepared: Prepared<'r>,
) -> Result<Prepared<'r>> {
    if prepared.plan().safety_backup {
        match safety::take(app, repository, order.target, prepared.plan()) {
            Ok(backup) => {
                app.facts.backup(&backup.id);
                prepared.protect(Protection { backup, command: order.undo_command.clone() });
            }
            // There is nothing to lose; only taking back what a failure leaves would need it.
            Err(error) if !prepared.plan().destructive && error.kind() == ErrorKind::Refused => {
                app.output.warn(&format!("this restore cannot be undone: {}", error.in_one_line()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(prepared)
}

/// Connects to the target and plans.
fn prepare<'r>(
    app: &App<'_>,
    repository: &'r Repository,
    header: &Header,
    options: &RestoreOptions,
) -> Result<Prepared<'r>> {
    restore::prepare(repository, header, options, &app.interrupt)
}

/// Restores, showing progress.
fn apply(app: &App<'_>, prepared: Prepared<'_>, title: &str) -> Result<RestoreReport> {
    let monitor = progress::monitor(app.output, title);
    prepared.apply(monitor.as_ref(), &app.interrupt)
}

/// How the program ends after this restore.
fn exit_of(report: &RestoreReport) -> Exit {
    match report.receipt.outcome {
        Outcome::Equal if report.receipt_missing.is_some() => Exit::Differs,
        Outcome::Equal => Exit::Done,
        Outcome::Differs => Exit::Differs,
        Outcome::Failed => Exit::Failed,
    }
}

/// The protected environment that the target is. The same database may be reached by another name: what
/// is protected stays protected.
pub(super) fn protection(app: &App<'_>, target: &Database<'_>) -> Option<String> {
    let named = target.environment.filter(|environment| environment.protected);
    let protected = named.or_else(|| app.protected_at(&target.connection));
    protected.map(|environment| environment.name.to_string())
}

/// What the question before a restore depends on, besides the plan.
pub(super) struct Question<'a> {
    pub(super) target: &'a Database<'a>,
    /// `--yes`.
    pub(super) yes: Option<&'a str>,
    /// Definitions stay as they are.
    pub(super) only_rows: bool,
    pub(super) undoes: bool,
}

/// Asks for what has to be confirmed.
///
/// # Errors
/// Refused, or interrupted at the question.
pub(super) fn confirm(app: &App<'_>, question: &Question<'_>, plan: &RestorePlan) -> Result<()> {
    let target = question.target;
    let protected = protection(app, target);
    let title = target.title();
    let request = Request {
        destructive: plan.destructive,
        target: &title,
        protected: protected.as_deref(),
        yes: question.yes,
        interactive: app.output.terminal().interactive,
    };
    let effect = match (question.undoes, question.only_rows) {
        (true, _) => "puts back all of",
        (false, true) if plan.appends => "adds rows to tables of",
        (false, true) => "replaces the rows of",
        (false, false) => "replaces what is in",
    };
    ask(app, &request, &format!("This {effect} {}.", plan.target), PLAN_WITHOUT_ASKING)
}
