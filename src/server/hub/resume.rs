//! The position at which a client begins to read: the newest message, or the last one that it has seen. A client
//! whose messages are no longer kept gets a [`Gap`].

use crate::protocol::{Epoch, GapReason, Offset, Push, Recovery, RoomName, RoomSelector};
use crate::server::store::{Bounds, Store, StoreError};

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
    /// In a pattern, trimmed messages up to this offset are not reported to the client.
    pub known: Offset,
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

impl Gap {
    /// Returns the frame about the gap in `room`.
    pub fn into_push(self, room: RoomSelector) -> Push {
        let Self {
            after,
            before,
            count,
            reason,
        } = self;
        Push::Gap {
            room,
            after,
            before,
            count,
            reason,
        }
    }
}

impl Resume {
    /// Returns true if the position is one of the log with these bounds.
    fn is_of(&self, bounds: &Bounds) -> bool {
        let is_same_epoch = self
            .epoch
            .as_ref()
            .is_none_or(|epoch| *epoch == bounds.epoch);
        is_same_epoch && self.after <= bounds.newest
    }

    /// Returns true if the client requests everything that is kept, which 0 without an epoch stands for. It does not
    /// mean that the client has seen nothing.
    fn wants_all(&self) -> bool {
        self.after == Offset(0) && self.epoch.is_none()
    }
}

impl StartPosition {
    /// Returns the position at which a client that resumes from `resume` begins to read `room`, whose log has these
    /// bounds, with the number of messages that it has lost.
    ///
    /// # Errors
    /// If the store cannot be read now.
    pub(super) async fn counted(
        store: &dyn Store,
        room: &RoomName,
        bounds: &Bounds,
        resume: Option<&Resume>,
    ) -> Result<Self, StoreError> {
        let mut start = Self::new(bounds, resume);

        if let Some(gap) = &mut start.gap
            && resume.is_some_and(|resume| resume.is_of(bounds))
        {
            gap.count = count_between(store, room, gap.after, bounds.gone).await?;
        }
        Ok(start)
    }

    /// Returns the position at which a client that resumes from `resume` begins to read all rooms of a pattern, which
    /// together have these bounds. Without a position it begins after the newest message of the store. Trimmed messages
    /// are reported when the client reads past them, because kept messages of other rooms may lie before and after them.
    pub(super) fn in_pattern(bounds: &Bounds, resume: Option<&Resume>) -> Self {
        let gone = bounds.gone;
        let Some(resume) = resume else {
            return Self {
                known: gone,
                ..Self::begin(bounds.newest, Recovery::Fresh)
            };
        };

        if !resume.is_of(bounds) {
            return Self {
                cursor: Offset(0),
                known: gone,
                ..Self::lost(Offset(0), gone)
            };
        }

        if resume.wants_all() {
            return Self {
                known: gone,
                ..Self::begin(resume.after, Recovery::Resumed)
            };
        }

        let recovery = if gone > resume.after {
            Recovery::Lost
        } else {
            Recovery::Resumed
        };
        Self {
            known: resume.after,
            ..Self::begin(resume.after, recovery)
        }
    }

    /// Returns the position at which a client that resumes from `resume` begins to read a log with these bounds.
    pub fn new(bounds: &Bounds, resume: Option<&Resume>) -> Self {
        let Some(resume) = resume else {
            return Self::begin(bounds.head, Recovery::Fresh);
        };

        let gone = bounds.gone;
        if !resume.is_of(bounds) {
            Self::lost(Offset(0), gone)
        } else if resume.after >= gone || resume.wants_all() {
            Self::begin(resume.after.max(gone), Recovery::Resumed)
        } else {
            Self::lost(resume.after, gone)
        }
    }

    /// Returns the position of a client that begins after `cursor` without a gap.
    const fn begin(cursor: Offset, recovery: Recovery) -> Self {
        Self {
            cursor,
            recovery,
            gap: None,
            known: Offset(0),
        }
    }

    /// Returns the position of a client that has lost the messages after `after` up to `gone`.
    const fn lost(after: Offset, gone: Offset) -> Self {
        Self {
            gap: Some(Gap {
                after,
                before: Offset(gone.0 + 1),
                count: None,
                reason: GapReason::Expired,
            }),
            ..Self::begin(gone, Recovery::Lost)
        }
    }
}

/// Returns the number of messages of `room` after `after` up to `until`, including those that are no longer kept;
/// `None` if the store does not know it.
pub(super) async fn count_between(
    store: &dyn Store,
    room: &RoomName,
    after: Offset,
    until: Offset,
) -> Result<Option<u64>, StoreError> {
    let (Some(before), Some(all)) = (
        store.count(room, after).await?,
        store.count(room, until).await?,
    ) else {
        return Ok(None);
    };
    Ok(all.checked_sub(before))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The newest offset of all rooms.
    const NEWEST: u64 = 20;

    /// Returns the cursor, the recovery and the ends of the gap of a client that resumes from `resume`, in a room that
    /// keeps the messages from `first` to `head`.
    fn start(
        first: u64,
        head: u64,
        resume: Option<(u64, Option<u32>)>,
    ) -> (u64, Recovery, Option<(u64, u64)>) {
        let gone = if first == 0 { head } else { first - 1 };
        let bounds = Bounds {
            epoch: Epoch::new(1),
            first: Offset(first),
            head: Offset(head),
            gone: Offset(gone),
            newest: Offset(NEWEST),
            is_known: head > 0,
        };
        let resume = resume.map(|(after, epoch)| Resume {
            after: Offset(after),
            epoch: epoch.map(Epoch::new),
        });

        let start = StartPosition::new(&bounds, resume.as_ref());
        let gap = start.gap.map(|gap| (gap.after.0, gap.before.0));
        (start.cursor.0, start.recovery, gap)
    }

    #[test]
    fn a_client_begins_after_its_position_or_with_a_gap_if_messages_are_no_longer_kept() {
        use Recovery::{Fresh, Lost, Resumed};
        let (current, earlier) = (Some(1), Some(2));

        for (first, head, resume, expected) in [
            (3, 9, None, (9, Fresh, None)),
            (3, 9, Some((2, current)), (2, Resumed, None)),
            (3, 9, Some((9, current)), (9, Resumed, None)),
            (0, 0, Some((0, current)), (0, Resumed, None)),
            (3, 9, Some((1, current)), (2, Lost, Some((1, 3)))),
            (3, 9, Some((0, current)), (2, Lost, Some((0, 3)))),
            (0, 9, Some((4, current)), (9, Lost, Some((4, 10)))),
            // A position after the newest message of the room is one of another room.
            (3, 9, Some((NEWEST, current)), (NEWEST, Resumed, None)),
            (3, 9, Some((NEWEST + 1, current)), (2, Lost, Some((0, 3)))),
            (3, 9, Some((5, earlier)), (2, Lost, Some((0, 3)))),
            // 0 without an epoch requests all messages that are kept.
            (3, 9, Some((0, None)), (2, Resumed, None)),
        ] {
            assert_eq!(
                start(first, head, resume),
                expected,
                "{first} {head} {resume:?}"
            );
        }
    }
}
