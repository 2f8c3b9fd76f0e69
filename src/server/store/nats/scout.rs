//! The opening of rooms. The bounds of a room are requested from NATS if this node has not cached them, and again if
//! they are out of date.
//!
//! Requests for the same room run one at a time. If NATS cannot be reached, a room whose head is already known stays
//! readable.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::pages::HistoryReader;
use super::pulse::HealthTracker;
use super::rooms::RoomStates;
use super::stream::Streams;
use super::{NatsError, WAIT};
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::store::StoreError;

/// See the [module docs](self).
pub(super) struct RoomOpener {
    pub(super) rolls: Arc<Streams>,
    pub(super) rooms: Arc<RoomStates>,
    pub(super) pages: Arc<HistoryReader>,
    pub(super) pulse: Arc<HealthTracker>,
}

impl RoomOpener {
    /// Implements [`Store::open`](crate::server::store::Store::open).
    pub(super) fn open(&self, room: &RoomName) -> BoxFuture<'static, Result<(), StoreError>> {
        let opening = self.rooms.begin(room);
        if opening.known().is_fresh {
            opening.keep();
            return std::future::ready(Ok(())).boxed();
        }

        let (rolls, rooms, pages) = (self.rolls.clone(), self.rooms.clone(), self.pages.clone());
        let (pulse, room) = (self.pulse.clone(), room.clone());
        async move {
            let turn = opening.turn.clone();
            let _turn = turn.lock().await;

            let known = opening.known();
            if known.is_fresh {
                opening.keep();
                return Ok(());
            }

            let asked = async {
                let head = match known.head {
                    Some(head) => head,
                    None => {
                        let newest = rooms.bury(&room, rolls.graves(&room).await?);
                        rolls.head(&room).await?.max(newest)
                    }
                };
                rooms.learn(&room, head, pages.oldest(&room, head).await?);
                Ok::<(), NatsError>(())
            };
            let answer = match pulse.absence() {
                Some(reason) => Err(StoreError::Unavailable(reason)),
                None => asked.await.map_err(StoreError::from),
            };

            // A room whose head is known stays readable: it may return fewer messages, but none that are wrong.
            if known.head.is_none() {
                answer?;
            }
            opening.keep();
            Ok(())
        }
        .boxed()
    }

    /// Implements [`Store::reach`](crate::server::store::Store::reach).
    pub(super) fn reach(&self, offset: Offset) -> BoxFuture<'static, Result<(), StoreError>> {
        if self.rooms.position() >= offset.0 {
            return std::future::ready(Ok(())).boxed();
        }

        let (rolls, pulse, mut reached) =
            (self.rolls.clone(), self.pulse.clone(), self.rooms.reached());

        async move {
            if let Some(reason) = pulse.absence() {
                return Err(StoreError::Unavailable(reason));
            }
            // If the stream itself has not reached the offset, waiting is useless.
            if rolls.newest().await? < offset.0 {
                return Ok(());
            }

            let there = reached.wait_for(|position| *position >= offset.0);
            if tokio::time::timeout(WAIT, there).await.is_err() {
                return Err(StoreError::Unavailable(
                    "this node is behind the others".to_owned(),
                ));
            }
            Ok(())
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use crate::protocol::RoomName;
    use crate::server::store::nats::server::NatsServer;
    use crate::server::store::{NatsStore, Store};

    fn room(number: usize) -> RoomName {
        RoomName::parse(&format!("room-{number}")).expect("a name")
    }

    #[tokio::test]
    async fn a_room_whose_opening_fails_or_is_broken_off_leaves_nothing() {
        const NAMES: usize = 20;
        let mut server = NatsServer::start();
        let store = NatsStore::connect(&server.settings())
            .await
            .expect("connected");

        for number in 0..NAMES {
            let mut opening = store.open(&room(number));
            assert!(futures::poll!(&mut opening).is_pending());
        }
        assert_eq!(store.rooms.len(), 0, "those that were broken off");

        store.open(&room(0)).await.expect("opened");
        store.open(&room(1)).await.expect("opened");

        let again = store.open(&room(2));
        store.release(&room(1));
        store.release(&room(2));
        assert_eq!(store.rooms.len(), 2, "one of them is being opened still");
        drop(again);
        assert_eq!(store.rooms.len(), 1);

        server.kill();
        let failing = (1..NAMES).map(|number| store.open(&room(number)));
        let failed = futures::future::join_all(failing).await;
        assert!(failed.iter().all(Result::is_err));
        assert_eq!(store.rooms.len(), 1, "those that failed");
    }
}
