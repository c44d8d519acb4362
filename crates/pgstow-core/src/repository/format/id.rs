//! Names that become paths: environment, label, backup id, object id. Each is checked on entry,
//! so that nothing read from a file or typed by a user can leave the repository.

use std::fmt;

use serde::{Deserialize, Serialize};

/// BLAKE3 of an object's uncompressed content; 64 lowercase hex digits as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub [u8; 32]);

/// Tells one run from all others in the names of its marks: 16 lowercase hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunTag(pub(crate) [u8; 8]);

/// What an object's file is called: its id and which copy of the content it is. As text `<id>`, or
/// `<id>-<copy>` where the copy is not 0.
///
/// A file that was condemned is never used again, even when its content is needed once more: that
/// is stored as the next copy then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Of the content.
    pub id: ObjectId,
    /// 0 for the first.
    pub copy: u32,
}

/// `<environment>_<UTC time>[_<label>]`, such as `prod_2026-11-21T09-12-04Z_pre-upgrade`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupId(String);

/// Name of an environment: letters, digits, `-` and `.`, starting with a letter or digit, up to 63.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnvironmentName(String);

/// A short tag in a backup's id; same rule as [`EnvironmentName`], and never `latest`, which means
/// the newest backup wherever a label may stand.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

/// A name that does not follow its rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} is not valid: {rule}")]
pub struct InvalidName {
    what: &'static str,
    value: String,
    rule: &'static str,
}

const LABEL_RULE: &str =
    "use letters, digits, '-' and '.', starting with a letter or digit, at most 63, and not 'latest'";
const ID_RULE: &str = "expected <environment>_<YYYY-MM-DDTHH-MM-SSZ>[_<label>]";
const OBJECT_RULE: &str = "expected 64 lowercase hex digits, and -<number> for a further copy";
/// Characters of a time as ids write it.
pub(super) const TIME_LENGTH: usize = 20;
const TIME_FORMAT: &str = "%Y-%m-%dT%H-%M-%SZ";
const NAME_RULE: &str = "use letters, digits, '-' and '.', starting with a letter or digit, at most 63";

fn is_name(value: &str) -> bool {
    value.len() <= 63
        && value.starts_with(|first: char| first.is_ascii_alphanumeric())
        && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')
}

macro_rules! checked_name {
    ($type:ident, $what:literal, $rule:expr, $valid:expr) => {
        impl $type {
            /// # Errors
            /// When `value` does not follow the rule of this name.
            pub fn new(value: impl Into<String>) -> Result<Self, InvalidName> {
                let value = value.into();
                let valid: fn(&str) -> bool = $valid;
                if valid(&value) {
                    Ok(Self(value))
                } else {
                    Err(InvalidName { what: $what, value, rule: $rule })
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(value: String) -> Result<Self, InvalidName> {
                Self::new(value)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

checked_name!(EnvironmentName, "environment", NAME_RULE, is_name);
checked_name!(Label, "label", LABEL_RULE, is_label);
checked_name!(BackupId, "backup id", ID_RULE, is_backup_id);

fn is_label(value: &str) -> bool {
    is_name(value) && value != "latest"
}

fn is_backup_id(value: &str) -> bool {
    let mut parts = value.split('_');
    parts.next().is_some_and(is_name)
        && parts.next().is_some_and(is_time)
        && parts.next().is_none_or(is_label)
        && parts.next().is_none()
}

/// Whether `value` is a UTC time to the second as ids write it: fixed width, so that text order
/// is time order.
pub(crate) fn is_time(value: &str) -> bool {
    jiff::civil::DateTime::strptime(TIME_FORMAT, value)
        .is_ok_and(|time| value.len() == TIME_LENGTH && time.strftime(TIME_FORMAT).to_string() == value)
}

/// A time as ids write it. Times before 1970 count as 1970, so that the width is fixed.
pub(crate) fn time_text(time: jiff::Timestamp) -> String {
    time.max(jiff::Timestamp::UNIX_EPOCH).strftime(TIME_FORMAT).to_string()
}

impl fmt::Display for ObjectName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.copy {
            0 => self.id.fmt(formatter),
            copy => write!(formatter, "{}-{copy}", self.id),
        }
    }
}

impl std::str::FromStr for ObjectName {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (id, copy) = text.split_once('-').unwrap_or((text, "0"));
        let name = id.parse().ok().zip(copy.parse().ok()).map(|(id, copy)| Self { id, copy });
        // One way of writing a number.
        name.filter(|name| name.to_string() == text).ok_or_else(|| InvalidName {
            what: "object",
            value: text.to_owned(),
            rule: OBJECT_RULE,
        })
    }
}

impl BackupId {
    /// The id of a backup of `environment` that began at `time`, to the second.
    pub fn compose(environment: &EnvironmentName, time: jiff::Timestamp, label: Option<&Label>) -> Self {
        let time = time_text(time);
        Self(match label {
            Some(label) => format!("{environment}_{time}_{label}"),
            None => format!("{environment}_{time}"),
        })
    }

    /// Name of the environment, the first part.
    pub fn environment(&self) -> &str {
        self.part(0).unwrap_or_default()
    }

    /// When the backup began, the second part; as text it sorts as time does.
    pub fn time(&self) -> &str {
        self.part(1).unwrap_or_default()
    }

    /// As [`BackupId::time`], to calculate with.
    pub(crate) fn began_at(&self) -> Option<jiff::Timestamp> {
        let time = jiff::civil::DateTime::strptime(TIME_FORMAT, self.time()).ok()?;
        Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    }

    /// The label, the third part.
    pub fn label(&self) -> Option<&str> {
        self.part(2)
    }

    fn part(&self, index: usize) -> Option<&str> {
        self.0.split('_').nth(index)
    }
}

impl ObjectId {
    /// What a field holds before its hash is known.
    pub const ZERO: Self = Self([0; 32]);

    /// The id of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self(blake3::hash(content).into())
    }
}

/// `N` bytes from `2 N` lowercase hex digits, and from nothing else.
pub(super) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

impl RunTag {
    /// The tag that `text` writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        from_hex(text).map(Self)
    }
}

impl fmt::Display for RunTag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl std::str::FromStr for ObjectId {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName {
            what: "object id",
            value: text.to_owned(),
            rule: "expected 64 lowercase hex digits",
        };
        from_hex(text).map(Self).ok_or_else(invalid)
    }
}

impl Serialize for ObjectId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOSTILE: [&str; 22] = [
        "",
        ".",
        "..",
        "a/b",
        "/a",
        "a\\b",
        "a\0",
        "a b",
        " a",
        "a\n",
        "-a",
        ".a",
        "ü",
        "a_b",
        "../../etc/passwd",
        "%2e%2e",
        "~",
        "$HOME",
        "a:b",
        "a*",
        "a\u{202e}b",
        "😀",
    ];

    #[test]
    fn names_that_could_lead_elsewhere_are_refused() {
        for name in HOSTILE {
            assert!(EnvironmentName::new(name).is_err(), "{name:?}");
            assert!(Label::new(name).is_err(), "{name:?}");
            assert!(BackupId::new(format!("{name}_2026-11-21T09-12-04Z")).is_err(), "{name:?}");
            assert!(BackupId::new(format!("prod_2026-11-21T09-12-04Z_{name}")).is_err(), "{name:?}");
        }
        assert!(EnvironmentName::new("a".repeat(63)).is_ok());
        assert!(EnvironmentName::new("a".repeat(64)).is_err());
    }

    #[test]
    fn names_of_objects_are_read_as_they_are_written_and_no_other_way() {
        let id = ObjectId::of(b"x");
        for copy in [0, 1, 9, 10, u32::MAX] {
            let name = ObjectName { id, copy };
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        for wrong in ["", "-1", "x-1"].map(str::to_owned).into_iter().chain(
            ["-0", "-01", "-+1", "-", "--1", "-1-1", "-4294967296", " "].map(|end| format!("{id}{end}")),
        ) {
            assert!(wrong.parse::<ObjectName>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn latest_is_an_environment_but_no_label() {
        assert!(EnvironmentName::new("latest").is_ok());
        assert!(Label::new("latest").is_err());
        assert!(BackupId::new("prod_2026-11-21T09-12-04Z_latest").is_err());
    }

    #[test]
    fn an_id_without_a_real_time_is_refused() {
        for id in [
            "prod",
            "prod_",
            "prod_2026",
            "prod_2026-13-21T09-12-04Z",
            "prod_2026-02-30T09-12-04Z",
            "prod_2026-11-21T24-12-04Z",
            "prod_2026-11-21T09:12:04Z",
            "prod_2026-11-21T09-12-04",
            "prod_2026-11-21T09-12-04z",
            "prod_+026-11-21T09-12-04Z",
            "prod_2026-11-21T09-12-04Z_a_b",
            "prod_2026-11-21T09-12-04Z_",
            "_2026-11-21T09-12-04Z",
        ] {
            assert!(BackupId::new(id).is_err(), "{id}");
        }
    }

    #[test]
    fn an_object_id_is_64_lowercase_digits_and_nothing_else() {
        let digits = "0123456789abcdef".repeat(4);
        assert_eq!(digits.parse::<ObjectId>().unwrap().to_string(), digits);
        for wrong in [digits.to_uppercase(), digits[1..].to_owned(), format!("{digits}0"), "é".repeat(32)] {
            assert!(wrong.parse::<ObjectId>().is_err(), "{wrong}");
        }
    }

    fn any_name() -> impl Strategy<Value = String> {
        "[a-zA-Z0-9][a-zA-Z0-9.-]{0,62}"
    }

    proptest! {
        #[test]
        fn a_composed_id_is_valid_and_gives_its_parts_back(
            environment in any_name(),
            tag in proptest::option::of(any_name().prop_filter("reserved", |name| name != "latest")),
            seconds in -100_000_000_000i64..253_402_207_200,
        ) {
            let environment = EnvironmentName::new(environment).unwrap();
            let label = tag.map(|tag| Label::new(tag).unwrap());
            let time = jiff::Timestamp::from_second(seconds).unwrap();
            let id = BackupId::compose(&environment, time, label.as_ref());
            prop_assert_eq!(BackupId::new(id.as_str()), Ok(id.clone()));
            prop_assert_eq!(id.environment(), environment.as_str());
            prop_assert_eq!(id.label(), label.as_ref().map(Label::as_str));
            let expected = time_text(time);
            prop_assert_eq!(id.time(), expected.as_str());
            prop_assert_eq!(id.began_at().map(jiff::Timestamp::as_second), Some(seconds.max(0)));
        }

        #[test]
        fn the_order_of_times_is_the_order_of_their_text(one in 0i64..253_402_207_200, other in 0i64..253_402_207_200) {
            let text = |seconds| time_text(jiff::Timestamp::from_second(seconds).unwrap());
            prop_assert_eq!(one.cmp(&other), text(one).cmp(&text(other)));
        }

        #[test]
        fn any_text_is_an_id_or_an_error_and_never_a_panic(text in ".{0,200}") {
            let _ = (BackupId::new(text.clone()), text.parse::<ObjectId>());
        }
    }
}
