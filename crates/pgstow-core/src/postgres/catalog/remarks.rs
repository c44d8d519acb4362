//! What is said about objects: comments and security labels.

use super::question::{Question, member, not_built_in, not_left_out};
use crate::inventory::ObjectKind;

pub(super) fn questions() -> Vec<Question> {
    vec![
        Question::new(ObjectKind::Comment, comments()),
        Question::new(ObjectKind::SecurityLabel, security_labels()),
    ]
}

/// Condition: the remark `r` is on an object that initdb made or that belongs to an extension, on
/// its own or with its table. (Policies count as the user's, wherever they are.)
fn not_the_users() -> String {
    let catalog = |name: &str| format!("r.classoid = 'pg_catalog.{name}'::pg_catalog.regclass");
    let through = |name: &str, table: &str, oid: &str| {
        format!(
            "({is} AND EXISTS (SELECT FROM pg_catalog.{name} part
                                WHERE part.{oid} = r.objoid AND {member}))",
            is = catalog(if name == "pg_index" { "pg_class" } else { name }),
            member = member("pg_class", &format!("part.{table}")),
        )
    };
    format!(
        "EXISTS (SELECT FROM pg_catalog.pg_depend link
                  WHERE link.classid = r.classoid AND link.objid = r.objoid AND link.objsubid = 0
                    AND link.deptype = 'e')
         OR {index} OR {constraint} OR {trigger} OR {rule}",
        index = through("pg_index", "indrelid", "indexrelid"),
        constraint = through("pg_constraint", "conrelid", "oid"),
        trigger = through("pg_trigger", "tgrelid", "oid"),
        rule = through("pg_rewrite", "ev_class", "oid"),
    )
}

/// Condition: the remark `r` is on nothing in a schema that is left out. What belongs to a table has
/// no schema of its own.
fn carried() -> String {
    let part_of_table = |catalog: &str, table: &str| {
        format!(
            "(r.classoid = 'pg_catalog.{catalog}'::pg_catalog.regclass
              AND EXISTS (SELECT FROM pg_catalog.{catalog} part
                            JOIN pg_catalog.pg_class c ON c.oid = part.{table}
                            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                           WHERE part.oid = r.objoid AND NOT {kept}))",
            kept = not_left_out("n.nspname"),
        )
    };
    format!(
        "{kept} AND NOT ((r.classoid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
                          AND EXISTS (SELECT FROM pg_catalog.pg_namespace n
                                       WHERE n.oid = r.objoid AND NOT {schema_kept}))
                         OR {trigger} OR {rule} OR {policy})",
        kept = not_left_out("object.schema"),
        schema_kept = not_left_out("n.nspname"),
        trigger = part_of_table("pg_trigger", "tgrelid"),
        rule = part_of_table("pg_rewrite", "ev_class"),
        policy = part_of_table("pg_policy", "polrelid"),
    )
}

/// Objects dropped since the snapshot was taken have no identity any more and are left out.
/// The schema `public` has a comment from the start; it counts once somebody changed it.
/// Comments on extensions come with the extension. (Servers name transforms in two ways.)
fn comments() -> String {
    format!(
        "SELECT pg_catalog.concat_ws(' ', object.type, CASE object.type
                    WHEN 'transform' THEN pg_catalog.replace(object.identity, ' on language ', ' language ')
                    ELSE object.identity END), NULL, r.description
           FROM pg_catalog.pg_description r
          CROSS JOIN LATERAL pg_catalog.pg_identify_object(r.classoid, r.objoid, r.objsubid) object
          WHERE ({user}
                 OR (r.classoid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
                     AND r.objoid = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = 'public')
                     AND r.description <> 'standard public schema'))
            AND r.classoid <> 'pg_catalog.pg_extension'::pg_catalog.regclass
            AND NOT ({foreign})
            AND object.identity IS NOT NULL AND {carried}",
        user = not_built_in("r.objoid"),
        foreign = not_the_users(),
        carried = carried(),
    )
}

fn security_labels() -> String {
    format!(
        "SELECT pg_catalog.concat_ws(' ', pg_catalog.quote_ident(r.provider), 'for', object.type, object.identity),
                NULL, r.label
           FROM pg_catalog.pg_seclabel r
          CROSS JOIN LATERAL pg_catalog.pg_identify_object(r.classoid, r.objoid, r.objsubid) object
          WHERE ({user} OR r.classoid = 'pg_catalog.pg_namespace'::pg_catalog.regclass) AND NOT ({foreign})
            AND object.identity IS NOT NULL AND {carried}",
        user = not_built_in("r.objoid"),
        foreign = not_the_users(),
        carried = carried(),
    )
}
