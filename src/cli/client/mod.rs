//! A client of a running server, for the commands that talk to one: `fanfare.v1` over a WebSocket that is made
//! again whenever it breaks.
//!
//! - [`Pass`] the token, where the server asks for one.
//! - [`ServerUrl`] where the server is; opens one socket. `bench` needs no more than this.
//! - [`Cursor`] where a reader stands in the log, and what is news to it. Pure.
//! - [`Outbox`] what is to be said and not yet stored, and [`Pace`](pace::Pace), how fast that may go. Pure.
//! - [`Link`] the socket that comes back, and the only part that waits.
//!
//! # Invariants
//!
//! - The pure parts take frames and time in and hand decisions out; they never wait and never read a clock.
//! - Nothing is sent before all that the log had at the welcome is here: what an earlier connection got stored
//!   is among that, and is not sent again.
//!
//! Deliberately absent: TLS, and more than one room on a connection.

mod server_url;
mod token;
mod cursor;
mod pace;
mod outbox;
mod link;

pub(super) use cursor::{Cursor, Heard, Seen};
pub(super) use link::{Link, News};
pub(super) use outbox::{Next, Outbox, Outcome, Settled};
pub(super) use server_url::{ServerUrl, Socket, url_argument, url_flag};
pub(super) use token::{Pass, token_flag};
