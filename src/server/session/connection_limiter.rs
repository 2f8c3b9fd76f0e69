//! The rate limit of one connection.

use std::sync::Arc;
use std::time::Duration;

use crate::server::room::Tick;
use crate::server::room_rules::RuleRate;
use crate::server::session::{
    IpBucket, Limiter, MessageLimits, Quota, Quotas, Rate, RateLimitKey, RateLimited,
};

/// The rate limit of one connection: its own, and the quotas of its id and its address.
#[derive(Debug)]
pub struct ConnectionLimiter {
    limiter: RatedLimiter,
    /// The limits of the rules that set a rate for rooms to which the connection has sent, by the number of the rule.
    rules: Vec<(usize, RatedLimiter)>,
    /// The limit of the token, after the first message with a rate of its own.
    token: Option<RatedLimiter>,
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
            token: None,
            quotas,
            sender,
            host,
        }
    }

    /// Credits the time since `since` and the pause `paused` of the process, in which nothing was read. Messages that
    /// arrive now may have been sent in that time.
    pub fn credit_pause(&mut self, since: Tick, paused: Duration, now: Tick) {
        self.limiter.credit_pause(since, paused, now);
        let rules = self.rules.iter_mut().map(|(_, limiter)| limiter);
        for limiter in rules.chain(&mut self.token) {
            limiter.credit_pause(since, paused, now);
        }
    }

    /// Counts a message with `limits`.
    ///
    /// # Errors
    /// The first exceeded quota.
    pub fn take(&mut self, limits: MessageLimits, now: Tick) -> Result<(), RateLimited> {
        let quotas = self.quotas.clone();
        let sender = [(self.sender.clone(), 1)];
        let host = self.host;
        let (limiter, quota) = match limits {
            MessageLimits::Settings => (&mut self.limiter, Quota::Connection),
            MessageLimits::Rule(rate) => (self.rule_limiter(rate, now), Quota::Rule),
            MessageLimits::Token(_) => {
                let rate = limits.connection_rate(self.limiter.rate);
                (self.token_limiter(rate, now), Quota::Token)
            }
            MessageLimits::Lifted => return Ok(()),
        };

        limiter
            .take(quota, now)
            .and_then(|()| {
                quotas
                    .take(host, &sender, limits, now)
                    .inspect_err(|_| limiter.refund())
            })
            .inspect_err(|error| quotas.count_refusal(error))
    }

    /// Returns the limiter of the token, which allows `rate`. A renewed token may have another rate.
    fn token_limiter(&mut self, rate: Rate, now: Tick) -> &mut RatedLimiter {
        let limiter = self
            .token
            .get_or_insert_with(|| RatedLimiter::new(rate, now));
        limiter.rate = rate;
        limiter
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
