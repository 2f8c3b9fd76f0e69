//! The messages of one delivery, as a JSON array of the frames of `fanfare.v1`.

use bytes::Bytes;

use crate::protocol::{GapReason, Offset, Position, Push, RoomSelector};
use crate::server::hub::Gap;
use crate::server::store::{Bounds, Limit, MatchingPage, MatchingRange, Store, StoreError};

/// The largest number of messages in one delivery.
const MAX_MESSAGES: usize = 100;
/// The largest body of a delivery in bytes, except for a single larger message.
const MAX_BYTES: usize = 256 * 1024;

/// The messages after a position, as many as fit in one delivery, and the gaps among them.
#[derive(Debug)]
pub(super) struct HookBatch {
    /// The JSON array of `gap` and `message` frames.
    pub(super) body: Bytes,
    /// The number of messages.
    pub(super) messages: usize,
    /// The reason of each gap.
    pub(super) gaps: Vec<GapReason>,
    /// The position of the last message; without one, the end of the gaps.
    pub(super) last: Position,
    /// The position after the batch.
    pub(super) end: Position,
}

/// The start of a batch: its range, and the gaps that precede it.
struct BatchStart {
    range: MatchingRange,
    gaps: Vec<Push>,
}

impl HookBatch {
    /// Reads the batch of messages of `rooms` after `position`, up to the offset `until`.
    ///
    /// # Errors
    /// If the store cannot be read now.
    pub(super) async fn read(
        store: &dyn Store,
        rooms: &[RoomSelector],
        position: &Position,
        until: Offset,
    ) -> Result<Self, StoreError> {
        let BatchStart { mut range, gaps } = BatchStart::new(store, rooms, position).await?;
        range.until = until;

        loop {
            let limit = Limit {
                messages: MAX_MESSAGES,
                bytes: MAX_BYTES,
            };
            let page = store.read_matching(rooms, range, limit).await?;
            let (messages, fitting) = encode(&page);
            if fitting < page.until && has_gaps(&page) {
                // Its gaps may lie after the messages that fit.
                range.until = fitting;
                continue;
            }

            let mut gaps = gaps;
            if has_gaps(&page) {
                range.until = page.until;
                gaps.extend(page_gaps(store, rooms, range, &page).await?);
            }
            return Ok(Self::new(store, gaps, messages, &page, fitting));
        }
    }

    fn new(
        store: &dyn Store,
        gaps: Vec<Push>,
        messages: Vec<String>,
        page: &MatchingPage,
        end: Offset,
    ) -> Self {
        let last = messages.len().checked_sub(1);
        let last = last.and_then(|last| page.frames.get(last));
        let reasons = gaps.iter().filter_map(|gap| match gap {
            Push::Gap { reason, .. } => Some(*reason),
            _ => None,
        });
        let at = |offset| Position {
            epoch: store.epoch(),
            offset,
        };

        Self {
            messages: messages.len(),
            gaps: reasons.collect(),
            last: at(last.map_or(end, |last| last.offset())),
            end: at(end),
            body: {
                let frames = gaps.iter().map(Push::encode).chain(messages);
                let frames: Vec<String> = frames.collect();
                format!("[{}]", frames.join(",")).into()
            },
        }
    }

    /// Returns true if there is nothing to deliver.
    pub(super) fn is_empty(&self) -> bool {
        self.messages == 0 && self.gaps.is_empty()
    }
}

impl BatchStart {
    /// Returns the start of a batch after `position`. If the position is of an earlier epoch, everything that is kept
    /// follows, after a gap for each of `rooms`: messages of that epoch may have been lost.
    async fn new(
        store: &dyn Store,
        rooms: &[RoomSelector],
        position: &Position,
    ) -> Result<Self, StoreError> {
        if position.epoch == store.epoch() {
            return Ok(Self {
                range: MatchingRange::after(position.offset, position.offset),
                gaps: Vec::new(),
            });
        }

        let mut gaps = Vec::new();
        let mut known = Offset(0);
        for selector in rooms {
            let gone = bounds(store, selector).await?.gone;
            known = known.max(gone);
            gaps.push(gap(selector, Offset(0), gone, None, GapReason::Expired));
        }
        Ok(Self {
            range: MatchingRange::after(Offset(0), known),
            gaps,
        })
    }
}

/// Returns the bounds of the rooms that `selector` matches.
async fn bounds(store: &dyn Store, selector: &RoomSelector) -> Result<Bounds, StoreError> {
    match selector {
        RoomSelector::Room(room) => store.bounds(room),
        RoomSelector::Pattern(pattern) => store.matching_bounds(pattern).await,
    }
}

fn has_gaps(page: &MatchingPage) -> bool {
    page.trimmed != Some(0) || page.damaged > 0
}

/// Returns the gaps in `page`, which was read with `range`. With several `rooms`, each has its own count.
async fn page_gaps(
    store: &dyn Store,
    rooms: &[RoomSelector],
    range: MatchingRange,
    page: &MatchingPage,
) -> Result<Vec<Push>, StoreError> {
    let mut gaps = Vec::new();
    if let [selector] = rooms {
        push_gaps(&mut gaps, selector, range, page);
        return Ok(gaps);
    }

    // All messages of the range fit in one page.
    let limit = Limit {
        messages: usize::MAX,
        bytes: usize::MAX,
    };
    for selector in rooms {
        let one = std::slice::from_ref(selector);
        let page = store.read_matching(one, range, limit).await?;
        push_gaps(&mut gaps, selector, range, &page);
    }
    Ok(gaps)
}

/// Adds the gaps of `selector` in `page` to `gaps`.
fn push_gaps(
    gaps: &mut Vec<Push>,
    selector: &RoomSelector,
    range: MatchingRange,
    page: &MatchingPage,
) {
    let after = range.after;
    if page.trimmed != Some(0) {
        let (gone, count) = (page.gone, page.trimmed);
        gaps.push(gap(selector, after, gone, count, GapReason::Expired));
    }
    if page.damaged > 0 {
        let (until, count) = (page.until, Some(page.damaged));
        gaps.push(gap(selector, after, until, count, GapReason::Damaged));
    }
}

/// Returns the frame about missing messages of `selector` after `after` up to `last`.
fn gap(
    selector: &RoomSelector,
    after: Offset,
    last: Offset,
    count: Option<u64>,
    reason: GapReason,
) -> Push {
    let gap = Gap {
        after,
        before: Offset(last.0 + 1),
        count,
        reason,
    };
    gap.into_push(selector.clone())
}

/// Encodes the messages of `page` that fit in one delivery. Returns them, and the offset up to which they are complete.
fn encode(page: &MatchingPage) -> (Vec<String>, Offset) {
    let mut messages = Vec::with_capacity(page.frames.len());
    let mut bytes = 0;
    let mut last = Offset(0);

    for frame in &page.frames {
        let message = Push::Message(frame.publication()).encode();
        bytes += message.len() + 1;
        if bytes > MAX_BYTES && !messages.is_empty() {
            return (messages, last);
        }
        messages.push(message);
        last = frame.offset();
    }
    (messages, page.until)
}
