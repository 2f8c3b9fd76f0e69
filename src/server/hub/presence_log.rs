//! Joins and leaves as messages, in the rooms whose rule has `presence = "log"`.
//!
//! One task compares the members of these rooms with the log, and writes the joins and leaves that are missing there. The log
//! is the only state: a user has joined if the newest message about that is a join. So a server that was killed writes the
//! leaves of the users who did not return.
//!
//! Of several nodes, the one with the lease writes. It opens the rooms of all nodes, because it needs their members.
//!
//! # Invariants
//!
//! - A change of the members that lasts is written at some time, unless the messages about the user have expired.
//! - Nothing is written in rooms that were closed, deleted or created as streams.
//! - A node that starts to write reads the log first, and gives the users [`RETURN`] before it writes that they left.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, sleep};
use tracing::warn;

use crate::protocol::{Json, Kind, MessageFields, Offset, RoomName, RoomSelector, UserId};
use crate::server::hub::cluster::Cluster;
use crate::server::hub::{Refusal, Room, Rooms};
use crate::server::room::{Content, Draft, PresentMember};
use crate::server::store::{Lease, Limit, MatchingRange, Store, StoreError};

/// The name of the lease, which no hook can have.
const LEASE: &str = ":presence";
/// The time in which users return after the server has restarted or another node has taken the lease.
const RETURN: Duration = Duration::from_secs(10);
/// The time after which a room is compared again if not all was written.
const RETRY: Duration = Duration::from_secs(2);
/// The number of messages that are read, or written, at once.
const PAGE: usize = 1000;

/// The writer of joins and leaves. See the [module docs](self).
#[derive(Debug)]
pub(super) struct PresenceLog {
    store: Arc<dyn Store>,
    rooms: Arc<Rooms>,
    /// The rooms whose members may have changed; `None` while this node does not write.
    changed: Mutex<Option<HashSet<RoomName>>>,
    wake: Notify,
}

/// The rooms with users who have joined, according to the log.
type LoggedRooms = HashMap<RoomName, LoggedRoom>;

/// The users who have joined a room, according to the log.
#[derive(Debug, Default)]
struct LoggedRoom {
    /// The room, once it was compared, so that it stays in memory.
    room: Option<Arc<Room>>,
    members: HashSet<UserId>,
    /// True if a message may have been stored whose result is not known.
    is_uncertain: bool,
}

/// The reason why a room was not compared, or not all was written.
#[derive(Debug, thiserror::Error)]
enum PresenceLogError {
    /// The room cannot be opened.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store cannot be read or written to.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PresenceLog {
    pub(super) const fn new(store: Arc<dyn Store>, rooms: Arc<Rooms>) -> Self {
        Self {
            store,
            rooms,
            changed: Mutex::new(None),
            wake: Notify::const_new(),
        }
    }

    /// Records that the members of `room` may have changed.
    pub(super) fn mark(&self, room: &RoomName) {
        let mut changed = self.changed.lock();
        if let Some(changed) = &mut *changed
            && self.rooms.rules().of(room).is_presence_logged()
        {
            changed.insert(room.clone());
            self.wake.notify_one();
        }
    }

    /// Writes joins and leaves whenever this node has the lease, until dropped.
    pub(super) async fn run(&self, cluster: Option<&Cluster>) {
        let selectors = self.rooms.rules().presence_logs();
        if selectors.is_empty() {
            return std::future::pending().await;
        }

        let mut lease = Lease::start(self.store.clone(), LEASE);
        loop {
            lease.held().await;
            *self.changed.lock() = Some(HashSet::new());
            tokio::select! {
                () = self.write(&selectors, &lease, cluster) => {}
                () = lease.lost() => {}
            }
            *self.changed.lock() = None;
        }
    }

    /// Writes joins and leaves in the rooms of `selectors`, until the lease is lost.
    async fn write(&self, selectors: &[RoomSelector], lease: &Lease, cluster: Option<&Cluster>) {
        let mut logged = self.read_until_success(selectors).await;
        let leaves_from = Instant::now() + RETURN;
        logged.keys().for_each(|room| self.mark(room));
        self.rooms
            .all()
            .iter()
            .for_each(|room| self.mark(room.name()));
        if let Some(cluster) = cluster {
            // Members in rooms that this node has not opened.
            cluster.request_all();
        }

        let mut unfinished = HashSet::new();
        let mut retry = tokio::time::interval(RETRY);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.wake.notified() => {}
                _ = retry.tick() => unfinished.drain().for_each(|room| self.mark(&room)),
            }

            for name in self.take_changed() {
                if !lease.is_held() {
                    return;
                }
                let may_leave = Instant::now() >= leaves_from;
                match self.compare(&name, &mut logged, may_leave, cluster).await {
                    Ok(true) => {}
                    Ok(false) => {
                        unfinished.insert(name);
                    }
                    Err(error) => {
                        warn!(room = %name, %error, "cannot write the joins and leaves of the room now; trying again");
                        unfinished.insert(name);
                    }
                }
            }
        }
    }

    fn take_changed(&self) -> HashSet<RoomName> {
        let mut changed = self.changed.lock();
        changed.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Writes the joins and leaves that the log of the room `name` lacks; leaves only if users `may_leave` now. Returns true if
    /// nothing is left to write.
    async fn compare(
        &self,
        name: &RoomName,
        logged: &mut LoggedRooms,
        may_leave: bool,
        cluster: Option<&Cluster>,
    ) -> Result<bool, PresenceLogError> {
        let mut entry = logged.remove(name).unwrap_or_default();
        let compared = self
            .compare_room(name, &mut entry, may_leave, cluster)
            .await;

        if !entry.members.is_empty() || entry.is_uncertain {
            logged.insert(name.clone(), entry);
        }
        compared
    }

    async fn compare_room(
        &self,
        name: &RoomName,
        entry: &mut LoggedRoom,
        may_leave: bool,
        cluster: Option<&Cluster>,
    ) -> Result<bool, PresenceLogError> {
        let room = match &entry.room {
            Some(room) => room.clone(),
            None => self.open(name, cluster).await?,
        };
        entry.room = Some(room.clone());

        if room.is_closed() || self.is_stream(name)? {
            *entry = LoggedRoom::default();
            return Ok(true);
        }
        if room.is_unknown() {
            // The room is new, or was deleted with its messages.
            entry.members.clear();
        } else if entry.is_uncertain {
            let mut logged = self.read(&[name.clone().into()]).await?;
            entry.members = logged.remove(name).unwrap_or_default().members;
        }
        entry.is_uncertain = false;

        let (joined, mut left) = entry.missing(&room);
        let is_complete = may_leave || left.is_empty();
        if !may_leave {
            left.clear();
        }
        entry.publish(&room, &Kind::leave(), left).await?;
        entry.publish(&room, &Kind::join(), joined).await?;
        Ok(is_complete)
    }

    /// Opens the room `name`, and requests its members of the other nodes.
    async fn open(
        &self,
        name: &RoomName,
        cluster: Option<&Cluster>,
    ) -> Result<Arc<Room>, PresenceLogError> {
        let (room, is_new) = self.rooms.open(name).await?;
        if let Some(cluster) = cluster.filter(|_| is_new) {
            cluster.request_presence(&room);
        }
        Ok(room)
    }

    /// Returns true if the room `name` was created as a stream, whose content is that of its writers only.
    fn is_stream(&self, name: &RoomName) -> Result<bool, StoreError> {
        let settings = self
            .store
            .lifecycle(name)?
            .and_then(|lifecycle| lifecycle.settings);
        Ok(settings.is_some_and(|settings| settings.content_type.is_some()))
    }

    /// Reads the users who have joined the rooms of `selectors`; tries until it succeeds.
    async fn read_until_success(&self, selectors: &[RoomSelector]) -> LoggedRooms {
        loop {
            match self.read(selectors).await {
                Ok(logged) => return logged,
                Err(error) => {
                    warn!(%error, "cannot read the joins and leaves in the log now; trying again");
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// Reads the users who have joined the rooms of `selectors`, from all messages that are kept.
    async fn read(&self, selectors: &[RoomSelector]) -> Result<LoggedRooms, StoreError> {
        let mut logged = LoggedRooms::new();
        // Trimmed messages are not counted.
        let mut range = MatchingRange::after(Offset(0), Offset(u64::MAX));

        loop {
            let page = self
                .store
                .read_matching(selectors, range, Limit::page(PAGE));
            let page = page.await?;
            for frame in &page.frames {
                if let Some(kind) = &frame.fields().kind
                    && kind.is_reserved()
                    && self.rooms.rules().of(frame.room()).is_presence_logged()
                {
                    let room = logged.entry(frame.room().clone()).or_default();
                    room.apply(kind, frame.from());
                }
            }

            if !page.more {
                logged.retain(|_, room| !room.members.is_empty());
                return Ok(logged);
            }
            range.after = page.until;
        }
    }
}

impl LoggedRoom {
    /// Applies a message of this `kind` about `id`.
    fn apply(&mut self, kind: &Kind, id: &UserId) {
        if kind.is_join() {
            self.members.insert(id.clone());
        } else if kind.is_leave() {
            self.members.remove(id);
        }
    }

    /// Returns the members of `room` whose join is missing in the log, and the users whose leave is missing.
    fn missing(&self, room: &Room) -> (Vec<UserId>, Vec<UserId>) {
        let presence = room.presence.lock();
        let mut joined: Vec<PresentMember> = presence
            .members()
            .filter(|member| member.connections > 0 && !self.members.contains(&member.id))
            .collect();
        let left = self.members.iter().filter(|id| !presence.contains(id));
        let mut left: Vec<UserId> = left.cloned().collect();
        drop(presence);

        joined.sort_unstable_by(|a, b| (a.since, &a.id).cmp(&(b.since, &b.id)));
        left.sort_unstable();
        (joined.into_iter().map(|member| member.id).collect(), left)
    }

    /// Publishes a message of this `kind` about each of `ids` in `room`.
    async fn publish(
        &mut self,
        room: &Room,
        kind: &Kind,
        ids: Vec<UserId>,
    ) -> Result<(), StoreError> {
        for ids in ids.chunks(PAGE) {
            let drafts = ids.iter().map(|id| draft(kind, id)).collect();
            self.is_uncertain = true;
            room.publish(drafts).await?;

            self.is_uncertain = false;
            ids.iter().for_each(|id| self.apply(kind, id));
        }
        Ok(())
    }
}

/// Returns the message of this `kind` about `id`.
fn draft(kind: &Kind, id: &UserId) -> Draft {
    let json = serde_json::json!({ "id": id.as_str() }).to_string();
    let fields = MessageFields {
        kind: Some(kind.clone()),
        ..MessageFields::default()
    };
    Draft::new(id.clone(), Content::Json(Json::from_compact(&json)), fields)
}
