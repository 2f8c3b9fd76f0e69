//! The position at which a client begins to read: the newest message, or the last one that it has seen. A client
//! whose messages are no longer kept gets a [`Gap`].

use crate::protocol::Epoch;
use crate::protocol::GapReason;
use crate::protocol::Offset;
use crate::protocol::Push;
use crate::protocol::Recovery;
use crate::server::store::Bounds;

/// The position of a client that resumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The last offset that the client has seen; 0 if none.
    pub after: Offset,
    /// The epoch of that offset, if the client has it.
    pub epoch: Option<Epoch>,
}

/// The position at which a client begins to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartPosition {
    /// The last offset before the messages that the client gets.
    pub cursor: Offset,
    /// The result of the resume: whether the old position could be used.
    pub recovery: Recovery,
    /// The messages that it has lost, if any.
    pub gap: Option<Gap>,
}

/// A range of messages that a client has lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last offset before the gap.
    pub after: Offset,
    /// The first offset after the gap.
    pub before: Offset,
    /// The number of lost messages, if known.
    pub count: Option<u64>,
    /// The reason for the gap.
    pub reason: GapReason,
}

impl From<Gap> for Push {
    fn from(gap: Gap) -> Self {
        let Gap {
            after,
            before,
            count,
            reason,
        } = gap;
        Self::Gap {
            after,
            before,
            count,
            reason,
        }
    }
}

impl StartPosition {
    /// Returns the position at which a client that resumes from `resume` begins to read a log with these bounds.
    pub fn new(bounds: &Bounds, resume: Option<&Resume>) -> Self {
        let Some(Resume { after, epoch }) = resume else {
            return Self {
                cursor: bounds.head,
                recovery: Recovery::Fresh,
                gap: None,
            };
        };

        let gone = bounds.gone;
        let before = Offset(gone.0 + 1);

        let is_of_this_log =
            epoch.as_ref().is_none_or(|epoch| *epoch == bounds.epoch) && *after <= bounds.head;

        if !is_of_this_log {
            let gap = Gap {
                after: Offset(0),
                before,
                count: None,
                reason: GapReason::Expired,
            };
            return Self {
                cursor: gone,
                recovery: Recovery::Lost,
                gap: Some(gap),
            };
        }

        if *after >= gone {
            return Self {
                cursor: *after,
                recovery: Recovery::Resumed,
                gap: None,
            };
        }

        // Without an epoch, 0 requests everything that is kept; it does not mean that the client has seen nothing.
        if *after == Offset(0) && epoch.is_none() {
            return Self {
                cursor: gone,
                recovery: Recovery::Resumed,
                gap: None,
            };
        }

        let is_counted = bounds.is_dense && *after >= bounds.base;
        let count = is_counted.then(|| gone.0 - after.0);
        let gap = Gap {
            after: *after,
            before,
            count,
            reason: GapReason::Expired,
        };
        Self {
            cursor: gone,
            recovery: Recovery::Lost,
            gap: Some(gap),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(
        first: u64,
        head: u64,
        resume: Option<(u64, Option<u32>)>,
    ) -> (u64, Recovery, Option<(u64, u64)>) {
        let bounds = Bounds::dense(Epoch::new(1), Offset(first), Offset(head));
        let resume = resume.map(|(after, epoch)| Resume {
            after: Offset(after),
            epoch: epoch.map(Epoch::new),
        });

        let start = StartPosition::new(&bounds, resume.as_ref());

        (
            start.cursor.0,
            start.recovery,
            start.gap.map(|gap| (gap.after.0, gap.before.0)),
        )
    }

    #[test]
    fn a_client_without_a_position_begins_at_the_newest() {
        assert_eq!(start(3, 9, None), (9, Recovery::Fresh, None));
    }

    #[test]
    fn a_client_that_comes_back_gets_all_it_missed() {
        for after in 2..=9 {
            assert_eq!(
                start(3, 9, Some((after, Some(1)))),
                (after, Recovery::Resumed, None)
            );
        }
        assert_eq!(
            start(0, 0, Some((0, Some(1)))),
            (0, Recovery::Resumed, None)
        );
    }

    #[test]
    fn what_is_no_longer_kept_is_told() {
        assert_eq!(
            start(3, 9, Some((1, Some(1)))),
            (2, Recovery::Lost, Some((1, 3)))
        );
        assert_eq!(
            start(3, 9, Some((0, Some(1)))),
            (2, Recovery::Lost, Some((0, 3)))
        );
        assert_eq!(
            start(0, 9, Some((4, Some(1)))),
            (9, Recovery::Lost, Some((4, 10)))
        );
    }

    #[test]
    fn what_a_room_of_that_name_had_before_is_not_counted() {
        let bounds = Bounds {
            base: Offset(7),
            ..Bounds::dense(Epoch::new(1), Offset(9), Offset(9))
        };
        let count = |after| {
            let resume = Resume {
                after: Offset(after),
                epoch: Some(Epoch::new(1)),
            };
            let gap = StartPosition::new(&bounds, Some(&resume)).gap;
            gap.expect("a gap").count
        };

        assert_eq!((count(3), count(7)), (None, Some(1)));
    }

    #[test]
    fn a_position_of_another_log_is_lost_and_all_that_is_kept_follows() {
        assert_eq!(
            start(3, 9, Some((5, Some(2)))),
            (2, Recovery::Lost, Some((0, 3)))
        );
        assert_eq!(
            start(3, 9, Some((10, Some(1)))),
            (2, Recovery::Lost, Some((0, 3)))
        );
    }

    #[test]
    fn after_0_without_an_epoch_asks_for_all_that_is_kept() {
        assert_eq!(start(3, 9, Some((0, None))), (2, Recovery::Resumed, None));
    }
}
