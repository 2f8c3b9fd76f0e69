//! A room's newest messages, so that most reading asks nobody: filled by what comes, and by what was read.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::protocol::Offset;
use crate::server::room::Frame;
use crate::server::store::{Limit, Page, Span};

/// Messages that are held of each room, at most.
const MAX_MESSAGES: usize = 256;
/// Bytes of them. Most are in the Hub's ring too, and shared with it.
const MAX_BYTES: usize = 128 * 1024;

/// See the [module docs](self).
#[derive(Debug)]
pub(super) struct Tail {
    /// In order, without a hole.
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
    /// Every message of the room after this is here.
    floor: u64,
}

/// A tail as it was once, with what else was read.
#[derive(Clone, Debug)]
pub(super) struct Excerpt {
    /// The oldest offset kept; 0 when nothing is.
    pub(super) first: u64,
    /// Every message of the room after this is in `frames`.
    pub(super) floor: u64,
    /// In order, without a hole.
    pub(super) frames: Vec<Arc<Frame>>,
}

impl Tail {
    /// Nothing, of a room that stands at `head`.
    pub(super) const fn new(head: u64) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, floor: head }
    }

    /// Adds the newest, of a room of which `kept` are kept at most; a hole before it empties the rest.
    pub(super) fn push(&mut self, frame: Arc<Frame>, kept: usize) {
        let head = self.frames.back().map_or(self.floor, |newest| newest.offset().0);
        if frame.prev().0 > head {
            *self = Self::new(frame.prev().0);
        }
        self.bytes += frame.size();
        self.frames.push_back(frame);
        let most = kept.min(MAX_MESSAGES);
        while self.frames.len() > most || (self.bytes > MAX_BYTES && self.frames.len() > 1) {
            self.pop();
        }
    }

    /// Adds what was read before the oldest, all of it after `floor`, as much as there is room for.
    pub(super) fn extend(&mut self, frames: &[Arc<Frame>], floor: u64, kept: usize) {
        for frame in frames.iter().rev() {
            let is_full =
                self.frames.len() == kept.min(MAX_MESSAGES) || self.bytes + frame.size() > MAX_BYTES;
            if is_full {
                self.floor = frame.offset().0;
                return;
            }
            self.bytes += frame.size();
            self.frames.push_front(frame.clone());
        }
        self.floor = floor;
    }

    /// Drops what is before `first`, the oldest that is kept.
    pub(super) fn trim(&mut self, first: u64) {
        while self.frames.front().is_some_and(|oldest| oldest.offset().0 < first) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(oldest) = self.frames.pop_front() {
            self.bytes -= oldest.size();
            self.floor = oldest.offset().0;
        }
    }

    pub(super) const fn floor(&self) -> u64 {
        self.floor
    }

    /// Its oldest, if all that `kept` allows are here.
    pub(super) fn oldest_of(&self, kept: usize) -> Option<&Arc<Frame>> {
        self.frames.front().filter(|_| self.frames.len() == kept)
    }

    /// The message at `offset`, if it is here.
    pub(super) fn at(&self, offset: u64) -> Option<&Arc<Frame>> {
        let place = self.frames.binary_search_by_key(&Offset(offset), |frame| frame.offset()).ok()?;
        self.frames.get(place)
    }

    /// As it is now, of a room whose oldest is `first`.
    pub(super) fn excerpt(&self, first: u64) -> Excerpt {
        Excerpt { first, floor: self.floor, frames: self.frames.iter().cloned().collect() }
    }
}

impl Excerpt {
    /// The page of `span`, if all of it is here.
    pub(super) fn page(&self, span: Span, limit: Limit) -> Option<Page> {
        let is_complete = self.first == 0 || self.floor < self.first;
        let place = |offset: Offset| self.frames.partition_point(|frame| frame.offset() <= offset);
        let end = match span {
            Span::After(after) => {
                let is_here = is_complete || after.0 >= self.floor;
                return is_here.then(|| Page::oldest(self.frames[place(after)..].iter(), limit));
            }
            Span::Before(before) => place(Offset(before.0.saturating_sub(1))),
            Span::Newest => self.frames.len(),
        };
        let page = Page::newest(self.frames[..end].iter().rev(), limit);
        (is_complete || page.more).then_some(page)
    }
}
