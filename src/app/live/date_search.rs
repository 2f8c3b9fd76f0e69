//! The search for the first message of a day. Offsets and times both grow along the log, so the search is binary: each step
//! requests one message. Pure: the caller sends the requests.

use crate::protocol::Offset;

/// A search for the first message at a time or after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct DateSearch {
    /// The time in milliseconds since 1970 UTC.
    time: u64,
    /// All messages up to this offset are earlier.
    low: Offset,
    /// All messages after this offset are at the time or later.
    high: Offset,
    /// The first message that is known to be at the time or later.
    found: Option<Offset>,
}

impl DateSearch {
    /// Creates a search for `time` in a log whose newest message is at `head`.
    pub(super) const fn new(time: u64, head: Offset) -> Self {
        Self {
            time,
            low: Offset(0),
            high: head,
            found: None,
        }
    }

    /// Returns the next request: the first message after this offset. `None` ends the search.
    pub(super) const fn next(&self) -> Option<Offset> {
        if self.low.0 < self.high.0 {
            Some(Offset(self.low.0.midpoint(self.high.0)))
        } else {
            None
        }
    }

    /// Records the answer to the request for the first message after `after`: its offset and time.
    pub(super) fn on_message(&mut self, after: Offset, message: Option<(Offset, u64)>) {
        match message {
            Some((offset, at)) if at < self.time => self.low = offset,
            message => {
                self.high = after;
                self.found = message.map(|(offset, _)| offset).or(self.found);
            }
        }
    }

    /// Returns the first message at the time or later, once the search has ended.
    pub(super) const fn found(&self) -> Option<Offset> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Searches a log of messages at these offsets, each at ten times its offset. Returns the result and the number of requests.
    fn search(offsets: &[u64], time: u64) -> (Option<u64>, usize) {
        let head = offsets.last().copied().unwrap_or(0);
        let mut search = DateSearch::new(time, Offset(head));
        let mut requests = 0;

        while let Some(after) = search.next() {
            requests += 1;
            let first = offsets.iter().find(|&&offset| offset > after.0);
            search.on_message(after, first.map(|&offset| (Offset(offset), offset * 10)));
        }
        (search.found().map(|offset| offset.0), requests)
    }

    #[test]
    fn the_first_message_of_a_day_is_found_in_few_requests() {
        let offsets: Vec<u64> = (1..=100_000).map(|number| number * 7).collect();

        let (found, requests) = search(&offsets, 3_500_001);

        assert_eq!(found, Some(350_007));
        assert!(requests <= 21, "{requests} requests");
    }

    proptest! {
        #[test]
        fn the_result_is_the_first_message_at_the_time_or_later(
            offsets in prop::collection::btree_set(1..2000_u64, 0..50), time in 0..21_000_u64,
        ) {
            let offsets: Vec<u64> = offsets.into_iter().collect();

            let expected = offsets.iter().copied().find(|offset| offset * 10 >= time);

            prop_assert_eq!(search(&offsets, time).0, expected);
        }
    }
}
