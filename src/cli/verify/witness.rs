//! What one reader saw, frame by frame, whatever it lived through, and what is wrong with it.
//!
//! Believes nothing: a [`Cursor`](crate::cli::client::Cursor) leaves out what it has seen before, this counts it.
//! Pure: no clock, no I/O.

use std::collections::BTreeMap;

use crate::protocol::Body;
use crate::protocol::Offset;
use crate::protocol::Push;
use crate::protocol::Recovery;

/// The messages that the server said it had stored, by their offsets.
pub(super) type Stored = BTreeMap<Offset, String>;

/// See the [module docs](self).
#[derive(Clone, Debug, Default)]
pub(super) struct Witness {
    /// In the order in which they came.
    seen: Vec<(Offset, String)>,
    faults: Faults,
}

/// What was wrong, and what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// Stored messages that never came.
    pub(super) lost: u64,
    /// Messages that came once more.
    pub(super) doubled: u64,
    /// Messages that came after a later one.
    pub(super) reordered: u64,
    /// Messages that came with other words than were stored.
    pub(super) altered: u64,
    /// Times that the server said that messages would be missing.
    pub(super) gaps: u64,
    /// Times that a reader came back and was given all that it had missed.
    pub(super) resumed: u64,
    /// Times that a reader came back and was told that its place is lost.
    pub(super) misplaced: u64,
    /// Stored messages that came.
    pub(super) delivered: u64,
}

impl Witness {
    /// Takes the server's next frame.
    pub(super) fn hear(&mut self, push: &Push) {
        match push {
            Push::Welcome(welcome) => match welcome.recovery {
                Recovery::Fresh => {}
                Recovery::Resumed => self.faults.resumed += 1,
                Recovery::Lost => self.faults.misplaced += 1,
            },
            Push::Gap { .. } => self.faults.gaps += 1,
            Push::Message(publication) => {
                let text = match &publication.body {
                    Body::Text(text) | Body::Data(text) => text.clone(),
                    Body::Deleted(_) => String::new(),
                };
                let offset = publication.offset;
                if self.seen.last().is_some_and(|(last, _)| offset <= *last) {
                    let is_known = self.seen.iter().any(|(known, _)| *known == offset);
                    *(if is_known {
                        &mut self.faults.doubled
                    } else {
                        &mut self.faults.reordered
                    }) += 1;
                    if is_known {
                        return;
                    }
                }
                self.seen.push((offset, text));
            }
            _ => {}
        }
    }

    /// Whether it has seen the message at `offset`, or a later one.
    pub(super) fn has_reached(&self, offset: Offset) -> bool {
        self.seen.last().is_some_and(|(last, _)| *last >= offset)
    }

    /// Compares what it saw with what its room has `stored`.
    pub(super) fn testify(mut self, stored: &Stored) -> Faults {
        self.seen.sort_unstable();
        let Faults {
            lost,
            altered,
            delivered,
            ..
        } = &mut self.faults;
        for (offset, text) in stored {
            match self.seen.binary_search_by_key(offset, |(seen, _)| *seen) {
                Ok(at) if self.seen[at].1 == *text => *delivered += 1,
                Ok(_) => *altered += 1,
                Err(_) => *lost += 1,
            }
        }
        self.faults
    }
}

impl Faults {
    /// Whether all that was stored came once, in order, unaltered, and no reader lost its place.
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
            r#"{{"type":"message","offset":{offset},"prev":{},"at":1,"from":"ann","text":"{offset}"}}"#,
            offset - 1
        );
        Push::decode(&frame).expect("a frame")
    }

    fn faults(offsets: &[u64]) -> Faults {
        let mut witness = Witness::default();
        offsets
            .iter()
            .for_each(|offset| witness.hear(&message(*offset)));
        let stored = (1..=4)
            .map(|offset| (Offset(offset), offset.to_string()))
            .collect();
        witness.testify(&stored)
    }

    #[test]
    fn a_reader_that_saw_all_in_order_finds_no_fault() {
        let none = faults(&[1, 2, 3, 4]);
        assert!(none.are_none());
        assert_eq!(none.delivered, 4);
    }

    #[test]
    fn each_fault_is_counted_as_what_it_is() {
        assert_eq!(
            faults(&[1, 2, 4]),
            Faults {
                lost: 1,
                delivered: 3,
                ..Faults::default()
            }
        );
        assert_eq!(
            faults(&[1, 2, 2, 3, 1, 4]),
            Faults {
                doubled: 2,
                delivered: 4,
                ..Faults::default()
            }
        );
        assert_eq!(
            faults(&[1, 3, 2, 4]),
            Faults {
                reordered: 1,
                delivered: 4,
                ..Faults::default()
            }
        );
        let mut witness = Witness::default();
        witness.hear(&message(1));
        let stored = Stored::from([(Offset(1), "other words".to_owned())]);
        assert_eq!(
            witness.testify(&stored),
            Faults {
                altered: 1,
                ..Faults::default()
            }
        );
    }
}
