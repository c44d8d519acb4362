//! What Supabase keeps for itself, and what of it is the user's. Pure.

use super::{AuthUsers, Hosting, Platform, Signs};

/// Schemas with tables of the platform and rows of the user.
const MANAGED: [&str; 2] = ["auth", "storage"];
/// Schemas of the platform alone, when one of its roles owns them.
const INTERNAL: [&str; 11] = [
    "cron",
    "etl",
    "graphql",
    "graphql_public",
    "net",
    "pgbouncer",
    "pgsodium",
    "pgsodium_masks",
    "realtime",
    "supabase_functions",
    "vault",
];
/// The schema of preinstalled extensions, which belongs to the user's role in name only.
pub const EXTENSIONS: &str = "extensions";
/// Extensions that the platform brings along, and that other places rarely have.
pub const OWN_EXTENSIONS: [&str; 9] = [
    "pg_cron",
    "pg_graphql",
    "pg_net",
    "pgjwt",
    "pgmq",
    "pgsodium",
    "supabase_vault",
    "supautils",
    "wrappers",
];
/// The publication that every project has from its beginning, empty.
pub const PUBLICATION: &str = "supabase_realtime";
/// Where the files' rows are; their bytes are elsewhere.
pub const STORED_FILES: (&str, &str) = ("storage", "objects");
/// Secrets, which only this project can decipher.
pub const VAULT: (&str, &str) = ("vault", "secrets");
/// Who the users are.
pub const USERS: (&str, &str) = ("auth", "users");
/// The one table of an internal schema whose policies are the user's.
pub const MESSAGES: (&str, &str) = ("realtime", "messages");
/// Roles without the prefix `supabase_`.
const RESERVED: [&str; 8] = [
    "anon",
    "authenticated",
    "authenticator",
    "dashboard_user",
    "pgbouncer",
    "pgtle_admin",
    "postgres",
    "service_role",
];

/// Tables whose rows are carried, in the order in which they can be loaded one after the other.
const AUTH_ROWS: [&str; 10] = [
    "users",
    "identities",
    "mfa_factors",
    "webauthn_credentials",
    "sso_providers",
    "sso_domains",
    "saml_providers",
    "oauth_clients",
    "oauth_consents",
    "custom_oauth_providers",
];
/// Those that tell who a user is and hold no secret, apart from [`is_secret`] columns.
const METADATA_ROWS: [&str; 2] = ["users", "identities"];
const STORAGE_ROWS: [&str; 2] = ["buckets", "objects"];

pub(super) fn is_supabase(signs: &Signs) -> bool {
    let is_managed =
        |(name, owner): &(String, String)| MANAGED.contains(&name.as_str()) && is_service_role(owner);
    signs.roles.contains("supabase_admin") && signs.schemas.iter().any(is_managed)
}

pub(super) fn hosting(signs: &Signs) -> Hosting {
    let mut hosting = Hosting { platform: Platform::Supabase, ..Hosting::default() };
    for (schema, owner) in &signs.schemas {
        let is_platforms = is_service_role(owner);
        if MANAGED.contains(&schema.as_str()) && is_platforms {
            hosting.managed.insert(schema.clone());
        } else if schema == EXTENSIONS
            || (is_platforms && (schema.starts_with('_') || INTERNAL.contains(&schema.as_str())))
        {
            hosting.internal.insert(schema.clone());
        }
    }
    hosting
}

/// Whether the role exists in every project, and is not the user's to make.
pub(super) fn is_reserved(role: &str) -> bool {
    RESERVED.contains(&role) || is_service_role(role)
}

/// Whether the role belongs to one of the platform's services: its objects are the platform's.
pub(super) fn is_service_role(role: &str) -> bool {
    role.starts_with("supabase_")
        || role.starts_with("pgsodium_")
        || role.starts_with("cli_login_")
        || matches!(role, "pgbouncer" | "dashboard_user" | "pgtle_admin")
}

/// Whether the rows of a table in a managed schema are the user's: its place in the order in which
/// such tables are loaded, or why its rows are left out.
///
/// # Errors
/// Why not, in words that follow `rows of …:`.
pub fn rows(schema: &str, table: &str, users: AuthUsers) -> Result<usize, &'static str> {
    let place = |list: &[&str]| list.iter().position(|name| *name == table);
    match (schema, users) {
        ("storage", _) => place(&STORAGE_ROWS)
            .map(|place| AUTH_ROWS.len() + place)
            .ok_or("the storage service fills them itself"),
        ("auth", AuthUsers::None) if place(&AUTH_ROWS).is_some() => Err("auth_users is \"none\""),
        ("auth", AuthUsers::Metadata) if place(&METADATA_ROWS).is_none() && place(&AUTH_ROWS).is_some() => {
            Err("they hold what users sign in with, and auth_users is \"metadata\"")
        }
        ("auth", _) => place(&AUTH_ROWS)
            .ok_or("they are the authentication service's own: sessions, one-time tokens, logs"),
        _ => Err("the platform fills them itself"),
    }
}

/// Whether a column of `auth.users` holds a password or a token: left out with
/// [`AuthUsers::Metadata`].
pub fn is_secret(schema: &str, table: &str, column: &str) -> bool {
    schema == "auth"
        && table == "users"
        && (column == "encrypted_password" || column.split('_').any(|part| part == "token"))
}

/// Text columns of `auth.users` that the authentication service cannot read as NULL.
pub const NEVER_NULL: [&str; 4] =
    ["confirmation_token", "recovery_token", "email_change_token_new", "email_change"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_users_or_there_is_a_reason() {
        assert_eq!(rows("auth", "users", AuthUsers::Full), Ok(0));
        assert_eq!(rows("auth", "identities", AuthUsers::Metadata), Ok(1));
        assert!(rows("auth", "mfa_factors", AuthUsers::Metadata).is_err());
        assert!(rows("auth", "users", AuthUsers::None).is_err());
        assert!(rows("auth", "sessions", AuthUsers::Full).is_err());
        assert!(rows("storage", "buckets", AuthUsers::None) < rows("storage", "objects", AuthUsers::None));
        assert!(rows("storage", "migrations", AuthUsers::Full).is_err());
    }

    #[test]
    fn passwords_and_tokens_are_secret_and_addresses_are_not() {
        for column in
            ["encrypted_password", "confirmation_token", "email_change_token_new", "phone_change_token"]
        {
            assert!(is_secret("auth", "users", column), "{column}");
        }
        for column in ["email", "raw_user_meta_data", "email_change", "id"] {
            assert!(!is_secret("auth", "users", column), "{column}");
        }
        assert!(!is_secret("public", "users", "encrypted_password"));
    }
}
