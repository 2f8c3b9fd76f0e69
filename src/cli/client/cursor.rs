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
use crate::protocol::Publication;
use crate::protocol::Push;
use crate::protocol::Recovery;
use crate::protocol::Welcome;

/// What a reader has seen: everything up to `offset`, in the life `epoch` of the log if it knows which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Position {
    pub(in crate::cli) epoch: Option<Epoch>,
    pub(in crate::cli) offset: Offset,
}

/// A text that is no [`Position`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("allowed is OFFSET or EPOCH:OFFSET, like 17, 5f3e9a01:17, or 0 for all that is kept")]
pub(in crate::cli) struct PositionError;

impl Position {
    /// Reads `OFFSET` or `EPOCH:OFFSET`.
    ///
    /// # Errors
    /// If it is neither.
    pub(in crate::cli) fn parse(text: &str) -> Result<Self, PositionError> {
        let (epoch, offset) = match text.split_once(':') {
            Some(("", _)) => return Err(PositionError),
            Some((epoch, offset)) => (Some(Epoch::from(epoch)), offset),
            None => (None, text),
        };
        let offset = offset.parse().map(Offset).map_err(|_| PositionError)?;
        Ok(Self { epoch, offset })
    }
}

/// What is news to a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Heard {
    /// Something was said.
    Message(Publication),
    /// What lies between these two offsets will not come; how many that is, if it is known.
    Gap { after: Offset, before: Offset, count: Option<u64>, reason: GapReason },
}

/// See the [module docs](self).
#[derive(Clone, Debug)]
pub(in crate::cli) struct Cursor {
    /// Nothing before the first welcome of a reader that came without one.
    position: Option<Position>,
    /// What the log had at the last welcome; nothing while there is no connection.
    head: Option<Offset>,
    /// The welcome said that the position was lost, and no gap was told yet.
    is_lost: bool,
}

impl Cursor {
    /// A reader that has seen `position`; without one it begins at the newest.
    pub(in crate::cli) const fn new(position: Option<Position>) -> Self {
        Self { position, head: None, is_lost: false }
    }

    /// From where the next connection should read on.
    pub(in crate::cli) const fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// Whether all that the log had at this connection's welcome is here.
    pub(in crate::cli) fn has_caught_up(&self) -> bool {
        match (&self.position, self.head) {
            (Some(position), Some(head)) => position.offset >= head,
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
            Push::Gap { after, before, count, reason } => {
                let last = Offset(before.0.saturating_sub(1));
                // Of another life of the log nobody knows what is missing, perhaps nothing: it is told all the same.
                if last <= self.seen() && !self.is_lost {
                    return Vec::new();
                }
                self.is_lost = false;
                self.advance(last);
                vec![Heard::Gap { after: *after, before: *before, count: *count, reason: *reason }]
            }
            _ => Vec::new(),
        }
    }

    fn enter(&mut self, welcome: &Welcome) {
        let Welcome { epoch, head, first, recovery, .. } = welcome;
        // The last one that is gone; of an empty log everything is.
        let gone = if *first == Offset(0) { *head } else { Offset(first.0 - 1) };
        let offset = match (&self.position, recovery) {
            (None, _) => *head,
            // Without an epoch, 0 asked for all that is kept: what is gone was not asked for.
            (Some(Position { epoch: None, offset: Offset(0) }), Recovery::Resumed) => gone,
            (Some(position), _) if position.epoch.as_ref().is_some_and(|known| known != epoch) => Offset(0),
            (Some(position), _) if position.offset > *head => Offset(0),
            (Some(position), _) => position.offset,
        };
        self.position = Some(Position { epoch: Some(epoch.clone()), offset });
        self.head = Some(*head);
        self.is_lost = *recovery == Recovery::Lost;
    }

    fn read(&mut self, publication: &Publication) -> Vec<Heard> {
        let seen = self.seen();
        if publication.offset <= seen {
            return Vec::new();
        }
        self.advance(publication.offset);
        let gap =
            Heard::Gap { after: seen, before: publication.offset, count: None, reason: GapReason::Lagged };
        let has_gap = publication.prev > seen || std::mem::take(&mut self.is_lost);
        let gap = Some(gap).filter(|_| has_gap);
        gap.into_iter().chain([Heard::Message(publication.clone())]).collect()
    }

    fn seen(&self) -> Offset {
        self.position.as_ref().map_or(Offset(0), |position| position.offset)
    }

    fn advance(&mut self, to: Offset) {
        if let Some(position) = &mut self.position {
            position.offset = position.offset.max(to);
        }
    }
}

#[cfg(test)]
mod tests;
