//! The network side of the commands that connect to a running server.
//!
//! - [`Server`] is a server: its URL, and the certificates to trust for it. It opens one socket or sends one request.
//!   `bench`, `admin` and `doctor` need no more.
//! - [`Credentials`] is the token, where the server requires one.
//! - [`ReconnectingSocket`] drives [`crate::client::Connection`] with a socket and timers.
//!
//! There is one room per connection.

mod server_url;
mod tls;
mod server;
mod credentials;
mod frame;
mod reconnect;

pub(super) use credentials::Credentials;
pub(super) use frame::{Frame, SocketEnd};
pub(super) use reconnect::{ReconnectingSocket, SocketEvent};
pub(super) use server::{ApiErrorBody, Server, Socket, api_error, bearer};
pub(super) use tls::{Tls, reason as tls_reason};
