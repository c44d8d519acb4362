//! What has to be confirmed before a restore, or before backups are deleted. Pure: the questions are asked elsewhere.

use pgstow_core::Error;

/// What the decision depends on.
#[derive(Debug, Clone, Copy)]
pub(in crate::commands) struct Request<'a> {
    /// Something in the target can be lost or mixed.
    pub(in crate::commands) destructive: bool,
    /// The target's name: the environment's, or `host:port/database`.
    pub(in crate::commands) target: &'a str,
    /// The target is a protected environment of this name.
    pub(in crate::commands) protected: Option<&'a str>,
    /// `--yes` (empty) or `--yes=NAME`.
    pub(in crate::commands) yes: Option<&'a str>,
    /// Somebody can be asked.
    pub(in crate::commands) interactive: bool,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::commands) enum Decision {
    /// Go on.
    Go,
    /// Ask yes or no.
    Confirm,
    /// Have this name typed.
    TypeName(String),
    /// Do not go on: message and next step.
    Refuse(String, String),
}

/// Decides. A protected environment is never satisfied by `--yes` alone.
pub(in crate::commands) fn decide(request: &Request<'_>) -> Decision {
    if !request.destructive {
        return Decision::Go;
    }
    let name = request.protected.unwrap_or(request.target);
    let by_name = format!("--yes={name} if that is what you mean");
    match (request.yes, request.protected) {
        (Some(given), _) if given == name => Decision::Go,
        (Some(""), None) => Decision::Go,
        (Some(given), _) if !given.is_empty() => {
            Decision::Refuse(format!("--yes={given} does not name the target, {name}"), by_name)
        }
        (_, Some(protected)) if request.interactive => Decision::TypeName(protected.to_owned()),
        (_, None) if request.interactive => Decision::Confirm,
        (Some(_), _) => Decision::Refuse(format!("{name} is protected: --yes alone is not enough"), by_name),
        (None, Some(_)) => {
            Decision::Refuse(format!("{name} is protected, and nobody can be asked here"), by_name)
        }
        (None, None) => Decision::Refuse(
            format!("{name} holds something, and nobody can be asked here"),
            "--yes goes on without asking; --dry-run shows the plan".to_owned(),
        ),
    }
}

/// Whether an answer agrees.
pub(in crate::commands) fn agrees(decision: &Decision, answer: &str) -> bool {
    match decision {
        Decision::Go => true,
        Decision::Confirm => matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes"),
        Decision::TypeName(name) => answer == name,
        Decision::Refuse(..) => false,
    }
}

/// The refusal as an error.
pub(in crate::commands) fn refusal(message: String, hint: String) -> Error {
    Error::refused(message).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(protected: bool, yes: Option<&str>, interactive: bool) -> Decision {
        decide(&Request {
            destructive: true,
            target: "prod",
            protected: protected.then_some("prod"),
            yes,
            interactive,
        })
    }

    #[test]
    fn a_target_with_nothing_to_lose_needs_no_confirmation() {
        let request = Request {
            destructive: false,
            target: "prod",
            protected: Some("prod"),
            yes: None,
            interactive: false,
        };
        assert_eq!(decide(&request), Decision::Go);
    }

    #[test]
    fn a_protected_environment_needs_its_name_typed_or_given() {
        assert_eq!(decided(true, None, true), Decision::TypeName("prod".into()));
        assert_eq!(decided(true, Some(""), true), Decision::TypeName("prod".into()));
        assert_eq!(decided(true, Some("prod"), false), Decision::Go);
        for refused in [decided(true, None, false), decided(true, Some(""), false)] {
            assert!(matches!(refused, Decision::Refuse(..)), "{refused:?}");
        }
    }

    #[test]
    fn yes_with_another_name_is_refused_always() {
        for protected in [true, false] {
            for interactive in [true, false] {
                let decision = decided(protected, Some("dev"), interactive);
                assert!(matches!(decision, Decision::Refuse(..)), "{decision:?}");
            }
        }
    }

    #[test]
    fn an_ordinary_environment_is_asked_about_on_a_terminal_and_needs_yes_elsewhere() {
        assert_eq!(decided(false, None, true), Decision::Confirm);
        assert_eq!(decided(false, Some(""), true), Decision::Go);
        assert_eq!(decided(false, Some(""), false), Decision::Go);
        assert!(matches!(decided(false, None, false), Decision::Refuse(..)));
    }

    #[test]
    fn only_a_clear_answer_agrees() {
        for (answer, expected) in [("y", true), ("Yes", true), ("", false), ("n", false), ("yep", false)] {
            assert_eq!(agrees(&Decision::Confirm, answer), expected, "{answer}");
        }
        let name = Decision::TypeName("prod".into());
        for (answer, expected) in [("prod", true), ("PROD", false), ("y", false), ("", false)] {
            assert_eq!(agrees(&name, answer), expected, "{answer}");
        }
    }
}
