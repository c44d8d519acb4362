//! Functions, procedures, aggregates; languages and transforms.

use super::question::{Question, carried_schema, made_for_another, no_member, not_built_in, role};
use crate::inventory::ObjectKind;

pub(super) fn questions() -> Vec<Question> {
    vec![
        Question::new(ObjectKind::Function, routines("'f', 'w'", "pg_catalog.pg_get_functiondef(p.oid)")),
        Question::new(ObjectKind::Procedure, routines("'p'", "pg_catalog.pg_get_functiondef(p.oid)")),
        Question::new(ObjectKind::Aggregate, routines("'a'", AGGREGATE)),
        Question::new(ObjectKind::Language, languages()),
        Question::new(ObjectKind::Transform, transforms()),
    ]
}

/// `schema.name(types)` of the routine `p` in the schema `n`, as `ALTER … ` takes it. Input types
/// say which one is meant; PostgreSQL 14 shows procedures' arguments in another way than 13 does.
/// Only aggregates need more, the place of ORDER BY.
pub(super) const SIGNATURE: &str = "pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, \
     CASE WHEN p.prokind = 'a' THEN pg_catalog.pg_get_function_identity_arguments(p.oid) \
          ELSE pg_catalog.oidvectortypes(p.proargtypes) END)";

fn routines(kinds: &str, definition: &str) -> String {
    format!(
        "SELECT {SIGNATURE}, {owner}, coalesce({definition}, 'gone')
           FROM pg_catalog.pg_proc p
           JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
          WHERE p.prokind IN ({kinds}) AND {user} AND {own} AND NOT {part}",
        owner = role("p.proowner"),
        user = carried_schema("n"),
        own = no_member("pg_proc", "p.oid"),
        part = made_for_another("pg_proc", "p.oid"),
    )
}

/// The server has no function that prints an aggregate's definition.
const AGGREGATE: &str = "(SELECT pg_catalog.concat_ws(E'\\n',
        pg_catalog.pg_get_function_arguments(p.oid),
        'returns ' || pg_catalog.pg_get_function_result(p.oid),
        CASE a.aggkind WHEN 'o' THEN 'ordered set' WHEN 'h' THEN 'hypothetical set' END,
        'direct arguments ' || NULLIF(a.aggnumdirectargs, 0),
        'state ' || pg_catalog.format_type(a.aggtranstype, NULL),
        'state function ' || a.aggtransfn::pg_catalog.regprocedure::text,
        'state space ' || NULLIF(a.aggtransspace, 0),
        'initial ' || pg_catalog.quote_literal(a.agginitval),
        'final function ' || NULLIF(a.aggfinalfn, 0)::pg_catalog.regprocedure::text,
        CASE WHEN a.aggfinalextra THEN 'final function takes all arguments' END,
        'final function modifies ' || a.aggfinalmodify::text,
        'combine function ' || NULLIF(a.aggcombinefn, 0)::pg_catalog.regprocedure::text,
        'serial function ' || NULLIF(a.aggserialfn, 0)::pg_catalog.regprocedure::text,
        'deserial function ' || NULLIF(a.aggdeserialfn, 0)::pg_catalog.regprocedure::text,
        'moving state ' || pg_catalog.format_type(NULLIF(a.aggmtranstype, 0), NULL),
        'moving state function ' || NULLIF(a.aggmtransfn, 0)::pg_catalog.regprocedure::text,
        'moving inverse function ' || NULLIF(a.aggminvtransfn, 0)::pg_catalog.regprocedure::text,
        'moving state space ' || NULLIF(a.aggmtransspace, 0),
        'moving initial ' || pg_catalog.quote_literal(a.aggminitval),
        'moving final function ' || NULLIF(a.aggmfinalfn, 0)::pg_catalog.regprocedure::text,
        CASE WHEN a.aggmfinalextra THEN 'moving final function takes all arguments' END,
        'moving final function modifies ' || a.aggmfinalmodify::text,
        'sort operator ' || NULLIF(a.aggsortop, 0)::pg_catalog.regoperator::text,
        'parallel ' || p.proparallel::text)
     FROM pg_catalog.pg_aggregate a WHERE a.aggfnoid = p.oid)";

fn languages() -> String {
    format!(
        "SELECT pg_catalog.quote_ident(l.lanname), {owner},
                pg_catalog.concat_ws(E'\\n',
                    CASE WHEN l.lanpltrusted THEN 'trusted' END,
                    'handler ' || NULLIF(l.lanplcallfoid, 0)::pg_catalog.regprocedure::text,
                    'inline ' || NULLIF(l.laninline, 0)::pg_catalog.regprocedure::text,
                    'validator ' || NULLIF(l.lanvalidator, 0)::pg_catalog.regprocedure::text)
           FROM pg_catalog.pg_language l
          WHERE l.lanispl AND {user} AND {own}",
        owner = role("l.lanowner"),
        user = not_built_in("l.oid"),
        own = no_member("pg_language", "l.oid"),
    )
}

fn transforms() -> String {
    format!(
        "SELECT pg_catalog.format('for %s language %I', pg_catalog.format_type(t.trftype, NULL), l.lanname), NULL,
                pg_catalog.concat_ws(E'\\n', 'transform',
                    'from sql with ' || NULLIF(t.trffromsql, 0)::pg_catalog.regprocedure::text,
                    'to sql with ' || NULLIF(t.trftosql, 0)::pg_catalog.regprocedure::text)
           FROM pg_catalog.pg_transform t
           JOIN pg_catalog.pg_language l ON l.oid = t.trflang
          WHERE {user} AND {own}",
        user = not_built_in("t.oid"),
        own = no_member("pg_transform", "t.oid"),
    )
}
