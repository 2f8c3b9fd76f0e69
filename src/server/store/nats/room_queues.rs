//! Queues of work, one for each room. Pure.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::future::{Ready, ready};

use futures::StreamExt;
use futures::future::{Join, join};
use futures::stream::FuturesUnordered;

use crate::protocol::RoomName;

/// Queues of work that runs in order within each room, and concurrently in different rooms. A room has a queue only
/// while it has work.
pub(super) struct RoomQueues<T, W, F: Future> {
    work: W,
    /// The rooms in which work runs, each with its waiting items.
    waiting: HashMap<RoomName, VecDeque<T>>,
    running: FuturesUnordered<Join<Ready<RoomName>, F>>,
}

impl<T, W, F> RoomQueues<T, W, F>
where
    W: Fn(T) -> F,
    F: Future,
{
    /// Creates empty queues; `work` is called for each item when its turn comes.
    pub(super) fn new(work: W) -> Self {
        Self {
            work,
            waiting: HashMap::new(),
            running: FuturesUnordered::new(),
        }
    }

    /// Adds `item` to the end of the queue of `room`.
    pub(super) fn push(&mut self, room: RoomName, item: T) {
        match self.waiting.entry(room) {
            Entry::Occupied(mut waiting) => waiting.get_mut().push_back(item),
            Entry::Vacant(idle) => {
                let work = (self.work)(item);
                self.running.push(join(ready(idle.key().clone()), work));
                idle.insert(VecDeque::new());
            }
        }
    }

    /// Waits for the next finished item of any room and returns its result; `None` if no work runs. Cancel safe: no
    /// result is lost.
    pub(super) async fn next(&mut self) -> Option<F::Output> {
        let (room, output) = self.running.next().await?;

        match self.waiting.get_mut(&room).and_then(VecDeque::pop_front) {
            Some(item) => {
                let work = (self.work)(item);
                self.running.push(join(ready(room), work));
            }
            None => {
                self.waiting.remove(&room);
            }
        }
        Some(output)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::sync::Semaphore;

    use super::*;

    fn room(name: &str) -> RoomName {
        RoomName::parse(name).expect("a name")
    }

    #[test]
    fn a_waiting_room_delays_only_its_own_items() {
        let gate = Semaphore::new(0);
        let mut queues = RoomQueues::new(async |(is_gated, number): (bool, u32)| {
            if is_gated {
                gate.acquire().await.expect("it is never closed").forget();
            }
            number
        });

        queues.push(room("held"), (true, 1));
        queues.push(room("held"), (false, 2));
        queues.push(room("free"), (false, 3));
        queues.push(room("free"), (false, 4));
        let mut done = || queues.next().now_or_never().flatten();

        assert_eq!([done(), done(), done()], [Some(3), Some(4), None]);
        gate.add_permits(1);
        assert_eq!([done(), done(), done()], [Some(1), Some(2), None]);
        assert!(queues.waiting.is_empty(), "idle rooms have no queue");
    }
}
