//! Roles on the command line: what is missing is named, and both ways out of it work.

use crate::support::servers;
use crate::support::workspace::Workspace;

#[test]
fn missing_roles_are_named_with_both_choices_and_created_or_mapped_as_asked() {
    let source = servers::shared(15).database("roles");
    // Roles are the server's: their names are this test's own.
    source.run(
        "CREATE ROLE e2e_owner; CREATE ROLE e2e_reader; CREATE TABLE notes (body text); INSERT INTO notes VALUES ('a'); \
         ALTER TABLE notes OWNER TO e2e_owner; GRANT SELECT ON notes TO e2e_reader; \
         ALTER TABLE notes ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON notes TO e2e_reader USING (true)",
    );
    let mut workspace = Workspace::with_source(&source);
    let id = workspace.backup(&[]);

    let there = servers::shared(16);
    let (left_out, mapped, configured, created) = (
        there.database("left_out"),
        there.database("mapped"),
        there.database("configured"),
        there.database("created"),
    );
    for (name, database) in [("A", &left_out), ("B", &mapped), ("D", &created)] {
        workspace.environment(name, &database.url());
    }
    workspace.set("CONFIGURED", &configured.url());

    let plan = workspace.run(&["restore", &id, "--to", "a", "--dry-run"]).succeeded();
    let plan = plan.saying(&[
        "role e2e_reader is not there: holds 1 privilege; policy mine on public.notes",
        "--create-roles",
        "--map-role e2e_owner=NAME",
    ]);
    assert!(plan.stdout.contains("nothing was changed"), "{}", plan.said());
    workspace
        .run(&["restore", &id, "--to", "a"])
        .ended_with(3)
        .saying(&["policy mine on public.notes is not restored: the target has no role e2e_reader"]);
    assert_eq!(left_out.value("SELECT count(*) FROM pg_policy"), "0");

    left_out.run("CREATE ROLE e2e_target");
    let map = ["--map-role", "e2e_owner=postgres", "--map-role", "e2e_reader=e2e_target"];
    let arguments = [&["restore", &id, "--to", "b"][..], &map].concat();
    workspace.run(&arguments).succeeded().saying(&["role e2e_reader to e2e_target"]);
    let policy = "SELECT polroles::regrole[] FROM pg_policy";
    assert_eq!(mapped.value(policy), "{e2e_target}");

    let file = "[env.c]\nurl = '${CONFIGURED}'\n[env.c.role_map]\ne2e_owner = 'postgres'\ne2e_reader = 'nobody there'\n";
    std::fs::write(workspace.path().join("pgstow.toml"), file).expect("a file");
    workspace.run(&["restore", &id, "--to", "c"]).ended_with(4).saying(&["nobody there"]);
    let corrected = ["restore", &id, "--to", "c", "--map-role", "e2e_reader=e2e_target"];
    workspace.run(&corrected).succeeded();
    assert_eq!(configured.value(policy), "{e2e_target}");
    std::fs::remove_file(workspace.path().join("pgstow.toml")).expect("the file goes");

    let twice = ["restore", &id, "--to", "d", "--map-role", "a=b", "--map-role", "a=c"];
    workspace.run(&twice).ended_with(2).saying(&["mapped to b and to c"]);
    workspace.run(&["restore", &id, "--to", "d", "--map-role", "a"]).ended_with(2).saying(&["OLD=NEW"]);
    workspace
        .run(&["restore", &id, "--to", "d", "--create-roles"])
        .succeeded()
        .saying(&["e2e_owner, e2e_reader"]);
    assert_eq!(created.value(policy), "{e2e_reader}");
}

#[test]
fn a_check_tells_the_platform_and_what_the_role_may_do_also_in_json() {
    let source = servers::shared(15).database("check");
    let workspace = Workspace::with_source(&source);
    workspace.run(&["check", "prod"]).succeeded().saying(&[
        "no hosting platform recognised",
        "none: the session is the server's own",
        "for a restore into it",
        "creates missing roles (--create-roles)",
    ]);
    let outcome = workspace.run(&["check", "prod", "--json"]).succeeded();
    let json: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!(json["hosting"]["platform"], "plain");
    let abilities = json["abilities"].as_array().expect("a list");
    let roles = abilities.iter().find(|ability| ability["what"] == "create-roles").expect("one");
    assert_eq!((roles["able"].as_bool(), roles["serves"].as_str()), (Some(true), Some("restore")));
}
