//! Operations on rows: every way in which a version of a row comes, goes, or is locked.

use super::world::{Place, any_place};
use super::writer::{Class, Failure, Operation, Outcome, Writer};

const fn rows(name: &'static str, run: fn(&mut Writer<'_>) -> Outcome) -> Operation {
    Operation { name, class: Class::Rows, run }
}

/// What a catalog lists that definitions are made of.
const fn catalogued(name: &'static str, run: fn(&mut Writer<'_>) -> Outcome) -> Operation {
    Operation { name, class: Class::Tables, run }
}

pub(crate) const OPERATIONS: &[Operation] = &[
    rows("insert a row", |writer| {
        let place = any_place(&mut writer.random);
        writer.run(&place.insert(1, 1))
    }),
    rows("insert many rows", |writer| {
        let place = any_place(&mut writer.random);
        let count = 2 + writer.random.below(60);
        writer.run(&place.insert(count, 2))
    }),
    rows("update in place", |writer| {
        let place = any_place(&mut writer.random);
        writer.run(&format!("UPDATE {} SET v = v + 1 WHERE {}", place.table, place.condition()))
    }),
    rows("update of an indexed column", |writer| {
        let place = any_place(&mut writer.random);
        writer.run(&format!("UPDATE {} SET id = id + 1 WHERE {}", place.table, place.condition()))
    }),
    rows("update of a long value", |writer| {
        let place = any_place(&mut writer.random);
        let table = if writer.random.percent(30) { "toasted" } else { "wide" };
        let count = 1 + writer.random.below(300);
        writer.run(&format!(
            "UPDATE {table} SET body = repeat('{count}-', {count}) || filler({count}) WHERE {}",
            place.condition()
        ))
    }),
    rows("update there and back", |writer| {
        let place = any_place(&mut writer.random);
        for sign in ["+", "-"] {
            writer.run(&format!("UPDATE {} SET v = v {sign} 1 WHERE {}", place.table, place.condition()))?;
        }
        Ok(())
    }),
    rows("delete rows", |writer| {
        let place = any_place(&mut writer.random);
        writer.run(&format!("DELETE FROM {} WHERE {}", place.table, place.condition()))
    }),
    rows("delete a row and insert one", |writer| {
        let place = any_place(&mut writer.random);
        exchange(writer, &place)
    }),
    rows("merge by WITH", |writer| {
        let place = any_place(&mut writer.random);
        let (table, condition) = (&place.table, place.condition());
        writer.run(&format!(
            "WITH gone AS (DELETE FROM {table} WHERE {condition} RETURNING id) \
             INSERT INTO {table} (id, v) SELECT id, 77 FROM gone"
        ))
    }),
    rows("savepoints, some of them rolled back", |writer| {
        let place = any_place(&mut writer.random);
        let (table, condition) = (&place.table, place.condition());
        writer.run(&format!(
            "BEGIN; {}; SAVEPOINT a; UPDATE {table} SET v = -1 WHERE {condition}; ROLLBACK TO a; \
             SAVEPOINT b; DELETE FROM {table} WHERE {condition}; SAVEPOINT c; {}; RELEASE c; ROLLBACK TO b; \
             SAVEPOINT d; UPDATE {table} SET v = v + 10 WHERE {condition}; RELEASE d; COMMIT",
            place.insert(1, 3),
            place.insert(2, 4),
        ))
    }),
    rows("more subtransactions than a snapshot lists", |writer| {
        let place = any_place(&mut writer.random);
        let (table, first) = (&place.table, place.first);
        writer.run(&format!(
            "DO $$ BEGIN FOR i IN 1..80 LOOP BEGIN UPDATE {table} SET v = v + 1 WHERE id = {first} + i % 5; \
             IF i % 3 = 0 THEN RAISE division_by_zero; END IF; EXCEPTION WHEN division_by_zero THEN NULL; END; \
             END LOOP; END $$"
        ))
    }),
    rows("abort", |writer| {
        let place = any_place(&mut writer.random);
        let (table, condition) = (&place.table, place.condition());
        writer.run(&format!(
            "BEGIN; {}; UPDATE {table} SET v = -5 WHERE {condition}; DELETE FROM {table} WHERE {condition}; ROLLBACK",
            place.insert(5, 5)
        ))
    }),
    rows("commit without waiting for the log", |writer| {
        let place = any_place(&mut writer.random);
        let (table, condition) = (&place.table, place.condition());
        writer.run(&format!(
            "BEGIN; SET LOCAL synchronous_commit = off; UPDATE {table} SET v = v + 100 WHERE {condition}; COMMIT"
        ))
    }),
    rows("lock rows FOR UPDATE", |writer| lock(writer, "UPDATE")),
    rows("lock rows FOR SHARE", |writer| lock(writer, "SHARE")),
    rows("several lockers of a row and an update", |writer| {
        let place = any_place(&mut writer.random);
        let (table, condition) = (&place.table, place.condition());
        writer.run(&format!("BEGIN; SELECT FROM {table} WHERE {condition} FOR KEY SHARE"))?;
        writer.run_beside(&format!("BEGIN; SELECT FROM {table} WHERE {condition} FOR KEY SHARE"))?;
        writer.run(&format!("UPDATE {table} SET v = v + 1 WHERE {condition}; COMMIT"))?;
        writer.run_beside("COMMIT")
    }),
    rows("hold a transaction open over a snapshot and commit", |writer| hold(writer, "COMMIT")),
    rows("hold a transaction open over a snapshot and roll back", |writer| hold(writer, "ROLLBACK")),
    rows("hold savepoints open over a snapshot", |writer| {
        let place = any_place(&mut writer.random);
        writer.run("BEGIN; SAVEPOINT a")?;
        exchange(writer, &place)?;
        writer.run("SAVEPOINT b")?;
        exchange(writer, &place)?;
        writer.hold()?;
        exchange(writer, &place)?;
        writer.run("ROLLBACK TO b; RELEASE a; COMMIT")
    }),
    rows("prepare a transaction", |writer| {
        let count = writer.value("SELECT count(*) FROM pg_prepared_xacts")?;
        if count.is_some_and(|count| count.parse::<u64>().is_ok_and(|count| count >= 4)) {
            return Err(Failure::NotNow("enough are prepared"));
        }
        prepare(writer).map(drop)
    }),
    rows("commit a prepared transaction", |writer| finish_prepared(writer, "COMMIT")),
    rows("roll a prepared transaction back", |writer| finish_prepared(writer, "ROLLBACK")),
    catalogued("create a large object", |writer| {
        let bytes = writer.random.below(700_000);
        writer.run(&format!("SELECT lo_from_bytea(0, decode(repeat('0a', {bytes}), 'hex'))"))
    }),
    rows("change a large object", |writer| {
        let Some(oid) = any_large_object(writer)? else { return Err(Failure::NotNow("there is none")) };
        let at = writer.random.below(300_000);
        writer.run(&format!("SELECT lo_put({oid}, {at}, 'changed')"))
    }),
    catalogued("remove a large object", |writer| {
        let Some(oid) = any_large_object(writer)? else { return Err(Failure::NotNow("there is none")) };
        writer.run(&format!("SELECT lo_unlink({oid})"))
    }),
    rows("move a sequence", |writer| writer.run("SELECT nextval('serial')")),
];

/// As many rows as before.
fn exchange(writer: &mut Writer<'_>, place: &Place) -> Outcome {
    let (table, first) = (&place.table, place.first);
    writer.run(&format!(
        "WITH gone AS (DELETE FROM {table} WHERE ctid IN (SELECT ctid FROM {table} WHERE id >= {first} LIMIT 1) RETURNING id) \
         INSERT INTO {table} (id, v) SELECT id, 99 FROM gone"
    ))
}

fn lock(writer: &mut Writer<'_>, strength: &str) -> Outcome {
    let place = any_place(&mut writer.random);
    writer.run(&format!(
        "BEGIN; SELECT FROM {} WHERE {} FOR {strength}; COMMIT",
        place.table,
        place.condition()
    ))
}

fn hold(writer: &mut Writer<'_>, end: &str) -> Outcome {
    let place = any_place(&mut writer.random);
    writer.run("BEGIN")?;
    exchange(writer, &place)?;
    writer.run(&format!("UPDATE {} SET v = v + 1 WHERE {}", place.table, place.condition()))?;
    writer.hold()?;
    exchange(writer, &place)?;
    writer.run(end)
}

/// Ends the oldest prepared transaction, or one that is prepared for it.
fn finish_prepared(writer: &mut Writer<'_>, how: &str) -> Outcome {
    let oldest = writer.value("SELECT gid FROM pg_prepared_xacts ORDER BY prepared LIMIT 1")?;
    let name = match oldest {
        Some(name) => name,
        None => prepare(writer)?,
    };
    writer.run(&format!("{how} PREPARED '{name}'"))
}

fn prepare(writer: &mut Writer<'_>) -> Result<String, Failure> {
    let place = any_place(&mut writer.random);
    let name = writer.new_name();
    writer.run("BEGIN")?;
    exchange(writer, &place)?;
    writer.run(&format!("UPDATE {} SET v = v + 1000 WHERE {}", place.table, place.condition()))?;
    writer.run(&format!("PREPARE TRANSACTION '{name}'"))?;
    Ok(name)
}

fn any_large_object(writer: &mut Writer<'_>) -> Result<Option<String>, Failure> {
    let skip = writer.random.below(6);
    writer.value(&format!("SELECT oid FROM pg_largeobject_metadata ORDER BY oid OFFSET {skip} LIMIT 1"))
}
