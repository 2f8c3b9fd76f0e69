//! The pure floors of Fanfare, included by path.
#![allow(dead_code, unused_imports)]

#[path = "../../src/protocol/mod.rs"]
pub mod protocol;

/// The pure floors of the server.
#[path = "../../src/server"]
pub mod server {
    pub mod memory;
    pub mod room_rules;
    pub mod wire;
    pub mod room;
    pub mod session;
}
