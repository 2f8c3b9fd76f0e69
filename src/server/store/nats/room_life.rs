//! The life of one room: its creation and end, and the newest append of each producer. Pure.
//!
//! # Invariants
//!
//! - Everything about the life of a room is in headers of messages under its subject ([`LifeEvent`]). The order of the
//!   stream is the only order: every node applies the same events in the same order, and gets the same state.
//! - A *mark* is a message under the subject that only has an event. It has no offset in the room.
//! - Messages after the end of a room are refused: no node shows them.

use std::collections::HashMap;
use std::ops::Not;

use serde::{Deserialize, Serialize};

use crate::server::store::lifecycle::{
    AppendConditions, AppendOutcome, AppendRefusal, Lifecycle, ProducerPosition, ProducerState,
    RoomSettings,
};
use crate::server::store::room_limits::RoomLimits;

/// The maximum number of producers that a room remembers. The one whose last append is the oldest is forgotten first.
const MAX_PRODUCERS: usize = 1000;

/// The change of a room's life by one message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LifeEvent {
    /// True if the message has no content of its own.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub(super) is_mark: bool,
    /// The settings of the room from now on, if the message creates the room or changes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) settings: Option<RoomSettings>,
    /// True if the message deletes the room.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub(super) deletes: bool,
    /// True if the message is the last one of the room.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub(super) closes: bool,
    /// The place of the message among those of its producer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) producer: Option<ProducerPart>,
    /// The writer sequence of the append that the message ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) writer_seq: Option<String>,
}

/// A message of an append of a producer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProducerPart {
    id: String,
    epoch: u64,
    seq: u64,
    /// The number of the message in the append, from 1.
    number: usize,
    /// The number of messages of the append.
    of: usize,
}

/// The messages of a producer's newest append that are stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ProducerProgress {
    epoch: u64,
    seq: u64,
    stored: usize,
    of: usize,
    /// The sequence number of the last of them.
    at: u64,
}

/// The life of a room. See the [module docs](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LoggedLife {
    /// The newest sequence number under the subject of the room that was applied.
    pub(super) applied: u64,
    /// The offset after which the room begins: that of the deletion of the room before it, or 0.
    pub(super) base: u64,
    /// The newest offset of the room; `base` if it has no message.
    pub(super) head: u64,
    pub(super) lifecycle: Lifecycle,
    producers: HashMap<String, ProducerProgress>,
    /// True if the newest message under the subject is a mark.
    #[serde(default)]
    pub(super) ends_with_mark: bool,
}

/// The meaning of a message for its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageRole {
    /// A message of the room.
    Message,
    /// A mark.
    Mark,
    /// The deletion of the room.
    Deletion,
    /// A message that came after the end of the room.
    Refused,
}

impl LifeEvent {
    /// Returns the events of the messages of one append, in order. An append without messages has a mark.
    pub(super) fn of_append(
        settings: Option<RoomSettings>,
        conditions: &AppendConditions,
        messages: usize,
    ) -> Vec<Self> {
        let of = messages.max(1);
        let event = |number: usize| Self {
            is_mark: messages == 0,
            settings: settings.clone().filter(|_| number == 1),
            deletes: false,
            closes: conditions.closes && number == of,
            producer: conditions
                .producer
                .as_ref()
                .map(|position| ProducerPart::of(position, number, of)),
            writer_seq: conditions.writer_seq.clone().filter(|_| number == of),
        };
        (1..=of).map(event).collect()
    }

    /// Returns the event of a mark that deletes the room.
    pub(super) fn deletion() -> Self {
        Self {
            is_mark: true,
            deletes: true,
            ..Self::default()
        }
    }

    /// Returns the event of a mark after which a room has the state `lifecycle`.
    pub(super) fn change(lifecycle: &Lifecycle) -> Self {
        Self {
            is_mark: true,
            settings: Some(lifecycle.settings.clone().unwrap_or_default()),
            closes: lifecycle.is_closed,
            ..Self::default()
        }
    }

    /// Converts the event into that of a mark behind its message, which is removed.
    pub(super) fn into_mark(self) -> Self {
        Self {
            is_mark: true,
            ..self
        }
    }
}

impl ProducerPart {
    fn of(position: &ProducerPosition, number: usize, of: usize) -> Self {
        Self {
            id: position.id.clone(),
            epoch: position.epoch,
            seq: position.seq,
            number,
            of,
        }
    }
}

impl ProducerProgress {
    /// Returns true if `position` is that of the append.
    fn is_of(&self, position: &ProducerPosition) -> bool {
        (self.epoch, self.seq) == (position.epoch, position.seq)
    }

    /// Returns the newest append of the producer that is stored whole, as far as it matters for an append at `position`.
    fn state(&self, position: &ProducerPosition) -> Option<ProducerState> {
        let epoch = self.epoch;
        let seq = if self.stored >= self.of {
            Some(self.seq)
        } else if self.seq == 0 && position.epoch < epoch {
            // The session has begun, so the earlier one is over.
            Some(0)
        } else {
            self.seq.checked_sub(1)
        };
        seq.map(|seq| ProducerState { epoch, seq })
    }
}

impl LoggedLife {
    /// Applies message `sequence`, published at `at` (milliseconds since 1970 UTC), which must be newer than those before.
    pub(super) fn apply(
        &mut self,
        sequence: u64,
        at: u64,
        event: Option<&LifeEvent>,
    ) -> MessageRole {
        self.applied = sequence;
        if event.is_some_and(|event| event.deletes) {
            *self = Self {
                applied: sequence,
                base: sequence,
                head: sequence,
                ends_with_mark: true,
                ..Self::default()
            };
            return MessageRole::Deletion;
        }

        let is_mark = event.is_some_and(|event| event.is_mark);
        self.ends_with_mark = is_mark;
        if self.lifecycle.is_closed && !is_mark {
            return MessageRole::Refused;
        }

        self.lifecycle.used = self.lifecycle.used.max(at);
        if let Some(event) = event {
            self.apply_event(sequence, event);
        }
        if is_mark {
            return MessageRole::Mark;
        }
        self.head = sequence;
        MessageRole::Message
    }

    fn apply_event(&mut self, sequence: u64, event: &LifeEvent) {
        if let Some(settings) = &event.settings {
            let is_set = *settings != RoomSettings::default();
            self.lifecycle.settings = is_set.then(|| settings.clone());
        }
        if event.writer_seq.is_some() {
            self.lifecycle.writer_seq.clone_from(&event.writer_seq);
        }
        self.lifecycle.is_closed |= event.closes;

        let Some(part) = event.producer.clone() else {
            return;
        };
        let progress = ProducerProgress {
            epoch: part.epoch,
            seq: part.seq,
            stored: part.number,
            of: part.of,
            at: sequence,
        };
        self.producers.insert(part.id, progress);
        if self.producers.len() > MAX_PRODUCERS {
            let oldest = self
                .producers
                .iter()
                .min_by_key(|(_, progress)| progress.at);
            let oldest = oldest.map(|(id, _)| id.clone());
            oldest.and_then(|oldest| self.producers.remove(&oldest));
        }
    }

    /// Records a read at `at`, in milliseconds since 1970 UTC.
    pub(super) fn touch(&mut self, at: u64) {
        self.lifecycle.used = self.lifecycle.used.max(at);
    }

    /// Returns true if the room has, or had, messages, or was created.
    pub(super) fn is_known(&self) -> bool {
        self.head > self.base || self.lifecycle.settings.is_some()
    }

    /// Returns true if the life cannot be derived from the newest message alone.
    pub(super) fn must_be_saved(&self) -> bool {
        self.has_conditions() || self.base > 0 || !self.producers.is_empty()
    }

    /// Returns true if messages may not be published without a look at the state of the room.
    pub(super) const fn has_conditions(&self) -> bool {
        self.lifecycle.settings.is_some() || self.lifecycle.is_closed
    }

    /// Returns the time at which the room, which has `limits`, expires if nobody uses it, in milliseconds since 1970 UTC;
    /// `None` if it does not. Reads that are not recorded are allowed for: the room lives longer by a tenth of the time
    /// without use.
    pub(super) fn expires_at(&self, limits: &RoomLimits) -> Option<u64> {
        let unused = limits.idle.map(|idle| {
            let idle = idle.saturating_add(limits.save_after() + 1);
            self.lifecycle.used.saturating_add(idle)
        });
        unused.into_iter().chain(limits.expires_at).min()
    }

    /// Returns the outcome of an append of `messages` messages under `conditions`.
    pub(super) fn check(&self, conditions: &AppendConditions, messages: usize) -> AppendOutcome {
        if !self.is_known() {
            return AppendOutcome::Refused(AppendRefusal::NoRoom);
        }
        let producer = conditions.producer.as_ref().and_then(|position| {
            let progress = self.producers.get(&position.id)?;
            progress.state(position)
        });
        conditions.check(&self.lifecycle, producer, messages > 0)
    }

    /// Returns the number of messages of the producer's append at `position` that are stored already: a node has stopped
    /// while it stored them.
    pub(super) fn stored_part(&self, position: Option<&ProducerPosition>) -> usize {
        let progress = position.and_then(|position| {
            let progress = self.producers.get(&position.id)?;
            progress.is_of(position).then_some(progress.stored)
        });
        progress.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_producer(epoch: u64, seq: u64) -> AppendConditions {
        let id = "p".to_owned();
        AppendConditions {
            producer: Some(ProducerPosition { id, epoch, seq }),
            ..AppendConditions::default()
        }
    }

    /// Applies the first `stored` of `messages` messages of an append to `life`.
    fn append(
        life: &mut LoggedLife,
        conditions: &AppendConditions,
        messages: usize,
        stored: usize,
    ) -> Vec<MessageRole> {
        let events = LifeEvent::of_append(None, conditions, messages);
        let applied = events.iter().take(stored);
        applied
            .map(|event| life.apply(life.applied + 1, 5, Some(event)))
            .collect()
    }

    fn created(ttl: Option<u64>) -> LoggedLife {
        let settings = RoomSettings {
            ttl,
            ..RoomSettings::default()
        };
        let events = LifeEvent::of_append(Some(settings), &AppendConditions::default(), 0);
        let mut life = LoggedLife::default();
        assert_eq!(life.apply(7, 5, events.first()), MessageRole::Mark);
        life
    }

    #[test]
    fn an_append_that_was_stored_in_part_is_continued_before_the_next_one() {
        let mut life = created(None);
        append(&mut life, &by_producer(0, 0), 2, 2);

        append(&mut life, &by_producer(0, 1), 3, 2);

        let same = by_producer(0, 1);
        assert_eq!(life.check(&same, 3), AppendOutcome::Stored);
        assert_eq!(life.stored_part(same.producer.as_ref()), 2);
        let (expected, seq) = (1, 2);
        let gap = AppendOutcome::Refused(AppendRefusal::SeqGap { expected, seq });
        assert_eq!(life.check(&by_producer(0, 2), 1), gap);

        let events = LifeEvent::of_append(None, &same, 3);
        life.apply(life.applied + 1, 5, events.last());
        let duplicate = AppendOutcome::Duplicate { seq: Some(1) };
        assert_eq!(life.check(&same, 3), duplicate);
        assert_eq!(life.check(&by_producer(0, 2), 1), AppendOutcome::Stored);
    }

    #[test]
    fn the_first_append_of_a_session_ends_the_session_before_it_even_if_it_is_stored_in_part() {
        let mut life = created(None);
        append(&mut life, &by_producer(0, 0), 1, 1);

        append(&mut life, &by_producer(1, 0), 2, 1);

        assert_eq!(life.check(&by_producer(1, 0), 2), AppendOutcome::Stored);
        let epoch = 1;
        let stale = AppendOutcome::Refused(AppendRefusal::StaleEpoch { epoch });
        assert_eq!(life.check(&by_producer(0, 1), 1), stale);
    }

    #[test]
    fn a_message_after_the_end_of_a_room_is_refused() {
        let mut life = created(None);
        let closing = AppendConditions {
            closes: true,
            ..AppendConditions::default()
        };

        append(&mut life, &closing, 2, 2);
        let late = life.apply(12, 6, None);

        assert_eq!(late, MessageRole::Refused);
        assert_eq!((life.head, life.applied), (9, 12));
    }

    #[test]
    fn a_deleted_room_is_unknown_and_the_next_one_begins_after_it() {
        let mut life = created(Some(9));
        append(&mut life, &by_producer(0, 0), 1, 1);

        let deletion = LifeEvent::deletion();
        assert_eq!(life.apply(20, 6, Some(&deletion)), MessageRole::Deletion);

        assert!(!life.is_known());
        assert_eq!((life.base, life.head), (20, 20));
        assert_eq!(life.apply(21, 6, None), MessageRole::Message);
        assert!(life.is_known());
    }

    #[test]
    fn a_room_expires_when_it_was_not_used_for_its_time_and_a_tenth() {
        let mut life = created(Some(1));
        let limits = RoomLimits {
            idle: Some(1000),
            ..RoomLimits::NONE
        };

        life.touch(10_000);

        assert_eq!(life.expires_at(&limits), Some(11_101));
        assert_eq!(life.expires_at(&RoomLimits::NONE), None);
    }

    #[test]
    fn the_producers_that_were_quiet_longest_are_forgotten() {
        let mut life = created(None);

        for number in 0..=MAX_PRODUCERS {
            let mut conditions = by_producer(0, 0);
            if let Some(producer) = &mut conditions.producer {
                producer.id = number.to_string();
            }
            append(&mut life, &conditions, 1, 1);
        }

        assert_eq!(life.producers.len(), MAX_PRODUCERS);
        assert!(!life.producers.contains_key("0"));
    }
}
