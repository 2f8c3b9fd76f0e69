//! The client's half of `fanfare.v1`: all decisions of a client, without I/O and timers.
//!
//! The page and the command line both run on this module. They add sockets and timers. Frames and times go in,
//! decisions come out, so each rule exists once and is tested without a network.
//!
//! - [`ClientConnection`] decides when to open a socket, when to probe a silent server, and when to reconnect. It contains a
//!   [`Watchdog`] and a [`Backoff`].
//! - [`Cursor`] is the position of a reader in a room's log: what to request after a reconnect, which messages are new,
//!   which are missing.
//! - [`Outbox`] holds the messages that a client sends until the server has stored each of them once.
//! - [`TokenSchedule`] decides when to renew a token.
//!
//! One [`ClientConnection`] can carry several rooms: each has its own cursor and outbox.
//!
//! # Time
//!
//! All times are a [`Duration`](std::time::Duration) since a fixed moment that the caller chooses, such as the start of
//! the program. They must not go back.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use fanfare::client::{Action, ClientConnection, Cursor, Update};
//! use fanfare::protocol::{CloseCode, Push, RoomName};
//!
//! let mut connection = ClientConnection::new(Duration::ZERO);
//! let mut cursor = Cursor::new(None);
//!
//! // The caller opens a socket with this query.
//! assert_eq!(connection.poll(Duration::ZERO), Action::Open);
//! assert_eq!(cursor.query(&RoomName::lobby(), None), "room=lobby");
//! connection.on_open(Duration::ZERO);
//!
//! // The caller passes each frame on.
//! let frames = [
//!     r#"{"type":"welcome","connection":1,"id":"ann","heartbeat_ms":25000,"expire_ms":60000,
//!         "max_message":65536,"max_subscriptions":128}"#,
//!     r#"{"type":"subscribed","room":"lobby","epoch":"5f3e9a01","head":7,"first":1,"recovery":"fresh","count":1}"#,
//!     r#"{"type":"message","room":"lobby","offset":8,"prev":7,"at":1764600000000,"from":"bob","text":"hello"}"#,
//! ];
//! for frame in frames {
//!     let push = Push::decode(frame).unwrap();
//!     connection.on_push(&push, Duration::from_secs(1));
//!     for update in cursor.on_push(&push) {
//!         assert!(matches!(update, Update::Message(message) if message.offset.0 == 8));
//!     }
//! }
//!
//! // The connection breaks. The next socket continues where this one stopped.
//! connection.on_close(CloseCode::GoingAway.number(), None, Duration::from_secs(2), 0.5);
//! cursor.on_disconnect();
//! assert!(matches!(connection.poll(Duration::from_secs(2)), Action::Wait(_)));
//! assert_eq!(cursor.query(&RoomName::lobby(), None), "room=lobby&after=8&epoch=5f3e9a01");
//! ```

mod backoff;
mod watchdog;
mod connection;
mod cursor;
mod send_rate;
mod outbox;
mod token_schedule;

pub use backoff::Backoff;
pub use connection::{Action, ClientConnection, NO_CLOSE_FRAME, OPEN_TIMEOUT};
pub use cursor::{Cursor, ReadPosition, ReadPositionError, Update};
pub use outbox::{Outbox, OutgoingMessage, SendMode, SendOutcome, SendStep, Settled};
pub use token_schedule::TokenSchedule;
pub use watchdog::{Watchdog, WatchdogAction};
