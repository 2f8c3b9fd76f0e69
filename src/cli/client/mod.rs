//! A client of a running server, for the commands that talk to one: `fanfare.v1` over a WebSocket that is made
//! again whenever it breaks.
//!
//! - [`Pass`] the token, where the server asks for one.
//! - [`ServerUrl`](server_url::ServerUrl) where the server is, [`Tls`] whom to trust there, and [`Remote`] both together:
//!   opens one socket, sends one request. `bench`, `admin` and `doctor` need no more than this.
//! - [`Cursor`] where a reader stands in the log, and what is news to it. Pure.
//! - [`Outbox`] what is to be said and not yet stored, and [`RateLimit`](pace::Pace), how fast that may go. Pure.
//! - [`Link`] the socket that comes back, and the only part that waits.
//!
//! # Invariants
//!
//! - The pure parts take frames and time in and hand decisions out; they never wait and never read a clock.
//! - Nothing is sent before all that the log had at the welcome is here: what an earlier connection got stored
//!   is among that, and is not sent again.
//!
//! Deliberately absent: more than one room on a connection.

mod server_url;
mod tls;
mod remote;
mod token;
mod cursor;
mod pace;
mod outbox;
mod link;

pub(super) use cursor::{Cursor, Heard, Seen};
pub(super) use link::{Link, News};
pub(super) use outbox::{Next, Outbox, Outcome, Settled};
pub(super) use remote::{Remote, Socket, Words, bearer, words};
pub(super) use server_url::{url_argument, url_flag};
pub(super) use tls::{Tls, ca_flag, reason as tls_reason};
pub(super) use token::{Pass, token_flag};
