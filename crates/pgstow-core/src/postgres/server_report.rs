//! What the server says of its own accord: parameters, notices, the transaction's state.

use std::collections::BTreeMap;

use super::connection::TransactionStatus;
use super::server_message::{self, Body};

/// Notices kept until someone asks; a trigger can raise one per row.
const NOTICES_KEPT: usize = 1000;

/// The latest of each kind.
#[derive(Debug)]
pub(super) struct ServerReport {
    parameters: BTreeMap<String, String>,
    notices: Vec<String>,
    notices_left_out: usize,
    pub(super) transaction: TransactionStatus,
}

impl ServerReport {
    pub(super) fn new() -> Self {
        Self {
            parameters: BTreeMap::new(),
            notices: Vec::new(),
            notices_left_out: 0,
            transaction: TransactionStatus::Idle,
        }
    }

    /// Takes note of a message that may come at any time; `false` when it is another one.
    pub(super) fn note(&mut self, tag: u8, body: &[u8]) -> bool {
        match tag {
            b'S' => {
                let mut body = Body(body);
                if let (Some(name), Some(value)) = (body.text(), body.text()) {
                    self.parameters.insert(name, value);
                }
            }
            b'N' => self.add_notice(body),
            // Nothing here listens to channels.
            b'A' => {}
            _ => return false,
        }
        true
    }

    fn add_notice(&mut self, body: &[u8]) {
        if self.notices.len() >= NOTICES_KEPT {
            self.notices_left_out += 1;
            return;
        }
        let notice = server_message::server_error(body);
        self.notices.push(format!("{}: {}", notice.severity, notice.message));
    }

    pub(super) fn take_notices(&mut self) -> Vec<String> {
        let mut notices = std::mem::take(&mut self.notices);
        let left_out = std::mem::take(&mut self.notices_left_out);
        if left_out > 0 {
            notices.push(format!("NOTICE: {left_out} more notices were left out"));
        }
        notices
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// Takes the state from a ReadyForQuery.
    pub(super) fn ready(&mut self, body: &[u8]) {
        self.transaction = match body.first() {
            Some(b'T') => TransactionStatus::Open,
            Some(b'E') => TransactionStatus::Failed,
            _ => TransactionStatus::Idle,
        };
    }

    /// `server_version` as a number: `15.18 (Debian …)` is 150018, `9.6.24` is 90624,
    /// `18beta1` is 180000; 0 when it cannot be read.
    pub(super) fn version_num(&self) -> u32 {
        let text = self.parameter("server_version").unwrap_or_default();
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let mut parts = text[..end].split('.').map(|part| part.parse::<u32>().unwrap_or(0).min(9999));
        let mut part = || parts.next().unwrap_or(0);
        match part() {
            major @ 0..10 => major * 10_000 + part().min(99) * 100 + part().min(99),
            major => major * 10_000 + part(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_numbers_are_read_from_every_form_servers_report() {
        for (text, number) in [
            ("15.18 (Debian 15.18-0+deb12u1)", 150_018),
            ("17.6", 170_006),
            ("18beta1", 180_000),
            ("18.0", 180_000),
            ("9.6.24", 90_624),
            ("", 0),
            ("what", 0),
        ] {
            let mut report = ServerReport::new();
            report.note(b'S', format!("server_version\0{text}\0").as_bytes());
            assert_eq!(report.version_num(), number, "{text}");
        }
    }

    #[test]
    fn a_flood_of_notices_is_counted_instead_of_kept() {
        let mut report = ServerReport::new();
        for _ in 0..NOTICES_KEPT + 5 {
            report.note(b'N', b"VWARNING\0Mlook out\0\0");
        }
        let notices = report.take_notices();
        assert_eq!(notices.len(), NOTICES_KEPT + 1);
        assert_eq!(notices[0], "WARNING: look out");
        assert_eq!(notices[NOTICES_KEPT], "NOTICE: 5 more notices were left out");
        assert!(report.take_notices().is_empty());
    }
}
