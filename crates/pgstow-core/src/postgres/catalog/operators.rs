//! Operators, operator classes and families, casts, access methods.

use super::question::{Question, carried_schema, made_for_another, no_member, not_built_in, qualified, role};
use crate::inventory::ObjectKind;

pub(super) fn questions() -> Vec<Question> {
    vec![
        Question::new(ObjectKind::Operator, operators()),
        Question::new(ObjectKind::OperatorClass, classes()),
        Question::new(ObjectKind::OperatorFamily, families()),
        Question::new(ObjectKind::Cast, casts()),
        Question::new(ObjectKind::AccessMethod, access_methods()),
    ]
}

/// Without shells: those have no function yet and stand for nothing.
fn operators() -> String {
    format!(
        "SELECT pg_catalog.format('%I.%s(%s, %s)', n.nspname, o.oprname,
                    CASE o.oprleft WHEN 0 THEN 'NONE' ELSE pg_catalog.format_type(o.oprleft, NULL) END,
                    CASE o.oprright WHEN 0 THEN 'NONE' ELSE pg_catalog.format_type(o.oprright, NULL) END),
                {owner},
                pg_catalog.concat_ws(E'\\n',
                    'function ' || o.oprcode::pg_catalog.oid::pg_catalog.regprocedure::text,
                    'commutator ' || NULLIF(o.oprcom, 0)::pg_catalog.regoperator::text,
                    'negator ' || NULLIF(o.oprnegate, 0)::pg_catalog.regoperator::text,
                    'restrict ' || NULLIF(o.oprrest::pg_catalog.oid, 0)::pg_catalog.regprocedure::text,
                    'join ' || NULLIF(o.oprjoin::pg_catalog.oid, 0)::pg_catalog.regprocedure::text,
                    CASE WHEN o.oprcanhash THEN 'hashes' END,
                    CASE WHEN o.oprcanmerge THEN 'merges' END)
           FROM pg_catalog.pg_operator o
           JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
          WHERE o.oprcode <> 0 AND {user} AND {own}",
        owner = role("o.oprowner"),
        user = carried_schema("n"),
        own = no_member("pg_operator", "o.oid"),
    )
}

fn classes() -> String {
    format!(
        "SELECT {name} || ' using ' || pg_catalog.quote_ident(am.amname), {owner},
                pg_catalog.concat_ws(E'\\n',
                    'for ' || pg_catalog.format_type(c.opcintype, NULL),
                    CASE WHEN c.opcdefault THEN 'default' END,
                    'family ' || {family},
                    'storage ' || pg_catalog.format_type(NULLIF(c.opckeytype, 0), NULL))
           FROM pg_catalog.pg_opclass c
           JOIN pg_catalog.pg_namespace n ON n.oid = c.opcnamespace
           JOIN pg_catalog.pg_am am ON am.oid = c.opcmethod
           JOIN pg_catalog.pg_opfamily f ON f.oid = c.opcfamily
           JOIN pg_catalog.pg_namespace family_schema ON family_schema.oid = f.opfnamespace
          WHERE {user} AND {own}",
        name = qualified("n.nspname", "c.opcname"),
        owner = role("c.opcowner"),
        family = qualified("family_schema.nspname", "f.opfname"),
        user = carried_schema("n"),
        own = no_member("pg_opclass", "c.oid"),
    )
}

/// A family's definition lists its operators and functions, those of its classes included.
fn families() -> String {
    let types = |left: &str, right: &str| {
        format!("pg_catalog.format_type({left}, NULL), pg_catalog.format_type({right}, NULL)")
    };
    format!(
        "SELECT {name} || ' using ' || pg_catalog.quote_ident(am.amname), {owner},
                pg_catalog.concat_ws(E'\\n', 'operator family',
                    (SELECT pg_catalog.string_agg(part.line, E'\\n' ORDER BY part.line COLLATE pg_catalog.\"C\")
                       FROM (SELECT pg_catalog.format('operator %s (%s, %s) %s', o.amopstrategy, {operator_types},
                                        pg_catalog.concat_ws(' ', o.amopopr::pg_catalog.regoperator,
                                            'for order by ' || sort.opfname)) AS line
                               FROM pg_catalog.pg_amop o
                               LEFT JOIN pg_catalog.pg_opfamily sort ON sort.oid = o.amopsortfamily
                              WHERE o.amopfamily = f.oid
                              UNION ALL
                             SELECT pg_catalog.format('function %s (%s, %s) %s', p.amprocnum, {function_types},
                                        p.amproc::pg_catalog.oid::pg_catalog.regprocedure)
                               FROM pg_catalog.pg_amproc p WHERE p.amprocfamily = f.oid) part))
           FROM pg_catalog.pg_opfamily f
           JOIN pg_catalog.pg_namespace n ON n.oid = f.opfnamespace
           JOIN pg_catalog.pg_am am ON am.oid = f.opfmethod
          WHERE {user} AND {own}",
        name = qualified("n.nspname", "f.opfname"),
        owner = role("f.opfowner"),
        operator_types = types("o.amoplefttype", "o.amoprighttype"),
        function_types = types("p.amproclefttype", "p.amprocrighttype"),
        user = carried_schema("n"),
        own = no_member("pg_opfamily", "f.oid"),
    )
}

/// Without the casts that come with a range type.
fn casts() -> String {
    format!(
        "SELECT pg_catalog.format('(%s as %s)', pg_catalog.format_type(c.castsource, NULL),
                    pg_catalog.format_type(c.casttarget, NULL)), NULL,
                pg_catalog.concat_ws(' ',
                    CASE c.castmethod WHEN 'f' THEN 'with function' WHEN 'i' THEN 'with inout' ELSE 'without function' END,
                    NULLIF(c.castfunc, 0)::pg_catalog.regprocedure,
                    CASE c.castcontext WHEN 'a' THEN 'as assignment' WHEN 'i' THEN 'as implicit' END)
           FROM pg_catalog.pg_cast c
          WHERE {user} AND {own} AND NOT {part}",
        user = not_built_in("c.oid"),
        own = no_member("pg_cast", "c.oid"),
        part = made_for_another("pg_cast", "c.oid"),
    )
}

fn access_methods() -> String {
    format!(
        "SELECT pg_catalog.quote_ident(a.amname), NULL,
                pg_catalog.concat_ws(' ', CASE a.amtype WHEN 't' THEN 'table' ELSE 'index' END,
                    a.amhandler::pg_catalog.oid::pg_catalog.regprocedure)
           FROM pg_catalog.pg_am a
          WHERE {user} AND {own}",
        user = not_built_in("a.oid"),
        own = no_member("pg_am", "a.oid"),
    )
}
