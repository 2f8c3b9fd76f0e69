//! What others know, read when somebody asks for the figures.

use metrics::{counter, gauge};

use crate::server::metrics::table::*;

/// What others know, and what is therefore not counted here as it happens.
#[derive(Clone, Copy, Debug)]
pub struct Gauges {
    /// Connections that are open.
    pub connections: usize,
    /// How many may be, and how many of one address.
    pub max_connections: (usize, usize),
    /// Rooms in memory.
    pub rooms: usize,
    /// Bytes that clients make the process hold.
    pub held: usize,
    /// Messages refused so far, by the quota that refused them.
    pub rate_limited: [(&'static str, u64); 5],
    /// Messages delivered so far, times readers.
    pub delivered: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
    /// Log lines dropped so far.
    pub log_lines_dropped: u64,
    /// The state of the store, as figures call it.
    pub store: &'static str,
    /// Messages that the reader farthest behind has still to get.
    pub lag: u64,
}

impl Gauges {
    /// Sets the series to what was read.
    pub(super) fn record(self) {
        let Self {
            connections,
            max_connections,
            rooms,
            held,
            rate_limited,
            store,
            ..
        } = self;
        let Self {
            delivered,
            delivered_bytes,
            log_lines_dropped,
            lag,
            ..
        } = self;
        gauge!(CONNECTIONS).set(connections as f64);
        gauge!(CONNECTIONS_LIMIT, "of" => "all").set(max_connections.0 as f64);
        gauge!(CONNECTIONS_LIMIT, "of" => "address").set(max_connections.1 as f64);
        gauge!(ROOMS).set(rooms as f64);
        gauge!(HELD).set(held as f64);
        gauge!(LAG).set(lag as f64);
        for state in STORE_STATES {
            gauge!(STORE_STATE, "state" => state).set(f64::from(u8::from(state == store)));
        }
        gauge!(STORE_READY).set(f64::from(u8::from(store == READY)));
        for (quota, refused) in rate_limited {
            counter!(RATE_LIMITED, "quota" => quota).absolute(refused);
        }
        counter!(DELIVERED).absolute(delivered);
        counter!(DELIVERED_BYTES).absolute(delivered_bytes);
        counter!(LOG_LINES_DROPPED).absolute(log_lines_dropped);
    }
}
