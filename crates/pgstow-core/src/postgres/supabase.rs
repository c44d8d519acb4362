//! What Supabase's host names say: which project, directly or through the pooler. Pure.

use super::settings::Host;

/// Hosts of this domain are one project's own server: `db.<project>.supabase.co`.
const PROJECT_DOMAIN: &str = ".supabase.co";
/// Hosts of this domain are poolers of many projects.
const POOLER_DOMAIN: &str = ".pooler.supabase.com";

/// The host of a project's own server. It has an IPv6 address, and no other unless that is paid for.
pub fn direct_host(project: &str) -> String {
    format!("db.{project}{PROJECT_DOMAIN}")
}

/// Whether a host name is that of a pooler, which learns the project from the role's name.
pub fn is_pooler_name(host: &str) -> bool {
    host.to_ascii_lowercase().trim_end_matches('.').ends_with(POOLER_DOMAIN)
}

/// Whether a host name is that of a project's own server.
pub fn is_direct_name(host: &str) -> bool {
    project_in(host).is_some()
}

/// Whether a host is such a pooler.
pub(super) fn is_pooler(host: &Host) -> bool {
    matches!(host, Host::Tcp { host, .. } if is_pooler_name(host))
}

/// The project whose own server a host is.
pub(super) fn project(host: &Host) -> Option<&str> {
    let Host::Tcp { host, .. } = host else { return None };
    project_in(host)
}

fn project_in(host: &str) -> Option<&str> {
    let project = host.strip_prefix("db.")?.strip_suffix(PROJECT_DOMAIN)?;
    is_reference(project).then_some(project)
}

/// Whether a text has the form of a project's reference: letters and digits.
pub fn is_reference(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|character| character.is_ascii_alphanumeric())
}

/// What to do where a project's own server cannot be reached.
pub(super) fn session_pooler(project: &str) -> String {
    format!(
        "connect through the project's session pooler, which has IPv4: host aws-…{POOLER_DOMAIN} (the \
         dashboard shows it under Connect), port 5432, user postgres.{project}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str) -> Host {
        Host::Tcp { host: host.to_owned(), address: None, port: 5432 }
    }

    #[test]
    fn host_names_tell_projects_and_poolers() {
        assert_eq!(project(&tcp(&direct_host("abcd1234"))), Some("abcd1234"));
        for other in ["db.example.com", "abcd.supabase.co", "db..supabase.co", "db.a.b.supabase.co"] {
            assert_eq!(project(&tcp(other)), None, "{other}");
        }
        assert_eq!(project(&Host::Socket { directory: "/db.a.supabase.co".into(), port: 1 }), None);
        assert!(is_pooler(&tcp("aws-0-eu-central-1.pooler.supabase.com")));
        assert!(is_pooler(&tcp("AWS-1-eu-west-2.pooler.Supabase.com.")));
        assert!(!is_pooler(&tcp("pooler.supabase.com.example.org")) && !is_pooler(&tcp("db.a.supabase.co")));
    }
}
