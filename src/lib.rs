//! Fanfare: every connected browser, script and service sees the same ordered log of messages per room.
//!
//! A room is a log, and a connection is a cursor in it. Joining, live delivery and catching up are the same
//! act: read the log from a place.
//!
//! # Floors, lowest first
//!
//! - [`protocol`] both sides: names and codes that travel. No I/O; names nothing else of ours.
//! - [`client`] both sides: the client's half of the protocol, without I/O; the page and the command line run on it.
//! - `browser` wasm only: one socket, kept alive. Never names `app`.
//! - [`app`] both sides: the page. Never names `server`; the server hands it a `Snapshot`.
//! - `server` native only: wire, rooms, sessions, hub, transport, HTTP; see its own map.
//! - `cli` native only: `serve`, `admin`, `check-config`, `export`, `import`, and the clients `send`, `listen`, `bench`,
//!   `verify`, `doctor`.
//!
//! A floor names only floors below it. Only this file, `app::live`, and the `mod` lines of what is for
//! the admin page ask which side they are compiled for. `end2end/server/shape.rs` checks both.

pub mod protocol;
pub mod client;
#[cfg(feature = "hydrate")]
pub mod browser;
pub mod app;
#[cfg(feature = "ssr")]
pub mod server;
#[cfg(feature = "ssr")]
pub mod cli;
#[cfg(all(test, feature = "ssr"))]
mod growth;

#[cfg(all(feature = "ssr", feature = "hydrate"))]
compile_error!("build either the server (`ssr`) or the page (`hydrate`), never both at once");

/// Takes over the HTML that the server rendered. The browser calls this function when the module is loaded.
#[cfg(feature = "hydrate")]
#[wasm_bindgen::prelude::wasm_bindgen]
pub fn hydrate() {
    console_error_panic_hook::set_once();
    leptos::mount::hydrate_body(app::App);
}
