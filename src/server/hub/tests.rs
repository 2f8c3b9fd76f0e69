//! Tests of resuming. Messages are published, dropped and trimmed, and the server is restarted or reset in between. A
//! client always gets all messages it missed, in order and once, or an exact gap. The model is a plain list.

use std::collections::HashMap;
use std::convert::Infallible;

use futures::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::protocol::{Body, Epoch, Offset, Push, Recovery, UserId};
use crate::server::hub::subscriber::TestSubscriber;
use crate::server::room::{Dialect, Draft, Format};
use crate::server::session::{CatchUpPage, LogCursor, RoomReader, SendBuffer, WriteStep};
use crate::server::store::{
    MemorySettings, MemoryStore, Retention, Span, SqliteSettings, SqliteStore,
};

const CLIENTS: usize = 3;

impl Hub {
    /// Creates a hub over a store in memory, like [`Hub::unlimited`].
    pub(in crate::server) fn in_memory(ring: usize, clock: RunClock) -> Self {
        let settings = MemorySettings::of_test(Retention::of_test(1000));

        Self::unlimited(MemoryStore::new(&settings), ring, clock)
    }

    /// Creates a hub without bans and limits, whose rings keep `ring` messages.
    pub(in crate::server) fn unlimited(
        store: impl Store + 'static,
        ring: usize,
        clock: RunClock,
    ) -> Self {
        let settings = HubSettings {
            max_connections: usize::MAX,
            max_connections_per_ip: usize::MAX,
            max_rooms: usize::MAX,
            max_room_members: usize::MAX,
            memory_budget: usize::MAX,
            log: LogLimits {
                messages: ring,
                bytes: usize::MAX,
            },
            sweep_every: Duration::from_secs(1),
            rules: Arc::default(),
        };

        let moderation = Moderation::open("no such file".into()).expect("no bans");
        Self::new(settings, Backend::single(store), moderation, clock)
    }
}

#[tokio::test]
#[should_panic(expected = "a fault")]
async fn a_panic_in_one_task_of_the_fan_out_is_a_panic_of_the_hub() {
    let hub = Hub::in_memory(1000, RunClock::new());
    let room = hub.room(&RoomName::lobby()).await.expect("a room");
    let mut reader = TestSubscriber::new();
    reader.on_flush = || panic!("a fault");
    room.feed().add_reader(Arc::new(reader));

    let draft = Draft::text(UserId::guest(1), None, "hello");
    let _stored = room.publish(vec![draft]);

    hub.run().await;
}

#[tokio::test]
async fn a_room_whose_messages_have_all_expired_is_removed_from_memory_and_from_the_store() {
    let mut world = LoggedHub::new(10, 10);
    world.settings.retention.age = Duration::from_millis(1);
    world.settings.retention.keys.age = Duration::from_millis(1);
    world.restart(false);
    world.publish(1).await;
    let offset = world.room().head();

    let forgotten = async {
        while world.hub.rooms().count() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(30), forgotten).await;

    assert_eq!(ended, Ok(()));

    let room = world.room();
    assert!(room.is_new());
    assert_eq!(room.head(), offset, "its offsets are not given again");
}

#[derive(Clone, Debug)]
enum ReaderStep {
    /// This number of messages, published at once.
    Publish(u8),
    /// A client that performs this number of writes.
    Read(usize, u8),
    Drop(usize),
    /// A client that resumes from its position.
    Resume(usize),
    /// A restart of the server on the same file.
    Restart,
    /// A restart with a lost file.
    Reset,
}

fn step() -> impl Strategy<Value = ReaderStep> {
    let client = 0..CLIENTS;
    prop_oneof![
        6 => (1u8..6).prop_map(ReaderStep::Publish),
        6 => (client.clone(), 1u8..4).prop_map(|(client, writes)| ReaderStep::Read(client, writes)),
        3 => client.clone().prop_map(ReaderStep::Drop),
        4 => client.prop_map(ReaderStep::Resume),
        1 => Just(ReaderStep::Restart),
        1 => Just(ReaderStep::Reset),
    ]
}

/// A server, and all messages ever published to it, by epoch.
struct LoggedHub {
    folder: tempfile::TempDir,
    settings: SqliteSettings,
    ring: usize,
    hub: Hub,
    texts: HashMap<String, Vec<String>>,
    published: u64,
}

/// A client with its own view of its position.
#[derive(Default)]
struct ResumingClient {
    /// The epoch, and the last offset that it has seen or that a gap has covered.
    position: Option<(Epoch, u64)>,
    open: Option<(Arc<Room>, SendBuffer, LogCursor)>,
}

impl LoggedHub {
    fn new(kept: usize, ring: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("test.db");
        let settings = SqliteSettings {
            retention: Retention::of_test(kept),
            ..SqliteSettings::of_test(path)
        };

        let hub = Self::hub(&settings, ring);
        Self {
            folder,
            settings,
            ring,
            hub,
            texts: HashMap::new(),
            published: 0,
        }
    }

    fn hub(settings: &SqliteSettings, ring: usize) -> Hub {
        let store = SqliteStore::open(settings).expect("opened");
        let hub = Hub::unlimited(store, ring, RunClock::new());
        tokio::spawn({
            let hub = hub.clone();
            async move { hub.run().await }
        });

        hub
    }

    fn restart(&mut self, is_reset: bool) {
        self.hub.store().close();
        if is_reset {
            for file in std::fs::read_dir(self.folder.path()).expect("a folder") {
                std::fs::remove_file(file.expect("a file").path()).expect("removed");
            }
        }
        self.hub = Self::hub(&self.settings, self.ring);
    }

    fn room(&self) -> Arc<Room> {
        self.hub
            .room(&RoomName::lobby())
            .now_or_never()
            .expect("at once")
            .expect("a room")
    }

    async fn publish(&mut self, count: u8) {
        let room = self.room();
        let texts: Vec<String> = (0..count)
            .map(|at| format!("text {}", self.published + u64::from(at)))
            .collect();

        self.published += u64::from(count);
        let drafts = texts
            .iter()
            .map(|text| Draft::text(UserId::guest(1), None, text))
            .collect();
        room.publish(drafts).await.expect("stored");

        self.texts
            .entry(room.epoch().to_string())
            .or_default()
            .extend(texts);
    }

    /// Returns the oldest offset that is kept, or the next one to be assigned.
    fn first(&self) -> u64 {
        let bounds = self.hub.store().bounds(&RoomName::lobby()).expect("bounds");
        if bounds.first.0 > 0 {
            bounds.first.0
        } else {
            bounds.head.0 + 1
        }
    }
}

impl ResumingClient {
    async fn resume(&mut self, world: &LoggedHub) {
        let resume = self.position.clone().map(|(epoch, after)| Resume {
            after: Offset(after),
            epoch: Some(epoch),
        });

        let lobby = RoomName::lobby();
        let entry = world.hub.enter(&lobby, resume.as_ref()).await;

        let entry = entry.expect("admitted");
        let room = entry.source().room().expect("a room").clone();
        let start = entry.start().clone();

        let is_kept = self
            .position
            .as_ref()
            .is_some_and(|(epoch, after)| epoch == room.epoch() && after + 1 >= world.first());

        match (start.recovery, &self.position) {
            (Recovery::Fresh, None) => assert_eq!(start.cursor, room.head()),
            (Recovery::Resumed, Some((_, after))) => {
                assert!(is_kept && start.cursor.0 == *after && start.gap.is_none())
            }
            (Recovery::Lost, Some((epoch, after))) => {
                assert!(!is_kept, "no gap while the messages are kept");
                let gap = start.gap.as_ref().expect("a gap");
                let (seen, count) = if epoch == room.epoch() {
                    (*after, Some(start.cursor.0 - *after))
                } else {
                    (0, None)
                };
                assert_eq!((gap.after.0, gap.before.0), (seen, start.cursor.0 + 1));
                assert_eq!(gap.count, count);
            }
            other => panic!("{other:?}"),
        }

        self.position = Some((room.epoch().clone(), start.cursor.0));
        let send_buffer = SendBuffer::new(Format::new(Dialect::Typed));
        self.open = Some((room, send_buffer, LogCursor::new(start.cursor)));
    }

    /// Performs at most `writes` writes. Returns true if more data may be pending.
    async fn read(&mut self, world: &LoggedHub, writes: u8) -> bool {
        let Some((room, mut send_buffer, mut cursor)) = self.open.take() else {
            return false;
        };
        let mut is_more = true;

        for _write in 0..writes {
            let mut written = Vec::new();
            let mut reader = RoomReader {
                cursor: &mut cursor,
                batch: &mut room.feed().fanout_batch(),
            };
            let Ok(step) = send_buffer.write_next(&mut reader, |bytes| {
                written.extend_from_slice(bytes);
                Ok::<usize, Infallible>(bytes.len())
            });

            match step {
                WriteStep::Wrote(_) => {
                    texts(&written)
                        .iter()
                        .for_each(|text| self.receive(world, text));
                }
                WriteStep::Behind => {
                    let after = cursor.offset();
                    let head = room.head();
                    let page = room.history(Span::After(after), 3).await.expect("a page");
                    let page = CatchUpPage {
                        room: RoomName::lobby().into(),
                        is_linked: true,
                        after,
                        frames: page.frames,
                        more: page.more,
                        upper_bound: head,
                        gone: page.gone.expect("SQLite returns it"),
                        trimmed: None,
                        damaged: Some(0),
                    };
                    send_buffer.begin_page(&mut cursor, &page);
                    send_buffer.continue_page(&mut cursor, &page, Offset(u64::MAX));
                }
                WriteStep::Idle | WriteStep::Finished => {
                    is_more = false;
                    break;
                }
            }
        }

        self.open = Some((room, send_buffer, cursor));
        is_more
    }

    fn receive(&mut self, world: &LoggedHub, text: &str) {
        let (epoch, last) = self.position.as_mut().expect("it has resumed");
        match Push::decode(text).expect("a push") {
            Push::Message(message) => {
                assert_eq!(
                    (message.prev.0, message.offset.0),
                    (*last, *last + 1),
                    "each once, in order, none missing"
                );

                let text = &world.texts[epoch.as_str()][*last as usize];
                assert_eq!(message.body, Body::Text(text.clone()));
                *last += 1;
            }
            Push::Gap { after, before, .. } => {
                assert_eq!(after.0, *last, "the gap begins where the client is");
                assert!(
                    before.0 > after.0 + 1 && before.0 <= world.first(),
                    "the gap covers only messages that are gone"
                );

                *last = before.0 - 1;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Returns the payloads of the server's frames in `bytes`.
fn texts(mut bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while let [_, short, rest @ ..] = bytes {
        let (length, rest) = match (short, rest) {
            (126, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            (short, rest) => (usize::from(*short), rest),
        };

        let (text, next) = rest.split_at(length);
        texts.push(String::from_utf8(text.to_vec()).expect("text"));
        bytes = next;
    }

    texts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn a_client_that_resumes_gets_all_it_missed_once_in_order_or_a_gap(
        steps in prop::collection::vec(step(), 1..120), kept in 1usize..12, ring in 1usize..6,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let mut world = LoggedHub::new(kept, ring);
            let mut clients: [ResumingClient; CLIENTS] = Default::default();

            for step in steps {
                match step {
                    ReaderStep::Publish(count) => world.publish(count).await,
                    ReaderStep::Read(client, writes) => {
                        clients[client].read(&world, writes).await;
                    }
                    ReaderStep::Drop(client) => clients[client].open = None,
                    ReaderStep::Resume(client) => clients[client].resume(&world).await,
                    ReaderStep::Restart | ReaderStep::Reset => {
                        clients.iter_mut().for_each(|client| client.open = None);
                        world.restart(matches!(step, ReaderStep::Reset));
                    }
                }
            }

            for client in &mut clients {
                client.resume(&world).await;
                while client.read(&world, 8).await {}
                assert_eq!(client.position, Some((world.room().epoch().clone(), world.room().head().0)));
            }
        });
    }
}
