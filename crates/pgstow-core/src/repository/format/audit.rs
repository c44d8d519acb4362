//! An event of the audit log: who ran what, from where, when, and what came of it.
//!
//! It is plaintext in every repository, so nothing in it may be worth hiding: no names of tables, no
//! patterns, no secrets. What went wrong is told in the words of its message, which may name a
//! table; an encrypted repository keeps only what kind of failure it was.

use serde::{Deserialize, Serialize};

use super::{FORMAT_VERSION, FormatError, sealed};

/// `audit/<time>_<16 hex digits>.json`, its checksum excepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// Format version.
    pub format_version: u32,
    /// What was run, such as `backup`.
    pub command: String,
    /// The environment that it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Ids of the backups that were made, restored, removed or copied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backups: Vec<String>,
    /// Where to: `host:port/database` of a restore, the other repository of a copy. Without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Who ran it, and where.
    pub by: Runner,
    /// When it began, by the clock of the machine that ran it.
    pub started_at: jiff::Timestamp,
    /// When it ended.
    pub finished_at: jiff::Timestamp,
    /// How it ended.
    pub outcome: AuditOutcome,
    /// The exit code.
    pub exit_code: u8,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Who ran a command, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runner {
    /// The operating system's user.
    pub user: String,
    /// The machine's name.
    pub host: String,
    /// Process id.
    pub process: u32,
    /// The program, such as `pgstow 0.1.0`.
    pub program: String,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditOutcome {
    /// All that was asked for.
    Done,
    /// Done, but something was skipped or differs.
    Differs,
    /// It failed.
    Failed,
    /// A guard, or whoever was asked, refused it.
    Refused,
    /// It was interrupted.
    Interrupted,
}

impl AuditEvent {
    /// The file.
    pub(crate) fn to_file(&self) -> Vec<u8> {
        sealed::seal(&Self { format_version: FORMAT_VERSION, ..self.clone() })
    }

    /// Reads an event.
    ///
    /// # Errors
    /// Newer or damaged.
    pub(crate) fn from_file(file: &[u8]) -> Result<Self, FormatError> {
        sealed::open(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn event() -> AuditEvent {
        AuditEvent {
            format_version: FORMAT_VERSION,
            command: "restore".to_owned(),
            environment: Some("dev".to_owned()),
            backups: vec!["prod_2026-11-20T02-00-00Z".to_owned()],
            target: Some("localhost:5432/shop".to_owned()),
            by: Runner {
                user: "alice".to_owned(),
                host: "build-7".to_owned(),
                process: 4711,
                program: "pgstow 0.1.0".to_owned(),
            },
            started_at: "2026-11-22T00:00:00Z".parse().unwrap(),
            finished_at: "2026-11-22T00:00:09Z".parse().unwrap(),
            outcome: AuditOutcome::Failed,
            exit_code: 1,
            message: Some("cannot connect".to_owned()),
        }
    }

    #[test]
    fn an_event_is_read_as_it_was_written() {
        assert_eq!(AuditEvent::from_file(&event().to_file()), Ok(event()));
        let bare =
            AuditEvent { environment: None, backups: Vec::new(), target: None, message: None, ..event() };
        let file = bare.to_file();
        assert_eq!(AuditEvent::from_file(&file), Ok(bare));
        let text = String::from_utf8(file).unwrap();
        assert!(!text.contains("target") && !text.contains("null"), "{text}");
    }

    #[test]
    fn an_event_of_format_1_has_these_bytes() {
        let text = String::from_utf8(event().to_file()).unwrap();
        let (content, _) = text.split_once("  \"checksum\"").unwrap();
        let expected = "{\n  \"format_version\": 1,\n  \"command\": \"restore\",\n  \"environment\": \"dev\",\n  \
             \"backups\": [\n    \"prod_2026-11-20T02-00-00Z\"\n  ],\n  \"target\": \"localhost:5432/shop\",\n  \
             \"by\": {\n    \"user\": \"alice\",\n    \"host\": \"build-7\",\n    \"process\": 4711,\n    \
             \"program\": \"pgstow 0.1.0\"\n  },\n  \"started_at\": \"2026-11-22T00:00:00Z\",\n  \
             \"finished_at\": \"2026-11-22T00:00:09Z\",\n  \"outcome\": \"failed\",\n  \"exit_code\": 1,\n  \
             \"message\": \"cannot connect\",\n";
        assert_eq!(content, expected);
    }
}
