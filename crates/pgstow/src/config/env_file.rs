//! A `.env` file that says where one database is: with a URL, or with the keys `DB_HOST`, `DB_PORT`,
//! `DB_USER`, `DB_PASSWORD`, `DB_NAME` and `DB_PROJECT_REF` of scripts for Supabase.

use std::collections::BTreeMap;
use std::path::Path;

use pgstow_core::postgres::settings::Secret;
use pgstow_core::postgres::supabase;
use pgstow_core::{Error, ErrorKind, Result};

use super::environment::Parts;
use super::variables::read_dotenv;

/// Supabase's own names for the role and the database, and the port of the server and of the
/// session pooler alike.
const SUPABASE_ROLE: &str = "postgres";
const SUPABASE_DATABASE: &str = "postgres";
const SUPABASE_PORT: &str = "5432";

/// What the file assigns.
pub(super) struct EnvFile {
    shown: String,
    values: BTreeMap<String, String>,
}

impl EnvFile {
    /// Reads a file that must be there.
    ///
    /// # Errors
    /// Usage: it cannot be read.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        let values = read_dotenv(path)?
            .ok_or_else(|| Error::new(ErrorKind::Usage, format!("{shown} does not exist")))?;
        Ok(Self { shown, values })
    }

    /// A usage error about the file.
    pub(super) fn refusal(&self, why: impl Into<String>) -> Error {
        Error::new(ErrorKind::Usage, format!("{} cannot be used", self.shown)).why(why)
    }

    /// `DATABASE_URL_<ENV>`, else `DATABASE_URL`.
    pub(super) fn url(&self, environment: &str) -> Option<&str> {
        let own = format!("DATABASE_URL_{}", environment.to_uppercase().replace(['-', '.'], "_"));
        self.get(&own).or_else(|| self.get("DATABASE_URL"))
    }

    /// What the other keys say, and the password. For Supabase, what is left out is Supabase's own;
    /// that includes encryption, unless `has_mode` says that an sslmode is given elsewhere.
    ///
    /// # Errors
    /// Usage: nothing says where the database is, or a key cannot be understood.
    pub(super) fn parts(&self, has_mode: bool) -> Result<(Parts, Option<Secret>)> {
        let project = self.project()?;
        let host = match (self.get("DB_HOST"), project) {
            (Some(host), _) if host.contains("${") => {
                return Err(self.refusal("DB_HOST refers to a variable, and nothing in such files is replaced").hint(
                    "write the host itself; or leave DB_HOST out, and DB_PROJECT_REF names the project's own server",
                ));
            }
            (Some(host), _) => host.to_owned(),
            (None, Some(project)) => supabase::direct_host(project),
            (None, None) => return Err(self.says_nothing()),
        };
        let is_pooler = supabase::is_pooler_name(&host);
        let is_supabase = project.is_some() || is_pooler || supabase::is_direct_name(&host);
        let otherwise = |own: &'static str| is_supabase.then_some(own);
        let user = self.get("DB_USER").or(otherwise(SUPABASE_ROLE)).map(|user| match project {
            Some(project) if is_pooler && !user.contains('.') => format!("{user}.{project}"),
            _ => user.to_owned(),
        });
        let mut parts = Parts::default();
        parts.add("host", &host);
        for (parameter, value) in [
            ("port", self.get("DB_PORT").or(otherwise(SUPABASE_PORT))),
            ("user", user.as_deref()),
            ("dbname", self.get("DB_NAME").or(otherwise(SUPABASE_DATABASE))),
            ("sslmode", otherwise("require").filter(|_| !has_mode)),
        ] {
            if let Some(value) = value {
                parts.add(parameter, value);
            }
        }
        Ok((parts, self.get("DB_PASSWORD").map(Secret::new)))
    }

    fn project(&self) -> Result<Option<&str>> {
        let project = self.get("DB_PROJECT_REF");
        if project.is_some_and(|project| !supabase::is_reference(project)) {
            return Err(self
                .refusal("DB_PROJECT_REF is not a project's reference, which has letters and digits only")
                .hint("it is the first part of the project's address: https://<reference>.supabase.co"));
        }
        Ok(project)
    }

    fn says_nothing(&self) -> Error {
        let message = format!("{} says nothing of where the database is", self.shown);
        Error::new(ErrorKind::Usage, message).hint(
            "put DATABASE_URL, or DB_HOST (for Supabase, DB_PROJECT_REF) and DB_PASSWORD, into the file",
        )
    }

    /// An empty value counts as none.
    fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}
