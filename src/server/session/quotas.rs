//! The limits on publishing: per connection, per user id, per address, per address over HTTP, and on new rooms.
//!
//! All connections of one id share the quota of the id, and all connections of one address that of the address.
//! HTTP requests belong to no connection, so they have a quota per address instead. A rule for rooms may replace the
//! limit of a connection, and the quota over HTTP, for messages to its rooms. A token may replace or lift the limits on
//! messages: see [`MessageLimits`].
//!
//! # Invariants
//!
//! - A refused message takes no tokens: those that were taken before the refusal are refunded.
//! - The quota of an id that is not authenticated belongs to the id at one address. Otherwise a stranger could use
//!   up the quota of another client's id.
//! - Locks are held briefly, and a quota without a limit takes none.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::protocol::UserId;
use crate::server::room::Tick;
use crate::server::room_rules::RuleRate;
use crate::server::session::{IpBucket, Limiters, MessageLimits, Quota, Rate, RateLimited};

/// Rate of bytes from one address that are not part of a message. Ordinary clients send hardly any.
const OVERHEAD_RATE: Rate = Rate {
    per_second: 4 * 1024 * 1024,
    burst: 16 * 1024 * 1024,
};
/// Number of bytes of each frame that are not counted as overhead. Small frames of other clients at an address pass
/// even after one client has used up the rate.
const FREE_OVERHEAD: usize = 1024;

/// Seconds in a day, the unit of the rate of new rooms.
const SECONDS_PER_DAY: u32 = 24 * 60 * 60;

/// The rates of the quotas that connections share.
#[derive(Clone, Copy, Debug)]
pub struct QuotaRates {
    /// Rate of each id.
    pub id: Rate,
    /// Rate of each address.
    pub address: Rate,
    /// Rate of each address over HTTP.
    pub http: Rate,
    /// Rate of new rooms of each address, per day.
    pub rooms: Rate,
}

impl QuotaRates {
    /// Rates without limits.
    pub const UNLIMITED: Self = Self {
        id: Rate::UNLIMITED,
        address: Rate::UNLIMITED,
        http: Rate::UNLIMITED,
        rooms: Rate::UNLIMITED,
    };
}

/// The key of the quota per id: an authenticated id, or an unauthenticated one at its address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RateLimitKey {
    id: UserId,
    /// Address of an unauthenticated client.
    host: Option<IpBucket>,
}

impl RateLimitKey {
    /// Returns the key of a client that is authenticated as `id`.
    pub const fn proven(id: UserId) -> Self {
        Self { id, host: None }
    }

    /// Returns the key of a client at `host` that uses `id` without authentication.
    pub const fn claimed(id: UserId, host: IpBucket) -> Self {
        Self {
            id,
            host: Some(host),
        }
    }
}

/// The quotas that connections and HTTP requests share.
#[derive(Debug)]
pub struct Quotas {
    ids: SharedLimiters<RateLimitKey>,
    hosts: SharedLimiters<IpBucket>,
    posts: SharedLimiters<IpBucket>,
    rooms: SharedLimiters<IpBucket>,
    /// The quotas over HTTP of each rule that sets a rate, by the number of the rule.
    rules: Mutex<HashMap<usize, Limiters<IpBucket>>>,
    /// Limited by [`OVERHEAD_RATE`].
    overhead: Mutex<Limiters<IpBucket>>,
    /// Number of refusals by each quota.
    refusals: [AtomicU64; Quota::ALL.len()],
}

impl Quotas {
    /// Creates unused quotas.
    pub fn new(rates: QuotaRates) -> Self {
        Self {
            ids: SharedLimiters::new(Quota::Id, rates.id),
            hosts: SharedLimiters::new(Quota::Address, rates.address),
            posts: SharedLimiters::new(Quota::Http, rates.http),
            rooms: SharedLimiters::new(Quota::Rooms, rates.rooms),
            rules: Mutex::default(),
            overhead: Mutex::new(Limiters::new(OVERHEAD_RATE)),
            refusals: Default::default(),
        }
    }

    /// Returns the maximum number of messages in one HTTP request with `limits`; `None` if there is no limit.
    pub fn max_batch(&self, limits: MessageLimits) -> Option<u32> {
        let id = limits.id_rate(self.ids.rate);
        let rates = if limits.has_address_limits() {
            let posts = limits.rule().map_or(self.posts.rate, Rate::from);
            [id, self.hosts.rate, posts]
        } else {
            [id; 3]
        };
        rates
            .iter()
            .filter(|rate| rate.per_second > 0)
            .map(|rate| rate.burst)
            .min()
    }

    /// Checks that a client at `host` with `limits` may publish a message over HTTP now, without counting one.
    ///
    /// # Errors
    /// The exceeded quota.
    pub fn check_http(
        &self,
        host: IpBucket,
        limits: MessageLimits,
        now: Tick,
    ) -> Result<(), RateLimited> {
        if !limits.has_address_limits() {
            return Ok(());
        }

        let rate = limits.rule();
        self.take_post(host, 1, rate, now)
            .inspect(|()| self.refund_post(&host, 1, rate))
            .inspect_err(|error| self.count_refusal(error))
    }

    /// Counts the messages of an HTTP request from `host` with `limits`, each sender with its number: all of them, or none.
    ///
    /// # Errors
    /// The first exceeded quota.
    pub fn take_http(
        &self,
        host: IpBucket,
        senders: &[(RateLimitKey, u32)],
        limits: MessageLimits,
        now: Tick,
    ) -> Result<(), RateLimited> {
        if !limits.has_address_limits() {
            return self
                .take(host, senders, limits, now)
                .inspect_err(|error| self.count_refusal(error));
        }

        let rate = limits.rule();
        let messages = senders.iter().map(|(_, messages)| messages).sum();
        self.take_post(host, messages, rate, now)
            .and_then(|()| {
                self.take(host, senders, limits, now)
                    .inspect_err(|_| self.refund_post(&host, messages, rate))
            })
            .inspect_err(|error| self.count_refusal(error))
    }

    /// Counts a room that a client at `host` creates.
    ///
    /// # Errors
    /// [`Quota::Rooms`] if the address has created too many.
    pub fn create_room(&self, host: IpBucket, now: Tick) -> Result<(), RateLimited> {
        // Limiters count per second, so a day passes as one second for this one.
        let scaled = Tick::after_start(now.since(Tick::default()) / SECONDS_PER_DAY);

        self.rooms
            .take(host, 1, scaled)
            .map_err(|error| RateLimited {
                wait: error.wait * SECONDS_PER_DAY,
                ..error
            })
            .inspect_err(|error| self.count_refusal(error))
    }

    /// Returns the label of each quota and the number of its refusals.
    pub fn refusals(&self) -> [(&'static str, u64); Quota::ALL.len()] {
        Quota::ALL.map(|quota| {
            (
                quota.as_str(),
                self.refusals[quota as usize].load(Ordering::Relaxed),
            )
        })
    }

    /// Counts the bytes of a frame that are not part of a message. Returns false if there are too many.
    pub(super) fn allows_overhead(&self, host: IpBucket, bytes: usize, now: Tick) -> bool {
        let counted = bytes.saturating_sub(FREE_OVERHEAD);
        if counted == 0 {
            return true;
        }

        // Count at most a burst, so that one frame of any length passes after a pause.
        let counted = u32::try_from(counted).map_or(OVERHEAD_RATE.burst, |counted| {
            counted.min(OVERHEAD_RATE.burst)
        });
        let mut overhead = self.overhead.lock();
        overhead.take(host, counted, now).is_ok()
    }

    /// Counts messages over HTTP against the quota of the rule with `rate`, or else against that of all rooms.
    fn take_post(
        &self,
        host: IpBucket,
        messages: u32,
        rate: Option<RuleRate>,
        now: Tick,
    ) -> Result<(), RateLimited> {
        let Some(RuleRate { rule, .. }) = rate else {
            return self.posts.take(host, messages, now);
        };

        let rate = rate.map_or(Rate::UNLIMITED, Rate::from);
        let mut rules = self.rules.lock();
        let limiters = rules.entry(rule).or_insert_with(|| Limiters::new(rate));
        limiters
            .take(host, messages, now)
            .map_err(|wait| RateLimited {
                quota: Quota::Rule,
                rate,
                wait,
            })
    }

    fn refund_post(&self, host: &IpBucket, messages: u32, rate: Option<RuleRate>) {
        match rate {
            None => self.posts.refund(host, messages),
            Some(RuleRate { rule, .. }) => {
                if let Some(limiters) = self.rules.lock().get_mut(&rule) {
                    limiters.refund(host, messages);
                }
            }
        }
    }

    pub(super) fn count_refusal(&self, error: &RateLimited) {
        self.refusals[error.quota as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts messages against the quotas of `host` and of each sender: all of them, or none. The quota of `host` counts only
    /// if `limits` have limits by address.
    pub(super) fn take(
        &self,
        host: IpBucket,
        senders: &[(RateLimitKey, u32)],
        limits: MessageLimits,
        now: Tick,
    ) -> Result<(), RateLimited> {
        let total = if limits.has_address_limits() {
            senders.iter().map(|(_, messages)| messages).sum()
        } else {
            0
        };
        if total > 0 {
            self.hosts.take(host, total, now)?;
        }

        for (index, (sender, messages)) in senders.iter().enumerate() {
            self.take_id(sender.clone(), *messages, limits, now)
                .inspect_err(|_| {
                    for (sender, messages) in &senders[..index] {
                        self.ids.refund(sender, *messages);
                    }
                    self.hosts.refund(&host, total);
                })?;
        }
        Ok(())
    }

    /// Counts messages against the quota of their sender, whose rate `limits` may replace.
    fn take_id(
        &self,
        sender: RateLimitKey,
        messages: u32,
        limits: MessageLimits,
        now: Tick,
    ) -> Result<(), RateLimited> {
        let quota = match limits {
            MessageLimits::Token(_) => Quota::Token,
            _ => Quota::Id,
        };
        let rate = limits.id_rate(self.ids.rate);
        self.ids.take_at(sender, rate, quota, messages, now)
    }
}

/// One quota for each of many keys.
#[derive(Debug)]
struct SharedLimiters<K> {
    quota: Quota,
    rate: Rate,
    limiters: Mutex<Limiters<K>>,
}

impl<K: Eq + Hash> SharedLimiters<K> {
    fn new(quota: Quota, rate: Rate) -> Self {
        Self {
            quota,
            rate,
            limiters: Mutex::new(Limiters::new(rate)),
        }
    }

    fn take(&self, key: K, messages: u32, now: Tick) -> Result<(), RateLimited> {
        self.take_at(key, self.rate, self.quota, messages, now)
    }

    /// Takes the tokens of `messages` from the bucket of `key`, which has its own `rate`. It is `quota` in the error.
    fn take_at(
        &self,
        key: K,
        rate: Rate,
        quota: Quota,
        messages: u32,
        now: Tick,
    ) -> Result<(), RateLimited> {
        if rate.per_second == 0 {
            return Ok(());
        }

        self.limiters
            .lock()
            .take_at(key, rate, messages, now)
            .map_err(|wait| RateLimited { quota, rate, wait })
    }

    fn refund(&self, key: &K, messages: u32) {
        if messages > 0 {
            self.limiters.lock().refund(key, messages);
        }
    }
}

#[cfg(test)]
mod tests;
