//! `pgstow prune`: applies retention, says why each backup is kept, and deletes what nobody needs.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use pgstow_core::repository::format::id::EnvironmentName;
use pgstow_core::repository::{Amount, BackupVerdict, PruneOptions, PrunePlan, PruneReport, Repository};
use pgstow_core::retention::EnvironmentRules;
use pgstow_core::{Error, ErrorKind, Result};
use serde::Serialize;

use super::restore::ask::ask;
use super::restore::guard::Request;
use crate::app::App;
use crate::config::{parse_interval, suggest_names};
use crate::exit::{Exit, Failure};
use crate::ui::table::{Align, Table};
use crate::ui::{Tone, format};

/// Arguments of `pgstow prune`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only let go of backups of these environments [default: of all]
    #[arg(value_name = "ENV")]
    environments: Vec<String>,

    /// Print what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,

    /// How long objects stay when no backup needs them any more, before they are condemned, and
    /// again before they are deleted; such as 12h, 2d or 0s [default: 1d]
    #[arg(long, value_name = "TIME", value_parser = parse_grace)]
    grace: Option<Duration>,

    /// Do not ask; for a protected environment --yes=NAME, once for each
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    yes: Vec<String>,
}

fn parse_grace(text: &str) -> Result<Duration, String> {
    parse_interval(text).ok_or_else(|| format!("{text:?} is not a time such as 12h, 2d or 0s"))
}

/// What `--dry-run` prints in JSON.
#[derive(Serialize)]
struct JsonPlan<'p> {
    repository: String,
    dry_run: bool,
    verdicts: &'p [BackupVerdict],
    deleted_now: Amount,
    deleted_later: Amount,
    remarks: &'p [String],
}

/// What a prune prints in JSON.
#[derive(Serialize)]
struct JsonReport<'r> {
    repository: String,
    dry_run: bool,
    #[serde(flatten)]
    report: &'r PruneReport,
}

impl Arguments {
    /// Whether nothing will be done.
    pub(super) fn is_dry_run(&self) -> bool {
        self.dry_run
    }
}

pub(super) fn run(app: &App<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    let nothing_deleted = |error| Failure::closing("nothing was deleted")(error);
    let repository = app.repository()?;
    let plan = plan(app, &repository, arguments).map_err(nothing_deleted)?;
    if arguments.dry_run {
        print_plan(app, &repository, &plan)?;
        return Ok(Exit::Done);
    }
    if !app.output.is_json() && !app.output.is_quiet() {
        let mut text = app.output.text();
        verdicts(app, &plan.verdicts).write(&mut text, app.output.terminal().width, app.output.ellipsis());
        app.output.print(&text)?;
    }
    confirm(app, arguments, &plan).map_err(nothing_deleted)?;
    let report = repository.prune(plan, &app.interrupt).map_err(Failure::closing(
        "what was deleted before that is gone; the next prune goes on from here",
    ))?;
    report.retired.iter().for_each(|id| app.facts.backup(id));
    present(app, &repository, &report)?;
    Ok(if report.failures.is_empty() { Exit::Done } else { Exit::Differs })
}

fn plan(app: &App<'_>, repository: &Repository, arguments: &Arguments) -> Result<PrunePlan> {
    let rules = rules(app);
    let environments = arguments.environments.iter().map(|name| known(app, repository, name));
    let defaults = PruneOptions::new();
    repository.plan_prune(PruneOptions {
        rules,
        environments: environments.collect::<Result<_>>()?,
        grace: arguments.grace.unwrap_or(defaults.grace),
        zone: app.output.zone().clone(),
    })
}

/// The rules of all environments that are configured with some.
pub(super) fn rules(app: &App<'_>) -> BTreeMap<EnvironmentName, EnvironmentRules> {
    let configured = app.config.environments();
    configured.filter_map(|one| Some((one.name.clone(), one.retention.clone()?))).collect()
}

fn known(app: &App<'_>, repository: &Repository, name: &str) -> Result<EnvironmentName> {
    let listing = repository.list()?;
    let mut names: Vec<&str> = listing.backups.iter().map(|header| header.environment.as_str()).collect();
    names.extend(app.config.environments().map(|environment| environment.name.as_str()));
    names.sort_unstable();
    names.dedup();
    if names.contains(&name) {
        return EnvironmentName::new(name).map_err(|error| Error::new(ErrorKind::Usage, error.to_string()));
    }
    let error =
        Error::new(ErrorKind::NotFound, format!("there is no environment {name:?} and no backup of it"));
    Err(suggest_names(error, name, &names))
}

/// Has the name of each protected environment typed that would lose backups.
fn confirm(app: &App<'_>, arguments: &Arguments, plan: &PrunePlan) -> Result<()> {
    for environment in app.config.environments().filter(|environment| environment.protected) {
        let name = environment.name.as_str();
        let count = plan.let_go().filter(|verdict| verdict.id.environment() == name).count();
        let yes = arguments.yes.iter().find(|given| *given == name).or(arguments.yes.first());
        let request = Request {
            destructive: count > 0,
            target: name,
            protected: Some(name),
            yes: yes.map(String::as_str),
            interactive: app.output.terminal().interactive,
        };
        let effect = format!("This deletes {} of it.", format::count(count as u64, "backup"));
        ask(app, &request, &effect, "--dry-run shows what would be deleted without asking")?;
    }
    Ok(())
}

fn print_plan(app: &App<'_>, repository: &Repository, plan: &PrunePlan) -> Result<()> {
    if app.output.is_json() {
        return app.output.print_json(&JsonPlan {
            repository: repository.location(),
            dry_run: true,
            verdicts: &plan.verdicts,
            deleted_now: plan.now,
            deleted_later: plan.later,
            remarks: &plan.remarks,
        });
    }
    let mut text = app.output.text();
    if app.output.is_quiet() {
        plan.let_go().for_each(|verdict| text.line(verdict.id.as_str()));
        return app.output.print(&text);
    }
    verdicts(app, &plan.verdicts).write(&mut text, app.output.terminal().width, app.output.ellipsis());
    let backups = plan.let_go().count() as u64;
    text.put(Tone::Strong, &format!("would delete {}", format::count(backups, "backup"))).end();
    text.fields(&[
        ("now", amount(plan.now)),
        ("later", format!("{}, after the grace period", amount(plan.later))),
    ]);
    plan.remarks.iter().for_each(|remark| text.line(&format!("note: {remark}")));
    app.output.print(&text)
}

fn present(app: &App<'_>, repository: &Repository, report: &PruneReport) -> Result<()> {
    if app.output.is_json() {
        let repository = repository.location();
        return app.output.print_json(&JsonReport { repository, dry_run: false, report });
    }
    let mut text = app.output.text();
    if app.output.is_quiet() {
        report.retired.iter().for_each(|id| text.line(id.as_str()));
    } else {
        let (tone, mark) = app.output.mark(report.failures.is_empty());
        let backups = format::count(report.retired.len() as u64, "backup");
        text.put(tone, mark).plain(" ").put(Tone::Strong, &format!("{backups} deleted")).end();
        text.fields(&[("now", format!("{} deleted", amount(report.deleted))), ("later", later(report))]);
        report.remarks.iter().for_each(|remark| text.line(&format!("note: {remark}")));
    }
    app.output.print(&text)?;
    report.failures.iter().for_each(|failure| app.output.warn(&format!("not done: {failure}")));
    Ok(())
}

/// What is still to be deleted. What a backup used that went only now counts as soon as it is old
/// enough to be condemned.
fn later(report: &PruneReport) -> String {
    if report.waiting.is_nothing() {
        return "nothing is waiting to be deleted".to_owned();
    }
    format!("{} condemned: deleted by a prune after the grace period", amount(report.waiting))
}

/// `12 objects, 3.4 MiB`.
pub(super) fn amount(amount: Amount) -> String {
    format!("{}, {}", format::count(amount.objects, "object"), format::size(amount.bytes))
}

fn verdicts(app: &App<'_>, verdicts: &[BackupVerdict]) -> Table {
    let mut table = Table::new(&[
        ("BACKUP", Align::Left),
        ("TAKEN", Align::Left),
        ("", Align::Left),
        ("BECAUSE", Align::Cut),
    ]);
    for verdict in verdicts {
        let (tone, word) = if verdict.keep { (Tone::Plain, "keep") } else { (Tone::Warn, "delete") };
        let taken = format::moment(verdict.snapshot_at, app.output.zone());
        let cells = vec![verdict.id.to_string(), taken, word.to_owned(), verdict.reasons.join(", ")];
        table.row(tone, cells);
    }
    table
}

/// Applies the rules of an environment after a backup of it. The configuration is the confirmation.
pub(super) fn after_backup(
    app: &App<'_>,
    repository: &Repository,
    name: &EnvironmentName,
    rules: EnvironmentRules,
) -> Result<PruneReport> {
    let plan = repository.plan_prune(PruneOptions {
        rules: BTreeMap::from([(name.clone(), rules)]),
        environments: vec![name.clone()],
        zone: app.output.zone().clone(),
        ..PruneOptions::new()
    })?;
    repository.prune(plan, &app.interrupt)
}

/// One line of what a prune did.
pub(super) fn in_short(report: &PruneReport) -> String {
    let backups = match report.retired.len() {
        0 => "no backup".to_owned(),
        count => format::count(count as u64, "backup"),
    };
    let mut line = format!("{backups} and {} deleted", amount(report.deleted));
    if !report.waiting.is_nothing() {
        line.push_str(&format!("; {} to be deleted later", amount(report.waiting)));
    }
    for id in &report.retired {
        line.push_str(&format!("\n{id}"));
    }
    line
}

/// What is said of a verdict where there is room for a few words.
pub(super) fn kept_because(verdict: &pgstow_core::retention::Verdict) -> String {
    if verdict.keep { verdict.reasons.join(", ") } else { "nothing: goes with the next prune".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_period_may_be_zero_but_not_negative() {
        assert_eq!(parse_grace("0s"), Ok(Duration::ZERO));
        assert_eq!(parse_grace("2d"), Ok(Duration::from_secs(2 * 86_400)));
        for text in ["-1d", "soon", ""] {
            assert!(parse_grace(text).is_err(), "{text}");
        }
    }
}
