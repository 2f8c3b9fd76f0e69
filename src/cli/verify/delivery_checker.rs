//! The deliveries to one reader, frame by frame across all its connections, and their faults.
//!
//! A [`Cursor`](crate::client::Cursor) hides messages that arrive twice. This checker counts them. Pure: no clock, no
//! I/O.

use std::collections::BTreeMap;

use crate::protocol::{Body, Offset, Push, Recovery};

/// The texts of the messages that the server acknowledged, by offset.
pub(super) type Stored = BTreeMap<Offset, String>;

/// The messages that a reader has received.
#[derive(Clone, Debug, Default)]
pub(super) struct DeliveryChecker {
    /// The messages in order of arrival.
    received: Vec<(Offset, String)>,
    faults: Faults,
}

/// Counts of faults and of correct deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// The number of stored messages that never arrived.
    pub(super) lost: u64,
    /// The number of messages that arrived again.
    pub(super) doubled: u64,
    /// The number of messages that arrived after a later one.
    pub(super) reordered: u64,
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
            Push::Subscribed(subscribed) => match subscribed.recovery {
                Recovery::Fresh => {}
                Recovery::Resumed => self.faults.resumed += 1,
                Recovery::Lost => self.faults.misplaced += 1,
            },
            Push::Gap { .. } => self.faults.gaps += 1,
            Push::Message(publication) => self.on_message(publication.offset, &publication.body),
            _ => {}
        }
    }

    fn on_message(&mut self, offset: Offset, body: &Body) {
        let is_in_order = self.received.last().is_none_or(|(last, _)| offset > *last);
        if !is_in_order {
            if self.received.iter().any(|(known, _)| *known == offset) {
                self.faults.doubled += 1;
                return;
            }
            self.faults.reordered += 1;
        }

        let text = match body {
            Body::Text(text) | Body::Data(text) => text.clone(),
            Body::Json(json) => json.as_str().to_owned(),
            Body::Deleted(_) => String::new(),
        };
        self.received.push((offset, text));
    }

    /// Reports whether the message at `offset`, or a later one, has arrived.
    pub(super) fn has_reached(&self, offset: Offset) -> bool {
        self.received
            .last()
            .is_some_and(|(last, _)| *last >= offset)
    }

    /// Compares the deliveries with the `stored` messages of the room.
    pub(super) fn finish(mut self, stored: &Stored) -> Faults {
        self.received.sort_unstable();

        for (offset, text) in stored {
            let found = self
                .received
                .binary_search_by_key(offset, |(seen, _)| *seen);
            match found.map(|at| self.received[at].1 == *text) {
                Ok(true) => self.faults.delivered += 1,
                Ok(false) => self.faults.altered += 1,
                Err(_) => self.faults.lost += 1,
            }
        }

        self.faults
    }
}

impl Faults {
    /// Reports whether each stored message arrived once, in order and unaltered, and no position was lost.
    pub(super) const fn are_none(&self) -> bool {
        let Self {
            lost,
            doubled,
            reordered,
            altered,
            gaps,
            misplaced,
            ..
        } = *self;
        lost + doubled + reordered + altered + gaps + misplaced == 0
    }
}

impl std::ops::Add for Faults {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            lost: self.lost + other.lost,
            doubled: self.doubled + other.doubled,
            reordered: self.reordered + other.reordered,
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

    fn message(offset: u64) -> Push {
        let frame = format!(
            r#"{{"type":"message","room":"lobby","offset":{offset},"prev":{},"at":1,"from":"ann","text":"{offset}"}}"#,
            offset - 1
        );
        Push::decode(&frame).expect("a frame")
    }

    /// Returns the faults of a reader that received `offsets`, where 1 to 4 are stored.
    fn faults(offsets: &[u64]) -> Faults {
        let mut checker = DeliveryChecker::default();
        for offset in offsets {
            checker.on_push(&message(*offset));
        }

        let stored = (1..=4)
            .map(|offset| (Offset(offset), offset.to_string()))
            .collect();
        checker.finish(&stored)
    }

    #[test]
    fn a_reader_that_received_all_in_order_has_no_fault() {
        let none = faults(&[1, 2, 3, 4]);

        assert!(none.are_none());
        assert_eq!(none.delivered, 4);
    }

    #[test]
    fn a_message_that_never_arrives_is_lost() {
        let expected = Faults {
            lost: 1,
            delivered: 3,
            ..Faults::default()
        };

        assert_eq!(faults(&[1, 2, 4]), expected);
    }

    #[test]
    fn a_message_that_arrives_again_is_doubled() {
        let expected = Faults {
            doubled: 2,
            delivered: 4,
            ..Faults::default()
        };

        assert_eq!(faults(&[1, 2, 2, 3, 1, 4]), expected);
    }

    #[test]
    fn a_message_that_arrives_after_a_later_one_is_reordered() {
        let expected = Faults {
            reordered: 1,
            delivered: 4,
            ..Faults::default()
        };

        assert_eq!(faults(&[1, 3, 2, 4]), expected);
    }

    #[test]
    fn a_message_with_another_text_is_altered() {
        let mut checker = DeliveryChecker::default();
        checker.on_push(&message(1));

        let stored = Stored::from([(Offset(1), "another text".to_owned())]);

        let expected = Faults {
            altered: 1,
            ..Faults::default()
        };
        assert_eq!(checker.finish(&stored), expected);
    }
}
