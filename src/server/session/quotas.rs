//! How fast people may speak, whatever they speak by: several connections of one id share what one id may say,
//! those of one address what one address may, and HTTP, which has no connection to be held to, has a rate of its
//! own by address.
//!
//! # Invariants
//!
//! - A refusal costs nothing: what was taken for a message that is then refused is given back.
//! - An id that nobody proved is only as good as the address that it comes from. Or a stranger could speak in
//!   somebody's name until nothing is left for the one who bears it.
//! - Locks are short, and there are none where there is no limit.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::protocol::UserId;
use crate::server::room::Tick;
use crate::server::session::{IpBucket, Limiter, Limiters, Rate};

/// Bytes that frames may have beyond the messages that they carry, from one address. Honest clients send next to
/// none of them.
const OVERHEAD_RATE: Rate = Rate {
    per_second: 4 * 1024 * 1024,
    burst: 16 * 1024 * 1024,
};
/// Bytes of a frame that are never counted as overhead, so that the small frames of others at the same address
/// pass while one client has used up what that may send.
const FREE_OVERHEAD: usize = 1024;

/// Seconds in a day, the unit of the rate for new rooms.
const SECONDS_A_DAY: u32 = 24 * 60 * 60;

/// What can be used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// What one connection may say.
    Connection,
    /// What one id may say by all its connections and over HTTP.
    Id,
    /// What one address may say by all its connections and over HTTP.
    Address,
    /// What one address may say over HTTP.
    Http,
    /// The rooms that one address may create.
    Rooms,
}

impl Quota {
    const ALL: [Self; 5] = [
        Self::Connection,
        Self::Id,
        Self::Address,
        Self::Http,
        Self::Rooms,
    ];

    /// Its name in a counter.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Id => "id",
            Self::Address => "address",
            Self::Http => "http",
            Self::Rooms => "rooms",
        }
    }

    /// Returns whose it is, its unit, and its setting.
    const fn names(self) -> (&'static str, &'static str, &'static str) {
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
        }
    }
}

/// That a quota is used up.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "too fast; {} {} {}, {} at once ({})",
    quota.names().0, rate.per_second, quota.names().1, rate.burst, quota.names().2
)]
pub struct RateLimited {
    /// Which.
    pub quota: Quota,
    /// What is allowed, of rooms by the day.
    pub rate: Rate,
    /// How long to wait. More than the burst will never pass at once.
    pub wait: Duration,
}

/// How fast everybody may speak.
#[derive(Clone, Copy, Debug)]
pub struct QuotaRates {
    /// Each id.
    pub id: Rate,
    /// Each address.
    pub address: Rate,
    /// Each address over HTTP.
    pub http: Rate,
    /// The new rooms of each address, by the day.
    pub rooms: Rate,
}

impl QuotaRates {
    /// No limit.
    pub const UNLIMITED: Self = Self {
        id: Rate::UNLIMITED,
        address: Rate::UNLIMITED,
        http: Rate::UNLIMITED,
        rooms: Rate::UNLIMITED,
    };
}

/// Who speaks, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RateLimitKey {
    id: UserId,
    /// Where it speaks from, if that is all that vouches for the id.
    host: Option<IpBucket>,
}

impl RateLimitKey {
    /// Whoever is proven to be `id`.
    pub const fn proven(id: UserId) -> Self {
        Self { id, host: None }
    }

    /// Whoever at `host` says that it is `id`.
    pub const fn claimed(id: UserId, host: IpBucket) -> Self {
        Self {
            id,
            host: Some(host),
        }
    }
}

/// What is left of all quotas that connections share. See the [module docs](self).
#[derive(Debug)]
pub struct Quotas {
    ids: SharedLimiters<RateLimitKey>,
    hosts: SharedLimiters<IpBucket>,
    posts: SharedLimiters<IpBucket>,
    rooms: SharedLimiters<IpBucket>,
    /// Limited by [`OVERHEAD_RATE`].
    overhead: Mutex<Limiters<IpBucket>>,
    /// How often each quota refused something.
    refusals: [AtomicU64; Quota::ALL.len()],
}

impl Quotas {
    /// Nothing is used up.
    pub fn new(rates: QuotaRates) -> Self {
        Self {
            ids: SharedLimiters::new(Quota::Id, rates.id),
            hosts: SharedLimiters::new(Quota::Address, rates.address),
            posts: SharedLimiters::new(Quota::Http, rates.http),
            rooms: SharedLimiters::new(Quota::Rooms, rates.rooms),
            overhead: Mutex::new(Limiters::new(OVERHEAD_RATE)),
            refusals: Default::default(),
        }
    }

    /// Most messages that can ever pass at once over HTTP; `None` for any number.
    pub fn most_at_once(&self) -> Option<u32> {
        let rates = [self.ids.rate, self.hosts.rate, self.posts.rate];
        rates
            .iter()
            .filter(|rate| rate.per_second > 0)
            .map(|rate| rate.burst)
            .min()
    }

    /// Checks whether `host` may publish a message over HTTP now, without counting one.
    ///
    /// # Errors
    /// The quota that is used up.
    pub fn check_post(&self, host: IpBucket, now: Tick) -> Result<(), RateLimited> {
        let is_free = self
            .posts
            .take(host, 1, now)
            .inspect(|()| self.posts.give_back(&host, 1));
        is_free.inspect_err(|too_fast| self.refused(too_fast))
    }

    /// Counts messages that came over HTTP from `host`, so many of each speaker: all of them, or none.
    ///
    /// # Errors
    /// The first quota that is used up.
    pub fn post(
        &self,
        host: IpBucket,
        speakers: &[(RateLimitKey, u32)],
        now: Tick,
    ) -> Result<(), RateLimited> {
        let messages = speakers.iter().map(|(_, messages)| messages).sum();
        let posted = self.posts.take(host, messages, now).and_then(|()| {
            self.take(host, speakers, now)
                .inspect_err(|_| self.posts.give_back(&host, messages))
        });
        posted.inspect_err(|too_fast| self.refused(too_fast))
    }

    /// Counts a room that a client at `host` creates.
    ///
    /// # Errors
    /// If the address has created too many.
    pub fn create_room(&self, host: IpBucket, now: Tick) -> Result<(), RateLimited> {
        // Buckets are filled by the second, this one by the day.
        let day = Tick::after_start(now.since(Tick::default()) / SECONDS_A_DAY);

        let created = self
            .rooms
            .take(host, 1, day)
            .map_err(|too_fast| RateLimited {
                wait: too_fast.wait * SECONDS_A_DAY,
                ..too_fast
            });
        created.inspect_err(|too_fast| self.refused(too_fast))
    }

    /// How often each quota refused something so far.
    pub fn refusals(&self) -> [(&'static str, u64); Quota::ALL.len()] {
        Quota::ALL.map(|quota| {
            (
                quota.as_str(),
                self.refusals[quota as usize].load(Ordering::Relaxed),
            )
        })
    }

    /// Counts bytes of a frame that carry no message; `false` means that there were too many.
    fn allows_overhead(&self, host: IpBucket, bytes: usize, now: Tick) -> bool {
        let counted = bytes.saturating_sub(FREE_OVERHEAD);
        if counted == 0 {
            return true;
        }
        // One frame passes after a pause, however long frames may be.
        let counted = u32::try_from(counted).map_or(OVERHEAD_RATE.burst, |counted| {
            counted.min(OVERHEAD_RATE.burst)
        });
        let mut overhead = self.overhead.lock();
        overhead.take(host, counted, now).is_ok()
    }

    fn refused(&self, too_fast: &RateLimited) {
        self.refusals[too_fast.quota as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn take(
        &self,
        host: IpBucket,
        speakers: &[(RateLimitKey, u32)],
        now: Tick,
    ) -> Result<(), RateLimited> {
        let messages = speakers.iter().map(|(_, messages)| messages).sum();
        self.hosts.take(host, messages, now)?;
        for (at, (speaker, messages_of_it)) in speakers.iter().enumerate() {
            self.ids
                .take(speaker.clone(), *messages_of_it, now)
                .inspect_err(|_| {
                    speakers[..at]
                        .iter()
                        .for_each(|(speaker, taken)| self.ids.give_back(speaker, *taken));
                    self.hosts.give_back(&host, messages);
                })?;
        }
        Ok(())
    }
}

/// A quota that each of many has.
#[derive(Debug)]
struct SharedLimiters<K> {
    quota: Quota,
    rate: Rate,
    left: Mutex<Limiters<K>>,
}

impl<K: Eq + Hash> SharedLimiters<K> {
    fn new(quota: Quota, rate: Rate) -> Self {
        Self {
            quota,
            rate,
            left: Mutex::new(Limiters::new(rate)),
        }
    }

    fn take(&self, who: K, messages: u32, now: Tick) -> Result<(), RateLimited> {
        if self.rate.per_second == 0 {
            return Ok(());
        }
        let (quota, rate) = (self.quota, self.rate);
        self.left
            .lock()
            .take(who, messages, now)
            .map_err(|wait| RateLimited { quota, rate, wait })
    }

    fn give_back(&self, who: &K, messages: u32) {
        if self.rate.per_second > 0 {
            self.left.lock().give_back(who, messages);
        }
    }
}

/// How fast one connection may speak: by itself, and with all that share its id or its address.
#[derive(Debug)]
pub struct RateLimit {
    rate: Rate,
    limiter: Limiter,
    quotas: Arc<Quotas>,
    speaker: RateLimitKey,
    host: IpBucket,
}

impl RateLimit {
    /// That of a connection from `host`, opened `now`: `rate` by itself.
    pub const fn new(
        rate: Rate,
        quotas: Arc<Quotas>,
        speaker: RateLimitKey,
        host: IpBucket,
        now: Tick,
    ) -> Self {
        Self {
            rate,
            limiter: Limiter::new(rate, now),
            quotas,
            speaker,
            host,
        }
    }

    /// Makes up for the time since `since`, and the pause `paused` of the process, in which nothing was read: what
    /// arrives now may have been sent meanwhile.
    pub fn credit_pause(&mut self, since: Tick, paused: Duration, now: Tick) {
        self.limiter.credit_pause(since, paused, self.rate, now);
    }

    /// Counts a message.
    ///
    /// # Errors
    /// The first quota that is used up.
    pub fn take(&mut self, now: Tick) -> Result<(), RateLimited> {
        let (quota, rate) = (Quota::Connection, self.rate);
        let own = self
            .limiter
            .take(1, rate, now)
            .map_err(|wait| RateLimited { quota, rate, wait });
        let said = own.and_then(|()| {
            let said = self
                .quotas
                .take(self.host, &[(self.speaker.clone(), 1)], now);
            said.inspect_err(|_| self.limiter.give_back(1, rate))
        });
        said.inspect_err(|too_fast| self.quotas.refused(too_fast))
    }

    /// Counts a room that the connection creates.
    ///
    /// # Errors
    /// If its address has created too many.
    pub fn create_room(&self, now: Tick) -> Result<(), RateLimited> {
        self.quotas.create_room(self.host, now)
    }

    /// Counts bytes of a frame that carry no message; `false` means that the address has sent too many.
    pub fn allows_overhead(&mut self, bytes: usize, now: Tick) -> bool {
        self.quotas.allows_overhead(self.host, bytes, now)
    }
}

#[cfg(test)]
mod tests;
