//! Progress in the form that suits standard error: live bars, plain lines, JSON lines or nothing.

mod json;
mod live;
mod plain;

use jiff::Timestamp;
use pgstow_core::monitor::{Event, Monitor};

use super::{Output, format};

/// The monitor for one run; what it draws is gone when it is dropped, what it tells stays.
/// `subject` stands before the endpoint, such as the environment's name.
pub(crate) fn monitor<'o>(output: &'o Output, subject: &str) -> Box<dyn Monitor + 'o> {
    if output.is_json() {
        Box::new(json::JsonMonitor::new(output))
    } else if output.is_quiet() {
        Box::new(WarningsOnly(output))
    } else if output.terminal().live {
        Box::new(live::LiveMonitor::new(output, subject))
    } else {
        Box::new(plain::PlainMonitor::new(output, subject))
    }
}

/// With `--quiet`.
struct WarningsOnly<'o>(&'o Output);

impl Monitor for WarningsOnly<'_> {
    fn event(&self, event: Event<'_>) {
        if let Event::Warning { message } = event {
            self.0.warn(message);
        }
    }
}

/// The line that stays on the screen for an event, if it is one of those.
fn lasting_line(event: &Event<'_>, subject: &str, output: &Output) -> Option<String> {
    match event {
        Event::Connected { endpoint, server } => Some(match subject == *endpoint {
            // A one-off is called by its place.
            true => format!("{endpoint}  {server}"),
            false => format!("{subject}  {endpoint}  {server}"),
        }),
        Event::Snapshot { id, tables } => {
            let clock = format::clock(Timestamp::now(), output.zone());
            let locks = match *tables {
                0 => String::new(),
                tables => format!(", locks held on {}", format::count(tables as u64, "table")),
            };
            Some(format!("snapshot {id} at {clock}{locks}"))
        }
        _ => None,
    }
}
