//! The pure floors of Fanfare, taken in by path.
#![allow(dead_code, unused_imports)]

#[path = "../../src/protocol/mod.rs"]
pub mod protocol;

/// The server's pure floors.
#[path = "../../src/server"]
pub mod server {
    pub mod memory;
    pub mod wire;
    pub mod room;
    pub mod session;
}
