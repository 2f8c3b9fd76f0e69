//! What the server says.

use super::*;
use crate::protocol::Body;
use crate::protocol::Publication;
use crate::protocol::Push;
use crate::protocol::Recovery;
use crate::protocol::Welcome;

impl Transcript {
    /// The server says `pushes`.
    pub fn hear(&mut self, pushes: Vec<Push>) -> Todo {
        let mut todo = Todo::default();
        for push in pushes {
            match push {
                Push::Welcome(welcome) => self.enter(welcome),
                Push::Message(publication) => self.read(publication, &mut todo),
                Push::History { messages, more } => self.fill(messages, more, &mut todo),
                Push::Gap {
                    after,
                    before,
                    count,
                    ..
                } => self.skip(after, before, count),
                Push::Ack { key, offset, .. } => self.confirm(&key, offset, &mut todo),
                Push::Error {
                    code, retry, key, ..
                } => self.refused(code, retry, key.as_ref(), &mut todo),
                Push::Deleted { offset, .. } => self.rows.erase(offset),
                Push::Presence { .. } | Push::Token { .. } | Push::Drain { .. } | Push::Pong => {}
            }
            if matches!(self.phase, Phase::CatchingUp(head) if self.seen >= head) {
                self.phase = Phase::Here;
            }
        }
        self.tidy();
        self.advance(&mut todo);
        todo
    }

    fn enter(&mut self, welcome: Welcome) {
        let Welcome {
            id,
            epoch,
            head,
            recovery,
            max_message,
            ..
        } = welcome;
        match recovery {
            Recovery::Resumed => {}
            Recovery::Fresh if self.epoch.is_none() => {
                self.seen = head;
                self.has_older = head > Offset(0);
                self.want_older();
            }
            Recovery::Fresh | Recovery::Lost => {
                let same_log = self.epoch.as_ref() == Some(&epoch) && self.seen <= head;
                if !same_log {
                    // The old offsets mean nothing in this log.
                    self.seen = Offset(0);
                    self.has_older = false;
                    self.asks.clear();
                    self.rows.forget_offsets();
                }
                let (missing, outlook) = if same_log {
                    (Missing::Some, Outlook::Open)
                } else {
                    (Missing::Perhaps, Outlook::Gone)
                };
                self.lost = Some(self.miss(missing, outlook));
                if recovery == Recovery::Fresh {
                    // It reads on from the newest, whatever we asked for.
                    self.seen = head;
                }
            }
        }
        self.me = id;
        self.epoch = Some(epoch);
        self.max_message = max_message;
        self.phase = Phase::CatchingUp(head);
    }

    fn read(&mut self, publication: Publication, todo: &mut Todo) {
        match self.lost.take() {
            Some(id) => self.ends_before(id, publication.offset),
            None if publication.prev > self.seen => {
                let id = self.miss(Missing::Some, Outlook::Open);
                self.ends_before(id, publication.offset);
            }
            None => {}
        }
        self.seen = self.seen.max(publication.offset);
        let is_ours = publication.from == self.me;
        if let Some(id) = self.place(publication, todo)
            && !is_ours
        {
            self.unread.came(id);
        }
    }

    /// What lies between `after` and `before` will not come by itself.
    fn skip(&mut self, after: Offset, before: Offset, count: Option<u64>) {
        let id = self.lost.take().unwrap_or_else(|| {
            self.seen = self.seen.max(after);
            self.miss(Missing::Some, Outlook::Open)
        });
        self.ends_before(id, before);
        if let (Some(count), Some(Entry::Gap(gap))) =
            (count, self.rows.get(id).map(|row| &row.entry))
        {
            let gap = Gap {
                missing: Missing::Count(count),
                ..*gap
            };
            self.rows.replace(id, Entry::Gap(gap));
        }
        self.seen = self.seen.max(Offset(before.0.saturating_sub(1)));
    }

    /// A row behind the last that was seen.
    fn miss(&mut self, missing: Missing, outlook: Outlook) -> u64 {
        self.rows.add(
            Entry::Gap(Gap {
                missing,
                outlook,
                before: None,
            }),
            self.seen.0,
        )
    }

    fn ends_before(&mut self, id: u64, before: Offset) {
        if let Some(Entry::Gap(gap)) = self.rows.get(id).map(|row| &row.entry) {
            let gap = Gap {
                before: Some(before),
                ..*gap
            };
            self.rows.replace(id, Entry::Gap(gap));
        }
    }

    /// The page of history that was asked for.
    fn fill(&mut self, messages: Vec<Publication>, more: bool, todo: &mut Todo) {
        let ask = if std::mem::take(&mut self.is_asking) {
            self.asks.pop_front()
        } else {
            None
        };
        match ask {
            Some(Ask::Gap(id)) => self.narrow(id, &messages, more),
            Some(Ask::Older) => self.has_older = more,
            Some(Ask::Again(before)) => return self.compare(before, &messages, more),
            None => {}
        }
        for publication in messages {
            self.place(publication, todo);
        }
    }

    /// What is here from before `before` is in the room as `messages` say. There are `more` before them.
    fn compare(&mut self, before: Offset, messages: &[Publication], more: bool) {
        for publication in messages
            .iter()
            .filter(|publication| publication.body == Body::Deleted(true))
        {
            self.rows.erase(publication.offset);
        }
        // What the room no longer keeps is not told again.
        let start = messages
            .first()
            .filter(|_| more)
            .map_or(Offset(1), |oldest| oldest.offset);
        self.rows.tell(start, before, self.absences);
    }

    /// What is missing at the row `id` is less by `messages`, which end where it did. There are `more` before.
    fn narrow(&mut self, id: u64, messages: &[Publication], more: bool) {
        let Some(row) = self.rows.get(id) else { return };
        let (after, Entry::Gap(gap)) = (Offset(row.order), &row.entry) else {
            return;
        };
        let is_closed = messages.first().is_some_and(|oldest| oldest.prev <= after);
        if is_closed {
            self.rows.remove(id);
            return;
        }
        let found = messages
            .iter()
            .filter(|publication| publication.offset > after)
            .count() as u64;
        let gap = Gap {
            missing: match gap.missing {
                Missing::Count(count) => Missing::Count(count.saturating_sub(found).max(1)),
                other => other,
            },
            outlook: if more { Outlook::Open } else { Outlook::Gone },
            before: messages.first().map(|oldest| oldest.offset).or(gap.before),
        };
        self.rows.replace(id, Entry::Gap(gap));
    }

    /// Shows `publication` where it belongs, once; answers the id of its row if that is a new one.
    pub(super) fn place(&mut self, publication: Publication, todo: &mut Todo) -> Option<u64> {
        let Publication {
            offset,
            at,
            from,
            body,
            key,
            ..
        } = publication;
        if let Some(key) = key {
            let unstored = self.find_unstored(&key).and_then(|id| self.message(id));
            if unstored.is_some_and(|message| message.from == from) {
                self.confirm(&key, offset, todo);
            }
        }
        if let Some(message) = self.rows.find_stored(offset) {
            // An `ack` does not say when it was stored.
            message.at = at;
            message.told = self.absences;
            // It may have been deleted while this page was away.
            if matches!(body, Body::Deleted(_)) {
                self.rows.erase(offset);
            }
            return None;
        }
        let message = Message {
            from,
            at,
            words: body.into(),
            state: State::Stored,
            key: None,
            told: self.absences,
        };
        Some(self.rows.add(Entry::Message(message), offset.0))
    }

    /// What this page said under `key` is stored at `offset`.
    fn confirm(&mut self, key: &Key, offset: Offset, todo: &mut Todo) {
        let Some(id) = self.find_unstored(key) else {
            return;
        };
        if self.rows.find_stored(offset).is_some() {
            self.rows.remove(id);
        } else {
            self.rows.store(id, offset, self.absences);
        }
        todo.forget.push(key.clone());
    }
}
