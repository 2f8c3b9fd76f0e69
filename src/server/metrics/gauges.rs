//! Values of other modules, copied into their series at each request for `/metrics`.

use metrics::{counter, gauge};

use crate::server::metrics::descriptions::*;

/// The values read for one request.
#[derive(Clone, Copy, Debug)]
pub struct MetricSnapshot {
    /// Connections that are open.
    pub connections: usize,
    /// The limit on connections, and the limit for one address.
    pub max_connections: (usize, usize),
    /// Rooms in memory.
    pub rooms: usize,
    /// Bytes that the process holds for clients.
    pub held: usize,
    /// Messages refused since the start, by the quota that refused them.
    pub rate_limited: [(&'static str, u64); 7],
    /// Messages delivered since the start, counted once for each reader.
    pub delivered: u64,
    /// Bytes of the delivered messages.
    pub delivered_bytes: u64,
    /// Signals delivered since the start, and those that readers did not get, counted once for each reader.
    pub signals: (u64, u64),
    /// Log lines dropped since the start.
    pub log_lines_dropped: u64,
    /// The state of the store, one of the labels of `fanfare_store_state`.
    pub store: &'static str,
    /// Messages that the slowest reader has not received yet.
    pub lag: u64,
}

impl MetricSnapshot {
    /// Sets the series to these values.
    pub(super) fn record(self) {
        let (max_connections, max_connections_per_address) = self.max_connections;
        gauge!(CONNECTIONS).set(self.connections as f64);
        gauge!(CONNECTIONS_LIMIT, "of" => "all").set(max_connections as f64);
        gauge!(CONNECTIONS_LIMIT, "of" => "address").set(max_connections_per_address as f64);
        gauge!(ROOMS).set(self.rooms as f64);
        gauge!(HELD).set(self.held as f64);
        gauge!(LAG).set(self.lag as f64);

        for state in STORE_STATES {
            gauge!(STORE_STATE, "state" => state).set(f64::from(u8::from(state == self.store)));
        }
        gauge!(STORE_READY).set(f64::from(u8::from(self.store == READY)));

        for (quota, refused) in self.rate_limited {
            counter!(RATE_LIMITED, "quota" => quota).absolute(refused);
        }
        counter!(DELIVERED).absolute(self.delivered);
        counter!(DELIVERED_BYTES).absolute(self.delivered_bytes);
        let (signals_delivered, signals_dropped) = self.signals;
        counter!(SIGNALS_DELIVERED).absolute(signals_delivered);
        counter!(SIGNALS_DROPPED).absolute(signals_dropped);
        counter!(LOG_LINES_DROPPED).absolute(self.log_lines_dropped);
    }
}
