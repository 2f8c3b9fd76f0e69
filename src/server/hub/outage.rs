//! Notices of an outage. While the store is unreachable, messages of other nodes are delayed and publishes are
//! refused. Clients that connect meanwhile get the notice too, and presence is sent again afterwards.

use bytes::Bytes;
use tokio::sync::watch;

use crate::protocol::ErrorCode;
use crate::protocol::Push;
use crate::server::hub::presence::DirtyPresence;
use crate::server::hub::{Connections, Notice, Rooms};
use crate::server::store::Health;
use crate::server::wire::{self, Opcode};

/// The text of the notice.
const MESSAGE: &str =
    "this server cannot reach the others now: messages come later, and none are taken";

/// Sends the notice to all clients whenever the store becomes unreachable, until dropped.
pub(super) async fn notify_all(
    mut health: watch::Receiver<Health>,
    connections: &Connections,
    rooms: &Rooms,
    dirty_presence: &DirtyPresence,
) {
    let mut was_away = false;
    loop {
        let is_away = matches!(&*health.borrow_and_update(), Health::Unreachable(_));
        if is_away && !was_away {
            let frame = notice();
            connections
                .for_each(|subscriber| subscriber.send(&Notice::Room(&frame)))
                .await;
        } else if was_away && !is_away {
            for room in rooms.all() {
                room.presence.lock().announce_again();
                dirty_presence.mark(&room);
            }
        }
        was_away = is_away;

        if health.changed().await.is_err() {
            return;
        }
    }
}

/// Returns the notice as an encoded frame.
pub(super) fn notice() -> Bytes {
    let push = Push::Error {
        code: ErrorCode::StoreUnavailable,
        message: MESSAGE.to_owned(),
        retry: true,
        key: None,
    };
    wire::encode(Opcode::Text, push.encode().as_bytes())
}
