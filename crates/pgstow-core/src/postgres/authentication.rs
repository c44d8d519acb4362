//! Proves who we are: password, md5, SCRAM-SHA-256 and, over TLS, SCRAM-SHA-256-PLUS.
//! Flow: PostgreSQL manual, "Message Flow", start-up.

use bytes::BytesMut;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, ScramSha256};
use postgres_protocol::message::frontend;

use super::server_message::Body;
use super::settings::{ChannelBinding, Secret};

/// Why the server's demand cannot be met.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// It asks for a password and none is known.
    NoPassword,
    /// It asks for something unknown, or breaks the rules.
    Protocol(String),
}

impl Obstacle {
    fn broken(reason: impl Into<String>) -> Self {
        Self::Protocol(reason.into())
    }
}

/// What to do after an authentication message.
pub(super) enum Step {
    /// Send these bytes, if any, and wait for the next message.
    Answer(BytesMut),
    /// The server believes us.
    Done,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // An answer can hold the password.
        formatter.write_str(match self {
            Self::Answer(_) => "Answer(…)",
            Self::Done => "Done",
        })
    }
}

/// The exchange on one connection.
pub(super) struct Authentication<'l> {
    pub(super) user: &'l str,
    pub(super) password: Option<Secret>,
    pub(super) channel_binding: ChannelBinding,
    /// Hash of the server's certificate (`tls-server-end-point`), or why there is none.
    pub(super) channel_hash: Result<Vec<u8>, String>,
    pub(super) scram: Scram,
}

/// How far SCRAM got.
#[derive(Default)]
pub(super) enum Scram {
    #[default]
    Unused,
    Running {
        exchange: Box<ScramSha256>,
        bound: bool,
    },
    /// The server proved that it knows the password, too.
    Proven {
        bound: bool,
    },
}

impl Authentication<'_> {
    /// Answers an Authentication message.
    pub(super) fn step(&mut self, body: &[u8]) -> Result<Step, Obstacle> {
        let mut body = Body(body);
        let kind = body.int32().ok_or_else(|| Obstacle::broken("malformed authentication message"))?;
        match kind {
            0 => self.accepted(),
            3 => {
                let password = self.plain_password()?;
                answer(|buffer| frontend::password_message(password.expose().as_bytes(), buffer))
            }
            5 => {
                let salt = body.array::<4>().ok_or_else(|| Obstacle::broken("malformed md5 salt"))?;
                let password = self.plain_password()?;
                let hash = md5_hash(self.user.as_bytes(), password.expose().as_bytes(), salt);
                answer(|buffer| frontend::password_message(hash.as_bytes(), buffer))
            }
            10 => self.start_scram(body),
            11 => self.continue_scram(body.0),
            12 => self.finish_scram(body.0),
            2 | 7 | 8 | 9 => Err(Obstacle::broken(
                "it asks for Kerberos (GSSAPI or SSPI) authentication, which pgstow does not know",
            )),
            other => Err(Obstacle::broken(format!("it asks for the unknown authentication method {other}"))),
        }
    }

    fn known_password(&self) -> Result<Secret, Obstacle> {
        match &self.password {
            Some(password) if !password.expose().is_empty() => Ok(password.clone()),
            _ => Err(Obstacle::NoPassword),
        }
    }

    /// The password for the methods that cannot be bound to the TLS channel.
    fn plain_password(&self) -> Result<Secret, Obstacle> {
        if self.channel_binding == ChannelBinding::Require {
            return Err(Obstacle::broken(
                "channel_binding=require, but it asks for a method without channel binding",
            ));
        }
        self.known_password()
    }

    fn accepted(&self) -> Result<Step, Obstacle> {
        match &self.scram {
            Scram::Running { .. } => {
                Err(Obstacle::broken("it ended the SCRAM exchange without proving itself"))
            }
            Scram::Proven { bound: true } => Ok(Step::Done),
            _ if self.channel_binding == ChannelBinding::Require => Err(Obstacle::broken(
                "channel_binding=require, but it accepted the login without channel binding",
            )),
            _ => Ok(Step::Done),
        }
    }

    fn start_scram(&mut self, mut body: Body<'_>) -> Result<Step, Obstacle> {
        let mut plain = false;
        let mut plus = false;
        while let Some(mechanism) = body.text()
            && !mechanism.is_empty()
        {
            plain |= mechanism == sasl::SCRAM_SHA_256;
            plus |= mechanism == sasl::SCRAM_SHA_256_PLUS;
        }
        if self.channel_binding == ChannelBinding::Require {
            let refuse = |reason: &str| {
                Obstacle::broken(format!(
                    "channel_binding=require, but channel binding cannot be had: {reason}"
                ))
            };
            self.channel_hash.as_ref().map_err(|reason| refuse(reason))?;
            if !plus {
                return Err(refuse("the server does not offer it"));
            }
        }
        let binding = match self.channel_binding {
            ChannelBinding::Disable => None,
            ChannelBinding::Prefer | ChannelBinding::Require => self.channel_hash.as_ref().ok(),
        };
        let (mechanism, channel, bound) = match binding {
            Some(hash) if plus => {
                (sasl::SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(hash.clone()), true)
            }
            // Says "we could have bound, but you did not offer it", which unmasks a
            // man in the middle who took the offer away.
            Some(_) if plain => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unrequested(), false),
            _ if plain => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unsupported(), false),
            _ => return Err(Obstacle::broken("it asks for a SASL mechanism that pgstow does not know")),
        };
        let password = self.known_password()?;
        let exchange = Box::new(ScramSha256::new(password.expose().as_bytes(), channel));
        let step = answer(|buffer| frontend::sasl_initial_response(mechanism, exchange.message(), buffer));
        self.scram = Scram::Running { exchange, bound };
        step
    }

    fn continue_scram(&mut self, data: &[u8]) -> Result<Step, Obstacle> {
        let Scram::Running { exchange, .. } = &mut self.scram else {
            return Err(Obstacle::broken("SCRAM message out of turn"));
        };
        exchange.update(data).map_err(|error| Obstacle::broken(format!("SCRAM: {error}")))?;
        answer(|buffer| frontend::sasl_response(exchange.message(), buffer))
    }

    fn finish_scram(&mut self, data: &[u8]) -> Result<Step, Obstacle> {
        let Scram::Running { exchange, bound } = &mut self.scram else {
            return Err(Obstacle::broken("SCRAM message out of turn"));
        };
        exchange.finish(data).map_err(|error| Obstacle::broken(format!("SCRAM: {error}")))?;
        self.scram = Scram::Proven { bound: *bound };
        Ok(Step::Answer(BytesMut::new()))
    }
}

fn answer(encode: impl FnOnce(&mut BytesMut) -> std::io::Result<()>) -> Result<Step, Obstacle> {
    let mut buffer = BytesMut::new();
    encode(&mut buffer).map_err(|_| Obstacle::broken("the password holds a zero byte"))?;
    Ok(Step::Answer(buffer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authentication(password: Option<&str>, channel_binding: ChannelBinding) -> Authentication<'static> {
        Authentication {
            user: "bob",
            password: password.map(Secret::new),
            channel_binding,
            channel_hash: Err("the connection is not encrypted".to_owned()),
            scram: Scram::Unused,
        }
    }

    fn message(kind: i32, rest: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], rest].concat()
    }

    #[track_caller]
    fn refused(outcome: Result<Step, Obstacle>, part: &str) {
        match outcome {
            Err(Obstacle::Protocol(reason)) => assert!(reason.contains(part), "{reason}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_server_that_skips_its_own_proof_is_not_believed() {
        let mut exchange = authentication(Some("x"), ChannelBinding::Prefer);
        let offer = exchange.step(&message(10, b"SCRAM-SHA-256\0\0"));
        assert!(matches!(offer, Ok(Step::Answer(_))), "{offer:?}");
        refused(exchange.step(&message(0, b"")), "without proving itself");
        refused(exchange.step(&message(11, b"r=other,s=AAAA,i=4096")), "SCRAM");
    }

    #[test]
    fn messages_out_of_turn_or_unknown_are_refused() {
        for (kind, rest, part) in [
            (11, &b"x"[..], "out of turn"),
            (12, b"x", "out of turn"),
            (7, b"", "Kerberos"),
            (99, b"", "99"),
            (5, b"ab", "salt"),
            (10, b"SCRAM-SHA-1\0\0", "SASL"),
        ] {
            refused(authentication(Some("x"), ChannelBinding::Prefer).step(&message(kind, rest)), part);
        }
        refused(authentication(Some("x"), ChannelBinding::Prefer).step(b"ab"), "malformed");
    }

    #[test]
    fn required_channel_binding_allows_no_other_way_in() {
        for (kind, rest) in [(0, &b""[..]), (3, b""), (5, b"salt"), (10, b"SCRAM-SHA-256\0\0")] {
            let mut exchange = authentication(Some("x"), ChannelBinding::Require);
            refused(exchange.step(&message(kind, rest)), "channel_binding=require");
        }
    }

    #[test]
    fn an_empty_password_is_none() {
        for password in [None, Some("")] {
            for (kind, rest) in [(3, &b""[..]), (5, b"salt"), (10, b"SCRAM-SHA-256\0\0")] {
                let outcome = authentication(password, ChannelBinding::Prefer).step(&message(kind, rest));
                assert!(matches!(outcome, Err(Obstacle::NoPassword)), "{outcome:?}");
            }
        }
    }
}
