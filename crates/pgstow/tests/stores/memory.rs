//! Memory is bounded with a bucket too, however many large files are on their way at once.

use crate::ground::Host;
use crate::support::object_stores::{Kind, ObjectStore};
use crate::support::servers::{self, DEFAULT_MAJOR};

const LIMIT_BYTES: u64 = 256 * 1024 * 1024;

#[test]
fn large_files_of_many_jobs_take_bounded_memory() {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("heavy");
    // Nothing of it can be compressed, so each table is an object of many parts.
    source.run(
        "DO $$ BEGIN FOR t IN 1..8 LOOP
           EXECUTE format('CREATE TABLE heavy_%s (body bytea)', t);
           EXECUTE format('ALTER TABLE heavy_%s ALTER body SET STORAGE EXTERNAL', t);
           EXECUTE format('INSERT INTO heavy_%s SELECT string_agg(sha512((%s || '' '' || n)::text::bytea), '''')
                           FROM generate_series(1, 600000) AS n', t, t);
         END LOOP; END $$",
    );
    let sums = "SELECT string_agg(md5(body), ' ') FROM (SELECT body FROM heavy_1 UNION ALL
                SELECT body FROM heavy_5 UNION ALL SELECT body FROM heavy_8) AS bodies";
    let target = server.database("heavy_restored");
    let store = ObjectStore::start(Kind::S3sFs);
    let mut host = Host::with_bucket(&source, &store);
    host.workspace.environment("DEV", &target.url());
    let bounded = |arguments: &[&str]| {
        let outcome = host.run(arguments).succeeded();
        assert!(outcome.peak_memory_bytes > 0, "no memory was seen");
        let peak = outcome.peak_memory_bytes;

        assert!(peak <= LIMIT_BYTES, "{arguments:?} took {peak} bytes");
    };
    bounded(&["backup", "prod", "--jobs", "8"]);
    bounded(&["verify", "latest", "--read-data"]);
    bounded(&["restore", "latest", "--to", "dev", "--jobs", "8"]);
    assert_eq!(source.value(sums), target.value(sums));
    source.drop_database();
    target.drop_database();
}
