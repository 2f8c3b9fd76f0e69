//! Asks NATS where a room stands, when this node does not know: the first time, and again when what it knew is old.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::pages::Pages;
use super::pulse::Pulse;
use super::rooms::Rooms;
use super::stream::Rolls;
use super::{NatsError, WAIT};
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::store::StoreError;

/// See the [module docs](self).
pub(super) struct Scout {
    pub(super) rolls: Arc<Rolls>,
    pub(super) rooms: Arc<Rooms>,
    pub(super) pages: Arc<Pages>,
    pub(super) pulse: Arc<Pulse>,
}

impl Scout {
    /// See [`Store::open`](crate::server::store::Store::open).
    pub(super) fn open(&self, room: &RoomName) -> BoxFuture<'static, Result<(), StoreError>> {
        let opening = self.rooms.begin(room);
        if opening.is_known {
            return std::future::ready(Ok(())).boxed();
        }
        let (rolls, rooms, pages) = (self.rolls.clone(), self.rooms.clone(), self.pages.clone());
        let (pulse, room) = (self.pulse.clone(), room.clone());
        async move {
            let _turn = opening.turn.lock().await;
            let opening = rooms.begin(&room);
            if opening.is_known {
                return Ok(());
            }
            let asked = async {
                let head = match opening.head {
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
            // A room whose head is known can be read on from: it may serve less, and nothing wrong.
            if opening.head.is_some() {
                Ok(())
            } else {
                answer
            }
        }
        .boxed()
    }

    /// See [`Store::reach`](crate::server::store::Store::reach).
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
            // If the stream is not so far itself, nothing will come.
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
