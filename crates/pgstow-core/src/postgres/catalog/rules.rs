//! What acts on its own: triggers, rules, policies, event triggers.

use super::question::{Question, carried_schema, no_member, role};
use crate::inventory::ObjectKind;

pub(super) fn questions() -> Vec<Question> {
    vec![
        Question::new(ObjectKind::Trigger, triggers()),
        Question::new(ObjectKind::Rule, rules()),
        Question::new(ObjectKind::Policy, policies()),
        Question::new(ObjectKind::EventTrigger, event_triggers()),
    ]
}

fn firing(state: &str) -> String {
    format!(
        "CASE {state} WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'enabled for replica' WHEN 'A' THEN 'enabled always' END"
    )
}

/// Without the clones that the server makes for partitions, unless one is switched differently
/// from its parent. (Whether clones are marked as internal depends on the server's major.)
fn triggers() -> String {
    format!(
        "SELECT pg_catalog.format('%I.%I.%I', n.nspname, c.relname, t.tgname), NULL,
                pg_catalog.concat_ws(E'\\n', pg_catalog.pg_get_triggerdef(t.oid), {firing})
           FROM pg_catalog.pg_trigger t
           JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
           LEFT JOIN pg_catalog.pg_trigger parent ON parent.oid = t.tgparentid
           LEFT JOIN pg_catalog.pg_constraint k ON k.oid = t.tgconstraint
          WHERE (k.oid IS NULL OR k.contype = 't')
            AND CASE WHEN t.tgparentid = 0 THEN NOT t.tgisinternal ELSE t.tgenabled <> parent.tgenabled END
            AND {user} AND {own}",
        firing = firing("t.tgenabled"),
        user = carried_schema("n"),
        own = no_member("pg_class", "c.oid"),
    )
}

fn rules() -> String {
    format!(
        "SELECT pg_catalog.format('%I.%I.%I', n.nspname, c.relname, r.rulename), NULL,
                pg_catalog.concat_ws(E'\\n', pg_catalog.pg_get_ruledef(r.oid), {firing})
           FROM pg_catalog.pg_rewrite r
           JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE r.rulename <> '_RETURN' AND {user} AND {own} AND {rule_own}",
        firing = firing("r.ev_enabled"),
        user = carried_schema("n"),
        own = no_member("pg_class", "c.oid"),
        rule_own = no_member("pg_rewrite", "r.oid"),
    )
}

/// Policies on an extension's tables count: users put them there.
fn policies() -> String {
    format!(
        "SELECT pg_catalog.format('%I.%I.%I', n.nspname, c.relname, p.polname), NULL,
                pg_catalog.concat_ws(E'\\n',
                    CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
                    'for ' || CASE p.polcmd WHEN 'r' THEN 'select' WHEN 'a' THEN 'insert' WHEN 'w' THEN 'update'
                                            WHEN 'd' THEN 'delete' ELSE 'all' END,
                    'to ' || (SELECT pg_catalog.string_agg(held.name, ', ' ORDER BY held.name COLLATE pg_catalog.\"C\")
                                FROM (SELECT CASE r WHEN 0 THEN 'public'
                                             ELSE pg_catalog.quote_ident({role}) END AS name
                                        FROM pg_catalog.unnest(p.polroles) r) held),
                    'using ' || pg_catalog.pg_get_expr(p.polqual, p.polrelid),
                    'with check ' || pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid))
           FROM pg_catalog.pg_policy p
           JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE {user}",
        role = role("r"),
        user = carried_schema("n"),
    )
}

fn event_triggers() -> String {
    format!(
        "SELECT pg_catalog.quote_ident(e.evtname), {owner},
                pg_catalog.concat_ws(E'\\n',
                    'on ' || e.evtevent,
                    'when tag in ' || (SELECT pg_catalog.string_agg(pg_catalog.quote_literal(tag), ', '
                                                  ORDER BY tag COLLATE pg_catalog.\"C\")
                                         FROM pg_catalog.unnest(e.evttags) tag),
                    'execute ' || e.evtfoid::pg_catalog.regprocedure::text,
                    {firing})
           FROM pg_catalog.pg_event_trigger e
          WHERE {own}",
        owner = role("e.evtowner"),
        firing = firing("e.evtenabled"),
        own = no_member("pg_event_trigger", "e.oid"),
    )
}
