//! Clears a target before a restore: object by object, never a schema as a whole.
//!
//! What goes is what the backup brings back: all objects in its schemas, and its publications,
//! event triggers and other objects without a schema. Extensions and their members stay. Before
//! anything is dropped the survey shows whether something else depends on it; then nothing is
//! dropped at all, because the backup could not bring that something back.

mod exact;
mod staying;
mod survey;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::identity::Identity;
use super::part::Part;
use super::selection::{Chosen, Graph, TableName};
use super::session::{Session, describe};
use super::target::TargetState;
use super::{entry, hosted};
use crate::error::{Error, Result, and_more};
use crate::inventory::ObjectKind;
use crate::platform::Keeper;
pub(super) use exact::Beyond;
pub(super) use staying::{Staying, check_in_the_way, remark, unchanged};
pub(super) use survey::survey;

fn is_system(schema: &str) -> bool {
    schema.starts_with("pg_") || schema == "information_schema"
}

/// What of the target a restore replaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cover {
    /// Schemas whose objects are replaced.
    pub(super) schemas: BTreeSet<String>,
    /// Relations that are replaced besides.
    pub(super) tables: BTreeSet<TableName>,
    /// Tables that stay although their schema is replaced.
    pub(super) spared: BTreeSet<TableName>,
    /// What depends on something that is dropped and is made again.
    pub(super) returning: BTreeSet<Identity>,
    /// Objects without a schema, as kind and name.
    pub(super) named: BTreeSet<(String, String)>,
    /// Statements for casts and transforms.
    pub(super) statements: Vec<String>,
    /// Large objects, by OID.
    pub(super) large_objects: BTreeSet<u32>,
    /// What stays of a platform's database.
    pub(super) stays: Stays,
    /// Triggers and policies of the user on the platform's tables: kind, schema, pg_dump's tag.
    pub(super) attached: BTreeSet<(String, String, String)>,
    /// What goes besides, when nothing but the backup is to stay.
    pub(super) beyond: Option<Beyond>,
    /// Schemas in which something stays that the login may not drop.
    pub(super) staying_in: BTreeSet<String>,
}

/// What stays of a platform's database although it is in the way, or has a name of the backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stays {
    /// Publications that are altered and not made anew: a service of the platform reads them.
    pub(super) publications: BTreeSet<String>,
    /// Functions of event triggers that stay, by identity.
    pub(super) functions: BTreeSet<String>,
}

impl Cover {
    /// Whether nothing is dropped.
    pub(super) fn is_empty(&self) -> bool {
        self.schemas.is_empty()
            && self.tables.is_empty()
            && self.named.is_empty()
            && self.statements.is_empty()
            && self.large_objects.is_empty()
            && self.attached.is_empty()
    }

    /// Whether it replaces something of the schema.
    pub(super) fn touches(&self, schema: &str) -> bool {
        self.schemas.contains(schema) || self.tables.iter().any(|(other, _)| other == schema)
    }

    /// What the chosen entries bring back.
    pub(super) fn new(
        graph: &Graph<'_>,
        chosen: &Chosen,
        large_objects: BTreeSet<u32>,
        target: &TargetState,
    ) -> Self {
        let mut cover = Self { large_objects, stays: hosted::stays(target), ..Self::default() };
        for entry in chosen.entries.iter().map(|&index| &graph.entries[index]) {
            match (entry.kind.as_str(), &entry.schema) {
                ("SCHEMA", _) => {
                    cover.schemas.insert(entry.tag.clone());
                }
                (kind, Some(schema)) if hosted::is_attached(entry, &target.hosting) => {
                    cover.attached.insert((kind.to_owned(), schema.clone(), entry.tag.clone()));
                }
                // Old archives name the schema of its handler.
                ("PROCEDURAL LANGUAGE", _) => {
                    cover.named.insert((entry.kind.clone(), entry.tag.clone()));
                }
                (_, Some(schema)) if target.hosting.keeper(schema) != Keeper::User => {}
                (_, Some(schema)) => {
                    cover.schemas.insert(schema.clone());
                }
                ("PUBLICATION", None) if cover.stays.publications.contains(&entry.tag) => {}
                (
                    "PUBLICATION"
                    | "EVENT TRIGGER"
                    | "FOREIGN DATA WRAPPER"
                    | "SERVER"
                    | "ACCESS METHOD"
                    | "USER MAPPING",
                    None,
                ) => {
                    cover.named.insert((entry.kind.clone(), entry.tag.clone()));
                }
                ("CAST" | "TRANSFORM", None) => {
                    cover.statements.extend(drop_if_exists(&entry.drop_statement))
                }
                _ => {}
            }
        }
        cover.schemas.insert("public".to_owned());
        cover.schemas.retain(|schema| !is_system(schema));
        cover
    }

    /// The chosen relations and all that is in chosen schemas. What these need may serve others too:
    /// where it exists, it stays.
    pub(super) fn of_part(part: &Part, spared: &BTreeSet<TableName>, target: &TargetState) -> Self {
        Self {
            schemas: part.schemas.clone(),
            tables: part.relations.clone(),
            spared: spared.clone(),
            returning: part.returning.clone(),
            stays: hosted::stays(target),
            ..Self::default()
        }
    }
}

fn drop_if_exists(statement: &str) -> Option<String> {
    let (verb, object) = statement.trim_end_matches(['\n', ';']).split_at_checked("DROP ".len())?;
    let noun = ["CAST ", "TRANSFORM "].into_iter().find(|noun| object.starts_with(noun))?;
    let rest = object.strip_prefix(noun)?;
    (verb == "DROP ").then(|| format!("DROP {noun}IF EXISTS {rest}"))
}

/// One object that would be dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Doomed {
    /// `None` for kinds that reports do not count.
    pub(super) kind: Option<ObjectKind>,
    /// Such as `table public.orders`.
    pub(super) name: String,
    /// SQL identity, as inventories have it.
    pub(super) identity: String,
    pub(super) statement: String,
}

/// What a clearing would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Survey {
    pub(super) doomed: Vec<Doomed>,
    /// Rows of the tables among them, as the planner's statistics estimate.
    pub(super) rows: u64,
    /// What the login may not drop.
    pub(super) staying: Vec<Staying>,
    /// What depends on these and would not come back, each as `view other.report (depends on …)`.
    pub(super) outside: Vec<Outside>,
}

/// Something that would be lost with what is dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Outside {
    /// For people.
    pub(super) name: String,
    /// Of kinds that can be brought back.
    pub(super) identity: Option<Identity>,
}

impl Survey {
    /// Number of objects by kind.
    pub(super) fn counts(&self) -> BTreeMap<ObjectKind, usize> {
        let mut counts = BTreeMap::new();
        for kind in self.doomed.iter().filter_map(|doomed| doomed.kind) {
            *counts.entry(kind).or_default() += 1;
        }
        counts
    }

    /// # Errors
    /// Refused when something would be dropped that the plan did not show, and the safety backup may not
    /// hold.
    fn check_planned(&self, planned: &[String]) -> Result<()> {
        let known: BTreeSet<&str> = planned.iter().map(String::as_str).collect();
        let Some(new) = self.doomed.iter().find(|doomed| !known.contains(doomed.name.as_str())) else {
            return Ok(());
        };
        Err(Error::refused(format!("{} was made after the plan was shown", entry::visible(&new.name)))
            .why("it would be dropped, and neither the plan nor the safety backup knew of it")
            .hint("run the restore again: it begins with a new plan"))
    }

    /// # Errors
    /// Refused when something else would be lost, naming it.
    pub(super) fn check(&self) -> Result<()> {
        let Some(first) = self.outside.first() else { return Ok(()) };
        let others = and_more(self.outside.len() - 1);
        let name = &first.name;
        let mut error = Error::refused(format!("clearing the target would take {name}{others} along"))
            .why(if self.staying.is_empty() {
                "it depends on what would be dropped, and what is restored does not bring it back as it is"
            } else {
                "it depends on what would be dropped, and either what is restored does not bring it back as it is, or this role may not drop it"
            });
        for outside in self.outside.iter().skip(1).take(9) {
            error = error.hint(format!("also in the way: {}", outside.name));
        }
        Err(error.hint("drop it yourself and create it again after the restore"))
    }
}

/// Looks again at what is to be cleared, now in the session's transaction, and drops it. `planned` are the
/// objects that the plan showed.
///
/// # Errors
/// Refused when something came since the plan, or something else would be lost; otherwise names the object
/// that could not be dropped and, after a lock timeout, who holds it.
pub(super) fn clear(
    session: &mut Session,
    cover: &Cover,
    planned: &[String],
    lock_timeout: Duration,
) -> Result<()> {
    let survey = survey(&mut session.connection, cover).map_err(Error::from)?;
    survey.check()?;
    survey.check_planned(planned)?;
    drop_all(session, cover, &survey, lock_timeout)
}

fn drop_all(session: &mut Session, cover: &Cover, survey: &Survey, lock_timeout: Duration) -> Result<()> {
    let milliseconds = lock_timeout.as_millis().clamp(1, 2_147_483_647);
    session.unit(&format!("SET LOCAL lock_timeout = {milliseconds}")).map_err(Error::from)?;
    let named = survey.doomed.iter().map(|doomed| (doomed.name.as_str(), doomed.statement.as_str()));
    let statements = cover.statements.iter().map(|statement| (statement.as_str(), statement.as_str()));
    let all: Vec<(&str, &str)> = statements.chain(named).collect();
    let statement = |(_, statement): &(&str, &str)| (*statement).to_owned();
    session.each(&all, statement, |session, (name, _), error| {
        let is_attached = name.starts_with("policy ") || name.starts_with("trigger ");
        if is_attached && error.code() == Some("42501") {
            // Only the platform may; it stays, and the verification shows whether it differs.
            return Ok(());
        }
        Err(not_dropped(session, name, error))
    })?;
    session.unit("SET LOCAL lock_timeout = 0").map_err(Error::from)
}

fn not_dropped(session: &mut Session, name: &str, error: &crate::postgres::QueryError) -> Error {
    let failed = Error::failed(format!("{} could not be dropped", entry::visible(name))).why(describe(error));
    match error.code() {
        Some("55P03") => {
            let holders = survey::holders(session, name);
            let held = if holders.is_empty() { "another session".to_owned() } else { holders.join(", ") };
            failed.hint(format!("{held} holds it: wait for it to end, or end it, and try again"))
        }
        Some("42501") => failed.hint(format!(
            "restore as the object's owner, or let its owner drop it; role {} may not",
            session.login
        )),
        _ => failed,
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::sample;
    use super::super::selection::{Carried, choose};
    use super::*;

    #[test]
    fn a_whole_backup_covers_its_schemas_and_public() {
        let mut sales = sample(1, "TABLE", "t", &[]);
        sales.schema = Some("sales".into());
        let mut publication = sample(2, "PUBLICATION", "p", &[]);
        publication.schema = None;
        let mut cast = sample(3, "CAST", "CAST (a AS b)", &[]);
        cast.schema = None;
        cast.drop_statement = "DROP CAST (public.a AS integer);\n".into();
        let entries = vec![sales, publication, cast];
        let graph = Graph::new(&entries);
        let carried = Carried::Everything;
        let cover =
            Cover::new(&graph, &choose(&graph, &carried), BTreeSet::from([7]), &TargetState::default());
        assert_eq!(cover.schemas.iter().map(String::as_str).collect::<Vec<_>>(), ["public", "sales"]);
        assert!(cover.tables.is_empty());
        assert!(cover.named.contains(&("PUBLICATION".into(), "p".into())));
        assert_eq!(cover.statements, ["DROP CAST IF EXISTS (public.a AS integer)"]);
    }

    #[test]
    fn a_part_covers_what_was_chosen_and_nothing_else() {
        let relations = BTreeSet::from([("public".to_owned(), "t".to_owned())]);
        let part = Part { relations: relations.clone(), ..Part::default() };
        let cover = Cover::of_part(&part, &BTreeSet::new(), &TargetState::default());
        assert_eq!(cover, Cover { tables: relations, ..Cover::default() });
        assert!(cover.touches("public") && !cover.touches("sales"));
    }

    #[test]
    fn a_survey_that_reaches_outside_is_refused_by_name() {
        let outside = |name: &str| Outside { name: name.into(), identity: None };
        let survey =
            Survey { outside: vec![outside("view report.daily"), outside("view b")], ..Survey::default() };
        let error = survey.check().unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Refused);
        assert!(error.message().contains("view report.daily and 1 more"), "{error}");
    }
}
