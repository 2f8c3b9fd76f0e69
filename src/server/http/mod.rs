//! HTTP: the page, the way to a WebSocket, the API, the operator's answers. The only floor that names `app`.

mod accept;
mod answer;
mod connection_table;
mod door;
mod entrance;
mod client;
mod guard;
mod cors;
mod headers;
mod malformed;
mod api;
mod caller;
mod content;
mod error;
mod extract;
mod negotiation;
mod ops;
mod packed;
mod page;
mod problem;
mod admin_page;
mod renderer;
mod router;
mod base;
mod shares;
mod site;
mod socket;
mod traced;

pub use accept::{AcceptSettings, serve};
pub use api::note_forever;
pub use ops::router as ops_router;
pub use router::{AppState, router};
pub use site::Site;
