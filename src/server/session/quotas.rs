//! The limits on publishing: per connection, per user id, per address, per address over HTTP, and on new rooms.
//!
//! All connections of one id share the quota of the id, and all connections of one address that of the address.
//! HTTP requests belong to no connection, so they have a quota per address instead. A rule for rooms may replace the
//! limit of a connection, and the quota over HTTP, for messages to its rooms.
//!
//! # Invariants
//!
//! - A refused message takes no tokens: those that were taken before the refusal are refunded.
//! - The quota of an id that is not authenticated belongs to the id at one address. Otherwise a stranger could use
//!   up the quota of another client's id.
//! - Locks are held briefly, and a quota without a limit takes none.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::protocol::UserId;
use crate::server::room::Tick;
use crate::server::room_rules::RuleRate;
use crate::server::session::{IpBucket, Limiter, Limiters, Rate};

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

/// A limit on the number of messages or of new rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// Messages of one connection.
    Connection,
    /// Messages of one id on all its connections and over HTTP.
    Id,
    /// Messages of one address on all its connections and over HTTP.
    Address,
    /// Messages of one address over HTTP.
    Http,
    /// Rooms that one address creates.
    Rooms,
    /// Messages of one connection, or of one address over HTTP, to the rooms of a rule.
    Rule,
}

impl Quota {
    const ALL: [Self; 6] = [
        Self::Connection,
        Self::Id,
        Self::Address,
        Self::Http,
        Self::Rooms,
        Self::Rule,
    ];

    /// Returns the label in metrics.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Id => "id",
            Self::Address => "address",
            Self::Http => "http",
            Self::Rooms => "rooms",
            Self::Rule => "rule",
        }
    }

    /// Returns the subject, the unit and the setting in an error message.
    const fn description(self) -> (&'static str, &'static str, &'static str) {
        const MESSAGES: &str = "messages a second";

        match self {
            Self::Connection => ("one connection may send", MESSAGES, "--message-rate"),
            Self::Id => ("one id may send", MESSAGES, "--id-rate"),
            Self::Address => ("one address may send", MESSAGES, "--address-rate"),
            Self::Http => (
                "over HTTP one address may publish",
                MESSAGES,
                "--publish-rate",
            ),
            Self::Rooms => (
                "one address may create",
                "rooms a day",
                "--room-rate; an admin token has no limit",
            ),
            Self::Rule => (
                "in this room one connection may send",
                MESSAGES,
                "message-rate of the room's rule",
            ),
        }
    }
}

/// The error of a message or a new room that exceeds a quota.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "too fast; {} {} {}, {} at once ({})",
    quota.description().0, rate.per_second, quota.description().1, rate.burst, quota.description().2
)]
pub struct RateLimited {
    /// Exceeded quota.
    pub quota: Quota,
    /// Allowed rate; of rooms, per day.
    pub rate: Rate,
    /// Time until the same number of messages or rooms passes. More than the burst never pass at once.
    pub wait: Duration,
}

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

    /// Returns the maximum number of messages in one HTTP request to a room for which a rule sets `rate`; `None` if there
    /// is no limit.
    pub fn max_batch(&self, rate: Option<RuleRate>) -> Option<u32> {
        let posts = rate.map_or(self.posts.rate, Rate::from);
        let rates = [self.ids.rate, self.hosts.rate, posts];
        rates
            .iter()
            .filter(|rate| rate.per_second > 0)
            .map(|rate| rate.burst)
            .min()
    }

    /// Checks that `host` may publish a message over HTTP now, without counting one. A rule may set `rate` for the room.
    ///
    /// # Errors
    /// The exceeded quota.
    pub fn check_http(
        &self,
        host: IpBucket,
        rate: Option<RuleRate>,
        now: Tick,
    ) -> Result<(), RateLimited> {
        self.take_post(host, 1, rate, now)
            .inspect(|()| self.refund_post(&host, 1, rate))
            .inspect_err(|error| self.count_refusal(error))
    }

    /// Counts the messages of an HTTP request from `host`, each sender with its number: all of them, or none. A rule may
    /// set `rate` for the room.
    ///
    /// # Errors
    /// The first exceeded quota.
    pub fn take_http(
        &self,
        host: IpBucket,
        senders: &[(RateLimitKey, u32)],
        rate: Option<RuleRate>,
        now: Tick,
    ) -> Result<(), RateLimited> {
        let messages = senders.iter().map(|(_, messages)| messages).sum();

        self.take_post(host, messages, rate, now)
            .and_then(|()| {
                self.take(host, senders, now)
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
    fn allows_overhead(&self, host: IpBucket, bytes: usize, now: Tick) -> bool {
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

    fn count_refusal(&self, error: &RateLimited) {
        self.refusals[error.quota as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts messages against the quotas of `host` and of each sender: all of them, or none.
    fn take(
        &self,
        host: IpBucket,
        senders: &[(RateLimitKey, u32)],
        now: Tick,
    ) -> Result<(), RateLimited> {
        let total = senders.iter().map(|(_, messages)| messages).sum();
        self.hosts.take(host, total, now)?;

        for (index, (sender, messages)) in senders.iter().enumerate() {
            self.ids
                .take(sender.clone(), *messages, now)
                .inspect_err(|_| {
                    for (sender, messages) in &senders[..index] {
                        self.ids.refund(sender, *messages);
                    }
                    self.hosts.refund(&host, total);
                })?;
        }
        Ok(())
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
        if self.rate.per_second == 0 {
            return Ok(());
        }

        self.limiters
            .lock()
            .take(key, messages, now)
            .map_err(|wait| RateLimited {
                quota: self.quota,
                rate: self.rate,
                wait,
            })
    }

    fn refund(&self, key: &K, messages: u32) {
        if self.rate.per_second > 0 {
            self.limiters.lock().refund(key, messages);
        }
    }
}

/// The rate limit of one connection: its own, and the quotas of its id and its address.
#[derive(Debug)]
pub struct ConnectionLimiter {
    limiter: RatedLimiter,
    /// The limits of the rules that set a rate for rooms to which the connection has sent, by the number of the rule.
    rules: Vec<(usize, RatedLimiter)>,
    quotas: Arc<Quotas>,
    sender: RateLimitKey,
    host: IpBucket,
}

/// A limiter with its rate.
#[derive(Clone, Copy, Debug)]
struct RatedLimiter {
    rate: Rate,
    limiter: Limiter,
}

impl RatedLimiter {
    const fn new(rate: Rate, now: Tick) -> Self {
        Self {
            rate,
            limiter: Limiter::new(rate, now),
        }
    }

    fn credit_pause(&mut self, since: Tick, paused: Duration, now: Tick) {
        self.limiter.credit_pause(since, paused, self.rate, now);
    }

    /// Counts a message of `quota`.
    fn take(&mut self, quota: Quota, now: Tick) -> Result<(), RateLimited> {
        let rate = self.rate;
        self.limiter
            .take(1, rate, now)
            .map_err(|wait| RateLimited { quota, rate, wait })
    }

    fn refund(&mut self) {
        self.limiter.refund(1, self.rate);
    }
}

impl ConnectionLimiter {
    /// Creates the limit of a connection of `sender` from `host`, which was opened at `now` and has the rate `rate`.
    pub const fn new(
        rate: Rate,
        quotas: Arc<Quotas>,
        sender: RateLimitKey,
        host: IpBucket,
        now: Tick,
    ) -> Self {
        Self {
            limiter: RatedLimiter::new(rate, now),
            rules: Vec::new(),
            quotas,
            sender,
            host,
        }
    }

    /// Credits the time since `since` and the pause `paused` of the process, in which nothing was read. Messages that
    /// arrive now may have been sent in that time.
    pub fn credit_pause(&mut self, since: Tick, paused: Duration, now: Tick) {
        self.limiter.credit_pause(since, paused, now);
        for (_, limiter) in &mut self.rules {
            limiter.credit_pause(since, paused, now);
        }
    }

    /// Counts a message. A rule may set `rate` for its room, instead of the rate of the connection.
    ///
    /// # Errors
    /// The first exceeded quota.
    pub fn take(&mut self, rate: Option<RuleRate>, now: Tick) -> Result<(), RateLimited> {
        let quotas = self.quotas.clone();
        let sender = [(self.sender.clone(), 1)];
        let host = self.host;
        let (limiter, quota) = match rate {
            None => (&mut self.limiter, Quota::Connection),
            Some(rate) => (self.rule_limiter(rate, now), Quota::Rule),
        };

        limiter
            .take(quota, now)
            .and_then(|()| {
                quotas
                    .take(host, &sender, now)
                    .inspect_err(|_| limiter.refund())
            })
            .inspect_err(|error| quotas.count_refusal(error))
    }

    /// Returns the limiter of the rule with `rate`.
    fn rule_limiter(&mut self, rate: RuleRate, now: Tick) -> &mut RatedLimiter {
        let known = self.rules.iter().position(|(rule, _)| *rule == rate.rule);
        let index = known.unwrap_or_else(|| {
            let limiter = RatedLimiter::new(rate.into(), now);
            self.rules.push((rate.rule, limiter));
            self.rules.len() - 1
        });
        &mut self.rules[index].1
    }

    /// Counts a room that the connection creates.
    ///
    /// # Errors
    /// [`Quota::Rooms`] if its address has created too many.
    pub fn create_room(&self, now: Tick) -> Result<(), RateLimited> {
        self.quotas.create_room(self.host, now)
    }

    /// Counts the bytes of a frame that are not part of a message. Returns false if the address has sent too many.
    pub fn allows_overhead(&mut self, bytes: usize, now: Tick) -> bool {
        self.quotas.allows_overhead(self.host, bytes, now)
    }
}

#[cfg(test)]
mod tests;
