//! How much of the users is carried.

use pgstow_core::platform::AuthUsers;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::format::manifest::TableData;

use crate::ground::{Ground, columns, tables};

fn columns_of_users(ground: &Ground, header: &Header) -> Vec<String> {
    let manifest = ground.manifest(header);
    columns(tables(&manifest)["auth.users"]).into_iter().map(str::to_owned).collect()
}

fn holds(ground: &Ground, text: &str) -> bool {
    ground.stored().windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn without_full_nothing_that_users_sign_in_with_is_in_the_repository() {
    let ground = Ground::new(15);
    for users in [AuthUsers::None, AuthUsers::Metadata] {
        let report = ground.back_up(users);
        assert!(report.remarks.is_empty());
        for secret in ["hash-of-one", "token-of-one", "factor-of-somebody"] {
            assert!(!holds(&ground, secret), "{users}: {secret}");
        }
    }
    assert!(holds(&ground, "one@example.com"));
    let report = ground.back_up(AuthUsers::Full);
    for secret in ["hash-of-one", "token-of-one", "factor-of-somebody"] {
        assert!(holds(&ground, secret), "{secret}");
    }
    assert!(report.remarks.iter().any(|remark| remark.contains("password hashes and tokens of 2 users")));
}

#[test]
fn who_wants_more_of_the_users_gets_it_though_no_row_has_changed() {
    let ground = Ground::new(15);
    let _first = ground.back_up(AuthUsers::Metadata);
    let again = ground.back_up(AuthUsers::Metadata);
    assert_eq!(again.reuse.read_bytes, 0, "what is left out hides no change: {:#?}", again.reuse.read);
    let without = ["id", "email", "raw_user_meta_data", "phone"];
    assert_eq!(columns_of_users(&ground, &again.header), without);

    let full = ground.back_up(AuthUsers::Full);
    assert!(full.reuse.read_bytes > 0);
    assert!(columns_of_users(&ground, &full.header).contains(&"encrypted_password".to_owned()));
    assert!(ground.rows(&full.header, "auth.users").contains("hash-of-one"));

    let less = ground.back_up(AuthUsers::Metadata);
    assert_eq!(columns_of_users(&ground, &less.header), without);
    let rows = |header| ground.rows(header, "auth.users");
    assert_eq!(rows(&less.header), rows(&again.header));
    assert!(!rows(&less.header).contains("hash-of"), "{}", rows(&less.header));
    let none = ground.back_up(AuthUsers::None);
    assert_eq!(tables(&ground.manifest(&none.header))["auth.users"].data, TableData::Excluded);
}

#[test]
fn a_changed_password_alone_makes_users_be_read_again() {
    let ground = Ground::new(15);
    let first = ground.back_up(AuthUsers::Metadata);
    ground.execute("UPDATE auth.users SET encrypted_password = 'hash-of-another'");
    let second = ground.back_up(AuthUsers::Metadata);
    assert!(second.reuse.read_bytes > 0);
    let rows = |header| tables(&ground.manifest(header))["auth.users"].rows;
    assert_eq!(rows(&first.header), rows(&second.header));
    assert!(!holds(&ground, "hash-of-another"));
}

#[test]
fn the_users_can_be_read_by_people_and_never_their_secrets() {
    let ground = Ground::new(15);
    for users in [AuthUsers::Full, AuthUsers::Metadata] {
        let report = ground.back_up(users);
        let text = ground.file(&report.header, "auth_users.sql").unwrap();
        assert!(text.contains("one@example.com") && text.contains("-- 2 in all."), "{text}");
        for secret in ["hash-of", "token-of", "encrypted_password"] {
            assert!(!text.contains(secret), "{text}");
        }
        // What it says is what the server holds.
        ground.execute("CREATE TABLE before AS SELECT id, email, raw_user_meta_data, phone FROM auth.users");
        ground.execute("TRUNCATE auth.users CASCADE");
        ground.execute(&text);
        let mut connection = ground.connect();
        let different = connection
            .query("SELECT count(*) FROM (TABLE before EXCEPT SELECT id, email, raw_user_meta_data, phone FROM auth.users) x")
            .unwrap();
        assert_eq!(different.only().unwrap().get::<u64>(0).unwrap(), 0);
        ground.execute("DROP TABLE before; UPDATE auth.users SET encrypted_password = 'hash-of-one'");
    }
    let none = ground.back_up(AuthUsers::None);
    assert_eq!(ground.file(&none.header, "auth_users.sql"), None);
}
