//! Puts what a role may do at a server into words: what it means for a backup and for a restore.
//! Pure.

use super::{Ability, Serves};
use crate::platform::{Hosting, Platform};
use crate::postgres::capabilities::Capabilities;
use crate::postgres::identifier::quote_identifier;

/// What each ability is called, serves, and means with and without it; what would give it.
struct Saying {
    what: &'static str,
    serves: Serves,
    able: Option<bool>,
    yes: &'static str,
    no: &'static str,
    remedy: Option<String>,
}

/// The abilities in the order in which they are shown.
pub(super) fn abilities(found: &Capabilities, role: &str) -> Vec<Ability> {
    let role = quote_identifier(role);
    let sayings = reading(found, &role).into_iter().chain(restoring(found, &role));
    sayings.map(Saying::ability).collect()
}

fn reading(found: &Capabilities, role: &str) -> [Saying; 4] {
    let serves = Serves::Backup;
    [
        Saying {
            what: "row-security",
            serves,
            able: Some(found.bypass_row_security),
            yes: "sees every row: row-level security does not apply",
            no: "row-level security applies, except to tables of its own",
            remedy: Some(format!("ALTER ROLE {role} BYPASSRLS;")),
        },
        Saying {
            what: "read-all-data",
            serves,
            able: found.read_all_data.map(|has| has || found.superuser),
            yes: "reads tables that are made later, too",
            no: "tables that are made later need a GRANT each",
            remedy: Some(format!("GRANT pg_read_all_data TO {role};")),
        },
        Saying {
            what: "control-data",
            serves,
            able: Some(found.read_control_data),
            yes: "tells the server from its copies, so that unchanged data can be proven",
            no: "cannot tell the server from its copies: every backup reads everything",
            remedy: Some(format!(
                "GRANT EXECUTE ON FUNCTION pg_control_system(), pg_control_checkpoint() TO {role};"
            )),
        },
        Saying {
            what: "role-catalog",
            serves,
            able: Some(found.read_role_catalog),
            yes: "reads pg_authid: a role renamed during a backup is noticed",
            no: "pg_authid is hidden: a role renamed and renamed back during a backup is not noticed",
            remedy: None,
        },
    ]
}

fn restoring(found: &Capabilities, role: &str) -> [Saying; 5] {
    let serves = Serves::Restore;
    let anything = |able: bool| found.writable.then_some(able);
    [
        Saying {
            what: "silence-triggers",
            serves,
            able: anything(found.silence_triggers),
            yes: "silences triggers and foreign keys while rows are loaded",
            no: "cannot silence triggers and foreign keys of tables that exist",
            remedy: Some(format!(
                "GRANT SET ON PARAMETER session_replication_role TO {role};  (15 and newer)"
            )),
        },
        Saying {
            what: "create-schemas",
            serves,
            able: anything(found.create_schemas),
            yes: "creates schemas",
            no: "cannot create schemas: those of the backup must be there",
            remedy: Some(format!("GRANT CREATE ON DATABASE … TO {role};")),
        },
        Saying {
            what: "create-roles",
            serves,
            able: anything(found.create_roles),
            yes: "creates missing roles (--create-roles)",
            no: "cannot create roles: missing ones are mapped (--map-role), or created before",
            remedy: Some(format!("ALTER ROLE {role} CREATEROLE;")),
        },
        Saying {
            what: "event-triggers",
            serves,
            able: found.create_event_triggers,
            yes: "creates event triggers",
            no: "cannot create event triggers",
            remedy: None,
        },
        Saying {
            what: "publications",
            serves,
            able: found.publish_all_tables,
            yes: "creates publications of all tables",
            no: "cannot create publications of all tables",
            remedy: None,
        },
    ]
}

impl Saying {
    fn ability(self) -> Ability {
        let found = match (self.able, self.serves) {
            (Some(true), _) => self.yes,
            (Some(false), _) => self.no,
            (None, Serves::Backup) => "this version of PostgreSQL does not have it",
            (None, Serves::Restore) => "nothing can be written here",
        };
        let remedy = self.remedy.filter(|_| self.able == Some(false));
        Ability {
            what: self.what.to_owned(),
            serves: self.serves,
            able: self.able,
            found: found.to_owned(),
            hints: remedy.into_iter().collect(),
        }
    }
}

/// Who runs the server, and which schemas are the platform's.
pub(super) fn platform(hosting: &Hosting) -> String {
    let list = |schemas: &std::collections::BTreeSet<String>| {
        schemas.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    };
    let mut text = match hosting.platform {
        Platform::Plain => "no hosting platform recognised".to_owned(),
        known => known.to_string(),
    };
    if !hosting.managed.is_empty() {
        text.push_str(&format!("; of {} the rows that are yours are carried", list(&hosting.managed)));
    }
    if !hosting.internal.is_empty() {
        text.push_str(&format!("; its own schemas: {}", list(&hosting.internal)));
    }
    text
}

/// How the session reaches its server process, and what to do about it.
pub(super) fn pooler(direct: bool, hosting: &Hosting, endpoint: &str) -> (String, Vec<String>) {
    if direct {
        return ("none: the session is the server's own".to_owned(), Vec::new());
    }
    let found = "a session pooler: the session keeps its server process".to_owned();
    let is_pooled_host = endpoint.split('.').next().is_some_and(|name| name.ends_with("-pooler"));
    let hint = "the host name without -pooler leads to the server itself";
    let hints =
        if hosting.platform == Platform::Neon && is_pooled_host { vec![hint.to_owned()] } else { vec![] };
    (found, hints)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_comes_with_what_would_give_it_and_what_is_there_without() {
        let none = Capabilities {
            writable: true,
            read_all_data: Some(false),
            create_event_triggers: Some(false),
            publish_all_tables: Some(false),
            ..Capabilities::default()
        };
        let lacking = abilities(&none, "the \"reader\"");
        assert!(lacking.iter().all(|ability| ability.able == Some(false)), "{lacking:?}");
        let roles = lacking.iter().find(|ability| ability.what == "create-roles").expect("one");
        assert_eq!(roles.hints, ["ALTER ROLE \"the \"\"reader\"\"\" CREATEROLE;"]);
        let all = Capabilities {
            superuser: true,
            silence_triggers: true,
            create_roles: true,
            create_schemas: true,
            bypass_row_security: true,
            create_event_triggers: Some(true),
            publish_all_tables: Some(true),
            read_all_data: Some(true),
            read_control_data: true,
            read_role_catalog: true,
            writable: true,
        };
        assert!(
            abilities(&all, "r").iter().all(|ability| ability.able == Some(true) && ability.hints.is_empty())
        );
    }

    #[test]
    fn of_a_standby_only_backups_are_spoken_of() {
        let standby = Capabilities { create_roles: true, create_schemas: true, ..Capabilities::default() };
        let restores =
            abilities(&standby, "r").into_iter().filter(|ability| ability.serves == Serves::Restore);
        assert!(restores.into_iter().all(|ability| ability.able.is_none()));
    }

    #[test]
    fn the_pooled_host_of_neon_gets_a_hint_and_no_other() {
        let neon = Hosting { platform: Platform::Neon, ..Hosting::default() };
        assert_eq!(pooler(false, &neon, "ep-x-1-pooler.eu.neon.tech:5432").1.len(), 1);
        assert!(pooler(true, &neon, "ep-x-1-pooler.eu.neon.tech:5432").1.is_empty());
        assert!(pooler(false, &neon, "ep-x-1.eu.neon.tech:5432").1.is_empty());
        assert!(pooler(false, &Hosting::default(), "a-pooler.example.com:5432").1.is_empty());
    }

    #[test]
    fn a_platform_is_named_with_the_schemas_that_are_its_own() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let hosting = Hosting {
            platform: Platform::Supabase,
            managed: names(&["auth", "storage"]),
            internal: names(&["realtime"]),
        };
        assert_eq!(
            platform(&hosting),
            "Supabase; of auth, storage the rows that are yours are carried; its own schemas: realtime"
        );
        assert_eq!(platform(&Hosting::default()), "no hosting platform recognised");
    }
}
