//! The browser's side of a connection: the socket, and the parts of the browser's API that the page uses.
//!
//! The module is compiled for the browser only. It never names `app`: the page passes a handler.

pub mod json;
pub mod frame;
pub mod socket;
pub mod reconnect;
pub mod visibility;
pub mod scroll;
pub mod base;
pub mod storage;
pub mod token;
pub mod clock;
pub mod dom;

/// Returns a random number in `0.0..1.0`, suited for spreading load and choosing names, but not for secrets.
pub fn random() -> f64 {
    js_sys::Math::random()
}

/// Returns a random name of about 100 bits, which is unique in practice.
pub fn random_name() -> String {
    // `crypto.randomUUID` is missing on pages that were loaded over plain HTTP from another machine.
    let digits = || (random() * 2_f64.powi(52)) as u64;
    format!("{:013x}{:013x}", digits(), digits())
}
