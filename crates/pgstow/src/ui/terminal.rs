//! What standard input, output and error are connected to.

use std::io::IsTerminal;

use console::Term;
use jiff::tz::TimeZone;

/// Facts about where output goes; taken once.
#[derive(Debug, Clone)]
pub(crate) struct Terminal {
    /// Columns of standard output; `None` when it is no terminal, and nothing is cut or wrapped.
    pub(crate) width: Option<usize>,
    /// Someone can answer a question: standard input and standard error are terminals.
    pub(crate) interactive: bool,
    /// Progress may be drawn: standard error is a terminal that understands it.
    pub(crate) live: bool,
    /// Characters beyond ASCII may be drawn.
    pub(crate) unicode: bool,
    /// The user's time zone.
    pub(crate) zone: TimeZone,
}

impl Terminal {
    /// Of the running process.
    pub(crate) fn of_process() -> Self {
        let error_is_terminal = std::io::stderr().is_terminal();
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            width: Term::stdout().is_term().then(|| columns(&Term::stdout())),
            interactive: error_is_terminal && std::io::stdin().is_terminal(),
            live: error_is_terminal && !dumb,
            unicode: speaks_unicode(|name| std::env::var(name).ok()),
            zone: TimeZone::system(),
        }
    }
}

fn columns(term: &Term) -> usize {
    usize::from(term.size().1).max(40)
}

/// False only where the locale says so: `C` or `POSIX` in the variable that decides.
fn speaks_unicode(variable: impl Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| variable(name).filter(|value| !value.is_empty()));
    !matches!(locale.as_deref(), Some("C" | "POSIX"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_deciding_locale_variable_turns_unicode_off() {
        let cases: [(&[(&str, &str)], bool); 5] = [
            (&[], true),
            (&[("LANG", "C")], false),
            (&[("LANG", "C.UTF-8")], true),
            (&[("LC_ALL", "POSIX"), ("LANG", "de_DE.UTF-8")], false),
            (&[("LC_ALL", ""), ("LC_CTYPE", "de_DE.UTF-8"), ("LANG", "C")], true),
        ];
        for (variables, expected) in cases {
            let lookup = |name: &str| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string())
            };
            assert_eq!(speaks_unicode(lookup), expected, "{variables:?}");
        }
    }
}
