//! The wasm side of a connection: one socket, kept alive, and the little of the browser that goes with it.
//!
//! Compiled for the browser only. Never names `app`: policy (how long to wait, what news mean) is handed in.

pub mod json;
pub mod frame;
pub mod socket;
pub mod reconnect;
pub mod wake;
pub mod scroll;
pub mod base;
pub mod storage;
pub mod pass;
pub mod clock;
pub mod desk;

/// A number in `0.0..1.0`, good enough to spread load and to make up a name, not for secrets.
pub fn random() -> f64 {
    js_sys::Math::random()
}

/// A name that nobody has used before, as far as chance goes: about a hundred random bits.
pub fn random_name() -> String {
    // `crypto.randomUUID` is missing where the page came over plain HTTP from another machine.
    let digits = || (random() * 2_f64.powi(52)) as u64;
    format!("{:013x}{:013x}", digits(), digits())
}
