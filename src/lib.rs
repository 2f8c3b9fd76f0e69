//! Fanfare: every connected browser, script and service sees the same ordered log of messages per room.
//!
//! A room is a log, and a connection is a cursor in it. Joining, live delivery and catching up are the same
//! operation: read the log from a position.
//!
//! # Floors, lowest first
//!
//! - [`protocol`] both sides: names and codes that travel. No I/O; names nothing else of ours.
//! - [`client`] both sides: the client's half of the protocol, without I/O; the page and the command line use it.
//! - [`browser`] both sides: the browser's API, for effects, tasks and event handlers of the page. Never names `app`.
//! - [`app`] both sides: the page. Never names `server`; the server hands it a `Snapshot`.
//! - `server` native only: wire, rooms, sessions, hub, transport, HTTP. Its `mod.rs` lists its own floors.
//! - `cli` native only: `serve`, `demo`, `admin`, `check-config`, `export`, `import`, and the clients `send`, `listen`,
//!   `bench`, `verify`, `doctor`.
//!
//! A floor names only floors below it. Only this file, the `mod` lines of the admin page and `server::files::packaged`
//! depend on features. `end2end/server/shape.rs` checks both rules.

// The types of views nest as deeply as their elements do.
#![recursion_limit = "256"]

pub mod protocol;
pub mod client;
pub mod browser;
pub mod app;
#[cfg(feature = "ssr")]
pub mod server;
#[cfg(feature = "ssr")]
pub mod cli;
#[cfg(all(test, feature = "ssr"))]
mod input_growth;

#[cfg(all(feature = "ssr", feature = "hydrate"))]
compile_error!("build either the server (`ssr`) or the page (`hydrate`), never both at once");

/// Takes over the HTML that the server rendered. The browser calls this function when the module is loaded.
#[cfg(feature = "hydrate")]
#[wasm_bindgen::prelude::wasm_bindgen]
pub fn hydrate() {
    console_error_panic_hook::set_once();
    leptos::mount::hydrate_body(app::App);
}
