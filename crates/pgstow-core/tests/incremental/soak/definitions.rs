//! Operations that change definitions: every sort that changes, or might change, how rows read.

use super::world::plain_place;
use super::writer::{Class, Operation, Outcome, Writer};

const fn definitions(name: &'static str, run: fn(&mut Writer<'_>) -> Outcome) -> Operation {
    Operation { name, class: Class::Definitions, run }
}

/// Renames a label of `mood`, or all in turn.
const RENAME_LABEL: &str = "DO $$ DECLARE label text; BEGIN \
     SELECT enumlabel INTO label FROM pg_enum WHERE enumtypid = 'mood'::regtype ORDER BY random() LIMIT 1; \
     EXECUTE format('ALTER TYPE mood RENAME VALUE %L TO %L', label, label || '_'); \
     IF length(label) > 20 THEN EXECUTE format('ALTER TYPE mood RENAME VALUE %L TO %L', label || '_', left(label, 2)); END IF; END $$";

pub(crate) const OPERATIONS: &[Operation] = &[
    definitions("add a column with a default", |writer| {
        let value = writer.random.below(100);
        on_a_table(writer, |table| format!("ALTER TABLE {table} ADD COLUMN more int DEFAULT {value}"))
    }),
    definitions("add a column with a volatile default", |writer| {
        on_a_table(writer, |table| {
            format!(
                "ALTER TABLE {table} DROP COLUMN IF EXISTS more, ADD COLUMN more int DEFAULT (random() * 9)::int"
            )
        })
    }),
    definitions("drop a column", |writer| {
        on_a_table(writer, |table| format!("ALTER TABLE {table} DROP COLUMN IF EXISTS more"))
    }),
    definitions("drop a column and add it again", |writer| {
        let value = writer.random.below(100);
        on_a_table(writer, |table| {
            format!("ALTER TABLE {table} DROP COLUMN IF EXISTS more, ADD COLUMN more int DEFAULT {value}")
        })
    }),
    definitions("fill a column, or drop it and add it again empty", |writer| {
        let place = plain_place(&mut writer.random);
        let (table, condition) = (&place.table, place.condition());
        let has = writer.value(&format!(
            "SELECT 1 FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attname = 'more' AND NOT attisdropped"
        ))?;
        if has.is_none() || writer.random.percent(40) {
            writer.run(&format!("ALTER TABLE {table} DROP COLUMN IF EXISTS more, ADD COLUMN more int"))
        } else {
            writer.run(&format!("UPDATE {table} SET more = id WHERE {condition}"))
        }
    }),
    definitions("change names of columns", |writer| {
        on_a_table(writer, |table| {
            format!(
                "BEGIN; ALTER TABLE {table} RENAME v TO x; ALTER TABLE {table} RENAME id TO v; ALTER TABLE {table} RENAME x TO id; COMMIT"
            )
        })
    }),
    definitions("type change that writes the table anew", |writer| {
        toggle_type(writer, "kinds", "i", ["integer", "bigint"])
    }),
    definitions("oid to regclass and back", |writer| toggle_type(writer, "kinds", "o", ["oid", "regclass"])),
    definitions("timestamp to timestamptz and back", |writer| {
        toggle_type(writer, "kinds", "t", ["timestamp without time zone", "timestamp with time zone"])
    }),
    definitions("cidr to inet and back", |writer| toggle_type(writer, "kinds", "c", ["cidr", "inet"])),
    definitions("varchar to text and back", |writer| {
        toggle_type(writer, "kinds", "s", ["character varying(20)", "text"])
    }),
    definitions("wider numeric and back", |writer| {
        toggle_type(writer, "kinds", "n", ["numeric(10,2)", "numeric(14,2)"])
    }),
    definitions("SET UNLOGGED", |writer| writer.run("ALTER TABLE loggable SET UNLOGGED")),
    definitions("SET LOGGED", |writer| writer.run("ALTER TABLE loggable SET LOGGED")),
    definitions("DROP EXPRESSION", |writer| {
        writer.run(
            "BEGIN; ALTER TABLE generated DROP COLUMN g, ADD COLUMN g int GENERATED ALWAYS AS (v * 3) STORED; COMMIT",
        )?;
        writer.run("ALTER TABLE generated ALTER COLUMN g DROP EXPRESSION")
    }),
    definitions("add a generated column", |writer| {
        writer.run("ALTER TABLE generated DROP COLUMN g, ADD COLUMN g int GENERATED ALWAYS AS (v * 2) STORED")
    }),
    definitions("add an enum label", |writer| {
        let name = writer.new_name();
        writer
            .run(&format!("ALTER TYPE mood ADD VALUE '{name}' BEFORE 'none' "))
            .or_else(|_| writer.run(&format!("ALTER TYPE mood ADD VALUE '{name}'")))
    }),
    definitions("rename an enum label", |writer| writer.run(RENAME_LABEL)),
    definitions("rename an enum label there and back", |writer| {
        let label =
            writer.value("SELECT min(enumlabel::text) FROM pg_enum WHERE enumtypid = 'mood'::regtype")?;
        let label = label.unwrap_or_default();
        writer.run(&format!("ALTER TYPE mood RENAME VALUE '{label}' TO 'between'"))?;
        writer.run(&format!("ALTER TYPE mood RENAME VALUE 'between' TO '{label}'"))
    }),
    definitions("add an attribute", |writer| {
        let name = writer.new_name();
        writer.run(&format!("ALTER TYPE pair ADD ATTRIBUTE {name} int"))
    }),
    definitions("drop an attribute", |writer| {
        let name = writer.value(
            "SELECT attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid \
              WHERE relname = 'pair' AND attname ~ '^n' AND NOT attisdropped LIMIT 1",
        )?;
        let Some(name) = name else { return writer.run("ALTER TYPE pair ADD ATTRIBUTE n int") };
        writer.run(&format!("ALTER TYPE pair DROP ATTRIBUTE {name}"))
    }),
    definitions("rename an attribute", |writer| {
        let name = writer.new_name();
        let current = writer.value(
            "SELECT attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid WHERE relname = 'pair' AND attnum = 2",
        )?;
        writer.run(&format!("ALTER TYPE pair RENAME ATTRIBUTE {} TO x{name}", current.unwrap_or_default()))
    }),
    definitions("a row type gains a column", |writer| {
        let name = writer.new_name();
        writer.run(&format!("ALTER TABLE source ADD COLUMN {name} int"))
    }),
    definitions("a row type loses a column", |writer| {
        let name = writer.value(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'source'::regclass AND attname ~ '^n' AND NOT attisdropped LIMIT 1",
        )?;
        let Some(name) = name else { return writer.run("ALTER TABLE source ADD COLUMN n int") };
        writer.run(&format!("ALTER TABLE source DROP COLUMN {name}"))
    }),
    definitions("a domain gains and loses a constraint", |writer| {
        writer.run("ALTER DOMAIN small_domain ADD CONSTRAINT limited CHECK (VALUE < 1000000)")?;
        writer.run("ALTER DOMAIN small_domain DROP CONSTRAINT limited")
    }),
    definitions("another default of a domain", |writer| {
        let value = writer.random.below(100);
        writer.run(&format!("ALTER DOMAIN small_domain SET DEFAULT {value}"))
    }),
    definitions("detach a partition", |writer| writer.run("ALTER TABLE p DETACH PARTITION part_b")),
    definitions("attach a partition", |writer| {
        // Rows for it have gone elsewhere meanwhile.
        writer.run(
            "BEGIN; DELETE FROM part_rest WHERE id BETWEEN 100 AND 199; DELETE FROM part_b WHERE id NOT BETWEEN 100 AND 199; \
             ALTER TABLE p ATTACH PARTITION part_b FOR VALUES FROM (100) TO (200); COMMIT",
        )
    }),
    definitions("rename a table", |writer| {
        writer.run(
            "DO $$ BEGIN IF to_regclass('roaming') IS NULL THEN ALTER TABLE roamed RENAME TO roaming; \
             UPDATE roaming SET v = v + 1 WHERE id < 5; ELSE ALTER TABLE roaming RENAME TO roamed; END IF; END $$",
        )
    }),
    definitions("two tables change names", |writer| {
        writer.run(
            "BEGIN; ALTER TABLE swap_a RENAME TO swap_x; ALTER TABLE swap_b RENAME TO swap_a; \
             ALTER TABLE swap_x RENAME TO swap_b; COMMIT",
        )
    }),
    definitions("what a regclass names gets another name", |writer| {
        let name = writer.new_name();
        writer.run(&format!("DROP TABLE IF EXISTS {name}; CREATE TABLE {name} (id int)"))?;
        writer.run(&format!("UPDATE names SET o = '{name}' WHERE id < 5"))?;
        writer.run(&format!("ALTER TABLE {name} RENAME TO other_{name}"))?;
        if writer.random.percent(70) { writer.run(&format!("DROP TABLE other_{name}")) } else { Ok(()) }
    }),
    definitions("drop a table and make it again", |writer| {
        let value = writer.random.below(1000);
        writer.run(&format!(
            "DO $$ DECLARE n bigint; BEGIN SELECT count(*) INTO n FROM fleeting; DROP TABLE fleeting; \
             CREATE TABLE fleeting (id int, v int, body text); \
             INSERT INTO fleeting SELECT g, {value}, filler(g) FROM generate_series(1, n) g; END $$"
        ))
    }),
    definitions("create a table", |writer| {
        let name = writer.new_name();
        writer.run(&format!(
            "CREATE TABLE new_{name} AS SELECT g AS id, filler(g) AS body FROM generate_series(1, 50) g"
        ))
    }),
    definitions("drop a table", |writer| {
        let name =
            writer.value("SELECT relname FROM pg_class WHERE relname ~ '^new_' AND relkind = 'r' LIMIT 1")?;
        let name = name.unwrap_or_else(|| "new_table".to_owned());
        writer.run(&format!("CREATE TABLE IF NOT EXISTS {name} (); DROP TABLE {name}"))
    }),
    definitions("storage, statistics and fillfactor of a table", |writer| {
        let value = 50 + writer.random.below(50);
        on_a_table(writer, |table| {
            format!(
                "ALTER TABLE {table} SET (fillfactor = {value}), ALTER body SET STORAGE EXTERNAL, ALTER body SET STATISTICS {value}"
            )
        })
    }),
    definitions("index, comment and privileges of a table", |writer| {
        let name = writer.new_name();
        on_a_table(writer, |table| {
            format!(
                "CREATE INDEX ON {table} (v); COMMENT ON TABLE {table} IS '{name}'; GRANT SELECT ON {table} TO PUBLIC"
            )
        })
    }),
    definitions("drop an index", |writer| {
        let name = writer
            .value("SELECT relname FROM pg_class WHERE relname ~ '_v_idx' AND relkind = 'i' LIMIT 1")?;
        let Some(name) = name else { return writer.run("CREATE INDEX ON medium_0 (v)") };
        writer.run(&format!("DROP INDEX {name}"))
    }),
    definitions("replace a function and a view", |writer| {
        let value = writer.random.below(1000);
        writer.run(&format!(
            "CREATE OR REPLACE FUNCTION answer() RETURNS int LANGUAGE sql AS 'SELECT {value}'; \
             DROP VIEW IF EXISTS shown; CREATE VIEW shown AS SELECT answer() + {value} AS value"
        ))
    }),
    definitions("temporary tables", |writer| {
        writer.run("CREATE TEMPORARY TABLE IF NOT EXISTS passing (x int); INSERT INTO passing VALUES (1); DROP TABLE passing")
    }),
];

fn on_a_table(writer: &mut Writer<'_>, statement: impl Fn(&str) -> String) -> Outcome {
    let table = plain_place(&mut writer.random).table;
    writer.run(&statement(&table))
}

/// Gives a column the other of two types.
fn toggle_type(writer: &mut Writer<'_>, table: &str, column: &str, types: [&str; 2]) -> Outcome {
    let current = writer.value(&format!(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attname = '{column}'"
    ))?;
    let next = if current.as_deref() == Some(types[0]) { types[1] } else { types[0] };
    writer.run(&format!("ALTER TABLE {table} ALTER COLUMN {column} TYPE {next}"))
}
