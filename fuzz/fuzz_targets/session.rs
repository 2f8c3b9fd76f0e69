//! Any conversation, in either dialect, at any pace: the session decides, and never panics or lets too much pass.
#![no_main]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use floors::protocol::UserId;
use floors::server::room::{Dialect, Tick};
use floors::server::session::{ClientAccess, Action, IpBucket, RateLimit, QuotaRates, Quotas, Rate, Session, RateLimitKey};
use floors::server::wire::Incoming;
use libfuzzer_sys::fuzz_target;

const RATE: Rate = Rate { per_second: 10, burst: 20 };

fuzz_target!(|conversation: (bool, Vec<(u8, u8, String)>)| {
    let (is_typed, messages) = conversation;
    let dialect = if is_typed { Dialect::Typed } else { Dialect::Plain };
    let (id, now) = (UserId::guest(0), Tick::default());
    let host = IpBucket::of(IpAddr::from([192, 0, 2, 1]));
    let quotas = Arc::new(Quotas::new(QuotaRates::UNLIMITED));
    let pace = RateLimit::new(RATE, quotas, RateLimitKey::claimed(id.clone(), host), host, now);
    let mut session = Session::new(dialect, id, pace, 100, now);
    let (mut millis, mut published) = (0, 0);
    for (kind, pause, text) in &messages {
        millis += u64::from(*pause);
        let incoming = match kind % 5 {
            0 | 1 => Incoming::Text(text),
            2 => Incoming::Binary(text.as_bytes()),
            3 => Incoming::Ping(text.as_bytes()),
            _ => Incoming::Pong,
        };
        if let Action::Publish(_) = session.handle(incoming, ClientAccess::Write, Tick::after_start(Duration::from_millis(millis))) {
            published += 1;
        }
    }
    assert!(published <= 20 + millis * 10 / 1000 + 1, "{published} in {millis} ms");
});
