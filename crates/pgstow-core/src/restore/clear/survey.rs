//! Asks the target what a clearing would drop, and what depends on that from outside.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Beyond, Cover, Doomed, Outside, Staying, Survey};
use crate::inventory::ObjectKind;
use crate::postgres::identifier::quote_literal;
use crate::postgres::{Connection, QueryError};
use crate::restore::dependents::{identified, returns};
use crate::restore::selection::TableName;
use crate::restore::session::Session;

/// Catalogs of objects that live in a schema, with the column that says in which.
const IN_SCHEMAS: [(&str, &str); 12] = [
    ("pg_proc", "pronamespace"),
    ("pg_operator", "oprnamespace"),
    ("pg_opclass", "opcnamespace"),
    ("pg_opfamily", "opfnamespace"),
    ("pg_collation", "collnamespace"),
    ("pg_conversion", "connamespace"),
    ("pg_statistic_ext", "stxnamespace"),
    ("pg_ts_config", "cfgnamespace"),
    ("pg_ts_dict", "dictnamespace"),
    ("pg_ts_parser", "prsnamespace"),
    ("pg_ts_template", "tmplnamespace"),
    ("pg_type", "typnamespace"),
];

/// Catalogs of objects without a schema: pg_dump's kind, catalog, column of the name.
const NAMED: [(&str, &str, &str); 6] = [
    ("PUBLICATION", "pg_publication", "pubname"),
    ("EVENT TRIGGER", "pg_event_trigger", "evtname"),
    ("FOREIGN DATA WRAPPER", "pg_foreign_data_wrapper", "fdwname"),
    ("SERVER", "pg_foreign_server", "srvname"),
    ("PROCEDURAL LANGUAGE", "pg_language", "lanname"),
    ("ACCESS METHOD", "pg_am", "amname"),
];

/// Catalogs of parts, with the relation each is a part of.
const PARTS: [(&str, &str); 5] = [
    ("pg_rewrite", "ev_class"),
    ("pg_trigger", "tgrelid"),
    ("pg_constraint", "conrelid"),
    ("pg_attrdef", "adrelid"),
    ("pg_policy", "polrelid"),
];

/// Looks at the target, in the session's transaction if one is open.
///
/// # Errors
/// The server's.
pub(in crate::restore) fn survey(connection: &mut Connection, cover: &Cover) -> Result<Survey, QueryError> {
    let mut survey = Survey::default();
    let mut staying = Vec::new();
    let seeds = seeds(cover);
    let doomed = format!(
        "WITH {seeds} SELECT i.type, i.identity, \
         CASE WHEN c.relkind = 'r' THEN GREATEST(c.reltuples::pg_catalog.int8, pg_catalog.pg_stat_get_live_tuples(c.oid), 0) ELSE 0 END, \
         i.type IN ('policy', 'trigger') OR pg_catalog.pg_has_role(o.owner, 'USAGE') \
           OR COALESCE(pg_catalog.pg_has_role(n.nspowner, 'USAGE'), false), \
         pg_catalog.pg_get_userbyid(o.owner), n.nspname, s.classid, s.objid \
         FROM seed s CROSS JOIN LATERAL pg_catalog.pg_identify_object(s.classid, s.objid, 0) i \
         CROSS JOIN LATERAL (SELECT COALESCE((SELECT d.refobjid FROM pg_catalog.pg_shdepend d \
           WHERE d.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
           AND d.classid = s.classid AND d.objid = s.objid AND d.objsubid = 0 AND d.deptype = 'o'), 10) AS owner) o \
         LEFT JOIN pg_catalog.pg_namespace n ON i.schema IN (n.nspname, pg_catalog.quote_ident(n.nspname)) \
         LEFT JOIN pg_catalog.pg_class c ON c.oid = s.objid AND s.classid = {} \
         ORDER BY i.type NOT IN ('event trigger', 'publication'), i.type IN ('policy', 'trigger'), i.type, i.identity",
        class("pg_class")
    );
    for row in connection.query(&doomed)?.iter() {
        let (kind, identity): (String, String) = (row.get(0)?, row.get(1)?);
        let doomed = object(&kind, &identity);
        if row.get(3)? {
            survey.rows = survey.rows.saturating_add(row.get(2)?);
            survey.doomed.push(doomed);
        } else {
            staying.push((row.get::<u32>(6)?, row.get::<u32>(7)?));
            survey.staying.push(Staying { object: doomed, owner: row.get(4)?, schema: row.get(5)? });
        }
    }
    for row in connection.query(&large_objects(cover))?.iter() {
        let oid: u32 = row.get(0)?;
        let doomed = Doomed {
            kind: Some(ObjectKind::LargeObject),
            name: format!("large object {oid}"),
            identity: oid.to_string(),
            statement: format!("SELECT pg_catalog.lo_unlink({oid})"),
        };
        if row.get(1)? {
            survey.doomed.push(doomed);
        } else {
            survey.staying.push(Staying { object: doomed, owner: row.get(2)?, schema: None });
        }
    }
    survey.doomed.extend(cover.beyond.iter().flat_map(Beyond::doomed));
    for row in connection.query(&outside(cover, &seeds, &staying))?.iter() {
        let (kind, identity): (String, String) = (row.get(1)?, row.get(2)?);
        let outside = Outside { name: row.get(0)?, identity: identified(&kind, &identity) };
        if !returns(&outside, &cover.returning) {
            survey.outside.push(outside);
        }
    }
    Ok(survey)
}

/// The common table `seed(classid, objid)`: objects that get a DROP of their own.
fn seeds(cover: &Cover) -> String {
    let names = |values: &mut dyn Iterator<Item = &str>| {
        let list: Vec<String> = values.map(quote_literal).collect();
        format!("ARRAY[{}]::pg_catalog.name[]", list.join(", "))
    };
    let relations = "c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')";
    let pairs = |tables: &BTreeSet<TableName>| {
        let mut list = String::from("(NULL::pg_catalog.name, NULL::pg_catalog.name)");
        for (schema, name) in tables {
            let _ = write!(list, ", ({}, {})", quote_literal(schema), quote_literal(name));
        }
        list
    };
    let schemas = names(&mut cover.schemas.iter().map(String::as_str));
    let covered = format!("(SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = ANY ({schemas}))");
    let mut listed = format!(
        "SELECT {}, c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE {relations} AND ((n.nspname, c.relname) IN ({}) \
           OR c.relnamespace IN {covered} AND (n.nspname, c.relname) IN ({}) IS NOT TRUE)",
        class("pg_class"),
        pairs(&cover.tables),
        pairs(&cover.spared),
    );
    for (catalog, namespace) in IN_SCHEMAS {
        let own = match catalog {
            "pg_type" => {
                " AND (o.typtype <> 'c' OR EXISTS (SELECT FROM pg_catalog.pg_class c \
                 WHERE c.oid = o.typrelid AND c.relkind = 'c'))"
            }
            _ => "",
        };
        let _ = write!(
            listed,
            " UNION ALL SELECT {}, o.oid FROM pg_catalog.{catalog} o WHERE o.{namespace} IN {covered}{own}",
            class(catalog)
        );
    }
    for (kind, catalog, column) in NAMED {
        let mut wanted = cover.named.iter().filter(|(found, _)| found == kind).map(|(_, name)| name.as_str());
        let _ = write!(
            listed,
            " UNION ALL SELECT {}, oid FROM pg_catalog.{catalog} WHERE {column} = ANY ({})",
            class(catalog),
            names(&mut wanted)
        );
    }
    listed.push_str(&attached(cover));
    let functions: Vec<String> = cover.stays.functions.iter().map(|name| quote_literal(name)).collect();
    let stays = format!(
        "l.classid = {} AND l.objid::pg_catalog.regprocedure::pg_catalog.text = ANY (ARRAY[{}]::pg_catalog.text[])",
        class("pg_proc"),
        functions.join(", ")
    );
    format!(
        "RECURSIVE listed(classid, objid) AS ({listed}), seed AS MATERIALIZED (SELECT l.classid, l.objid FROM listed l \
         WHERE NOT ({stays}) AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = l.classid AND d.objid = l.objid \
         AND d.objsubid = 0 AND d.deptype IN ('e', 'i')))"
    )
}

/// The user's triggers and policies on tables of the platform.
fn attached(cover: &Cover) -> String {
    let mut listed = String::new();
    for (kind, catalog, column, relation) in
        [("TRIGGER", "pg_trigger", "tgname", "tgrelid"), ("POLICY", "pg_policy", "polname", "polrelid")]
    {
        let tags: Vec<String> = cover
            .attached
            .iter()
            .filter(|(found, ..)| found == kind)
            .map(|(_, schema, tag)| format!("({}, {})", quote_literal(schema), quote_literal(tag)))
            .collect();
        if tags.is_empty() {
            continue;
        }
        let _ = write!(
            listed,
            " UNION ALL SELECT {}, o.oid FROM pg_catalog.{catalog} o JOIN pg_catalog.pg_class c ON c.oid = o.{relation} \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE (n.nspname::pg_catalog.text, pg_catalog.concat(c.relname, ' ', o.{column})) IN ({})",
            class(catalog),
            tags.join(", ")
        );
    }
    listed
}

fn large_objects(cover: &Cover) -> String {
    let list: Vec<String> = cover.large_objects.iter().map(u32::to_string).collect();
    format!(
        "SELECT oid, pg_catalog.pg_has_role(lomowner, 'USAGE'), pg_catalog.pg_get_userbyid(lomowner) \
         FROM pg_catalog.pg_largeobject_metadata WHERE oid = ANY (ARRAY[{}]::pg_catalog.oid[]) ORDER BY oid",
        list.join(", ")
    )
}

/// What depends on a seed, or on a part of one, and neither is nor belongs to a seed. Only the
/// first object outside is of interest: what depends on that in turn stands behind it. Seeds in
/// `staying` (catalog and OID) are not dropped.
fn outside(cover: &Cover, seeds: &str, staying: &[(u32, u32)]) -> String {
    let (classes, objects): (Vec<String>, Vec<String>) =
        staying.iter().map(|(class, object)| (class.to_string(), object.to_string())).unzip();
    let kept = format!(
        "SELECT FROM ROWS FROM (pg_catalog.unnest(ARRAY[{}]::pg_catalog.oid[]), pg_catalog.unnest(ARRAY[{}]::pg_catalog.oid[])) \
         AS kept(classid, objid) \
         WHERE kept.classid = s.classid AND kept.objid = s.objid",
        classes.join(", "),
        objects.join(", ")
    );
    let foreign_partition = format!(
        "d.classid = {} AND EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = d.objid \
         AND c.relispartition AND c.relkind IN ('r', 'p', 'f'))",
        class("pg_class")
    );
    let mut carriers = String::new();
    for (catalog, relation) in PARTS {
        let _ = write!(
            carriers,
            "WHEN {} THEN (SELECT NULLIF({relation}, 0) FROM pg_catalog.{catalog} p WHERE p.oid = t.objid) ",
            class(catalog)
        );
    }
    let named = |wanted: &str| {
        let list = cover.named.iter().filter(|(kind, _)| kind == wanted);
        list.map(|(_, name)| quote_literal(name)).collect::<Vec<_>>().join(", ")
    };
    let altered = cover.stays.publications.iter().map(|name| quote_literal(name));
    let altered = altered.collect::<Vec<_>>().join(", ");
    format!(
        "WITH {seeds}, belongs(classid, objid) AS (\
           SELECT s.classid, s.objid FROM seed s WHERE NOT EXISTS ({kept}) UNION \
           SELECT d.classid, d.objid FROM belongs b JOIN pg_catalog.pg_depend d \
           ON d.refclassid = b.classid AND d.refobjid = b.objid AND d.deptype IN ('a', 'i', 'P', 'S') \
           WHERE NOT ({foreign_partition})), \
         touched AS (\
           SELECT DISTINCT d.classid, d.objid FROM belongs b JOIN pg_catalog.pg_depend d \
           ON d.refclassid = b.classid AND d.refobjid = b.objid \
           WHERE (d.deptype = 'n' OR {foreign_partition}) AND d.classid NOT IN ({ignored}) \
           AND NOT EXISTS (SELECT FROM belongs k WHERE k.classid = d.classid AND k.objid = d.objid)), \
         carried AS (SELECT t.classid, t.objid, CASE t.classid {carriers} END AS relation FROM touched t) \
         SELECT pg_catalog.pg_describe_object(o.class, o.object, 0), i.type, i.identity \
         FROM carried t CROSS JOIN LATERAL (SELECT CASE WHEN t.classid = {rewrite} THEN {relations} ELSE t.classid END AS class, \
           CASE WHEN t.classid = {rewrite} THEN t.relation ELSE t.objid END AS object) o \
         CROSS JOIN LATERAL pg_catalog.pg_identify_object(o.class, o.object, 0) i WHERE (t.relation IS NULL OR NOT EXISTS \
           (SELECT FROM belongs k WHERE k.classid = {relations} AND k.objid = t.relation)) \
           AND NOT (t.classid = {mapping} AND EXISTS (SELECT FROM pg_catalog.pg_user_mappings m WHERE m.umid = t.objid \
             AND pg_catalog.concat('USER MAPPING ', m.usename, ' SERVER ', m.srvname) \
               = ANY (ARRAY[{mappings}]::pg_catalog.text[]))) \
         UNION SELECT pg_catalog.pg_describe_object({membership}, r.oid, 0), i.type, i.identity \
           FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid \
           CROSS JOIN LATERAL pg_catalog.pg_identify_object({membership}, r.oid, 0) i \
           JOIN belongs k ON k.classid = {membership} AND k.objid = r.oid \
           WHERE NOT p.pubname = ANY (ARRAY[{publications}]::pg_catalog.name[]) \
         ORDER BY 1",
        ignored =
            [class("pg_cast"), class("pg_transform"), class("pg_default_acl"), class("pg_publication_rel")]
                .join(", "),
        rewrite = class("pg_rewrite"),
        relations = class("pg_class"),
        membership = class("pg_publication_rel"),
        publications = [named("PUBLICATION"), altered]
            .into_iter()
            .filter(|names| !names.is_empty())
            .collect::<Vec<_>>()
            .join(", "),
        mapping = class("pg_user_mapping"),
        mappings = named("USER MAPPING"),
    )
}

fn class(catalog: &str) -> String {
    format!("'pg_catalog.{catalog}'::pg_catalog.regclass::pg_catalog.oid")
}

/// An object as `pg_identify_object` names it.
fn object(kind: &str, identity: &str) -> Doomed {
    let (noun, counted) = match kind {
        "table" => ("TABLE", Some(ObjectKind::Table)),
        "view" => ("VIEW", Some(ObjectKind::View)),
        "materialized view" => ("MATERIALIZED VIEW", Some(ObjectKind::MaterializedView)),
        "sequence" => ("SEQUENCE", Some(ObjectKind::Sequence)),
        "foreign table" => ("FOREIGN TABLE", Some(ObjectKind::ForeignTable)),
        "function" => ("ROUTINE", Some(ObjectKind::Function)),
        "procedure" => ("ROUTINE", Some(ObjectKind::Procedure)),
        "aggregate" => ("ROUTINE", Some(ObjectKind::Aggregate)),
        "type" => ("TYPE", Some(ObjectKind::Type)),
        "operator" => ("OPERATOR", Some(ObjectKind::Operator)),
        "operator class" => ("OPERATOR CLASS", Some(ObjectKind::OperatorClass)),
        "operator family" => ("OPERATOR FAMILY", Some(ObjectKind::OperatorFamily)),
        "collation" => ("COLLATION", Some(ObjectKind::Collation)),
        "conversion" => ("CONVERSION", Some(ObjectKind::Conversion)),
        "statistics object" => ("STATISTICS", Some(ObjectKind::Statistics)),
        "text search configuration" => {
            ("TEXT SEARCH CONFIGURATION", Some(ObjectKind::TextSearchConfiguration))
        }
        "text search dictionary" => ("TEXT SEARCH DICTIONARY", Some(ObjectKind::TextSearchDictionary)),
        "text search parser" => ("TEXT SEARCH PARSER", Some(ObjectKind::TextSearchParser)),
        "text search template" => ("TEXT SEARCH TEMPLATE", Some(ObjectKind::TextSearchTemplate)),
        "publication" => ("PUBLICATION", Some(ObjectKind::Publication)),
        "event trigger" => ("EVENT TRIGGER", Some(ObjectKind::EventTrigger)),
        "foreign-data wrapper" => ("FOREIGN DATA WRAPPER", Some(ObjectKind::ForeignDataWrapper)),
        "server" => ("SERVER", Some(ObjectKind::ForeignServer)),
        "language" => ("LANGUAGE", Some(ObjectKind::Language)),
        "access method" => ("ACCESS METHOD", Some(ObjectKind::AccessMethod)),
        _ => ("", None),
    };
    let noun = if noun.is_empty() { kind.to_uppercase() } else { noun.to_owned() };
    Doomed {
        kind: counted,
        name: format!("{kind} {identity}"),
        identity: identity.to_owned(),
        statement: format!("DROP {noun} IF EXISTS {identity} CASCADE"),
    }
}

/// Sessions that hold a lock on the relation that `name` (`table public.t`) means, in words. Asked
/// after the transaction has failed, so the answer may be empty.
pub(super) fn holders(session: &mut Session, name: &str) -> Vec<String> {
    let identity = ["table ", "view ", "materialized view ", "sequence ", "foreign table "]
        .iter()
        .find_map(|kind| name.strip_prefix(kind));
    let Some(identity) = identity else { return Vec::new() };
    let question = format!(
        "SELECT DISTINCT pg_catalog.format('session %s of role %s (%s)', a.pid, a.usename, \
         COALESCE(NULLIF(a.application_name, ''), a.state)) \
         FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
         WHERE l.relation = pg_catalog.to_regclass({}) AND l.granted AND a.pid <> pg_catalog.pg_backend_pid()",
        quote_literal(identity)
    );
    let Ok(rows) = session.connection.query(&question) else { return Vec::new() };
    rows.iter().filter_map(|row| row.get(0).ok()).collect()
}
