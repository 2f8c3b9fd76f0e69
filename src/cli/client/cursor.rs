//! Where a reader stands in a room's log, and what of the server's frames is news to it.
//!
//! # Invariants
//!
//! - A message is news once, in the order of the log.
//! - What will not come is told: by the server's `gap`, or, should that be missing, by the message whose `prev`
//!   was not seen.
//!
//! Pure: no clock, no I/O.

use crate::protocol::Epoch;
use crate::protocol::GapReason;
use crate::protocol::Offset;
use crate::protocol::Position;
use crate::protocol::Publication;
use crate::protocol::Push;
use crate::protocol::Recovery;
use crate::protocol::Welcome;

/// What a reader has seen: everything up to `offset`, in the life `epoch` of the log if it knows which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Seen {
    pub(in crate::cli) epoch: Option<Epoch>,
    pub(in crate::cli) offset: Offset,
}

/// A text that says nothing of what was [`Seen`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("allowed is OFFSET or EPOCH:OFFSET, like 17, 5f3e9a01:17, or 0 for all that is kept")]
pub(in crate::cli) struct SeenError;

impl Seen {
    /// Reads `OFFSET` or `EPOCH:OFFSET`.
    ///
    /// # Errors
    /// If it is neither.
    pub(in crate::cli) fn parse(text: &str) -> Result<Self, SeenError> {
        if let Ok(Position { epoch, offset }) = text.parse() {
            return Ok(Self {
                epoch: Some(epoch),
                offset,
            });
        }
        let offset = text.parse().map(Offset).map_err(|_| SeenError)?;
        Ok(Self {
            epoch: None,
            offset,
        })
    }
}

/// What is news to a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Heard {
    /// Something was said.
    Message(Publication),
    /// What was said there was deleted.
    Deleted { offset: Offset, at: u64 },
    /// What lies between these two offsets will not come; how many that is, if it is known.
    Gap {
        after: Offset,
        before: Offset,
        count: Option<u64>,
        reason: GapReason,
    },
}

/// See the [module docs](self).
#[derive(Clone, Debug)]
pub(in crate::cli) struct Cursor {
    /// Nothing before the first welcome of a reader that came without one.
    seen: Option<Seen>,
    /// What the log had at the last welcome; nothing while there is no connection.
    head: Option<Offset>,
    /// The welcome said that the position was lost, and no gap was told yet.
    is_lost: bool,
}

impl Cursor {
    /// A reader that has `seen` so much; without it, it begins at the newest.
    pub(in crate::cli) const fn new(seen: Option<Seen>) -> Self {
        Self {
            seen,
            head: None,
            is_lost: false,
        }
    }

    /// From where the next connection should read on.
    pub(in crate::cli) const fn seen(&self) -> Option<&Seen> {
        self.seen.as_ref()
    }

    /// Whether all that the log had at this connection's welcome is here.
    pub(in crate::cli) fn has_caught_up(&self) -> bool {
        match (&self.seen, self.head) {
            (Some(seen), Some(head)) => seen.offset >= head,
            _ => false,
        }
    }

    /// The connection is gone.
    pub(in crate::cli) const fn cut_off(&mut self) {
        self.head = None;
    }

    /// Takes the server's next frame; hands out what is news in it, at most a gap and the message behind it.
    pub(in crate::cli) fn hear(&mut self, push: &Push) -> Vec<Heard> {
        match push {
            Push::Welcome(welcome) => {
                self.enter(welcome);
                Vec::new()
            }
            Push::Message(publication) => self.read(publication),
            Push::Gap {
                after,
                before,
                count,
                reason,
            } => {
                let last = Offset(before.0.saturating_sub(1));
                // Of another life of the log nobody knows what is missing, perhaps nothing: it is told all the same.
                if last <= self.offset() && !self.is_lost {
                    return Vec::new();
                }
                self.is_lost = false;
                self.advance(last);
                vec![Heard::Gap {
                    after: *after,
                    before: *before,
                    count: *count,
                    reason: *reason,
                }]
            }
            Push::Deleted { offset, at } => vec![Heard::Deleted {
                offset: *offset,
                at: *at,
            }],
            _ => Vec::new(),
        }
    }

    fn enter(&mut self, welcome: &Welcome) {
        let Welcome {
            epoch,
            head,
            first,
            recovery,
            ..
        } = welcome;
        // The last one that is gone; of an empty log everything is.
        let gone = if *first == Offset(0) {
            *head
        } else {
            Offset(first.0 - 1)
        };
        let offset = match (&self.seen, recovery) {
            (None, _) => *head,
            // Without an epoch, 0 asked for all that is kept: what is gone was not asked for.
            (
                Some(Seen {
                    epoch: None,
                    offset: Offset(0),
                }),
                Recovery::Resumed,
            ) => gone,
            (Some(seen), _) if seen.epoch.as_ref().is_some_and(|known| known != epoch) => Offset(0),
            (Some(seen), _) if seen.offset > *head => Offset(0),
            (Some(seen), _) => seen.offset,
        };
        self.seen = Some(Seen {
            epoch: Some(epoch.clone()),
            offset,
        });
        self.head = Some(*head);
        self.is_lost = *recovery == Recovery::Lost;
    }

    fn read(&mut self, publication: &Publication) -> Vec<Heard> {
        let seen = self.offset();
        if publication.offset <= seen {
            return Vec::new();
        }
        self.advance(publication.offset);
        let gap = Heard::Gap {
            after: seen,
            before: publication.offset,
            count: None,
            reason: GapReason::Lagged,
        };
        let has_gap = publication.prev > seen || std::mem::take(&mut self.is_lost);
        let gap = Some(gap).filter(|_| has_gap);
        gap.into_iter()
            .chain([Heard::Message(publication.clone())])
            .collect()
    }

    fn offset(&self) -> Offset {
        self.seen.as_ref().map_or(Offset(0), |seen| seen.offset)
    }

    fn advance(&mut self, to: Offset) {
        if let Some(seen) = &mut self.seen {
            seen.offset = seen.offset.max(to);
        }
    }
}

#[cfg(test)]
mod tests;
