//! Asks what the guard wants to have confirmed.

use pgstow_core::Result;

use super::guard::{self, Decision, Request};
use crate::app::App;
use crate::ui::prompt;

/// Has it confirmed, if it must be. `effect` is a sentence (`This replaces what is in …`), `otherwise` what
/// can be done without being asked.
///
/// # Errors
/// Refused, or interrupted at the question.
pub(in crate::commands) fn ask(
    app: &App<'_>,
    request: &Request<'_>,
    effect: &str,
    otherwise: &str,
) -> Result<()> {
    let decision = guard::decide(request);
    let question = match &decision {
        Decision::Go => return Ok(()),
        Decision::Refuse(message, hint) => return Err(guard::refusal(message.clone(), hint.clone())),
        Decision::Confirm => format!("{effect} Go on? [y/N] "),
        Decision::TypeName(name) => format!("{name} is protected. {effect} Type {name} to go on: "),
    };
    let answer = prompt::ask(&question, &app.interrupt)?;
    if guard::agrees(&decision, &answer) {
        return Ok(());
    }
    Err(guard::refusal("not confirmed".to_owned(), otherwise.to_owned()))
}
