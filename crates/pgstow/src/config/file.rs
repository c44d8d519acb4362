//! `pgstow.toml` as it is written. Every error names the file and, where it has one, the line.

use std::collections::BTreeMap;
use std::time::Duration;

use pgstow_core::platform::AuthUsers;
use pgstow_core::{Error, ErrorKind, Result};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::checks::{CHECK_KEYS, CheckSection};
use super::environment::parse_interval;
use super::retention::{RULES, RetentionSection};
use super::suggest;

/// The whole file.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ConfigFile {
    /// The environment that commands take when none is named.
    pub(crate) default_env: Option<String>,
    /// Where backups live.
    pub(crate) repository: RepositorySection,
    /// Other repositories that backups are copied to, by name.
    pub(crate) copy: BTreeMap<String, RepositorySection>,
    /// The environments by name.
    pub(crate) env: BTreeMap<String, EnvironmentSection>,
}

/// `[repository]`, and `[copy.NAME]`.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RepositorySection {
    /// A folder, relative to the file, or the URL of a bucket.
    pub(crate) url: Option<String>,
    /// URL of a server other than the platform's own.
    pub(crate) endpoint: Option<String>,
    /// S3: the bucket's region.
    pub(crate) region: Option<String>,
    /// S3: the bucket stands in the path of requests.
    pub(crate) path_style: Option<bool>,
    /// S3: a profile of `~/.aws`.
    pub(crate) profile: Option<String>,
    /// S3: names the pair of keys.
    pub(crate) access_key_id: Option<String>,
    /// S3: signs requests.
    pub(crate) secret_access_key: Option<String>,
    /// S3: belongs to keys that expire.
    pub(crate) session_token: Option<String>,
    /// S3: a program that gives out keys.
    pub(crate) credential_process: Option<String>,
    /// Azure: the storage account.
    pub(crate) account: Option<String>,
    /// Azure: a key of it.
    pub(crate) account_key: Option<String>,
    /// Azure: a shared access signature.
    pub(crate) sas_token: Option<String>,
    /// Google: a key file, relative to this file.
    pub(crate) service_account_file: Option<String>,
    /// Public keys that new backups are encrypted to, or files of them.
    pub(crate) encrypt_to: Option<Vec<String>>,
    /// A file with the private key, relative to this file.
    pub(crate) identity_file: Option<String>,
    /// A shell command that prints the private key.
    pub(crate) identity_command: Option<String>,
    /// A file that holds the private key's passphrase and nothing else, relative to this file.
    pub(crate) passphrase_file: Option<String>,
    /// A shell command that prints the private key's passphrase.
    pub(crate) passphrase_command: Option<String>,
}

impl RepositorySection {
    /// Names of the keys that are given and describe a bucket.
    pub(crate) fn store_keys(&self) -> Vec<&'static str> {
        let given = [
            ("endpoint", self.endpoint.is_some()),
            ("region", self.region.is_some()),
            ("path_style", self.path_style.is_some()),
            ("profile", self.profile.is_some()),
            ("access_key_id", self.access_key_id.is_some()),
            ("secret_access_key", self.secret_access_key.is_some()),
            ("session_token", self.session_token.is_some()),
            ("credential_process", self.credential_process.is_some()),
            ("account", self.account.is_some()),
            ("account_key", self.account_key.is_some()),
            ("sas_token", self.sas_token.is_some()),
            ("service_account_file", self.service_account_file.is_some()),
        ];
        given.into_iter().filter_map(|(key, given)| given.then_some(key)).collect()
    }
}

/// `[env.NAME]`.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct EnvironmentSection {
    /// Connection string.
    pub(crate) url: Option<String>,
    /// A `.env` file that holds it, relative to this file.
    pub(crate) env_file: Option<String>,
    /// Host name or socket directory.
    pub(crate) host: Option<String>,
    /// Port.
    pub(crate) port: Option<u16>,
    /// Role.
    pub(crate) user: Option<String>,
    /// Database.
    pub(crate) database: Option<String>,
    /// Section of a service file that says what the other keys leave out.
    pub(crate) service: Option<String>,
    /// `sslmode`.
    pub(crate) sslmode: Option<String>,
    /// `system`, or a file of trusted roots, relative to this file.
    pub(crate) sslrootcert: Option<String>,
    /// The client's certificate, relative to this file.
    pub(crate) sslcert: Option<String>,
    /// Its private key, relative to this file.
    pub(crate) sslkey: Option<String>,
    /// `channel_binding`.
    pub(crate) channel_binding: Option<String>,
    /// A file that holds the password and nothing else, relative to this file.
    pub(crate) password_file: Option<String>,
    /// A shell command that prints the password.
    pub(crate) password_command: Option<String>,
    /// Its name must be typed before anything destructive.
    pub(crate) protected: bool,
    /// Parallel sessions.
    pub(crate) jobs: Option<usize>,
    /// Where to look for pg_dump first.
    pub(crate) pg_dump: Option<String>,
    /// How long to wait for a lock.
    pub(crate) lock_timeout: Option<String>,
    /// How long data may be taken over before all is read again; zero: not at all.
    #[serde(deserialize_with = "interval")]
    pub(crate) full_every: Option<Duration>,
    /// How much of the users of a managed authentication service is carried.
    pub(crate) auth_users: Option<AuthUsers>,
    /// Roles of this database that get what roles of a backup have, by the backup's names.
    pub(crate) role_map: BTreeMap<String, String>,
    /// Roles of this database that get what an application needs after a restore.
    pub(crate) grant_to: Vec<String>,
    /// Which backups are kept.
    pub(crate) retention: Option<RetentionSection>,
    /// What a drill asks the restored database.
    pub(crate) check: Vec<CheckSection>,
}

/// The value may be shown with its line, since it is no secret; the message does not repeat it all
/// the same: the wrong value may stand behind the wrong key.
fn interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_interval(&text).map(Some).ok_or_else(|| D::Error::custom("expected a time such as 7d, 12h or 0s"))
}

/// Names of keys in one kind of table: those understood, and those that belong to features of
/// later versions.
struct Keys {
    known: &'static [&'static str],
    later: &'static [&'static str],
}

const TOP: Keys =
    Keys { known: &["default_env", "repository", "copy", "env"], later: &["schedule", "notify"] };
const REPOSITORY: Keys = Keys {
    known: &[
        "url",
        "endpoint",
        "region",
        "path_style",
        "profile",
        "access_key_id",
        "secret_access_key",
        "session_token",
        "credential_process",
        "account",
        "account_key",
        "sas_token",
        "service_account_file",
        "encrypt_to",
        "identity_file",
        "identity_command",
        "passphrase_file",
        "passphrase_command",
    ],
    later: &[],
};
const ENVIRONMENT: Keys = Keys {
    known: &[
        "url",
        "env_file",
        "host",
        "port",
        "user",
        "database",
        "service",
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "channel_binding",
        "password_file",
        "password_command",
        "protected",
        "jobs",
        "pg_dump",
        "lock_timeout",
        "full_every",
        "auth_users",
        "role_map",
        "grant_to",
        "retention",
        "check",
    ],
    later: &["schedule"],
};

const RETENTION: Keys = Keys {
    known: &["keep_last", "within", "hourly", "daily", "weekly", "monthly", "yearly", "label"],
    later: &[],
};
const CHECK: Keys = Keys { known: &CHECK_KEYS, later: &[] };
const LABEL: Keys = Keys { known: &RULES, later: &[] };

/// Reads the file's text; `name` is how errors call it.
///
/// # Errors
/// Usage errors with the line: bad syntax, unknown keys, values of the wrong type.
pub(crate) fn parse(text: &str, name: &str) -> Result<ConfigFile> {
    let reader = Reader { text, name };
    let table = DeTable::parse(text).map_err(|error| reader.broken(&error))?;
    reader.check_keys(table.get_ref())?;
    toml::from_str(text).map_err(|error| reader.broken(&error))
}

fn subtable<'t, 'i>(table: &'t DeTable<'i>, key: &str) -> Option<&'t DeTable<'i>> {
    let (_, value) = table.iter().find(|(name, _)| name.get_ref() == key)?;
    value.get_ref().as_table()
}

/// The tables of an array.
fn subtables<'t, 'i>(table: &'t DeTable<'i>, key: &str) -> Vec<&'t DeTable<'i>> {
    let value = table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value.get_ref());
    let array = value.and_then(|value| value.as_array());
    array.into_iter().flatten().filter_map(|value| value.get_ref().as_table()).collect()
}

struct Reader<'t> {
    text: &'t str,
    name: &'t str,
}

impl Reader<'_> {
    fn broken(&self, error: &toml::de::Error) -> Error {
        // Only what was expected: what was found may be a password.
        let message = error.message().lines().next().unwrap_or_default();
        let message = match message.rsplit_once("expected ") {
            Some((_, expected)) => format!("expected {expected}"),
            None => message.to_owned(),
        };
        let at = error.span().map_or_else(|| self.name.to_owned(), |span| self.at(span.start));
        Error::new(ErrorKind::Usage, format!("{at}: cannot be read")).why(message)
    }

    fn at(&self, offset: usize) -> String {
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        format!("{}:{}", self.name, 1 + before.iter().filter(|byte| **byte == b'\n').count())
    }

    fn check_keys(&self, top: &DeTable<'_>) -> Result<()> {
        self.check_table(top, &TOP, "the file")?;
        for (key, value) in top {
            let Some(table) = value.get_ref().as_table() else { continue };
            match key.get_ref().as_ref() {
                "repository" => self.check_table(table, &REPOSITORY, "[repository]")?,
                "env" => self.check_environments(table)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn check_environments(&self, environments: &DeTable<'_>) -> Result<()> {
        for (name, value) in environments {
            let table = value.get_ref().as_table().ok_or_else(|| self.no_table(name, value))?;
            self.check_table(table, &ENVIRONMENT, &format!("[env.{}]", name.get_ref()))?;
            if let Some(retention) = subtable(table, "retention") {
                self.check_retention(retention, &format!("env.{}.retention", name.get_ref()))?;
            }
            let place = format!("[[env.{}.check]]", name.get_ref());
            for check in subtables(table, "check") {
                self.check_table(check, &CHECK, &place)?;
            }
        }
        Ok(())
    }

    fn check_retention(&self, retention: &DeTable<'_>, place: &str) -> Result<()> {
        self.check_table(retention, &RETENTION, &format!("[{place}]"))?;
        let labels = subtable(retention, "label").into_iter().flatten();
        for (label, rules) in labels {
            let Some(rules) = rules.get_ref().as_table() else { continue };
            self.check_table(rules, &LABEL, &format!("[{place}.label.{}]", label.get_ref()))?;
        }
        Ok(())
    }

    fn no_table(&self, name: &Spanned<DeString<'_>>, value: &Spanned<DeValue<'_>>) -> Error {
        let (at, name) = (self.at(name.span().start), name.get_ref());
        let kind = value.get_ref().type_str();
        Error::new(ErrorKind::Usage, format!("{at}: env.{name} is a {kind}, not a table"))
            .hint(format!("write [env.{name}] and below it url = \"…\""))
    }

    fn check_table(&self, table: &DeTable<'_>, keys: &Keys, place: &str) -> Result<()> {
        let unknown = table.keys().find(|key| !keys.known.contains(&key.get_ref().as_ref()));
        unknown.map_or(Ok(()), |key| Err(self.unknown_key(key, keys, place)))
    }

    fn unknown_key(&self, key: &Spanned<DeString<'_>>, keys: &Keys, place: &str) -> Error {
        let (at, key) = (self.at(key.span().start), key.get_ref());
        if keys.later.contains(&key.as_ref()) {
            return Error::new(
                ErrorKind::Usage,
                format!("{at}: {key:?} in {place} is not supported by this version"),
            )
            .hint("remove the key, or use a version of pgstow that has the feature");
        }
        let error = Error::new(ErrorKind::Usage, format!("{at}: unknown key {key:?} in {place}"));
        error.hint(
            suggest::hint(key, keys.known.iter().copied())
                .unwrap_or_else(|| format!("the keys are {}", keys.known.join(", "))),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (String, Vec<String>) {
        let error = parse(text, "pgstow.toml").err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Usage);
        let message = format!("{} / {}", error.message(), error.reason().unwrap_or_default());
        (message, error.hints().to_vec())
    }

    #[test]
    fn a_whole_file_is_read() {
        let text = "default_env = 'dev'\n[repository]\nurl = 'backups'\n[env.prod]\nurl = '${URL}'\nprotected = true\n\
                    jobs = 4\nlock_timeout = '20s'\n[env.dev]\nhost = 'db'\nport = 5433\nuser = 'u'\ndatabase = 'd'\n\
                    sslmode = 'require'\npassword_file = 'secret'\n";
        let file = parse(text, "pgstow.toml").ok().unwrap();
        assert_eq!(file.default_env.as_deref(), Some("dev"));
        assert!(file.env["prod"].protected);
        assert_eq!(file.env["dev"].port, Some(5433));
    }

    #[test]
    fn every_known_key_is_a_key_of_the_file() {
        for (keys, place) in [(&TOP, ""), (&REPOSITORY, "[repository]\n"), (&ENVIRONMENT, "[env.x]\n")] {
            for key in keys.known {
                let with_wrong_type = format!("{place}{key} = [1]");
                let (message, _) = refused(&with_wrong_type);
                assert!(!message.contains("unknown"), "{key}: {message}");
            }
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_a_near_one() {
        let (message, hints) = refused("[env.prod]\nurl = 'x'\nprotectd = true\n");
        assert!(message.starts_with("pgstow.toml:3: unknown key \"protectd\" in [env.prod]"), "{message}");
        assert_eq!(hints, ["did you mean \"protected\"?"]);
        let (message, hints) = refused("[storage]\n");
        assert!(message.starts_with("pgstow.toml:1: unknown key \"storage\" in the file"), "{message}");
        assert_eq!(hints, ["the keys are default_env, repository, copy, env"]);
    }

    #[test]
    fn keys_of_features_to_come_are_refused_as_such() {
        let (message, _) = refused("[env.a]\nschedule = ''");
        assert!(message.contains("is not supported by this version"), "{message}");
    }

    #[test]
    fn an_unknown_key_of_a_check_is_named_with_its_line_and_a_near_one() {
        let (message, hints) =
            refused("[[env.prod.check]]\nname = 'a'\n[[env.prod.check]]\nexpect_row = 5\n");
        assert!(
            message.starts_with("pgstow.toml:4: unknown key \"expect_row\" in [[env.prod.check]]"),
            "{message}"
        );
        assert!(hints[0].starts_with("did you mean \"expect_rows\""), "{hints:?}");
    }

    #[test]
    fn an_unknown_rule_is_named_with_its_line_and_a_near_one() {
        let (message, hints) = refused("[env.prod.retention]\nkeep_lst = 5\n");
        assert!(
            message.starts_with("pgstow.toml:2: unknown key \"keep_lst\" in [env.prod.retention]"),
            "{message}"
        );
        assert_eq!(hints, ["did you mean \"keep_last\"?"]);
        let (message, hints) = refused("[env.a.retention.label.x]\ndayly = 5\n");
        assert!(message.starts_with("pgstow.toml:2: unknown key \"dayly\""), "{message}");
        assert_eq!(hints, ["did you mean \"daily\"?"]);
    }

    #[test]
    fn wrong_types_and_broken_syntax_are_named_with_their_line() {
        let cases = [
            ("[env.a]\nport = 'five'\n", "pgstow.toml:2"),
            ("[env.a]\nport = 70000\n", "pgstow.toml:2"),
            (
                "[env.a]\nurl = 'x'\nfull_every = '-1d'\n",
                "pgstow.toml:3: cannot be read / expected a time such as 7d, 12h or 0s",
            ),
            ("[env.a]\nfull_every = 'secret'\n", "pgstow.toml:2: cannot be read / expected a time"),
            ("[env.a]\nauth_users = 'secret'\n", "pgstow.toml:2: cannot be read / expected one of"),
            ("[env.a.retention]\nkeep_last = -1\n", "pgstow.toml:"),
            ("[env.a.retention]\nwithin = '-1d'\n", "pgstow.toml:"),
            ("[env.a]\nfull_every = 7\n", "pgstow.toml:2: cannot be read / expected a string"),
            ("\n[env\n", "pgstow.toml:2"),
            ("[env]\nprod = 'postgres://u:secret@h/d'\n", "pgstow.toml:2: env.prod is a string"),
        ];
        for (text, expected) in cases {
            let (message, _) = refused(text);
            assert!(message.starts_with(expected), "{message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn no_error_repeats_a_secret_of_the_file() {
        for text in [
            "[env.a]\nurl = 'postgres://u:secret@h' x",
            "[env]\na = 'secret'",
            "[env.a]\nport = 'secret'",
            "[env.a]\nprotected = 'secret'",
            "[env.a]\npassword_command = ['secret']",
            "[env.a]\nfull_every = 'secret'",
            "[repository]\npath_style = 'secret'",
            "[repository]\nsecret_access_key = ['secret']",
        ] {
            let (message, hints) = refused(text);
            assert!(!message.contains("secret") && !hints.concat().contains("secret"), "{message}");
        }
    }
}
