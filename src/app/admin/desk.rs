//! What the server knows of itself when it renders the operator's page: plain values, already bounded.

use std::net::IpAddr;

use super::place::{Done, Place};
use crate::app::Locale;
use crate::app::Theme;
use crate::protocol::Offset;
use crate::protocol::Publication;
use crate::protocol::RoomName;
use crate::protocol::UserId;

/// The page's input.
#[derive(Clone, Debug)]
pub struct Desk {
    /// The language that it speaks.
    pub locale: Locale,
    /// Its colours.
    pub theme: Theme,
    /// Where its first style sheet is, the one of the page that everyone sees.
    pub styles: String,
    /// Where the operator stands.
    pub place: Place,
    /// What is there to see.
    pub seen: Seen,
}

/// What is there to see.
#[derive(Clone, Debug)]
pub enum Seen {
    /// Nothing: whoever asks is no operator, or has not shown it yet.
    Gate {
        /// Why the token that came is no good, if one came.
        refused: Option<String>,
        /// Whether a token could be any good here.
        has_keys: bool,
    },
    /// Everything that this operator administers.
    Inside(Box<Listed>),
}

impl Seen {
    /// The figures of the server, if they may be seen.
    pub fn figures(&self) -> Option<&Figures> {
        match self {
            Self::Gate { .. } => None,
            Self::Inside(listed) => listed.figures.as_ref(),
        }
    }

    /// Whether the operator brought a token, which it may want to forget.
    pub fn has_token(&self) -> bool {
        matches!(self, Self::Inside(listed) if listed.has_token)
    }
}

/// What an operator sees.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Now, in milliseconds since 1970 UTC.
    pub now: u64,
    /// The server; nothing for who administers some rooms only.
    pub figures: Option<Figures>,
    /// Whether the operator brought a token.
    pub has_token: bool,
    /// Some rooms, by name.
    pub rooms: Part<RoomRow>,
    /// Some connections, by number.
    pub connections: Part<ConnectionRow>,
    /// The newest messages of the room that is looked into, oldest first; nothing if they cannot be read.
    pub messages: Option<Vec<Publication>>,
    /// Bans, the newest first.
    pub bans: Part<BannedRow>,
    /// Closed rooms, by name.
    pub closed: Vec<ClosedRow>,
    /// The connection that is asked about, if it is still there.
    pub asked: Option<Subject>,
    /// What came of the last act.
    pub outcome: Option<Outcome>,
}

/// The server in figures.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Its version, and its commit if known.
    pub version: String,
    /// Since when it runs, in seconds.
    pub uptime: u64,
    /// Why the store takes nothing now, if it does not.
    pub not_ready: Option<String>,
    /// Bytes that clients make it hold, and how many they may be.
    pub held: (usize, usize),
    /// Rooms in memory.
    pub rooms: usize,
    /// For each of the last seconds, oldest first: messages stored, deliveries, bytes of them, connections.
    pub seconds: Vec<[f64; 4]>,
}

/// Some of many.
#[derive(Clone, Debug)]
pub struct Part<T> {
    /// These.
    pub some: Vec<T>,
    /// Whether there are more behind them.
    pub more: bool,
}

/// A room.
#[derive(Clone, Debug)]
pub struct RoomRow {
    /// Its name.
    pub name: RoomName,
    /// Ids that are present.
    pub members: usize,
    /// Open connections.
    pub connections: usize,
    /// The newest offset.
    pub head: Offset,
    /// The oldest offset kept.
    pub first: Offset,
    /// Messages in memory, and their bytes.
    pub ring: (usize, usize),
    /// Whether it is closed.
    pub closed: bool,
}

/// A connection.
#[derive(Clone, Debug)]
pub struct ConnectionRow {
    /// Its number.
    pub number: u64,
    /// Who it says it is.
    pub id: Option<UserId>,
    /// Where it comes from.
    pub address: IpAddr,
    /// The room that it is in.
    pub room: RoomName,
    /// Since when, in milliseconds since 1970 UTC.
    pub since: u64,
    /// How it reads the log.
    pub dialect: &'static str,
    /// How many offsets the room's newest is ahead of it.
    pub behind: u64,
    /// Bytes that wait for it alone.
    pub waiting: usize,
}

/// A ban.
#[derive(Clone, Debug)]
pub struct BannedRow {
    /// Of this id.
    pub id: Option<UserId>,
    /// Of this address.
    pub address: Option<IpAddr>,
    /// Only in this room.
    pub room: Option<RoomName>,
    /// Until when, in milliseconds since 1970 UTC.
    pub until: Option<u64>,
    /// Why.
    pub reason: Option<String>,
    /// Who decided it.
    pub by: String,
    /// When.
    pub since: u64,
}

/// A closed room.
#[derive(Clone, Debug)]
pub struct ClosedRow {
    /// Which.
    pub room: RoomName,
    /// Why.
    pub reason: Option<String>,
    /// Who decided it.
    pub by: String,
    /// When, in milliseconds since 1970 UTC.
    pub since: u64,
}

/// Whom a question is about.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Who it says it is.
    pub id: Option<UserId>,
    /// Where it comes from.
    pub address: IpAddr,
    /// The room that it is in.
    pub room: RoomName,
}

/// What came of an act.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It was done.
    Done(Done),
    /// It was not, for this reason.
    Failed(String),
}
