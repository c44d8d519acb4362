//! Types, domains, collations, conversions.

use super::question::{Question, carried_schema, collation, no_member, qualified, role};
use crate::inventory::ObjectKind;

pub(super) fn questions(major: u32) -> Vec<Question> {
    vec![
        Question::new(ObjectKind::Type, types(major)),
        Question::new(ObjectKind::Domain, domains()),
        Question::new(ObjectKind::Collation, collations(major)),
        Question::new(ObjectKind::Conversion, conversions()),
    ]
}

/// Joins that tell, by finding nothing, that the type `t` stands for itself: see [`OF_ITS_OWN`].
pub(super) const OWNERS: &str =
    "LEFT JOIN pg_catalog.pg_class row_of ON row_of.oid = t.typrelid AND row_of.relkind <> 'c'
     LEFT JOIN pg_catalog.pg_type array_of ON array_of.oid = t.typelem AND array_of.typarray = t.oid";

/// Condition: the type `t` stands for itself. The others are row types of relations, array types
/// and multirange types, which come with what they belong to.
pub(super) const OF_ITS_OWN: &str = "t.typtype <> 'm' AND row_of.oid IS NULL AND array_of.oid IS NULL";

fn types(major: u32) -> String {
    format!(
        "SELECT {name}, {owner},
                CASE t.typtype
                    WHEN 'c' THEN {composite}
                    WHEN 'e' THEN {enumeration}
                    WHEN 'r' THEN {range}
                    WHEN 'p' THEN 'shell'
                    ELSE {base} END
           FROM pg_catalog.pg_type t
           JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
           {OWNERS}
          WHERE t.typtype <> 'd' AND {OF_ITS_OWN} AND {user} AND {own}",
        name = qualified("n.nspname", "t.typname"),
        owner = role("t.typowner"),
        composite = composite(),
        enumeration = ENUMERATION,
        range = range(major),
        base = base(major),
        user = carried_schema("n"),
        own = no_member("pg_type", "t.oid"),
    )
}

fn composite() -> String {
    format!(
        "pg_catalog.concat_ws(E'\\n', 'composite',
            (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', pg_catalog.quote_ident(a.attname),
                        pg_catalog.format_type(a.atttypid, a.atttypmod), {collation}), E'\\n' ORDER BY a.attnum)
               FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type of ON of.oid = a.atttypid
              WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped))",
        collation = collation("a.attcollation", "of.typcollation"),
    )
}

const ENUMERATION: &str = "pg_catalog.concat_ws(E'\\n', 'enum',
     (SELECT pg_catalog.string_agg(pg_catalog.quote_literal(label.enumlabel), ', ' ORDER BY label.enumsortorder)
        FROM pg_catalog.pg_enum label WHERE label.enumtypid = t.oid))";

fn range(major: u32) -> String {
    let multirange =
        if major >= 14 { "'multirange ' || pg_catalog.format_type(r.rngmultitypid, NULL)," } else { "" };
    format!(
        "(SELECT pg_catalog.concat_ws(E'\\n', 'range of ' || pg_catalog.format_type(r.rngsubtype, NULL),
                    {collation},
                    {multirange}
                    pg_catalog.format('operator class %I.%I', class_schema.nspname, class.opcname),
                    'canonical ' || NULLIF(r.rngcanonical::pg_catalog.oid, 0)::pg_catalog.regprocedure::text,
                    'difference ' || NULLIF(r.rngsubdiff::pg_catalog.oid, 0)::pg_catalog.regprocedure::text)
            FROM pg_catalog.pg_range r
            JOIN pg_catalog.pg_type of ON of.oid = r.rngsubtype
            JOIN pg_catalog.pg_opclass class ON class.oid = r.rngsubopc
            JOIN pg_catalog.pg_namespace class_schema ON class_schema.oid = class.opcnamespace
           WHERE r.rngtypid = t.oid)",
        collation = collation("r.rngcollation", "of.typcollation"),
    )
}

fn base(major: u32) -> String {
    let subscript = if major >= 14 {
        "'subscript ' || NULLIF(t.typsubscript::pg_catalog.oid, 0)::pg_catalog.regprocedure::text,"
    } else {
        ""
    };
    let function = |name: &str| format!("NULLIF(t.{name}::pg_catalog.oid, 0)::pg_catalog.regprocedure::text");
    format!(
        "pg_catalog.concat_ws(E'\\n', 'base',
            'input ' || {input}, 'output ' || {output}, 'receive ' || {receive}, 'send ' || {send},
            'modifier input ' || {modifier_in}, 'modifier output ' || {modifier_out}, 'analyze ' || {analyze},
            {subscript}
            pg_catalog.format('length %s alignment %s storage %s category %L delimiter %L',
                t.typlen, t.typalign, t.typstorage, t.typcategory, t.typdelim),
            CASE WHEN t.typbyval THEN 'passed by value' END,
            CASE WHEN t.typispreferred THEN 'preferred' END,
            CASE WHEN t.typcollation <> 0 THEN 'collatable' END,
            'element ' || pg_catalog.format_type(NULLIF(t.typelem, 0), NULL),
            'default ' || pg_catalog.quote_literal(t.typdefault))",
        input = function("typinput"),
        output = function("typoutput"),
        receive = function("typreceive"),
        send = function("typsend"),
        modifier_in = function("typmodin"),
        modifier_out = function("typmodout"),
        analyze = function("typanalyze"),
    )
}

fn domains() -> String {
    format!(
        "SELECT {name}, {owner},
                pg_catalog.concat_ws(' ', pg_catalog.format_type(t.typbasetype, t.typtypmod), {collation},
                    CASE WHEN t.typnotnull THEN 'not null' END,
                    'default ' || coalesce(pg_catalog.pg_get_expr(t.typdefaultbin, 0), t.typdefault))
           FROM pg_catalog.pg_type t
           JOIN pg_catalog.pg_type of ON of.oid = t.typbasetype
           JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
          WHERE t.typtype = 'd' AND {user} AND {own}",
        name = qualified("n.nspname", "t.typname"),
        owner = role("t.typowner"),
        collation = collation("t.typcollation", "of.typcollation"),
        user = carried_schema("n"),
        own = no_member("pg_type", "t.oid"),
    )
}

/// Without the version: it belongs to the server's libraries.
fn collations(major: u32) -> String {
    let locale = match major {
        ..=14 => "",
        15..=16 => ", 'locale ' || pg_catalog.quote_literal(c.colliculocale)",
        _ => ", 'locale ' || pg_catalog.quote_literal(c.colllocale)",
    };
    let rules = if major >= 16 { ", 'rules ' || pg_catalog.quote_literal(c.collicurules)" } else { "" };
    format!(
        "SELECT {name}, {owner},
                pg_catalog.concat_ws(E'\\n',
                    'provider ' || CASE c.collprovider WHEN 'i' THEN 'icu' WHEN 'c' THEN 'libc'
                                        WHEN 'b' THEN 'builtin' ELSE 'default' END,
                    'collate ' || pg_catalog.quote_literal(c.collcollate),
                    'ctype ' || pg_catalog.quote_literal(c.collctype),
                    CASE WHEN NOT c.collisdeterministic THEN 'not deterministic' END,
                    'encoding ' || pg_catalog.pg_encoding_to_char(NULLIF(c.collencoding, -1))
                    {locale} {rules})
           FROM pg_catalog.pg_collation c
           JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
          WHERE {user} AND {own}",
        name = qualified("n.nspname", "c.collname"),
        owner = role("c.collowner"),
        user = carried_schema("n"),
        own = no_member("pg_collation", "c.oid"),
    )
}

fn conversions() -> String {
    format!(
        "SELECT {name}, {owner},
                pg_catalog.format('for %s to %s from %s%s', pg_catalog.pg_encoding_to_char(c.conforencoding),
                    pg_catalog.pg_encoding_to_char(c.contoencoding), c.conproc::pg_catalog.oid::pg_catalog.regprocedure,
                    CASE WHEN c.condefault THEN ' default' END)
           FROM pg_catalog.pg_conversion c
           JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
          WHERE {user} AND {own}",
        name = qualified("n.nspname", "c.conname"),
        owner = role("c.conowner"),
        user = carried_schema("n"),
        own = no_member("pg_conversion", "c.oid"),
    )
}
