//! The HTTP connections of one listener: their limits, and the eviction of one for a new one.
//!
//! # Invariants
//!
//! - A connection is in the table until it ends, is evicted or becomes a stream of the Hub.
//! - When the table is full, a connection from an address with few connections replaces one from the address with the
//!   most, so no address can shut out another. Between equals, only stale connections are replaced.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::server::http::shares::{AddressShare, AddressShares};
use crate::server::hub::Hub;
use crate::server::session::IpBucket;
use crate::server::transport::{Activity, RequestPhase};

/// The time after which a connection that waits for its client may be replaced by any other.
const STALE_AFTER: Duration = Duration::from_secs(1);

/// The table of a listener's HTTP connections.
#[derive(Debug)]
pub(super) struct ConnectionTable {
    /// The limit for connections from all addresses.
    limit: usize,
    /// The limit for connections from one address.
    limit_per_address: usize,
    hub: Hub,
    shares: AddressShares,
    state: Mutex<TableState>,
}

#[derive(Debug, Default)]
struct TableState {
    /// The connections by number.
    connections: HashMap<u64, TableEntry>,
    /// The number of the newest connection.
    newest: u64,
}

#[derive(Debug)]
struct TableEntry {
    share: Arc<AddressShare>,
    activity: Arc<Activity>,
}

/// The entry of a connection in the table, which is removed on drop.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    table: Arc<ConnectionTable>,
    number: u64,
}

/// A limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// The limit for connections from all addresses.
    All {
        /// The limit.
        limit: usize,
    },
    /// The limit for connections from this address.
    Address {
        /// The limit.
        limit: usize,
    },
}

impl ConnectionTable {
    /// Creates a table of at most `limit` connections, and `limit_per_address` from one address.
    pub(super) fn new(hub: Hub, limit: usize, limit_per_address: usize) -> Self {
        Self {
            limit,
            limit_per_address,
            hub,
            shares: AddressShares::default(),
            state: Mutex::default(),
        }
    }

    /// Adds a connection from `host`. The limit for one address does not apply to trusted proxies (`is_proxy`): their
    /// requests are counted for the clients that they name.
    ///
    /// # Errors
    /// Returns the limit that is reached.
    pub(super) fn enter(
        self: &Arc<Self>,
        host: IpBucket,
        is_proxy: bool,
        activity: Arc<Activity>,
    ) -> Result<ConnectionPermit, Full> {
        let share = self.shares.of(host);
        let mut state = self.state.lock();

        if !is_proxy {
            self.check_address(&share)?;
        }
        if state.connections.len() >= self.limit {
            let victim = self.victim(&state, &share);
            let number = victim.ok_or(Full::All { limit: self.limit })?;
            state.evict(number);
        }

        share.connect();
        state.newest += 1;
        let number = state.newest;
        state
            .connections
            .insert(number, TableEntry { share, activity });

        Ok(ConnectionPermit {
            table: self.clone(),
            number,
        })
    }

    fn check_address(&self, share: &AddressShare) -> Result<(), Full> {
        let limit = self.limit_per_address;
        if share.connections() >= limit {
            return Err(Full::Address { limit });
        }
        Ok(())
    }

    /// Returns the connection to replace by a new one of `share`; `None` if none may be replaced.
    fn victim(&self, state: &TableState, share: &AddressShare) -> Option<u64> {
        let now = self.hub.now();
        let mut of_busiest_address = None;
        let mut stalest = None;

        for (number, connection) in &state.connections {
            let (phase, since) = connection.activity.phase();
            let is_waiting = matches!(phase, RequestPhase::Idle | RequestPhase::Blocked);
            let is_stale = is_waiting && now.since(since) >= STALE_AFTER;
            let connections = connection.share.connections();

            keep_least(
                &mut of_busiest_address,
                (Reverse(connections), !is_stale, since, *number),
            );
            if is_stale {
                keep_least(&mut stalest, (since, *number));
            }
        }

        let (Reverse(most), _, _, number) = of_busiest_address?;
        // After the replacement, that address still has at least as many connections as the new one's.
        if most > share.connections() + 1 {
            return Some(number);
        }
        stalest.map(|(_, number)| number)
    }
}

/// Replaces `least` by `value` if that is less, or the first one.
fn keep_least<T: Copy + Ord>(least: &mut Option<T>, value: T) {
    *least = Some(least.map_or(value, |least| least.min(value)));
}

impl TableState {
    fn evict(&mut self, number: u64) {
        if let Some(TableEntry { share, activity }) = self.connections.remove(&number) {
            share.disconnect();
            activity.evict();
        }
    }
}

impl ConnectionPermit {
    /// Counts the connection for `host`, the client of its current request. Returns the share of `host`.
    ///
    /// # Errors
    /// Returns an error if `host` has reached its limit.
    pub(super) fn assign(&self, host: IpBucket) -> Result<Arc<AddressShare>, Full> {
        let share = self.table.shares.of(host);
        let mut state = self.table.state.lock();
        // An evicted or released connection is about to end.
        let Some(connection) = state.connections.get_mut(&self.number) else {
            return Ok(share);
        };

        if connection.share.host() != host {
            self.table.check_address(&share)?;
            connection.share.disconnect();
            share.connect();
            connection.share = share.clone();
        }

        Ok(share)
    }

    /// Removes the connection from the table, because the Hub counts it from here on.
    pub(super) fn release(&self) {
        let removed = self.table.state.lock().connections.remove(&self.number);
        if let Some(TableEntry { share, .. }) = removed {
            share.disconnect();
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.release();
    }
}
