//! Text search: configurations, dictionaries, parsers, templates.

use super::question::{Question, carried_schema, no_member, qualified, role};
use crate::inventory::ObjectKind;

pub(super) fn questions() -> Vec<Question> {
    vec![
        Question::new(ObjectKind::TextSearchConfiguration, configurations()),
        Question::new(ObjectKind::TextSearchDictionary, dictionaries()),
        Question::new(ObjectKind::TextSearchParser, parsers()),
        Question::new(ObjectKind::TextSearchTemplate, templates()),
    ]
}

/// The mappings of each kind of token, in the order of the parser's numbers and of the
/// dictionaries that are tried.
fn configurations() -> String {
    format!(
        "SELECT {name}, {owner},
                pg_catalog.concat_ws(E'\\n', 'parser ' || {parser},
                    (SELECT pg_catalog.string_agg(
                                pg_catalog.format('%s %s with %s', m.maptokentype, token.alias, {dictionary}),
                                E'\\n' ORDER BY m.maptokentype, m.mapseqno)
                       FROM pg_catalog.pg_ts_config_map m
                       JOIN pg_catalog.pg_ts_dict d ON d.oid = m.mapdict
                       JOIN pg_catalog.pg_namespace dn ON dn.oid = d.dictnamespace
                       LEFT JOIN pg_catalog.ts_token_type(c.cfgparser) token ON token.tokid = m.maptokentype
                      WHERE m.mapcfg = c.oid))
           FROM pg_catalog.pg_ts_config c
           JOIN pg_catalog.pg_namespace n ON n.oid = c.cfgnamespace
           JOIN pg_catalog.pg_ts_parser p ON p.oid = c.cfgparser
           JOIN pg_catalog.pg_namespace pn ON pn.oid = p.prsnamespace
          WHERE {user} AND {own}",
        name = qualified("n.nspname", "c.cfgname"),
        owner = role("c.cfgowner"),
        parser = qualified("pn.nspname", "p.prsname"),
        dictionary = qualified("dn.nspname", "d.dictname"),
        user = carried_schema("n"),
        own = no_member("pg_ts_config", "c.oid"),
    )
}

fn dictionaries() -> String {
    format!(
        "SELECT {name}, {owner}, pg_catalog.concat_ws(E'\\n', 'template ' || {template}, d.dictinitoption)
           FROM pg_catalog.pg_ts_dict d
           JOIN pg_catalog.pg_namespace n ON n.oid = d.dictnamespace
           JOIN pg_catalog.pg_ts_template t ON t.oid = d.dicttemplate
           JOIN pg_catalog.pg_namespace tn ON tn.oid = t.tmplnamespace
          WHERE {user} AND {own}",
        name = qualified("n.nspname", "d.dictname"),
        owner = role("d.dictowner"),
        template = qualified("tn.nspname", "t.tmplname"),
        user = carried_schema("n"),
        own = no_member("pg_ts_dict", "d.oid"),
    )
}

fn parsers() -> String {
    format!(
        "SELECT {name}, NULL,
                pg_catalog.concat_ws(E'\\n',
                    'start ' || p.prsstart::text, 'token ' || p.prstoken::text, 'end ' || p.prsend::text,
                    'headline ' || NULLIF(p.prsheadline::pg_catalog.oid, 0)::pg_catalog.regproc::text,
                    'types ' || p.prslextype::text)
           FROM pg_catalog.pg_ts_parser p
           JOIN pg_catalog.pg_namespace n ON n.oid = p.prsnamespace
          WHERE {user} AND {own}",
        name = qualified("n.nspname", "p.prsname"),
        user = carried_schema("n"),
        own = no_member("pg_ts_parser", "p.oid"),
    )
}

fn templates() -> String {
    format!(
        "SELECT {name}, NULL,
                pg_catalog.concat_ws(E'\\n',
                    'initialize ' || NULLIF(t.tmplinit::pg_catalog.oid, 0)::pg_catalog.regproc::text,
                    'lexize ' || t.tmpllexize::text)
           FROM pg_catalog.pg_ts_template t
           JOIN pg_catalog.pg_namespace n ON n.oid = t.tmplnamespace
          WHERE {user} AND {own}",
        name = qualified("n.nspname", "t.tmplname"),
        user = carried_schema("n"),
        own = no_member("pg_ts_template", "t.oid"),
    )
}
