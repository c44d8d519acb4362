//! Operations that clean tables up or give them other files, and keep their definitions.

use super::world::plain_place;
use super::writer::{Class, Operation, Outcome, Writer};

const fn tables(name: &'static str, run: fn(&mut Writer<'_>) -> Outcome) -> Operation {
    Operation { name, class: Class::Tables, run }
}

pub(crate) const OPERATIONS: &[Operation] = &[
    tables("VACUUM", |writer| on_a_table(writer, |table| format!("VACUUM {table}"))),
    tables("VACUUM of all", |writer| writer.run("VACUUM")),
    tables("VACUUM FREEZE", |writer| on_a_table(writer, |table| format!("VACUUM FREEZE {table}"))),
    tables("VACUUM FULL", |writer| on_a_table(writer, |table| format!("VACUUM FULL {table}"))),
    tables("VACUUM FULL of a TOAST table", |writer| {
        let toast =
            writer.value("SELECT reltoastrelid::regclass FROM pg_class WHERE relname = 'medium_1'")?;
        writer.run(&format!("VACUUM FULL {}", toast.unwrap_or_default()))
    }),
    tables("VACUUM FULL of a catalog", |writer| writer.run("VACUUM FULL pg_catalog.pg_description")),
    tables("CLUSTER", |writer| on_a_table(writer, |table| format!("CLUSTER {table} USING {table}_id"))),
    tables("VACUUM FULL of a table of several chunks", |writer| {
        writer.run("DELETE FROM wide WHERE id IN (SELECT id FROM wide LIMIT 7)")?;
        writer.run("VACUUM FULL wide")
    }),
    tables("CLUSTER of a table of several chunks", |writer| writer.run("CLUSTER wide USING wide_id")),
    tables("ANALYZE", |writer| on_a_table(writer, |table| format!("ANALYZE {table}"))),
    tables("REINDEX", |writer| on_a_table(writer, |table| format!("REINDEX TABLE {table}"))),
    tables("CHECKPOINT", |writer| writer.run("CHECKPOINT")),
    tables("TRUNCATE and fill with as many rows", |writer| {
        let value = writer.random.below(1000);
        on_a_table(writer, |table| {
            format!(
                "DO $$ DECLARE n bigint; BEGIN SELECT count(*) INTO n FROM {table}; TRUNCATE {table}; \
                 INSERT INTO {table} (id, v, body) SELECT g, {value}, filler(g + {value}) FROM generate_series(1, n) g; END $$"
            )
        })
    }),
    tables("TRUNCATE and COPY FREEZE", |writer| {
        let table = plain_place(&mut writer.random).table;
        let rows: String =
            (1..=90).map(|id| format!("{id}\t{}\tfrozen\n", writer.random.below(1000))).collect();
        writer.run(&format!("BEGIN; TRUNCATE {table}"))?;
        writer.copy(&format!("COPY {table} (id, v, body) FROM STDIN (FREEZE)"), &rows)?;
        writer.run("COMMIT")
    }),
    tables("TRUNCATE rolled back", |writer| {
        on_a_table(writer, |table| {
            format!("BEGIN; TRUNCATE {table}; INSERT INTO {table} (id, v) VALUES (1, 1); ROLLBACK")
        })
    }),
    tables("delete at the end and VACUUM, which shortens the file", |writer| {
        let table = plain_place(&mut writer.random).table;
        writer.run(&format!("DELETE FROM {table} WHERE ctid >= '(3,0)'"))?;
        writer.run(&format!("VACUUM {table}"))?;
        writer.run(&format!(
            "INSERT INTO {table} (id, v, body) SELECT g, 8, filler(g) FROM generate_series(1, 200) g"
        ))
    }),
    tables("fill up to a table of several chunks", |writer| {
        writer
            .run("INSERT INTO medium_0 (id, v, body) SELECT g, 8, filler(g) FROM generate_series(1, 3000) g")
    }),
];

fn on_a_table(writer: &mut Writer<'_>, statement: impl Fn(&str) -> String) -> Outcome {
    let table = plain_place(&mut writer.random).table;
    writer.run(&statement(&table))
}
