//! `credential_process`: a program that gives out keys of S3 as JSON.
//!
//! The line is split as a shell splits it and run directly, so nothing in it is interpreted.
//! <https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html>

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use jiff::Timestamp;
use pgstow_core::interrupt::Interrupt;
use pgstow_core::repository::store::cloud::{AccessKeys, CredentialSource};
use pgstow_core::secret::Secret;
use pgstow_core::{Error, ErrorKind, Result};
use serde::Deserialize;

use crate::config::Variables;
use crate::config::command::{self, Wanted};

/// The version of the answer that is defined.
const VERSION: i64 = 1;

/// A program that is asked for keys each time they are needed.
pub(super) struct CredentialProcess {
    words: Vec<String>,
    folder: PathBuf,
    variables: Variables,
    interrupt: Interrupt,
    /// How errors call it.
    key: String,
}

impl fmt::Debug for CredentialProcess {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the line nor the variables: both may hold secrets.
        formatter.debug_struct("CredentialProcess").field("key", &self.key).finish_non_exhaustive()
    }
}

/// What it prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    version: i64,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<String>,
}

impl CredentialProcess {
    /// The program of a command line, which will run in `folder` and see `variables`; `key` is how
    /// errors call it.
    ///
    /// # Errors
    /// Usage: no command, an unclosed quote, or a reference that nothing would replace.
    pub(super) fn new(
        line: &str,
        key: &str,
        folder: &Path,
        variables: &Variables,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let usage = |message: &str| Error::new(ErrorKind::Usage, format!("{key} {message}"));
        if line.contains("${") {
            return Err(usage("refers to a variable, which nothing would replace")
                .why("the program is run without a shell; a secret must not be part of a command line")
                .hint("let the program read the variable: it sees those of the process and of .env"));
        }
        let words = shlex::split(line).ok_or_else(|| usage("holds a quote that is never closed"))?;
        if words.is_empty() {
            return Err(usage("is empty").hint("name the program that prints the keys as JSON"));
        }
        Ok(Self {
            words,
            folder: folder.to_owned(),
            variables: variables.clone(),
            interrupt: interrupt.clone(),
            key: key.to_owned(),
        })
    }
}

impl CredentialSource for CredentialProcess {
    fn fetch(&self) -> Result<AccessKeys> {
        let (program, arguments) = self.words.split_first().ok_or_else(Error::interrupted)?;
        let mut command = Command::new(program);
        command.args(arguments);
        let output =
            command::run(command, &self.folder, &self.variables, Wanted::Everything, &self.interrupt);
        let keys = output.and_then(|output| keys(&output, Timestamp::now()));
        keys.map_err(|error| match error.kind() {
            ErrorKind::Interrupted => error,
            _ => error.context(&self.key),
        })
    }
}

/// The keys in an answer. Nothing of it is repeated in an error.
fn keys(output: &[u8], now: Timestamp) -> Result<AccessKeys> {
    let failed = |why: &str| {
        Error::failed("the command gave no keys").why(why).hint(
            "it must print {\"Version\": 1, \"AccessKeyId\": …, \"SecretAccessKey\": …, \"SessionToken\": …, \
             \"Expiration\": …} and nothing else",
        )
    };
    if output.iter().all(u8::is_ascii_whitespace) {
        return Err(failed("it printed nothing"));
    }
    let answer: Answer = serde_json::from_slice(output)
        .map_err(|_| failed("what it printed is not the JSON that is expected, or a key is missing in it"))?;
    if answer.version != VERSION {
        return Err(failed(&format!("its answer is of version {}, not 1", answer.version)));
    }
    if answer.access_key_id.is_empty() || answer.secret_access_key.is_empty() {
        return Err(failed("a key in its answer is empty"));
    }
    let expires_at = answer
        .expiration
        .map(|expiration| expiration.parse::<Timestamp>())
        .transpose()
        .map_err(|_| failed("its Expiration is no time such as 2026-11-21T09:00:00Z"))?;
    if let Some(expired) = expires_at.filter(|expires_at| *expires_at <= now) {
        return Err(Error::failed("the command gave keys that have expired")
            .why(format!("they expired at {expired}"))
            .hint("log in anew with the program that gives them out, and compare this machine's clock"));
    }
    Ok(AccessKeys {
        access_key_id: answer.access_key_id,
        secret_access_key: Secret::new(answer.secret_access_key),
        session_token: answer.session_token.filter(|token| !token.is_empty()).map(Secret::new),
        expires_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-21T09:00:00Z";

    fn now() -> Timestamp {
        NOW.parse().unwrap()
    }

    fn process(line: &str, folder: &Path) -> CredentialProcess {
        CredentialProcess::new(line, "the key", folder, &Variables::default(), &Interrupt::new()).unwrap()
    }

    #[test]
    fn the_program_is_run_directly_with_its_words_as_they_are_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let script = "#!/bin/sh\nprintf '{\"Version\": 1, \"AccessKeyId\": \"%s\", \"SecretAccessKey\": \"%s\"}' \"$1\" \"$2\"\n";
        let path = folder.path().join("give keys");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let keys = process("'./give keys' \"a b\" $(id);x", folder.path()).fetch().unwrap();
        assert_eq!(keys.access_key_id, "a b");
        assert_eq!(keys.secret_access_key.expose(), "$(id);x");
        assert_eq!(keys.expires_at, None);
    }

    #[test]
    fn token_and_expiration_are_read() {
        let output = br#"{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": "2026-11-21T10:00:00+00:00", "Account": "1"}"#;
        let keys = keys(output, now()).unwrap();
        assert_eq!(keys.session_token, Some(Secret::new("t")));
        assert_eq!(keys.expires_at, Some("2026-11-21T10:00:00Z".parse().unwrap()));
    }

    #[test]
    fn answers_that_hold_no_keys_are_refused_without_repeating_them() {
        let cases = [
            ("", "it printed nothing"),
            ("hunter2", "not the JSON"),
            (r#"{"Version": "hunter2"}"#, "not the JSON"),
            (r#"{"Version": 2, "AccessKeyId": "a", "SecretAccessKey": "hunter2"}"#, "version 2"),
            (r#"{"Version": 1, "AccessKeyId": "", "SecretAccessKey": "hunter2"}"#, "empty"),
            (
                r#"{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "hunter2", "Expiration": "hunter2"}"#,
                "Expiration",
            ),
            (
                r#"{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "hunter2", "Expiration": "2026-11-21T08:59:59Z"}"#,
                "expired at 2026-11-21T08:59:59Z",
            ),
        ];
        for (output, why) in cases {
            let error = keys(output.as_bytes(), now()).unwrap_err();
            assert!(error.reason().unwrap().contains(why), "{output}: {:?}", error.reason());
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn a_failing_program_is_named_with_its_complaint() {
        let folder = tempfile::tempdir().unwrap();
        let error =
            process("sh -c 'echo the session has expired >&2; exit 3'", folder.path()).fetch().unwrap_err();
        assert!(error.message().starts_with("the key: the command failed (exit status: 3)"), "{error}");
        assert_eq!(error.reason().as_deref(), Some("the session has expired"));
        let error = process("no-such-program", folder.path()).fetch().unwrap_err();
        assert_eq!(error.message(), "the key: cannot start no-such-program");
    }

    #[test]
    fn lines_that_cannot_be_run_are_refused() {
        for (line, message) in [
            ("", "the key is empty"),
            ("'open", "the key holds a quote that is never closed"),
            ("give ${SECRET}", "the key refers to a variable"),
        ] {
            let error = CredentialProcess::new(
                line,
                "the key",
                Path::new(""),
                &Variables::default(),
                &Interrupt::new(),
            );
            assert!(error.unwrap_err().message().starts_with(message), "{line}");
        }
    }
}
