//! Any messages in either dialect at any times: the session never panics and never exceeds the rate limit.
#![no_main]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use floors::protocol::{RoomName, UserId};
use floors::server::room::{Dialect, Tick};
use floors::server::room_rules::RoomRules;
use floors::server::session::{
    ClientAccess, ConnectionLimiter, IpBucket, MessageLimits, QuotaRates, Quotas, Rate,
    RateLimitKey, Session, SessionAction,
};
use floors::server::wire::Incoming;
use libfuzzer_sys::fuzz_target;

/// The rights of a client that may do everything in one room.
struct Everything {
    room: RoomName,
    rules: RoomRules,
}

impl ClientAccess for Everything {
    fn is_expired(&self) -> bool {
        false
    }

    fn may_read(&self, _: &RoomName) -> bool {
        true
    }

    fn may_write(&self, _: &RoomName) -> bool {
        true
    }

    fn only_room(&self) -> Option<&RoomName> {
        Some(&self.room)
    }

    fn own_limits(&self, _: Option<&RoomName>) -> Option<MessageLimits> {
        None
    }

    fn rules(&self, _: &RoomName) -> &RoomRules {
        &self.rules
    }
}

const RATE: Rate = Rate {
    per_second: 10,
    burst: 20,
};

fuzz_target!(|input: (bool, Vec<(u8, u8, String)>)| {
    let (is_typed, messages) = input;
    let dialect = if is_typed {
        Dialect::Typed
    } else {
        Dialect::Plain
    };
    let id = UserId::guest(0);
    let host = IpBucket::of(IpAddr::from([192, 0, 2, 1]));
    let quotas = Arc::new(Quotas::new(QuotaRates::UNLIMITED));
    let sender = RateLimitKey::claimed(id.clone(), host);
    let rate_limit = ConnectionLimiter::new(RATE, quotas, sender, host, Tick::default());
    let mut session = Session::new(dialect, id, rate_limit, Tick::default());

    let access = Everything {
        room: RoomName::lobby(),
        rules: RoomRules {
            max_message: 100,
            ..RoomRules::default()
        },
    };
    let mut millis = 0;
    let mut published = 0;
    for (kind, pause, text) in &messages {
        millis += u64::from(*pause);
        let now = Tick::after_start(Duration::from_millis(millis));
        let incoming = match kind % 5 {
            0 | 1 => Incoming::Text(text),
            2 => Incoming::Binary(text.as_bytes()),
            3 => Incoming::Ping(text.as_bytes()),
            _ => Incoming::Pong,
        };
        if let SessionAction::Publish(..) = session.handle(incoming, &access, now) {
            published += 1;
        }
    }

    assert!(
        published <= 20 + millis * 10 / 1000 + 1,
        "{published} in {millis} ms"
    );
});
