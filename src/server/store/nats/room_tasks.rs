//! The background tasks of rooms. They save the lives of open rooms, load the times at which rooms expire, and read the
//! events that the consumer has missed.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::sleep;
use tracing::debug;

use super::connection::NatsError;
use super::rooms::NatsRooms;
use super::subjects::{StreamSubject, token};
use crate::protocol::Offset;
use crate::server::store::LogChange;

/// The pause before lives are read again after a failure.
const LOAD_AGAIN: Duration = Duration::from_secs(1);
/// The maximum number of lives that are saved or read at the same time.
const LIVES_AT_ONCE: usize = 16;

/// Saves the lives of rooms at intervals, until dropped.
pub(super) async fn save_lives(rooms: Arc<NatsRooms>) {
    loop {
        let unsaved = rooms.take_unsaved().await;
        let saves = unsaved.into_iter().map(|room| {
            let rooms = &rooms;
            async move {
                match rooms.save(&room).await {
                    // A room that was released is saved when it is opened again.
                    Ok(()) | Err(NatsError::NotOpen) => {}
                    Err(error) => {
                        debug!(%room, %error, "could not save the state of a room; trying again");
                        rooms.save_later(&room);
                    }
                }
            }
        });

        let mut saves = stream::iter(saves).buffer_unordered(LIVES_AT_ONCE);
        while saves.next().await.is_some() {}
    }
}

/// Loads the rooms that expire: they must be deleted even if nobody uses them again.
pub(super) async fn load_expiring(rooms: Arc<NatsRooms>) {
    while let Err(error) = load_expiring_once(&rooms).await {
        debug!(%error, "could not read which rooms expire; trying again");
        sleep(LOAD_AGAIN).await;
    }
}

async fn load_expiring_once(rooms: &NatsRooms) -> Result<(), NatsError> {
    if rooms.limits.has_expiry_rules() {
        load_ruled_rooms(rooms).await?;
    }

    let with_life = rooms.streams.heads.rooms_with_life().await?;
    let loads = with_life.into_iter().map(|room| async move {
        let Some(life) = rooms.streams.heads.read_saved_life(&room).await? else {
            return Ok(());
        };
        // A node that started with limits may have set them just after they were removed.
        if life.lifecycle.is_created() {
            rooms.streams.remove_limits().await?;
        }

        let limits = rooms.limits.of(&room, &life.lifecycle);
        if let Some(at) = life.expires_at(&limits) {
            rooms.add_expiry(&token(&room), at);
        }
        Ok::<_, NatsError>(())
    });
    stream::iter(loads)
        .buffer_unordered(LIVES_AT_ONCE)
        .try_collect()
        .await
}

/// Loads the rooms with messages that expire by a rule. Their time is read when they are first checked.
async fn load_ruled_rooms(rooms: &NatsRooms) -> Result<(), NatsError> {
    let mut subjects = rooms.streams.room_subjects().await?;
    while let Some((subject, _)) = subjects.try_next().await.map_err(NatsError::request)? {
        if let Some(StreamSubject::Message(token)) = rooms.streams.subjects.parse(&subject)
            && rooms.rule_expiry(token).is_some()
        {
            rooms.add_expiry(token, 0);
        }
    }
    Ok(())
}

/// Reads the lives of rooms again each time that the consumer has missed some numbers of the stream, until dropped.
pub(super) async fn read_missed_events(rooms: Arc<NatsRooms>) {
    loop {
        let after = rooms.next_missed_events().await;
        while let Err(error) = read_events_after(&rooms, after).await {
            debug!(%error, "could not read what happened to the rooms; trying again");
            sleep(LOAD_AGAIN).await;
        }
    }
}

/// Sends the events after number `after` of the stream that the consumer has missed.
async fn read_events_after(rooms: &Arc<NatsRooms>, after: u64) -> Result<(), NatsError> {
    let reads = rooms
        .kept()
        .into_iter()
        .map(|room| async move { rooms.begin(&room).load_missed_events().await });
    let () = stream::iter(reads)
        .buffer_unordered(LIVES_AT_ONCE)
        .try_collect()
        .await?;

    if rooms.has_watchers() {
        read_watched_ends(rooms, after).await?;
    }
    Ok(())
}

/// Sends the ends of rooms after number `after` of the stream that are not open and that a pattern matches.
async fn read_watched_ends(rooms: &NatsRooms, after: u64) -> Result<(), NatsError> {
    let with_life = rooms.streams.heads.rooms_with_life().await?;
    let watched = rooms.only_watched(with_life);

    let reads = watched.into_iter().map(|room| async move {
        let life = rooms.streams.heads.read_saved_life(&room).await?;
        let ended = life.filter(|life| life.lifecycle.is_closed && life.applied > after);
        if let Some(life) = ended {
            // The messages before the end must come first.
            rooms.wait_for(life.applied).await?;
            rooms.wait_until_sent().await;
            rooms
                .changes
                .send(vec![LogChange::Closed(room, Offset(life.head))]);
        }
        Ok::<_, NatsError>(())
    });
    stream::iter(reads)
        .buffer_unordered(LIVES_AT_ONCE)
        .try_collect()
        .await
}
