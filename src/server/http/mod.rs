//! HTTP: the page, the WebSocket handshake, the API, and the endpoints for operators. The only floor that names `app`.

mod middleware;
mod answer;
mod connection_table;
mod client_address;
mod compression;
mod cors;
mod headers;
mod malformed;
mod api;
mod request_content;
mod error;
mod extract;
mod negotiation;
mod ops;
mod embedded_files;
mod page;
mod error_page;
mod qr_code;
mod admin_page;
mod renderer;
mod router;
mod base_path;
mod shares;
mod site;
mod socket;
mod streams;

pub use api::record_samples;
pub use middleware::listener::{ListenerSettings, serve};
pub use ops::router as ops_router;
pub use router::{AppState, router};
pub use site::Site;
