//! A store under test, which can be closed and reopened. The test controls its clock; in NATS, a short real time
//! stands for a second.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use tokio::runtime::Runtime;

use crate::protocol::{Key, Offset, Publication, RoomName, RoomPattern, RoomSelector, UserId};
use crate::server::room::{DedupLimits, Draft};
use crate::server::store::clock::Clock;
use crate::server::store::nats::test_server::NatsServer;
use crate::server::store::{
    Bounds, Changes, Limit, LogChange, MatchingPage, MatchingRange, MemorySettings, MemoryStore,
    NatsSettings, NatsStore, Page, Retention, Span, SqliteSettings, SqliteStore, Store, StoreError,
    StoreFuture, Stored, StoredRoom,
};

/// The real time that stands for one second in NATS, whose clock a test cannot set.
const SECOND: Duration = Duration::from_millis(50);
/// A time in seconds after which NATS has forgotten everything in these tests.
const LONGEST: u32 = 100;
/// The longest delay of expiry: stores remove old messages at intervals, and NATS is queried once per second.
const LATE: Duration = Duration::from_secs(2);

/// A store whose clock the test controls.
pub(super) struct Subject {
    pub(super) store: Arc<dyn Store>,
    clock: Arc<Clock>,
    lasts: Lasting,
}

/// The parts of a store that outlast it, and the settings to reopen it.
enum Lasting {
    Nothing,
    File(
        #[expect(dead_code, reason = "it ends with the subject")] tempfile::TempDir,
        SqliteSettings,
    ),
    Stream(
        #[expect(dead_code, reason = "it ends with the subject")] NatsServer,
        NatsSettings,
    ),
}

/// Returns the runtime for the tasks of NATS.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("a runtime"))
}

impl Subject {
    pub(super) fn memory(retention: Retention) -> Self {
        let clock = Arc::new(Clock::new());
        let settings = MemorySettings::of_test(retention);
        let store = Arc::new(MemoryStore::with_clock(&settings, clock.clone()));
        Self {
            store,
            clock,
            lasts: Lasting::Nothing,
        }
    }

    pub(super) fn sqlite(retention: Retention) -> Self {
        Self::sqlite_of(retention, 10_000)
    }

    /// Opens a database with at most `max_rooms` rooms.
    pub(super) fn sqlite_of(retention: Retention, max_rooms: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("test.db");
        let settings = SqliteSettings {
            retention,
            max_rooms,
            ..SqliteSettings::of_test(path)
        };

        let clock = Arc::new(Clock::new());
        let store = SqliteStore::open_with(&settings, clock.clone()).expect("opened");

        Self {
            store: Arc::new(store),
            clock,
            lasts: Lasting::File(folder, settings),
        }
    }

    pub(super) fn nats(retention: Retention) -> Self {
        let server = NatsServer::start();
        let scaled = |age: Duration| SECOND * age.as_secs() as u32;
        let keys = DedupLimits {
            age: scaled(retention.keys.age),
            ..retention.keys
        };

        let settings = NatsSettings {
            retention: Retention {
                age: scaled(retention.age),
                keys,
                ..retention
            },
            ..server.settings()
        };

        let store = runtime()
            .block_on(NatsStore::connect(&settings))
            .expect("connected");

        let clock = Arc::new(Clock::new());
        let subject = Self {
            store: Arc::new(store),
            clock,
            lasts: Lasting::Stream(server, settings),
        };

        subject.open(&RoomName::lobby());
        subject
    }

    pub(super) fn retention(messages: usize) -> Retention {
        let keys = DedupLimits {
            messages: 20,
            age: Duration::from_secs(600),
        };
        Retention {
            age: Duration::from_secs(60),
            keys,
            ..Retention::of_test(messages)
        }
    }

    pub(super) fn each(messages: usize) -> [Self; 3] {
        let retention = Self::retention(messages);
        [
            Self::memory(retention),
            Self::sqlite(retention),
            Self::nats(retention),
        ]
    }

    /// Returns a store in memory and one in SQLite, which trim and count the messages of each room exactly.
    pub(super) fn each_local(messages: usize) -> [Self; 2] {
        let retention = Self::retention(messages);
        [Self::memory(retention), Self::sqlite(retention)]
    }

    pub(super) fn is_nats(&self) -> bool {
        matches!(self.lasts, Lasting::Stream(..))
    }

    pub(super) fn open(&self, room: &RoomName) {
        runtime().block_on(self.store.open(room)).expect("opened");
    }

    /// Closes the store and opens it again. A store in memory stays open.
    pub(super) fn restart(&mut self) {
        let again: Arc<dyn Store> = match &self.lasts {
            Lasting::Nothing => return,
            Lasting::File(_, settings) => {
                self.store.close();
                Arc::new(
                    SqliteStore::open_with(settings, self.clock.clone()).expect("opened again"),
                )
            }
            Lasting::Stream(_, settings) => {
                self.store.close();
                Arc::new(
                    runtime()
                        .block_on(NatsStore::connect(settings))
                        .expect("connected again"),
                )
            }
        };

        self.store = again;
        self.open(&RoomName::lobby());
    }

    /// Closes the store while other references to it exist. Returns the names of the files in its folder afterwards.
    pub(super) fn close(&self) -> Vec<String> {
        self.store.close();
        let Lasting::File(_, settings) = &self.lasts else {
            return Vec::new();
        };

        let folder = settings.path.parent().expect("a folder");
        let files = std::fs::read_dir(folder).expect("it is there");
        let mut names: Vec<_> = files
            .map(|file| {
                file.expect("a file")
                    .file_name()
                    .into_string()
                    .expect("text")
            })
            .collect();

        names.sort();
        names
    }

    /// Returns the settings of the database.
    pub(super) fn settings(&self) -> &SqliteSettings {
        match &self.lasts {
            Lasting::File(_, settings) => settings,
            Lasting::Nothing | Lasting::Stream(..) => panic!("a store without a file"),
        }
    }

    /// Returns the path of the database file.
    pub(super) fn path(&self) -> PathBuf {
        self.settings().path.clone()
    }

    /// Returns the number of rows in a table of the database.
    pub(super) fn rows(&self, table: &str) -> u64 {
        let database = rusqlite::Connection::open(self.path()).expect("opened");
        let count = format!("SELECT count(*) FROM {table}");
        database
            .query_row(&count, [], |row| row.get(0))
            .expect("a table")
    }

    /// Advances the clock by `seconds`.
    pub(super) fn pass(&self, seconds: u32) {
        if self.is_nats() {
            std::thread::sleep(SECOND * seconds.min(LONGEST));
        } else {
            self.clock.skip(Duration::from_secs(seconds.into()));
        }
    }

    /// Waits until `look` returns the expected value, for at most [`LATE`].
    pub(super) fn becomes<T: PartialEq + std::fmt::Debug>(
        &self,
        expected: T,
        look: impl Fn(&Self) -> T,
    ) {
        let began = Instant::now();
        while look(self) != expected && began.elapsed() < LATE {
            std::thread::sleep(Duration::from_millis(20));
        }

        assert_eq!(look(self), expected);
    }

    /// Stores a message in the lobby. Returns its offset, and true if it was a duplicate.
    pub(super) fn append(&self, key: Option<&str>, text: &str) -> (u64, bool) {
        self.try_append(key, text).expect("stored")
    }

    /// Stores a message like [`Self::append`], or returns the error of the store.
    pub(super) fn try_append(
        &self,
        key: Option<&str>,
        text: &str,
    ) -> Result<(u64, bool), StoreError> {
        self.append_to(&RoomName::lobby(), key, text)
    }

    /// Stores a message like [`Self::try_append`] in another room.
    pub(super) fn append_to(
        &self,
        room: &RoomName,
        key: Option<&str>,
        text: &str,
    ) -> Result<(u64, bool), StoreError> {
        let key = key.and_then(|key| Key::parse(key).ok());
        let drafts = vec![Draft::text(UserId::guest(1), key, text)];
        let mut stored = block_on(self.store.append(room, drafts, 7))?;

        Ok(match stored.remove(0) {
            Stored::New(frame) => (frame.offset().0, false),
            Stored::Duplicate { offset, at } => {
                assert_eq!(at, 7);
                (offset.0, true)
            }
            Stored::Removed { .. } => panic!("nobody removes it"),
        })
    }

    pub(super) fn page(&self, span: Span, limit: Limit) -> Page {
        self.page_of(&RoomName::lobby(), span, limit)
    }

    /// Returns the messages that the lobby keeps.
    pub(super) fn publications(&self) -> Vec<Publication> {
        let page = self.page(Span::Newest, Limit::page(100));
        let frames = page.frames.iter();
        frames.map(|frame| frame.publication()).collect()
    }

    pub(super) fn page_of(&self, room: &RoomName, span: Span, limit: Limit) -> Page {
        let read = self.store.read(room, span, limit);
        runtime().block_on(read).expect("a page")
    }

    /// Returns the number of messages of `room` up to `offset`, if the store knows it.
    pub(super) fn count(&self, room: &RoomName, offset: u64) -> Option<u64> {
        let count = self.store.count(room, Offset(offset));
        runtime().block_on(count).expect("a number")
    }

    /// Returns the page of `pattern` after `after`.
    pub(super) fn matching(
        &self,
        pattern: &str,
        after: u64,
        known: u64,
        limit: Limit,
    ) -> MatchingPage {
        let pattern = RoomPattern::parse(pattern).expect("a pattern");
        let range = MatchingRange::after(Offset(after), Offset(known));
        self.run(self.store.read_matching(&[pattern.into()], range, limit))
    }

    /// Returns all messages of the rooms and patterns `selected` after `after` up to `until`.
    pub(super) fn selected(&self, selected: &[&str], after: u64, until: u64) -> MatchingPage {
        let selected = selected.iter().map(|text| RoomSelector::parse(text));
        let selected: Vec<_> = selected.collect::<Result<_, _>>().expect("selectors");
        let range = MatchingRange {
            until: Offset(until),
            ..MatchingRange::after(Offset(after), Offset(after))
        };
        let limit = Limit {
            messages: 1000,
            bytes: usize::MAX,
        };
        self.run(self.store.read_matching(&selected, range, limit))
    }

    /// Returns the bounds of all rooms that match `pattern`.
    pub(super) fn matching_bounds(&self, pattern: &str) -> Bounds {
        let pattern = RoomPattern::parse(pattern).expect("a pattern");
        self.run(self.store.matching_bounds(&pattern))
    }

    /// Lists rooms except those whose names end with `-hidden`.
    pub(super) fn rooms(&self, prefix: &str, after: Option<&str>, limit: usize) -> Vec<StoredRoom> {
        let after = after.map(|after| RoomName::parse(after).expect("a name"));
        let pattern = RoomPattern::parse(&format!("{prefix}*")).expect("a pattern");
        let filter = Box::new(|room: &RoomName| !room.as_str().ends_with("-hidden"));
        let listed = self
            .store
            .list_rooms(&pattern, after.as_ref(), limit, filter);
        self.run(listed)
    }

    /// Connects another store to the same stream.
    pub(super) fn another_node(&self) -> NatsStore {
        let Lasting::Stream(_, settings) = &self.lasts else {
            panic!("a store with one node");
        };
        let connected = runtime().block_on(NatsStore::connect(settings));
        connected.expect("connected")
    }

    /// Waits for the next changes.
    pub(super) fn next_changes(&self, changes: &mut Changes) -> Vec<LogChange> {
        let next = async { tokio::time::timeout(LATE, changes.recv()).await };
        let next = runtime().block_on(next);
        next.expect("in time").expect("the store is open")
    }

    /// Returns the result of a call of the store.
    pub(super) fn run<T>(&self, call: StoreFuture<T>) -> T {
        runtime().block_on(call).expect("a result")
    }

    /// Begins `count` reads of all messages and drops them unfinished.
    pub(super) fn break_off_reads(&self, count: usize) {
        runtime().block_on(async {
            for _read in 0..count {
                let limit = Limit {
                    messages: usize::MAX,
                    bytes: usize::MAX,
                };
                let read = self.store.read(&RoomName::lobby(), Span::Newest, limit);
                // One poll is enough to start the read.
                let _unfinished = futures::poll!(read);
            }
        });
    }

    pub(super) fn offsets(&self, span: Span, messages: usize) -> (Vec<u64>, bool) {
        let limit = Limit {
            messages,
            bytes: usize::MAX,
        };
        let page = self.page(span, limit);
        (
            page.frames.iter().map(|frame| frame.offset().0).collect(),
            page.more,
        )
    }

    pub(super) fn bounds(&self) -> (u64, u64) {
        self.open(&RoomName::lobby());
        let bounds = self.store.bounds(&RoomName::lobby()).expect("bounds");
        (bounds.first.0, bounds.head.0)
    }
}
