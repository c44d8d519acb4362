//! Damaged and hostile files: each is refused or restored, none changes the target by half, and none
//! makes the program panic.

use std::path::Path;

use crate::ground::{dump, text, workspace};
use crate::support::oracle;
use crate::support::psql::Database;
use crate::support::servers::{self, DEFAULT_MAJOR};

/// Changed in the environment to repeat a failure.
const SEED: &str = "PGSTOW_FILES_SEED";
const MUTATIONS: usize = 40;

struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below.max(1) as u64).expect("it is below a usize")
    }
}

fn source() -> Database {
    let source = servers::shared(DEFAULT_MAJOR).database("source");
    source.run(
        "CREATE TABLE a (id serial PRIMARY KEY, body text); INSERT INTO a (body) SELECT md5(n::text) FROM generate_series(1, 300) AS n;
         SELECT lo_from_bytea(7, 'abc'); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1; $$",
    );
    source
}

#[test]
fn a_dump_that_is_cut_off_anywhere_changes_nothing() {
    let source = source();
    let target = servers::shared(DEFAULT_MAJOR).database("target");
    let untouched = oracle::state(&target);
    let workspace = workspace(&target);
    for (name, options) in
        [("custom", vec!["-Fc"]), ("bare", vec!["-Fc", "-Z0"]), ("tar", vec!["-Ft"]), ("gz", vec!["-Z5"])]
    {
        let file = dump(&source, &workspace, name, &options);
        let whole = std::fs::read(&file).expect("the dump");
        let cut = workspace.path().join("cut.dump");
        for part in [1, 3, 5, 7, 9] {
            // The end mark of a tar file takes 1 KiB.
            let length = (whole.len() - 1200.min(whole.len() / 4)) * part / 9;
            std::fs::write(&cut, &whole[..length]).expect("a file");
            let outcome = workspace.run(&["restore", text(&cut), "--to", "dev"]);
            assert!([1, 2, 4].contains(&outcome.code()), "{name} cut at {length}\n{}", outcome.said());
            outcome.saying(&["nothing was changed"]);
        }
    }
    oracle::assert_same(&untouched, &oracle::state(&target));
}

#[test]
fn a_directory_that_lacks_a_file_or_leads_out_of_itself_is_refused() {
    let source = source();
    let target = servers::shared(DEFAULT_MAJOR).database("target");
    let workspace = workspace(&target);
    let folder = dump(&source, &workspace, "folder", &["-Fd"]);
    let toc = std::fs::read(folder.join("toc.dat")).expect("the table of contents");
    let entries = std::fs::read_dir(&folder).expect("a folder").flatten();
    let data = entries.map(|entry| entry.path()).find(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.ends_with(".dat.gz") && !name.starts_with("blob") && !name.starts_with("toc")
    });
    let data = data.expect("a file of rows");
    let name = data.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
    // As long as the true one, so that the table of contents stays well formed.
    let outside = format!("../{}", &"x".repeat(name.len() - 3));
    replace(&folder, &toc, &name, &outside);
    workspace
        .run(&["restore", text(&folder), "--to", "dev"])
        .ended_with(1)
        .saying(&["not how pg_dump names"]);
    std::fs::write(folder.join("toc.dat"), &toc).expect("a file");
    std::fs::remove_file(&data).expect("the file is there");
    workspace
        .run(&["restore", text(&folder), "--to", "dev"])
        .ended_with(1)
        .saying(&[&name, "nothing was changed"]);
    std::fs::remove_file(folder.join("toc.dat")).expect("the file is there");
    workspace.run(&["restore", text(&folder), "--to", "dev"]).ended_with(1).saying(&["toc.dat"]);
}

fn replace(folder: &Path, toc: &[u8], old: &str, new: &str) {
    let place = toc.windows(old.len()).position(|window| window == old.as_bytes()).expect("it is named");
    let mut changed = toc.to_vec();
    changed[place..place + old.len()].copy_from_slice(new.as_bytes());
    std::fs::write(folder.join("toc.dat"), changed).expect("a file");
}

#[test]
fn no_mutation_of_a_dump_makes_the_program_panic() {
    let seed = std::env::var(SEED).ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) * 2_654_435_761 + 1);
    println!("{SEED}={seed}");
    let mut random = Random(seed);
    let source = source();
    let target = servers::shared(DEFAULT_MAJOR).database("target");
    let untouched = oracle::state(&target);
    let workspace = workspace(&target);
    let dumps = [
        ("custom", vec!["-Fc", "-Z0"]),
        ("tar", vec!["-Ft"]),
        ("plain", vec!["--inserts"]),
        ("gz", vec!["-Z1"]),
    ];
    for (name, options) in dumps {
        let whole = std::fs::read(dump(&source, &workspace, name, &options)).expect("the dump");
        let file = workspace.path().join("mutated.dump");
        for _ in 0..MUTATIONS / 4 {
            let mut mutated = whole.clone();
            for _ in 0..=random.next(4) {
                let place = random.next(mutated.len());
                match random.next(3) {
                    0 => mutated[place] ^= 1 << random.next(8),
                    1 => mutated[place] = [0, 255, b'\'', b'$', b'\\', b';'][random.next(6)],
                    _ => drop(mutated.remove(place)),
                }
            }
            std::fs::write(&file, &mutated).expect("a file");
            // Panics stop the test where the run is waited for.
            let outcome = workspace.run(&["restore", text(&file), "--to", "dev", "--dry-run"]);
            assert!([0, 1, 2, 4].contains(&outcome.code()), "{name}\n{}", outcome.said());
        }
    }
    oracle::assert_same(&untouched, &oracle::state(&target));
}
