//! Handles of the histograms that each publish records into, created once.
//!
//! A look-up by name costs a hash, a lock and several cache misses, which is too much for a publish to a small room.

use std::sync::OnceLock;

use metrics::{Histogram, histogram};

use super::descriptions::{ACK, COMMIT, COMMIT_MESSAGES, FAN_OUT};

static HISTOGRAMS: OnceLock<Histograms> = OnceLock::new();

/// The histograms of publishes and commits.
pub(super) struct Histograms {
    pub(super) ack: Histogram,
    pub(super) fan_out: Histogram,
    pub(super) commit: Histogram,
    pub(super) commit_messages: Histogram,
}

impl Histograms {
    /// Creates the histograms in the installed recorder. After that, `/metrics` contains them, empty.
    pub(super) fn install() {
        HISTOGRAMS.get_or_init(|| Self {
            ack: histogram!(ACK),
            fan_out: histogram!(FAN_OUT),
            commit: histogram!(COMMIT),
            commit_messages: histogram!(COMMIT_MESSAGES),
        });
    }

    /// Returns the histograms; `None` if no recorder is installed.
    pub(super) fn get() -> Option<&'static Self> {
        HISTOGRAMS.get()
    }
}
