//! The files that hold AWS profiles: `~/.aws/config` and `~/.aws/credentials`, read as Amazon's
//! own programs read them.
//!
//! <https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pgstow_core::postgres::conninfo::Surroundings;
use pgstow_core::{Error, ErrorKind, Result};

use crate::config::Variables;
use crate::process::Process;

/// The profile that is taken when none is named.
const DEFAULT: &str = "default";

type Section = BTreeMap<String, String>;

/// All profiles of both files.
#[derive(Default)]
pub(super) struct Profiles {
    profiles: BTreeMap<String, Section>,
    services: BTreeMap<String, Section>,
    /// The files that were looked at, for messages.
    files: Vec<PathBuf>,
}

/// Which of the two files a text is: they name their sections differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Config,
    Credentials,
}

/// One profile. Values of keys below a key (`s3 =` and then indented lines) are `s3.key`.
#[derive(Clone, Copy)]
pub(super) struct Profile<'p> {
    /// Its name.
    pub(super) name: &'p str,
    profiles: &'p Profiles,
    section: &'p Section,
}

impl Profiles {
    /// Reads both files; one that does not exist is empty.
    ///
    /// # Errors
    /// Usage: a file that cannot be read, or a line that is none of such a file.
    pub(super) fn load(variables: &Variables, process: &Process) -> Result<Self> {
        let mut profiles = Self::default();
        for (role, variable, usual) in [
            (Role::Config, "AWS_CONFIG_FILE", ".aws/config"),
            // The later file wins where both give a key.
            (Role::Credentials, "AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"),
        ] {
            let Some(path) = path(variables.get(variable), usual, process) else { continue };
            let text = process.read(&path).map_err(|error| {
                Error::new(ErrorKind::Usage, format!("cannot read {}", path.display())).source(error)
            })?;
            if let Some(text) = text {
                profiles.add(&text, role, &path)?;
            }
            profiles.files.push(path);
        }
        Ok(profiles)
    }

    /// The profile `named`, which must exist, or else the default one if there is one.
    ///
    /// # Errors
    /// Usage: there is no profile of that name.
    pub(super) fn get<'p>(&'p self, named: Option<&'p str>) -> Result<Option<Profile<'p>>> {
        let name = named.unwrap_or(DEFAULT);
        match self.profiles.get(name) {
            Some(section) => Ok(Some(Profile { name, profiles: self, section })),
            None if named.is_none() => Ok(None),
            None => Err(self.missing(name)),
        }
    }

    fn missing(&self, name: &str) -> Error {
        let files: Vec<String> = self.files.iter().map(|path| path.display().to_string()).collect();
        let error = Error::new(ErrorKind::Usage, format!("there is no AWS profile {name:?}"))
            .why(format!("looked in {}", files.join(" and ")));
        if self.profiles.is_empty() {
            return error.hint("set AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE if they are elsewhere");
        }
        let names: Vec<&str> = self.profiles.keys().map(String::as_str).collect();
        error.hint(format!("the profiles there are {}", names.join(", ")))
    }

    fn add(&mut self, text: &str, role: Role, path: &Path) -> Result<()> {
        let sections = sections(text).map_err(|line| {
            Error::new(ErrorKind::Usage, format!("{}:{line}: cannot be read", path.display()))
                .why("a line must be a [section], a name = value, or a comment")
        })?;
        // `[profile default]` wins over `[default]`.
        let explicit =
            sections.iter().any(|(header, _)| role == Role::Config && words(header) == ("profile", DEFAULT));
        for (header, section) in sections {
            let (kind, name) = words(&header);
            let target = match (role, kind, name) {
                (Role::Credentials, ..) => self.profiles.entry(header.clone()),
                (Role::Config, DEFAULT, "") if explicit => continue,
                (Role::Config, DEFAULT, "") => self.profiles.entry(DEFAULT.to_owned()),
                (Role::Config, "profile", name) => self.profiles.entry(name.to_owned()),
                (Role::Config, "services", name) => self.services.entry(name.to_owned()),
                // Others (`sso-session`, `plugins`) are none of ours.
                _ => continue,
            };
            target.or_default().extend(section);
        }
        Ok(())
    }
}

impl<'p> Profile<'p> {
    /// The value of a key; an empty one counts as none.
    pub(super) fn get(&self, key: &str) -> Option<&'p str> {
        self.section.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Names of all its keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'p str> + use<'p> {
        self.section.keys().map(String::as_str)
    }

    /// `endpoint_url` for S3: of the services that the profile names, or else its own.
    pub(super) fn endpoint(&self) -> Option<&'p str> {
        let services = self.get("services").and_then(|name| self.profiles.services.get(name));
        services
            .and_then(|services| services.get("s3.endpoint_url"))
            .map(String::as_str)
            .or(self.get("endpoint_url"))
    }

    /// Another profile of the same files.
    ///
    /// # Errors
    /// Usage: there is no profile of that name.
    pub(super) fn sibling(&self, name: &'p str) -> Result<Option<Self>> {
        self.profiles.get(Some(name))
    }

    /// Where it was found, for messages.
    pub(super) fn files(&self) -> String {
        let files: Vec<String> = self.profiles.files.iter().map(|path| path.display().to_string()).collect();
        files.join(" or ")
    }
}

/// The file that a variable names (`~` is the home folder), or else the usual one.
fn path(named: Option<&str>, usual: &str, process: &Process) -> Option<PathBuf> {
    match named {
        Some(named) => match named.strip_prefix("~/") {
            Some(rest) => Some(process.home()?.join(rest)),
            None => Some(PathBuf::from(named)),
        },
        None => Some(process.home()?.join(usual)),
    }
}

/// `profile "a b"` as `("profile", "a b")`.
fn words(header: &str) -> (&str, &str) {
    let (kind, name) = header.split_once([' ', '\t']).unwrap_or((header, ""));
    (kind, name.trim().trim_matches(['"', '\'']))
}

/// Headers and their keys, in the order of the file; or the number of the line that is none.
fn sections(text: &str) -> Result<Vec<(String, Section)>, usize> {
    let mut found: Vec<(String, Section)> = Vec::new();
    // The key that deeper lines belong to, and how deep it stands itself.
    let mut above: Option<(String, usize)> = None;
    for (number, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        let content = line.trim();
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        if let Some(header) = content.strip_prefix('[').filter(|_| indent == 0) {
            let (header, _) = header.split_once(']').ok_or(number + 1)?;
            found.push((header.trim().to_owned(), Section::new()));
            above = None;
            continue;
        }
        let (_, section) = found.last_mut().ok_or(number + 1)?;
        match &above {
            Some((key, depth)) if indent > *depth => {
                // Below a key with a value it would be a longer value, which nothing of use has.
                if let Some((name, value)) = content.split_once('=') {
                    section.insert(format!("{key}.{}", name.trim().to_lowercase()), plain(value));
                }
            }
            _ => {
                let (name, value) = content.split_once('=').ok_or(number + 1)?;
                let name = name.trim().to_lowercase();
                section.insert(name.clone(), plain(value));
                above = Some((name, indent));
            }
        }
    }
    Ok(found)
}

/// A value without the comment behind it.
fn plain(value: &str) -> String {
    let comment = [" #", " ;", "\t#", "\t;"].iter().filter_map(|mark| value.find(mark)).min();
    comment.and_then(|end| value.get(..end)).unwrap_or(value).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profiles(config: &str, credentials: &str) -> Profiles {
        let mut profiles = Profiles::default();
        profiles.add(config, Role::Config, Path::new("config")).unwrap();
        profiles.add(credentials, Role::Credentials, Path::new("credentials")).unwrap();
        profiles
    }

    #[test]
    fn both_files_make_one_profile_and_credentials_win() {
        let profiles = profiles(
            "# comment\n[default]\nregion = eu-west-1 ; near\nAWS_ACCESS_KEY_ID=old\n\n[profile \"a b\"]\nregion=x\n[sso-session s]\nsso_region = y\n",
            "[default]\n  aws_access_key_id = new\n  aws_secret_access_key = p=a#s;s\n[other]\naws_access_key_id = o\n",
        );
        let default = profiles.get(None).unwrap().unwrap();
        assert_eq!(default.get("region"), Some("eu-west-1"));
        assert_eq!(default.get("aws_access_key_id"), Some("new"));
        assert_eq!(default.get("aws_secret_access_key"), Some("p=a#s;s"));
        assert_eq!(profiles.get(Some("a b")).unwrap().unwrap().get("region"), Some("x"));
        assert_eq!(profiles.get(Some("other")).unwrap().unwrap().get("aws_access_key_id"), Some("o"));
        assert!(profiles.get(Some("s")).is_err());
    }

    #[test]
    fn keys_below_a_key_and_services_are_read() {
        let text = "[profile m]\nservices = local\ns3 =\n  addressing_style = path\nregion = r\n\
                    [services local]\ns3 =\n    endpoint_url = http://localhost:9000\n";
        let profiles = profiles(text, "");
        let profile = profiles.get(Some("m")).unwrap().unwrap();
        assert_eq!(profile.get("s3.addressing_style"), Some("path"));
        assert_eq!(profile.get("region"), Some("r"));
        assert_eq!(profile.endpoint(), Some("http://localhost:9000"));
    }

    #[test]
    fn the_default_profile_may_be_written_in_two_ways_and_the_long_one_wins() {
        let profiles = profiles("[profile default]\nregion = long\n[default]\nregion = short\n", "");
        assert_eq!(profiles.get(None).unwrap().unwrap().get("region"), Some("long"));
    }

    #[test]
    fn a_line_that_is_none_is_named_by_its_number_alone() {
        for text in ["[default]\nhunter2\n", "hunter2 = 1\n", "[hunter2\n"] {
            let error = Profiles::default().add(text, Role::Config, Path::new("config")).unwrap_err();
            assert!(error.message().starts_with("config:"), "{}", error.message());
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn a_missing_profile_is_an_error_only_when_it_was_named() {
        let profiles = profiles("[profile prod]\nregion = x\n", "");
        assert!(profiles.get(None).unwrap().is_none());
        let error = profiles.get(Some("prd")).err().unwrap();
        assert_eq!(error.message(), "there is no AWS profile \"prd\"");
        assert_eq!(error.hints(), ["the profiles there are prod"]);
    }
}
