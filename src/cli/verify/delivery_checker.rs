//! The deliveries to one reader, frame by frame across all its connections and rooms, and their faults.
//!
//! A [`Cursor`](crate::client::Cursor) hides messages that arrive twice. This checker counts them. Pure: no clock, no
//! I/O.

use std::collections::{BTreeMap, HashMap};

use crate::protocol::{Body, Offset, Publication, Push, Recovery, RoomName, RoomSelector};

/// The texts of the messages that the server acknowledged, by offset.
pub(super) type StoredTexts = BTreeMap<Offset, String>;

/// The messages that a reader of one or several rooms has received.
#[derive(Clone, Debug, Default)]
pub(super) struct DeliveryChecker {
    rooms: HashMap<RoomName, ReceivedTexts>,
    /// The subscriptions of the connection, each with the newest offset that was received since it began. Messages that
    /// a subscription missed earlier may be older than what the connection received before it.
    subscriptions: Vec<(RoomSelector, Offset)>,
    faults: DeliveryFaults,
}

/// The messages that a reader has received from one room.
#[derive(Clone, Debug, Default)]
struct ReceivedTexts {
    texts: BTreeMap<Offset, String>,
    /// The newest of them.
    last: Offset,
}

/// Counts of faults and of correct deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DeliveryFaults {
    /// The number of stored messages that never arrived.
    pub(super) lost: u64,
    /// The number of messages that arrived again.
    pub(super) doubled: u64,
    /// The number of messages that arrived after a later one, of their room or of another room of the reader.
    pub(super) reordered: u64,
    /// The number of messages whose `prev` is not the message of the room before them.
    pub(super) unlinked: u64,
    /// The number of messages that arrived with another text than was stored.
    pub(super) altered: u64,
    /// The number of gaps that the server reported.
    pub(super) gaps: u64,
    /// The number of reconnects after which the server sent all missed messages.
    pub(super) resumed: u64,
    /// The number of reconnects after which the server had lost the position.
    pub(super) misplaced: u64,
    /// The number of stored messages that arrived.
    pub(super) delivered: u64,
}

impl DeliveryChecker {
    /// Records a frame of the server.
    pub(super) fn on_push(&mut self, push: &Push) {
        match push {
            // A new connection has no subscription yet.
            Push::Welcome(_) => self.subscriptions.clear(),
            Push::Subscribed(subscribed) => {
                let room = subscribed.room.clone();
                self.subscriptions.push((room, Offset(0)));
                match subscribed.recovery {
                    Recovery::Fresh => {}
                    Recovery::Resumed => self.faults.resumed += 1,
                    Recovery::Lost => self.faults.misplaced += 1,
                }
            }
            Push::Gap { .. } => self.faults.gaps += 1,
            Push::Message(publication) => self.on_message(publication),
            _ => {}
        }
    }

    fn on_message(&mut self, publication: &Publication) {
        let Publication { offset, prev, .. } = *publication;
        let room = self.rooms.entry(publication.room.clone()).or_default();
        if room.texts.contains_key(&offset) {
            self.faults.doubled += 1;
            return;
        }

        let mut newest = room.last;
        for (subscription, received) in &mut self.subscriptions {
            if subscription.matches(&publication.room) {
                newest = newest.max(*received);
            }
            *received = offset.max(*received);
        }
        self.faults.reordered += u64::from(offset < newest);
        self.faults.unlinked += u64::from(prev != room.last);

        let text = match &publication.body {
            Body::Text(text) | Body::Data(text) => text.clone(),
            Body::Json(json) => json.as_str().to_owned(),
            Body::Deleted(_) => String::new(),
        };
        room.texts.insert(offset, text);
        room.last = offset.max(room.last);
    }

    /// Returns true if the message of `room` at `offset`, or a later one, has arrived. No message has the offset 0.
    pub(super) fn has_reached(&self, room: &RoomName, offset: Offset) -> bool {
        let last = self.rooms.get(room).map(|room| room.last);
        last.unwrap_or_default() >= offset
    }

    /// Compares the deliveries with the `stored` messages of the reader's rooms.
    pub(super) fn finish<'a>(
        self,
        stored: impl IntoIterator<Item = (&'a RoomName, &'a StoredTexts)>,
    ) -> DeliveryFaults {
        let mut faults = self.faults;
        let none = ReceivedTexts::default();

        for (room, stored) in stored {
            let received = self.rooms.get(room).unwrap_or(&none);
            for (offset, text) in stored {
                match received.texts.get(offset) {
                    Some(found) if found == text => faults.delivered += 1,
                    Some(_) => faults.altered += 1,
                    None => faults.lost += 1,
                }
            }
        }

        faults
    }
}

impl DeliveryFaults {
    /// Returns true if each stored message arrived once, in order and unaltered, and no position was lost.
    pub(super) const fn are_none(&self) -> bool {
        let Self {
            lost,
            doubled,
            reordered,
            unlinked,
            altered,
            gaps,
            misplaced,
            ..
        } = *self;
        lost + doubled + reordered + unlinked + altered + gaps + misplaced == 0
    }
}

impl std::ops::Add for DeliveryFaults {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            lost: self.lost + other.lost,
            doubled: self.doubled + other.doubled,
            reordered: self.reordered + other.reordered,
            unlinked: self.unlinked + other.unlinked,
            altered: self.altered + other.altered,
            gaps: self.gaps + other.gaps,
            resumed: self.resumed + other.resumed,
            misplaced: self.misplaced + other.misplaced,
            delivered: self.delivered + other.delivered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(frame: &str) -> Push {
        Push::decode(frame).expect("a frame")
    }

    fn welcome() -> Push {
        push(
            r#"{"type":"welcome","connection":1,"id":"ann","heartbeat_ms":1,"expire_ms":1,"max_message":1,
            "max_subscriptions":1}"#,
        )
    }

    fn subscribed(room: &str) -> Push {
        push(&format!(
            r#"{{"type":"subscribed","room":"{room}","epoch":"5f3e9a01","head":0,"first":0,"recovery":"fresh"}}"#
        ))
    }

    fn message(room: &str, offset: u64, prev: u64) -> Push {
        push(&format!(
            r#"{{"type":"message","room":"{room}","offset":{offset},"prev":{prev},"at":1,"from":"ann","text":"{offset}"}}"#
        ))
    }

    fn stored(offsets: &[u64]) -> StoredTexts {
        let texts = offsets
            .iter()
            .map(|offset| (Offset(*offset), offset.to_string()));
        texts.collect()
    }

    /// Returns the faults of a reader that received `pushes` from rooms with the `stored` offsets.
    fn faults(pushes: &[Push], stored_in: &[(&str, &[u64])]) -> DeliveryFaults {
        let mut checker = DeliveryChecker::default();
        for push in pushes {
            checker.on_push(push);
        }

        let rooms: Vec<(RoomName, StoredTexts)> = stored_in
            .iter()
            .map(|(room, offsets)| (RoomName::parse(room).expect("a name"), stored(offsets)))
            .collect();
        checker.finish(rooms.iter().map(|(room, stored)| (room, stored)))
    }

    /// Returns the faults of a reader of the lobby that received `offsets` with `prev`, where 1 to 4 are stored.
    fn faults_of_one_room(messages: &[(u64, u64)]) -> DeliveryFaults {
        let mut pushes = vec![welcome(), subscribed("lobby")];
        pushes.extend(
            messages
                .iter()
                .map(|(offset, prev)| message("lobby", *offset, *prev)),
        );
        faults(&pushes, &[("lobby", &[1, 2, 3, 4])])
    }

    #[test]
    fn a_reader_that_received_all_in_order_has_no_fault() {
        let none = faults_of_one_room(&[(1, 0), (2, 1), (3, 2), (4, 3)]);

        assert!(none.are_none());
        assert_eq!(none.delivered, 4);
    }

    #[test]
    fn a_message_that_never_arrives_is_lost_and_the_next_one_has_no_link() {
        let expected = DeliveryFaults {
            lost: 1,
            unlinked: 1,
            delivered: 3,
            ..DeliveryFaults::default()
        };

        assert_eq!(faults_of_one_room(&[(1, 0), (2, 1), (4, 3)]), expected);
    }

    #[test]
    fn a_message_that_links_to_another_than_the_one_before_it_is_unlinked() {
        let expected = DeliveryFaults {
            unlinked: 1,
            delivered: 4,
            ..DeliveryFaults::default()
        };

        assert_eq!(
            faults_of_one_room(&[(1, 0), (2, 1), (3, 1), (4, 3)]),
            expected
        );
    }

    #[test]
    fn a_message_that_arrives_again_is_doubled() {
        let expected = DeliveryFaults {
            doubled: 2,
            delivered: 4,
            ..DeliveryFaults::default()
        };

        let messages = [(1, 0), (2, 1), (2, 1), (3, 2), (1, 0), (4, 3)];
        assert_eq!(faults_of_one_room(&messages), expected);
    }

    #[test]
    fn a_message_that_arrives_after_a_later_one_of_its_room_is_reordered() {
        let found = faults_of_one_room(&[(1, 0), (3, 2), (2, 1), (4, 3)]);

        assert_eq!(found.reordered, 1);
        assert_eq!(found.delivered, 4);
    }

    #[test]
    fn a_message_that_arrives_after_a_later_one_of_another_room_is_reordered() {
        let pushes = [
            welcome(),
            subscribed("a"),
            subscribed("b"),
            message("b", 2, 0),
            message("a", 1, 0),
            message("b", 3, 2),
        ];
        let expected = DeliveryFaults {
            reordered: 1,
            delivered: 3,
            ..DeliveryFaults::default()
        };

        assert_eq!(faults(&pushes, &[("a", &[1]), ("b", &[2, 3])]), expected);
    }

    #[test]
    fn a_subscription_may_begin_with_older_messages_than_those_before_it() {
        let pushes = [
            welcome(),
            subscribed("b"),
            message("b", 2, 0),
            subscribed("a"),
            message("a", 1, 0),
            message("b", 3, 2),
            // After a reconnect, the first subscription is served first.
            welcome(),
            subscribed("b"),
            message("b", 5, 3),
            subscribed("a"),
            message("a", 4, 1),
        ];

        let found = faults(&pushes, &[("a", &[1, 4]), ("b", &[2, 3, 5])]);
        assert!(found.are_none(), "{found:?}");
    }

    #[test]
    fn a_message_of_a_pattern_that_arrives_after_a_later_one_is_reordered() {
        let pushes = [
            welcome(),
            subscribed("*"),
            message("b", 2, 0),
            message("a", 1, 0),
        ];

        let found = faults(&pushes, &[("a", &[1]), ("b", &[2])]);
        assert_eq!(found.reordered, 1);
    }

    #[test]
    fn a_message_with_another_text_is_altered() {
        let mut checker = DeliveryChecker::default();
        checker.on_push(&message("lobby", 1, 0));

        let stored = StoredTexts::from([(Offset(1), "another text".to_owned())]);

        let expected = DeliveryFaults {
            altered: 1,
            ..DeliveryFaults::default()
        };
        let lobby = RoomName::lobby();
        assert_eq!(checker.finish([(&lobby, &stored)]), expected);
    }
}
