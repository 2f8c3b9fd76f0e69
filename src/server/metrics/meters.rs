//! The instruments of what is counted for each publish, made once.
//!
//! Finding one by its name takes a hash, a lock and several cold lines of memory: more than a small room's publish
//! has to spare.

use std::sync::OnceLock;

use metrics::{Histogram, histogram};

use super::table::{ACK, COMMIT, COMMIT_MESSAGES, FAN_OUT};

static METERS: OnceLock<Histograms> = OnceLock::new();

/// See the [module docs](self).
pub(super) struct Histograms {
    pub(super) ack: Histogram,
    pub(super) fan_out: Histogram,
    pub(super) commit: Histogram,
    pub(super) commit_messages: Histogram,
}

impl Histograms {
    /// Those of the recorder that is installed now. They are in `/metrics` from here on, with nothing in them.
    pub(super) fn install() {
        METERS.get_or_init(|| Self {
            ack: histogram!(ACK),
            fan_out: histogram!(FAN_OUT),
            commit: histogram!(COMMIT),
            commit_messages: histogram!(COMMIT_MESSAGES),
        });
    }

    /// None where nothing is counted.
    pub(super) fn get() -> Option<&'static Self> {
        METERS.get()
    }
}
