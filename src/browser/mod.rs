//! The parts of the browser's API that the page uses: the WebSocket, storage, clocks, and a scrolling log.
//!
//! The module is compiled on both sides, as the components that use it are, but its functions work only in a browser. The
//! page calls them in effects, tasks and event handlers, none of which run on the server. The module never names `app`.

pub mod socket;
pub mod scroll;
pub mod storage;
pub mod token;
pub mod clock;
pub mod alert;
pub mod dom;
pub mod http;

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
