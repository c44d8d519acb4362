//! Files of stock pg_dump restored into projects: an archive of all of a project, of which the platform's
//! part is left out, and plain SQL, which can be the user's part alone.

use std::path::PathBuf;

use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::Silent;
use pgstow_core::restore::file::{self, FileOptions, FileReport};
use pgstow_core::{Error, ErrorKind, Result};

use crate::stand_in::{CUSTOMER, DATABASE, Era, KINDS, Profile, Project, SUPERUSER};
use crate::witness;

/// What a customer makes: rows behind row-level security, their keys to accounts, and something on the
/// platform's own tables.
const OWN: &str = "
CREATE TYPE public.mood AS ENUM ('calm', 'busy');
CREATE TABLE public.notes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    author uuid REFERENCES auth.users,
    mood public.mood NOT NULL DEFAULT 'calm',
    body text NOT NULL
);
INSERT INTO public.notes (body) SELECT 'note ' || n FROM generate_series(1, 300) AS n;
ALTER TABLE public.notes ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON public.notes FROM anon, authenticated;
GRANT SELECT, INSERT ON public.notes TO authenticated;
CREATE POLICY own ON public.notes TO authenticated USING (author = auth.uid());
CREATE VIEW public.moods AS SELECT mood, count(*) FROM public.notes GROUP BY mood;
CREATE FUNCTION public.welcome() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TABLE public.orders (id integer PRIMARY KEY, note bigint REFERENCES public.notes);
INSERT INTO public.orders SELECT n, n FROM generate_series(1, 100) AS n;
CREATE INDEX ON public.orders (note);
";

/// What the user's schema holds, as the superuser sees it. Each query gives one value.
const LOOKS: [&str; 5] = [
    "SELECT string_agg(format('%s %s', c.relname, md5(t.rows)), ', ' ORDER BY relname) FROM pg_class c,
     LATERAL (SELECT query_to_xml('SELECT * FROM public.' || c.relname || ' ORDER BY 1', true, false, '')::text) AS t(rows)
     WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')",
    "SELECT string_agg(format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)), ', ' ORDER BY 1)
     FROM (SELECT * FROM pg_constraint ORDER BY conname) c WHERE connamespace = 'public'::regnamespace",
    "SELECT string_agg(format('%s %s %s %s', polrelid::regclass, polname, polroles::regrole[], pg_get_expr(polqual, polrelid)), ', ')
     FROM pg_policy WHERE polrelid = 'public.notes'::regclass",
    "SELECT string_agg(format('%s %s', relname, pg_get_userbyid(relowner)), ', ' ORDER BY relname)
     FROM pg_class WHERE relnamespace = 'public'::regnamespace",
    "SELECT string_agg(format('%s %s', relname, relrowsecurity), ', ' ORDER BY relname)
     FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'",
];

fn looks(project: &Project) -> Vec<String> {
    LOOKS.iter().map(|look| project.value(look)).collect()
}

/// A project with rows, and a dump of it by stock pg_dump.
fn dumped(name: &str, role: &str, options: &[&str]) -> (Project, tempfile::TempDir, PathBuf) {
    let source = Project::new(Profile::New, Era::Apart);
    source.execute_as(CUSTOMER, OWN);
    source.execute_as(
        SUPERUSER,
        "CREATE TRIGGER greet AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION public.welcome()",
    );
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join(name);
    let mut command = witness::client("pg_dump", &source.server, role);
    let output = command.args(options).args(["-d", DATABASE, "-f"]).arg(&file).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (source, folder, file)
}

fn restore(file: &std::path::Path, project: &Project, clean: bool) -> Result<FileReport> {
    let options = FileOptions { clean, ..FileOptions::new(file.to_owned(), project.settings()) };
    let interrupt = Interrupt::new();
    file::prepare(&options, &Silent, &interrupt)?.apply(&Silent, &interrupt)
}

fn told(error: &Error) -> String {
    format!("{error}\n  why {:?}\n  try {:?}", error.reason(), error.hints())
}

/// The platform's own part of a project: what no restore of a file may touch.
fn platform(project: &Project) -> Vec<String> {
    let mut command = witness::client("pg_dump", &project.server, SUPERUSER);
    let output = command.args(["-d", DATABASE, "--exclude-schema=public"]).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    // These lines hold a random word, and this trigger is the user's.
    let own = |line: &&str| {
        !line.contains("restrict") && !line.contains(" greet") && !line.is_empty() && *line != "--"
    };
    text.lines().filter(own).map(str::to_owned).collect()
}

fn goes_into_projects_of_every_kind(name: &str, role: &str, options: &[&str]) -> Vec<String> {
    let (source, _folder, file) = dumped(name, role, options);
    let mut remarks = Vec::new();
    for kind in KINDS {
        let target = Project::new(kind.0, kind.1);
        let before = platform(&target);
        for clean in [false, true] {
            let report = restore(&file, &target, clean).unwrap_or_else(|error| panic!("{}", told(&error)));
            assert_eq!(looks(&source), looks(&target), "{kind:?}, clean: {clean}");
            let changed = witness::changed(&before, &platform(&target));
            assert!(changed.is_empty(), "{kind:?}, clean: {clean}: {changed:#?}");
            remarks = report.remarks;
        }
    }
    remarks
}

#[test]
fn an_archive_of_a_project_goes_into_new_ones_without_the_platforms_part() {
    let remarks = goes_into_projects_of_every_kind("all.dump", SUPERUSER, &["-Fc"]);
    for schema in ["auth", "storage", "realtime", "vault"] {
        let told = format!("schema {schema} is left out");
        assert!(remarks.iter().any(|remark| remark.contains(&told)), "{schema}: {remarks:#?}");
    }
}

#[test]
fn a_script_of_schema_public_goes_into_new_projects() {
    let remarks = goes_into_projects_of_every_kind("public.sql", CUSTOMER, &["--schema=public"]);
    assert!(!remarks.iter().any(|remark| remark.contains("auth")), "{remarks:#?}");
}

#[test]
fn a_script_of_a_whole_project_is_refused_before_anything_is_changed() {
    let (_source, _folder, file) = dumped("all.sql", SUPERUSER, &[]);
    let target = Project::new(Profile::New, Era::Apart);
    let before = witness::dump(&target.server, SUPERUSER);
    let error = restore(&file, &target, false).expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Refused, "{}", told(&error));
    assert!(told(&error).contains("-Fc") && told(&error).contains("--schema=public"), "{}", told(&error));
    assert_eq!(before, witness::dump(&target.server, SUPERUSER));
}

#[test]
fn rows_of_accounts_that_the_target_lacks_change_nothing() {
    let source = Project::in_use(Profile::Old, Era::Member);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("used.dump");
    let mut command = witness::client("pg_dump", &source.server, SUPERUSER);
    let output = command.args(["-Fc", "-d", DATABASE, "-f"]).arg(&file).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let target = Project::new(Profile::Old, Era::Member);
    let before = witness::dump(&target.server, SUPERUSER);
    let error = restore(&file, &target, false).expect_err("rows refer to accounts that are not there");
    assert!(told(&error).contains("profiles"), "{}", told(&error));
    assert_eq!(before, witness::dump(&target.server, SUPERUSER), "the target has changed");
}

#[test]
fn a_transaction_pooler_is_refused_for_a_file_too() {
    let (_source, _folder, file) = dumped("public.dump", CUSTOMER, &["-Fc", "--schema=public"]);
    let target = Project::new(Profile::New, Era::Apart);
    let pooler = witness::TransactionPooler::start(&target.server);
    let (before, settings) = (witness::dump(&target.server, SUPERUSER), pooler.settings_of_a_client());
    for clean in [false, true] {
        let options = FileOptions { clean, ..FileOptions::new(file.clone(), pooler.settings()) };
        let error = file::prepare(&options, &Silent, &Interrupt::new()).err().expect("it is refused");
        assert_eq!(error.kind(), ErrorKind::Refused, "{}", told(&error));
        assert!(error.message().contains("transaction pooler"), "{}", told(&error));
    }
    assert_eq!(pooler.spoilt(&settings), Vec::<String>::new());
    assert_eq!(before, witness::dump(&target.server, SUPERUSER));
}
