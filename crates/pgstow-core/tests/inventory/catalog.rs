//! The rest of the catalog: roles, settings, extensions, options of views.

use pgstow_core::inventory::catalog::{Catalog, Role};
use pgstow_core::platform::Hosting;
use pgstow_core::postgres::catalog::inventory;

use crate::ground::Ground;

const SETTINGS: &str = "
ALTER DATABASE source SET app.jwt_secret = 'sesame-6';
ALTER ROLE inv_group IN DATABASE source SET work_mem = '8MB';
CREATE ROLE inv_unrelated LOGIN PASSWORD 'sesame-7';
CREATE ROLE inv_far_group NOLOGIN;
GRANT inv_far_group TO inv_group;
CREATE ROLE inv_writer NOLOGIN PASSWORD 'sesame-8';
GRANT pg_read_all_stats TO inv_writer;
GRANT INSERT ON app.lines TO inv_writer;
";

fn catalog(major: u32) -> Catalog {
    let ground = Ground::with_fixture(major);
    ground.run("source", SETTINGS);
    inventory::read_catalog(&mut ground.connect("source"), &Hosting::default()).expect("a catalog")
}

fn role<'c>(catalog: &'c Catalog, name: &str) -> &'c Role {
    catalog.roles.iter().find(|role| role.name == name).unwrap_or_else(|| panic!("no role {name}"))
}

fn the_catalog_holds_roles_settings_and_extensions(major: u32) {
    let catalog = catalog(major);
    let names: Vec<&str> = catalog.roles.iter().map(|role| role.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "inv_Odd \"role\"",
            "inv_far_group",
            "inv_group",
            "inv_owner",
            "inv_reader",
            "inv_writer",
            "postgres"
        ],
        "PostgreSQL {major}"
    );
    let reader = role(&catalog, "inv_reader");
    assert_eq!(reader.attributes, "NOINHERIT LOGIN CONNECTION LIMIT 3 VALID UNTIL '2099-01-01 00:00:00+00'");
    assert_eq!(reader.member_of, ["inv_group"]);
    assert_eq!(reader.settings, ["statement_timeout=3s", "search_path=app, public"]);
    assert_eq!(role(&catalog, "inv_writer").member_of, ["pg_read_all_stats"]);
    assert!(role(&catalog, "postgres").attributes.starts_with("SUPERUSER"));

    let settings: Vec<(Option<&str>, &str)> = catalog
        .database_settings
        .iter()
        .map(|setting| (setting.role.as_deref(), setting.setting.as_str()))
        .collect();
    assert_eq!(settings, [(None, "app.jwt_secret=sesame-6"), (Some("inv_group"), "work_mem=8MB")]);
    assert!(!format!("{catalog:?}").contains("sesame"), "a secret is in the debug output");
    let written = serde_json::to_string(&catalog).expect("plain data");
    assert!(!written.contains("sesame-7") && !written.contains("sesame-8"), "a password is in the catalog");

    let extensions: Vec<(&str, &str)> = catalog
        .extensions
        .iter()
        .map(|extension| (extension.name.as_str(), extension.schema.as_str()))
        .collect();
    assert_eq!(
        extensions,
        [("citext", "public"), ("hstore", "app"), ("plpgsql", "pg_catalog"), ("postgres_fdw", "public")]
    );
    let active = catalog.view_options.iter().find(|view| view.view == "app.active").expect("a view");
    assert_eq!(active.options, ["security_barrier=true", "check_option=local"]);
}

#[test]
fn the_catalog_holds_roles_settings_and_extensions_on_13() {
    the_catalog_holds_roles_settings_and_extensions(13);
}

#[test]
fn the_catalog_holds_roles_settings_and_extensions_on_15() {
    the_catalog_holds_roles_settings_and_extensions(15);
}

#[test]
fn the_catalog_holds_roles_settings_and_extensions_on_18() {
    the_catalog_holds_roles_settings_and_extensions(18);
}

/// Without any privilege but to connect, the same is seen; option names of user mappings excepted.
#[test]
fn a_role_without_privileges_sees_the_same_inventory() {
    let ground = Ground::with_fixture(15);
    let everything = ground.inventory("source");
    let mut connection = ground.connect("source");
    connection.execute("SET ROLE inv_stranger").expect("a role");
    let mut seen = inventory::read(&mut connection, &Hosting::default()).expect("an inventory");
    let mut hidden = 0;
    for (seen, item) in seen.items.iter_mut().zip(&everything.items) {
        if seen.definition != item.definition {
            assert_eq!(seen.definition, "user mapping");
            seen.definition.clone_from(&item.definition);
            hidden += 1;
        }
    }
    assert_eq!(hidden, 2);
    assert_eq!(seen, everything);
    inventory::read_catalog(&mut connection, &Hosting::default()).expect("a catalog");
}
