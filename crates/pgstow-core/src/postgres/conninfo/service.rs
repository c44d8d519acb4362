//! Service files: `[name]` and below it `parameter=value` lines, taken as they stand.
//! Rules: PostgreSQL manual, libpq, "The Connection Service File".

use std::path::{Path, PathBuf};

use super::parameters::{Parameters, is_word, suggestion};
use super::{Surroundings, usage};
use crate::error::{Error, Result};

/// Name of a user's service file, in the home directory.
const USER_FILE: &str = ".pg_service.conf";
/// Name of the system's service file.
const SYSTEM_FILE: &str = "pg_service.conf";
/// Where packages of Debian, of Red Hat, and PostgreSQL itself keep the system's service file when
/// `PGSYSCONFDIR` does not say otherwise.
const SYSTEM_DIRECTORIES: [&str; 3] =
    ["/etc/postgresql-common", "/etc/sysconfig/pgsql", "/usr/local/pgsql/etc"];

/// Fills what the connection string leaves out from the service it names, or `PGSERVICE` does.
///
/// As in libpq: the user's file is looked at first and then the system's; what is given wins over
/// the service, and the service over the PG* variables.
///
/// # Errors
/// Usage errors that name file and line, never a value.
pub(super) fn fill(given: &mut Parameters, surroundings: &dyn Surroundings) -> Result<()> {
    let set = |name: &str| surroundings.variable(name).filter(|value| !value.is_empty());
    let Some(service) = given.get("service").map(ToOwned::to_owned).or_else(|| set("PGSERVICE")) else {
        return Ok(());
    };
    if service.is_empty() {
        return Ok(());
    }
    let named = given.get("servicefile").map(ToOwned::to_owned).or_else(|| set("PGSERVICEFILE"));
    let mut looked_at = Vec::new();
    for file in files(named.as_deref(), surroundings) {
        let shown = file.display();
        let content = surroundings
            .read(&file)
            .map_err(|error| usage(format!("service file {shown} cannot be read")).source(error))?;
        match content {
            Some(content) if read(&content, &service, given, &file)? => return Ok(()),
            None if named.as_deref().is_some_and(|named| file == Path::new(named)) => {
                return Err(usage(format!("service file {shown} does not exist"))
                    .hint("PGSERVICEFILE (or servicefile) names it"));
            }
            Some(_) => looked_at.push(shown.to_string()),
            None => {}
        }
    }
    Err(not_found(&service, &looked_at))
}

/// The files that may hold the service, in order; those by default need not exist.
fn files(named: Option<&str>, surroundings: &dyn Surroundings) -> Vec<PathBuf> {
    let own = match named {
        Some(named) => Some(PathBuf::from(named)),
        None => surroundings.home().map(|home| home.join(USER_FILE)),
    };
    let configured = surroundings.variable("PGSYSCONFDIR").filter(|folder| !folder.is_empty());
    let folders = match configured {
        Some(folder) => vec![PathBuf::from(folder)],
        None => SYSTEM_DIRECTORIES.map(PathBuf::from).to_vec(),
    };
    own.into_iter().chain(folders.into_iter().map(|folder| folder.join(SYSTEM_FILE))).collect()
}

/// Takes the first section of this name; whether there is one.
fn read(content: &str, service: &str, given: &mut Parameters, file: &Path) -> Result<bool> {
    let mut inside = false;
    for (index, line) in content.lines().enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            if inside {
                return Ok(true);
            }
            inside = header.strip_prefix(service).is_some_and(|rest| rest.starts_with(']'));
        } else if inside {
            take(line, given).map_err(|error| error.context(format!("{}:{}", file.display(), index + 1)))?;
        }
    }
    Ok(inside)
}

fn take(line: &str, given: &mut Parameters) -> Result<()> {
    let Some((name, value)) = line.split_once('=') else {
        return Err(usage("this line of a service file is not parameter=value")
            .hint("write one parameter a line, without blanks around ="));
    };
    if matches!(name, "service" | "servicefile") {
        return Err(usage(format!("a service cannot refer to another one with {name}"))
            .hint("write the parameters of the other one here"));
    }
    if given.fill(name, value.to_owned())? {
        return Ok(());
    }
    let error = if is_word(name) {
        usage(format!("unknown connection parameter {name} in a service file"))
    } else {
        // Such as a value that went on in a second line.
        usage("a line of a service file begins with no known parameter")
    };
    Err(match suggestion(name.trim_ascii()) {
        Some(known) => error.hint(format!("did you mean {known}? no blanks may stand around =")),
        None => error.hint("write one parameter a line, such as host=db.example.com"),
    })
}

fn not_found(service: &str, looked_at: &[String]) -> Error {
    let why = match looked_at {
        [] => "there is no service file".to_owned(),
        files => format!("it has no section in {}", files.join(" or ")),
    };
    usage(format!("the service {service} is not defined"))
        .why(why)
        .hint(format!("service files are ~/{USER_FILE} (or PGSERVICEFILE) and {SYSTEM_FILE} in PGSYSCONFDIR"))
}
