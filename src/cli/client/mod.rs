//! The network side of the commands that connect to a running server.
//!
//! - [`Endpoint`] is a server: its URL, and the certificates to trust for it. It opens one socket or sends one request,
//!   which is enough for `bench`, `admin` and `doctor`.
//! - [`Credentials`] is the token, if the server requires one.
//! - [`ReconnectingSocket`] drives [`crate::client::ClientConnection`] with a socket and timers.
//! - [`SocketSubscriptions`] are the rooms and patterns of such a socket, with the positions from which it continues.

mod server_url;
mod tls;
mod endpoint;
mod credentials;
mod frame;
mod reconnect;
mod subscriptions;

pub(super) use credentials::Credentials;
pub(super) use endpoint::{Endpoint, HttpResponse, ServerSocket};
pub(super) use frame::{SocketEnd, SocketFrame};
pub(super) use reconnect::{ReconnectingSocket, SocketEvent};
pub(super) use server_url::ServerUrl;
pub(super) use subscriptions::SocketSubscriptions;
pub(super) use tls::{ClientTls, reason as tls_reason};
