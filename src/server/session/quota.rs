//! A quota, the error of a client that exceeds it, and the limits that apply to the messages of a client.

use std::time::Duration;

use crate::server::room_rules::RuleRate;
use crate::server::session::Rate;

/// A limit on the number of messages or of new rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// Messages of one connection.
    Connection,
    /// Messages of one id on all its connections and over HTTP.
    Id,
    /// Messages of one address on all its connections and over HTTP.
    Address,
    /// Messages of one address over HTTP.
    Http,
    /// Messages of one id whose token has a rate of its own.
    Token,
    /// Rooms that one address creates.
    Rooms,
    /// Messages of one connection, or of one address over HTTP, to the rooms of a rule.
    Rule,
}

impl Quota {
    pub(super) const ALL: [Self; 7] = [
        Self::Connection,
        Self::Id,
        Self::Address,
        Self::Http,
        Self::Token,
        Self::Rooms,
        Self::Rule,
    ];

    /// Returns the label in metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Id => "id",
            Self::Address => "address",
            Self::Http => "http",
            Self::Token => "token",
            Self::Rooms => "rooms",
            Self::Rule => "rule",
        }
    }

    /// Returns the subject, the unit and the setting in an error message.
    const fn description(self) -> (&'static str, &'static str, &'static str) {
        const MESSAGES: &str = "messages a second";

        match self {
            Self::Connection => ("one connection may send", MESSAGES, "--message-rate"),
            Self::Id => ("one id may send", MESSAGES, "--id-rate"),
            Self::Address => ("one address may send", MESSAGES, "--address-rate"),
            Self::Http => (
                "over HTTP one address may publish",
                MESSAGES,
                "--publish-rate",
            ),
            Self::Token => ("this token allows", MESSAGES, "its claim rate"),
            Self::Rooms => ("one address may create", "rooms a day", "--room-rate"),
            Self::Rule => (
                "in this room one connection may send",
                MESSAGES,
                "message-rate of the room's rule",
            ),
        }
    }

    /// Returns the part of a token that lifts the limit, for the error message.
    const fn remedy(self) -> &'static str {
        match self {
            Self::Connection | Self::Id | Self::Address | Self::Http | Self::Rule => {
                "the claim rate of a token replaces it, and the grant admin on the room lifts it"
            }
            Self::Token | Self::Rooms => "the grant admin on the room lifts it",
        }
    }
}

/// The error of a message or a new room that exceeds a quota.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "too fast; {} {} {}, {} at once ({}; {})",
    quota.description().0, rate.per_second, quota.description().1, rate.burst, quota.description().2, quota.remedy()
)]
pub struct RateLimited {
    /// Exceeded quota.
    pub quota: Quota,
    /// Allowed rate; of rooms, per day.
    pub rate: Rate,
    /// Time until the same number of messages or rooms passes. More than the burst never pass at once.
    pub wait: Duration,
}

/// The limits on the messages of one client in one room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageLimits {
    /// The settings of the server, by connection, id and address.
    Settings,
    /// The settings, with the rate of a rule in place of those of a connection and of an address over HTTP.
    Rule(RuleRate),
    /// The messages a second that the client's token allows, in place of the settings and rules. `0` means no limit.
    Token(u32),
    /// No limits: the client is an admin of the room.
    Lifted,
}

impl MessageLimits {
    /// Seconds of a token's rate that its id may use at once, as with the default `--id-rate`.
    const ID_BURST_SECONDS: u32 = 20;
    /// Seconds of a token's rate that one connection may use at once, as with the default `--message-rate`.
    const CONNECTION_BURST_SECONDS: u32 = 2;

    /// Returns the limits of clients whose token does not change them, in a room for which a rule may set `rate`.
    pub fn of_room(rate: Option<RuleRate>) -> Self {
        rate.map_or(Self::Settings, Self::Rule)
    }

    /// Returns the rate of one connection, if the settings allow `settings`.
    pub fn connection_rate(self, settings: Rate) -> Rate {
        match self {
            Self::Settings => settings,
            Self::Rule(rate) => rate.into(),
            Self::Token(per_second) => rate(per_second, Self::CONNECTION_BURST_SECONDS),
            Self::Lifted => Rate::UNLIMITED,
        }
    }

    /// Returns the rate of one id, if the settings allow `settings`.
    pub(super) const fn id_rate(self, settings: Rate) -> Rate {
        match self {
            Self::Settings | Self::Rule(_) => settings,
            Self::Token(per_second) => rate(per_second, Self::ID_BURST_SECONDS),
            Self::Lifted => Rate::UNLIMITED,
        }
    }

    /// Returns true if the settings by address apply.
    pub(super) const fn has_address_limits(self) -> bool {
        matches!(self, Self::Settings | Self::Rule(_))
    }

    /// Returns the rate of the rule that applies.
    pub(super) const fn rule(self) -> Option<RuleRate> {
        match self {
            Self::Rule(rate) => Some(rate),
            Self::Settings | Self::Token(_) | Self::Lifted => None,
        }
    }
}

/// Returns a rate with a burst of as many events as in `burst_seconds`.
const fn rate(per_second: u32, burst_seconds: u32) -> Rate {
    let burst = per_second.saturating_mul(burst_seconds);
    Rate {
        per_second,
        burst: if burst == 0 { 1 } else { burst },
    }
}
