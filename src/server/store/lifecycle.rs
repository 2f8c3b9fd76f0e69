//! The lifecycle of rooms, and appends with conditions. All decisions are pure.
//!
//! A room begins with its first message, or a client creates it with [`RoomSettings`]. A created room keeps all its messages
//! until it expires or is deleted. A closed room accepts no more messages. The name of a deleted or expired room can be used
//! again, with larger offsets.

use serde::{Deserialize, Serialize};

use crate::protocol::Offset;
use crate::protocol::admin::RoomExpiry;
use crate::server::room::Draft;

/// The media type of rooms that were not created with another.
const DEFAULT_CONTENT_TYPE: &str = "application/json";

/// The settings of a created room, and the expiry of any other for which one was set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomSettings {
    /// The media type of the content; `None` for a room that began with a message, whose expiry was set later.
    pub content_type: Option<String>,
    /// The time without reads and writes after which the room expires, in seconds.
    pub ttl: Option<u64>,
    /// The time at which the room expires, in milliseconds since 1970 UTC.
    pub expires_at: Option<u64>,
}

/// The state of a room besides its messages. The default is that of a room that began with its first message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// The settings, if the room has some.
    pub settings: Option<RoomSettings>,
    /// True if the room accepts no more messages.
    pub is_closed: bool,
    /// The newest [`AppendConditions::writer_seq`].
    pub(super) writer_seq: Option<String>,
    /// The time of the last read, by the store's clock, if the room expires when it is not used.
    pub(super) used: u64,
}

/// A room to create.
#[derive(Clone, Debug)]
pub struct NewRoom {
    /// The settings.
    pub settings: RoomSettings,
    /// The first messages.
    pub drafts: Vec<Draft>,
    /// True if the room accepts no other messages.
    pub is_closed: bool,
}

/// A change of a room's life. What is `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct RoomChange {
    /// The media type of the content.
    pub content_type: Option<String>,
    /// The expiry.
    pub expiry: Option<RoomExpiry>,
    /// True if the room accepts no more messages.
    pub closes: bool,
}

/// The result of creating a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreateResult {
    /// The outcome.
    pub outcome: CreateOutcome,
    /// The newest offset of the room.
    pub head: Offset,
}

/// The outcome of creating a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    /// The room is new.
    Created,
    /// The room exists with the same settings. The messages were not stored.
    Same,
    /// The room exists with other settings, or only one of the two is closed. The messages were not stored.
    Different,
}

/// The conditions under which messages are stored.
#[derive(Clone, Debug, Default)]
pub struct AppendConditions {
    /// The media type of the messages, which must be that of the room.
    pub content_type: Option<String>,
    /// The position of the messages among those of their producer.
    pub producer: Option<ProducerPosition>,
    /// A text that must be greater than that of the append before, in the order of bytes.
    pub writer_seq: Option<String>,
    /// True if the room accepts no messages after these.
    pub closes: bool,
}

/// The position of an append among those of its producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerPosition {
    /// The id that the producer has chosen.
    pub id: String,
    /// The number of the producer's session. Appends of earlier sessions are refused.
    pub epoch: u64,
    /// The number of the append in the session, from 0.
    pub seq: u64,
}

/// The newest append of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProducerState {
    pub(super) epoch: u64,
    pub(super) seq: u64,
}

/// The result of an append with conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendResult {
    /// The outcome.
    pub outcome: AppendOutcome,
    /// The newest offset of the room.
    pub head: Offset,
    /// True if the room accepts no more messages.
    pub is_closed: bool,
}

/// The outcome of an append with conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// The messages are stored.
    Stored,
    /// The producer's append was stored before, or the room was already closed.
    Duplicate {
        /// The number of the producer's newest append in the session, if the append has a producer.
        seq: Option<u64>,
    },
    /// Nothing was stored.
    Refused(AppendRefusal),
}

/// The reason why nothing was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendRefusal {
    /// The room does not exist.
    #[error("the room does not exist; create it first")]
    NoRoom,
    /// The room is closed.
    #[error("the room is closed: it accepts no more messages")]
    Closed,
    /// The media type is not that of the room.
    #[error("the content type is not that of the room, {expected}")]
    ContentType {
        /// The media type of the room.
        expected: String,
    },
    /// A later session of the producer has begun.
    #[error("the producer has a newer epoch, {epoch}: another instance has taken over")]
    StaleEpoch {
        /// The newest session.
        epoch: u64,
    },
    /// A new session does not begin with 0.
    #[error("a new epoch of a producer begins with sequence number 0, not {seq}")]
    EpochStart {
        /// The number of the append.
        seq: u64,
    },
    /// Appends of the producer before this one are missing.
    #[error("the next sequence number of the producer is {expected}, not {seq}")]
    SeqGap {
        /// The number of the next append.
        expected: u64,
        /// The number of this append.
        seq: u64,
    },
    /// The writer sequence is not greater than the last one.
    #[error(
        "the writer sequence must be greater than the last one, {last:?}, in the order of bytes"
    )]
    WriterSeq {
        /// The last one.
        last: String,
    },
}

impl RoomSettings {
    /// Returns the media type of the content, or else the default.
    fn media_type(&self) -> &str {
        self.content_type.as_deref().unwrap_or(DEFAULT_CONTENT_TYPE)
    }

    /// Returns the expiry.
    pub const fn expiry(&self) -> RoomExpiry {
        match (self.ttl, self.expires_at) {
            (Some(ttl), _) => RoomExpiry::Ttl(ttl),
            (None, Some(at)) => RoomExpiry::At(at),
            (None, None) => RoomExpiry::Never,
        }
    }

    /// Returns true if a room with these settings is one with `other` too. Parameters of the media type are ignored.
    fn is_same(&self, other: &Self) -> bool {
        is_same_media_type(self.media_type(), other.media_type())
            && self.ttl == other.ttl
            && self.expires_at == other.expires_at
    }
}

impl Lifecycle {
    /// Creates the state of `room`, which is created at `clock` by the store's clock.
    pub fn of(room: &NewRoom, clock: u64) -> Self {
        Self {
            settings: Some(room.settings.clone()),
            is_closed: room.is_closed,
            writer_seq: None,
            used: clock,
        }
    }

    /// Returns the media type of the content.
    pub fn content_type(&self) -> &str {
        self.settings
            .as_ref()
            .map_or(DEFAULT_CONTENT_TYPE, RoomSettings::media_type)
    }

    /// Returns true if the room was created with a media type, so that it keeps its messages until it expires or is deleted.
    pub fn is_created(&self) -> bool {
        let settings = self.settings.as_ref();
        settings.is_some_and(|settings| settings.content_type.is_some())
    }

    /// Applies `change` at `clock`, by the store's clock.
    pub(super) fn apply(&mut self, change: &RoomChange, clock: u64) {
        let mut settings = self.settings.take().unwrap_or_default();
        if change.content_type.is_some() {
            settings.content_type.clone_from(&change.content_type);
        }
        match change.expiry {
            None => {}
            Some(RoomExpiry::Never) => (settings.ttl, settings.expires_at) = (None, None),
            Some(RoomExpiry::Ttl(ttl)) => {
                (settings.ttl, settings.expires_at) = (Some(ttl), None);
            }
            Some(RoomExpiry::At(at)) => (settings.ttl, settings.expires_at) = (None, Some(at)),
        }

        self.settings = Some(settings).filter(|settings| *settings != RoomSettings::default());
        self.is_closed |= change.closes;
        self.used = self.used.max(clock);
    }

    /// Returns the outcome of creating `room` when it exists with this state.
    pub(super) fn compare(&self, room: &NewRoom) -> CreateOutcome {
        let default = RoomSettings::default();
        let settings = self.settings.as_ref().unwrap_or(&default);
        if settings.is_same(&room.settings) && self.is_closed == room.is_closed {
            CreateOutcome::Same
        } else {
            CreateOutcome::Different
        }
    }

    /// Records an append with `conditions` that was stored at `clock`, by the store's clock. Returns true if the state has
    /// changed.
    pub(super) fn record(&mut self, conditions: &AppendConditions, clock: u64) -> bool {
        if conditions.writer_seq.is_some() {
            self.writer_seq.clone_from(&conditions.writer_seq);
        }
        self.is_closed |= conditions.closes;
        self.used = self.used.max(clock);
        conditions.writer_seq.is_some() || conditions.closes
    }
}

impl AppendConditions {
    /// Returns the outcome of an append to a room with the state `lifecycle`. `producer` is the newest append of its
    /// producer. `has_messages` is false if it only closes the room.
    pub(super) fn check(
        &self,
        lifecycle: &Lifecycle,
        producer: Option<ProducerState>,
        has_messages: bool,
    ) -> AppendOutcome {
        if let (Some(position), Some(newest)) = (&self.producer, producer) {
            if position.epoch < newest.epoch {
                let epoch = newest.epoch;
                return AppendOutcome::Refused(AppendRefusal::StaleEpoch { epoch });
            }
            if position.epoch == newest.epoch && position.seq <= newest.seq {
                let seq = Some(newest.seq);
                return AppendOutcome::Duplicate { seq };
            }
        }

        if lifecycle.is_closed && !has_messages && self.closes {
            return AppendOutcome::Duplicate { seq: None };
        }
        match self.refusal(lifecycle, producer, has_messages) {
            Some(refusal) => AppendOutcome::Refused(refusal),
            None => AppendOutcome::Stored,
        }
    }

    fn refusal(
        &self,
        lifecycle: &Lifecycle,
        producer: Option<ProducerState>,
        has_messages: bool,
    ) -> Option<AppendRefusal> {
        if lifecycle.is_closed {
            return Some(AppendRefusal::Closed);
        }

        let expected = lifecycle.content_type();
        if let Some(content_type) = self.content_type.as_ref().filter(|_| has_messages)
            && !is_same_media_type(content_type, expected)
        {
            let expected = expected.to_owned();
            return Some(AppendRefusal::ContentType { expected });
        }

        if let Some(ProducerPosition { epoch, seq, .. }) = &self.producer {
            let (epoch, seq) = (*epoch, *seq);
            match producer {
                Some(newest) if newest.epoch == epoch && seq != newest.seq + 1 => {
                    let expected = newest.seq + 1;
                    return Some(AppendRefusal::SeqGap { expected, seq });
                }
                Some(newest) if newest.epoch < epoch && seq != 0 => {
                    return Some(AppendRefusal::EpochStart { seq });
                }
                None if seq != 0 => return Some(AppendRefusal::SeqGap { expected: 0, seq }),
                _ => {}
            }
        }

        let last = self.writer_seq.as_ref().zip(lifecycle.writer_seq.as_ref());
        last.filter(|(seq, last)| seq <= last)
            .map(|(_, last)| AppendRefusal::WriterSeq { last: last.clone() })
    }
}

impl ProducerPosition {
    /// Returns the state of the producer after the append.
    pub(super) const fn state(&self) -> ProducerState {
        ProducerState {
            epoch: self.epoch,
            seq: self.seq,
        }
    }
}

/// Returns true if two media types are the same except for their parameters.
fn is_same_media_type(one: &str, other: &str) -> bool {
    let essence = |text: &str| {
        text.split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase()
    };
    essence(one) == essence(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producer(epoch: u64, seq: u64) -> AppendConditions {
        let id = "p".to_owned();
        AppendConditions {
            producer: Some(ProducerPosition { id, epoch, seq }),
            ..AppendConditions::default()
        }
    }

    fn outcome(conditions: &AppendConditions, newest: Option<(u64, u64)>) -> AppendOutcome {
        let newest = newest.map(|(epoch, seq)| ProducerState { epoch, seq });
        conditions.check(&Lifecycle::default(), newest, true)
    }

    fn refused(refusal: AppendRefusal) -> AppendOutcome {
        AppendOutcome::Refused(refusal)
    }

    #[test]
    fn the_appends_of_a_producer_are_stored_in_order_and_each_once() {
        assert_eq!(outcome(&producer(0, 0), None), AppendOutcome::Stored);
        assert_eq!(
            outcome(&producer(0, 4), Some((0, 3))),
            AppendOutcome::Stored
        );
        assert_eq!(
            outcome(&producer(0, 1), Some((0, 3))),
            AppendOutcome::Duplicate { seq: Some(3) }
        );

        let (expected, seq) = (4, 6);
        let gap = refused(AppendRefusal::SeqGap { expected, seq });
        assert_eq!(outcome(&producer(0, 6), Some((0, 3))), gap);
        let (expected, seq) = (0, 2);
        let gap = refused(AppendRefusal::SeqGap { expected, seq });
        assert_eq!(outcome(&producer(7, 2), None), gap);
    }

    #[test]
    fn a_new_epoch_of_a_producer_refuses_the_earlier_one() {
        assert_eq!(
            outcome(&producer(2, 0), Some((1, 9))),
            AppendOutcome::Stored
        );
        assert_eq!(
            outcome(&producer(2, 3), Some((1, 9))),
            refused(AppendRefusal::EpochStart { seq: 3 })
        );
        assert_eq!(
            outcome(&producer(0, 10), Some((1, 9))),
            refused(AppendRefusal::StaleEpoch { epoch: 1 })
        );
    }

    #[test]
    fn a_closed_room_accepts_only_repetitions() {
        let closed = Lifecycle {
            is_closed: true,
            ..Lifecycle::default()
        };
        let newest = Some(ProducerState { epoch: 0, seq: 3 });
        let close = AppendConditions {
            closes: true,
            ..AppendConditions::default()
        };

        let repeated = producer(0, 3).check(&closed, newest, true);
        let next = producer(0, 4).check(&closed, newest, true);
        let close_again = close.check(&closed, None, false);
        let append_and_close = close.check(&closed, None, true);

        assert_eq!(repeated, AppendOutcome::Duplicate { seq: Some(3) });
        assert_eq!(next, refused(AppendRefusal::Closed));
        assert_eq!(close_again, AppendOutcome::Duplicate { seq: None });
        assert_eq!(append_and_close, refused(AppendRefusal::Closed));
    }

    #[test]
    fn a_writer_sequence_grows_in_the_order_of_bytes() {
        let mut lifecycle = Lifecycle::default();
        let append = |seq: &str| AppendConditions {
            writer_seq: Some(seq.to_owned()),
            ..AppendConditions::default()
        };
        lifecycle.record(&append("2"), 0);

        let lower = append("10").check(&lifecycle, None, true);
        let greater = append("a").check(&lifecycle, None, true);

        let last = "2".to_owned();
        assert_eq!(lower, refused(AppendRefusal::WriterSeq { last }));
        assert_eq!(greater, AppendOutcome::Stored);
    }

    #[test]
    fn a_media_type_is_compared_without_case_and_parameters() {
        let append = |content_type: &str| AppendConditions {
            content_type: Some(content_type.to_owned()),
            ..AppendConditions::default()
        };

        let same = append("APPLICATION/json; charset=utf-8");
        let other = append("text/plain");

        assert_eq!(outcome(&same, None), AppendOutcome::Stored);
        let expected = DEFAULT_CONTENT_TYPE.to_owned();
        assert_eq!(
            outcome(&other, None),
            refused(AppendRefusal::ContentType { expected })
        );
    }
}
