//! The network side of the commands that connect to a running server.
//!
//! - [`Server`] is a server: its URL, and the certificates to trust for it. It opens one socket or sends one request,
//!   which is enough for `bench`, `admin` and `doctor`.
//! - [`Credentials`] is the token, if the server requires one.
//! - [`ReconnectingSocket`] drives [`crate::client::Connection`] with a socket and timers.
//! - [`Subscriptions`] are the rooms and patterns of such a socket, with the positions from which it continues.

mod server_url;
mod tls;
mod server;
mod credentials;
mod frame;
mod reconnect;
mod subscriptions;

pub(super) use credentials::Credentials;
pub(super) use frame::{SocketEnd, SocketFrame};
pub(super) use reconnect::{ReconnectingSocket, SocketEvent};
pub(super) use server::{Answer, Server, Socket};
pub(super) use server_url::ServerUrl;
pub(super) use subscriptions::Subscriptions;
pub(super) use tls::{Tls, reason as tls_reason};
