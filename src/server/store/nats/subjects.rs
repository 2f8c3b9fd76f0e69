//! The subjects of the messages in both streams, such as `fanfare.room.lobby`. Pure.
//!
//! A dot separates the tokens of a subject, so a dot in the name of a room is written as `=`, which no room name may
//! contain. All other characters of a room name are valid in a subject.

use std::fmt;

use crate::protocol::RoomName;

/// The first token of the messages of rooms; the room's token follows.
pub(super) const ROOMS: &str = "room";
/// The first token of tombstones; the room's token and the offset follow.
pub(super) const TOMBSTONES: &str = "gone";
/// The first token of the newest offsets of rooms; the room's token follows.
pub(super) const HEADS: &str = "head";
/// The token after [`HEADS`] in the subjects of hooks, where other subjects have the token of a room.
const HOOK: &str = "hook";
/// The first token of commands; a unique number follows.
pub(super) const COMMANDS: &str = "order";
/// The first token of rules; the name follows.
pub(super) const RULES: &str = "rule";
/// The token after [`HEADS`] and the room's token in the subject of the life of a room.
const LIFE: &str = "life";
/// The token after [`COMMANDS`] in the subject of the uses of a room; the room's token follows.
const USES: &str = "used";

/// The subjects of one service, below the name of its stream.
#[derive(Clone, Debug)]
pub(super) struct Subjects {
    /// The name of the stream and a dot.
    prefix: String,
}

/// The kind of a message of the stream, according to its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamSubject<'a> {
    /// A message of the room with this token.
    Message(&'a str),
    /// A tombstone in the room with this token, for the message at this offset.
    Tombstone(&'a str, u64),
    /// A use of the room with this token.
    Use(&'a str),
    /// A command for every node.
    Command,
}

impl Subjects {
    /// Creates the subjects of the stream `name`.
    pub(super) fn new(name: &str) -> Self {
        Self {
            prefix: format!("{name}."),
        }
    }

    fn subject(&self, kind: &str, rest: impl fmt::Display) -> String {
        format!("{}{kind}.{rest}", self.prefix)
    }

    /// Returns the subject of messages between nodes, which are not stored.
    pub(super) fn nodes(&self) -> String {
        format!("{}nodes", self.prefix)
    }

    /// Returns the subject of signals between nodes, which are not stored.
    pub(super) fn signals(&self) -> String {
        format!("{}signals", self.prefix)
    }

    /// Returns the wildcard for all subjects of `kind`.
    pub(super) fn all(&self, kind: &str) -> String {
        self.subject(kind, ">")
    }

    /// Returns the subject of the messages of `room`.
    pub(super) fn room(&self, room: &RoomName) -> String {
        self.subject(ROOMS, token(room))
    }

    /// Returns the subject of the tombstone for the message at `offset` of `room`.
    pub(super) fn tombstone(&self, room: &RoomName, offset: u64) -> String {
        self.subject(TOMBSTONES, format_args!("{}.{offset}", token(room)))
    }

    /// Returns the wildcard for all tombstones of `room`.
    pub(super) fn tombstones(&self, room: &RoomName) -> String {
        self.subject(TOMBSTONES, format_args!("{}.*", token(room)))
    }

    /// Returns the subject of the newest offset of `room`.
    pub(super) fn head(&self, room: &RoomName) -> String {
        self.subject(HEADS, token(room))
    }

    /// Returns the subject of the life of `room`.
    pub(super) fn life(&self, room: &RoomName) -> String {
        self.subject(HEADS, format_args!("{}.{LIFE}", token(room)))
    }

    /// Returns the wildcard for the lives of all rooms.
    pub(super) fn lives(&self) -> String {
        self.subject(HEADS, format_args!("*.{LIFE}"))
    }

    /// Returns the room whose life has `subject`.
    pub(super) fn room_of_life(&self, subject: &str) -> Option<RoomName> {
        let (kind, rest) = subject.strip_prefix(&self.prefix)?.split_once('.')?;
        let (token, life) = rest.split_once('.')?;
        (kind == HEADS && life == LIFE).then(|| room_of(token))?
    }

    /// Returns the subject of the uses of `room`.
    pub(super) fn uses(&self, room: &RoomName) -> String {
        self.subject(COMMANDS, format_args!("{USES}.{}", token(room)))
    }

    /// Returns the subject of a command with a unique number.
    pub(super) fn command(&self, number: u64) -> String {
        self.subject(COMMANDS, format_args!("{number:016x}"))
    }

    /// Returns the subject of the message of hooks called `name`, which is two tokens, so no room has this subject.
    pub(super) fn hook(&self, name: &str) -> String {
        self.subject(HEADS, format_args!("{HOOK}.{name}"))
    }

    /// Returns the subject of a rule; `name` is one token.
    pub(super) fn rule(&self, name: &str) -> String {
        self.subject(RULES, name)
    }

    /// Returns the kind of a message with `subject`; `None` if the subject is unknown.
    pub(super) fn parse<'a>(&self, subject: &'a str) -> Option<StreamSubject<'a>> {
        let (kind, rest) = subject.strip_prefix(&self.prefix)?.split_once('.')?;
        match kind {
            ROOMS => Some(StreamSubject::Message(rest)),
            TOMBSTONES => {
                let (token, offset) = rest.rsplit_once('.')?;
                Some(StreamSubject::Tombstone(token, offset.parse().ok()?))
            }
            COMMANDS => match rest.split_once('.') {
                Some((USES, token)) => Some(StreamSubject::Use(token)),
                _ => Some(StreamSubject::Command),
            },
            _ => None,
        }
    }
}

/// Returns the name of `room` as one token.
pub(super) fn token(room: &RoomName) -> String {
    room.as_str().replace('.', "=")
}

/// Returns the room whose name is `token` in subjects; `None` if another program used an invalid one.
pub(super) fn room_of(token: &str) -> Option<RoomName> {
    RoomName::parse(&token.replace('=', ".")).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn room_name() -> impl Strategy<Value = String> {
        "[a-z0-9_.-]{1,64}".prop_filter("a room", |name| RoomName::parse(name).is_ok())
    }

    proptest! {
        #[test]
        fn each_room_has_its_own_token(one in room_name(), other in room_name(), offset: u64) {
            let subjects = Subjects::new("fanfare");
            let room = |name: &str| RoomName::parse(name).expect("a name");
            let (first, second) = (subjects.room(&room(&one)), subjects.room(&room(&other)));

            prop_assert_eq!(first == second, one == other);
            prop_assert_eq!(first.split('.').count(), 3);
            prop_assert!(first.split('.').all(|token| !token.is_empty()));
            prop_assert!(!first.contains(['*', '>', ' ', '\r', '\n', '\t']));

            let token = one.replace('.', "=");
            prop_assert_eq!(subjects.parse(&first), Some(StreamSubject::Message(&token)));
            let tombstone = subjects.tombstone(&room(&one), offset);
            let expected = StreamSubject::Tombstone(&token, offset);
            prop_assert_eq!(subjects.parse(&tombstone), Some(expected));
        }
    }

    #[test]
    fn other_subjects_belong_to_no_room() {
        let subjects = Subjects::new("fanfare");
        assert_eq!(
            subjects.parse(&subjects.command(1)),
            Some(StreamSubject::Command)
        );
        let lobby = RoomName::lobby();
        let used = subjects.uses(&lobby);
        assert_eq!(subjects.parse(&used), Some(StreamSubject::Use("lobby")));
        let life = subjects.life(&lobby);
        assert_eq!(subjects.room_of_life(&life), Some(lobby));
        assert_eq!(subjects.parse(&life), None);

        for subject in [
            "fanfare.gone.lobby",
            "fanfare.gone.lobby.x",
            "fanfare.nodes",
            "fanfare.signals",
            "other.room.lobby",
        ] {
            assert_eq!(subjects.parse(subject), None, "{subject}");
        }
    }
}
