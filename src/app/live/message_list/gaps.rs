//! The gaps of the log: rows in the place of messages that are missing or not loaded.

use super::*;
use crate::protocol::Publication;

impl MessageList {
    /// Requests the missing messages of the row `id`.
    pub fn load_gap(&mut self, id: u64, now: Duration) -> ListEffect {
        let mut effect = ListEffect::default();
        if let Some(Entry::Gap(gap)) = self.rows.get(id).map(|row| &row.entry)
            && gap.state == GapState::Open
        {
            let gap = Gap {
                state: GapState::Requested,
                ..*gap
            };
            self.rows.replace(id, Entry::Gap(gap));
            self.requests.add(HistoryRequest::Gap(id));
            self.advance(now, &mut effect);
        }

        effect
    }

    /// Returns the bounds of the gap of the row `id` that the user skipped, and marks it as requested. `None` for other rows.
    pub fn request_skipped(&mut self, id: u64) -> Option<(Offset, Option<Offset>)> {
        let row = self.rows.get(id)?;
        let (after, Entry::Gap(gap)) = (Offset(row.order), &row.entry) else {
            return None;
        };
        if !gap.is_skipped || gap.state != GapState::Open {
            return None;
        }

        let before = gap.before;
        let gap = Gap {
            state: GapState::Requested,
            ..*gap
        };
        self.rows.replace(id, Entry::Gap(gap));
        Some((after, before))
    }

    /// Records that the missing messages of the row `id` could not be loaded.
    pub fn reopen_gap(&mut self, id: u64) {
        if let Some(Entry::Gap(gap)) = self.rows.get(id).map(|row| &row.entry) {
            let gap = Gap {
                state: GapState::Open,
                ..*gap
            };
            self.rows.replace(id, Entry::Gap(gap));
        }
    }

    /// Fills the gap of the row `id` from its start with `messages`. The log has `more` of them.
    pub fn fill_gap(&mut self, id: u64, messages: Vec<Publication>, more: bool) -> ListEffect {
        let mut effect = ListEffect::default();
        let Some(row) = self.rows.get(id) else {
            return effect;
        };
        let Entry::Gap(gap) = row.entry.clone() else {
            return effect;
        };

        let end = messages.last().map(|last| last.offset);
        self.rows.remove(id);
        if let Some(end) = end.filter(|_| more) {
            let gap = Gap {
                state: GapState::Open,
                ..gap
            };
            self.rows.add(Entry::Gap(gap), end.0);
        }
        for publication in messages {
            self.place(publication, &mut effect);
        }

        self.tidy();
        effect
    }

    /// Adds the row of the messages between the offsets `after` and `before`, which the server does not send. It names their `count`
    /// if it knows it.
    pub(super) fn add_gap(&mut self, after: Offset, before: Offset, count: Option<u64>) {
        let (missing, state) = if std::mem::take(&mut self.has_restarted) {
            // The messages of the old log are not in this one.
            (Missing::Perhaps, GapState::Gone)
        } else {
            (Missing::Some, GapState::Open)
        };

        let gap = Gap {
            missing: count.map_or(missing, Missing::Count),
            state,
            before: Some(before),
            is_skipped: false,
        };
        self.rows.add(Entry::Gap(gap), after.0);
    }

    /// Adds the row of a part of the log that is not loaded: the messages between the offsets `after` and `before`.
    pub(super) fn add_skipped_gap(&mut self, after: Offset, before: Option<Offset>) {
        let gap = Gap {
            missing: Missing::Some,
            state: GapState::Open,
            before,
            is_skipped: true,
        };
        self.rows.add(Entry::Gap(gap), after.0);
    }

    /// Shortens the gap of the row `id` by `messages`, which end where the gap ends. The server has `more` messages
    /// before.
    pub(super) fn narrow_gap(&mut self, id: u64, messages: &[Publication], more: bool) {
        let Some(row) = self.rows.get(id) else { return };
        let (after, Entry::Gap(gap)) = (Offset(row.order), &row.entry) else {
            return;
        };
        let is_closed = messages.first().is_some_and(|oldest| oldest.prev <= after);
        if is_closed {
            self.rows.remove(id);
            return;
        }

        let is_found = |publication: &&Publication| publication.offset > after;
        let found = messages.iter().filter(is_found).count() as u64;
        let missing = match gap.missing {
            Missing::Count(count) => Missing::Count(count.saturating_sub(found).max(1)),
            other => other,
        };
        let gap = Gap {
            missing,
            state: if more { GapState::Open } else { GapState::Gone },
            before: messages.first().map(|oldest| oldest.offset).or(gap.before),
            is_skipped: gap.is_skipped,
        };
        self.rows.replace(id, Entry::Gap(gap));
    }
}
