//! The limits: connections, rooms, members, messages, rates and times.

use std::sync::Arc;
use std::time::Duration;

use crate::server::config::reader::ConfigReader;
use crate::server::config::{rooms, value};
use crate::server::hub::HubSettings;
use crate::server::room::LogLimits;
use crate::server::room_rules::RoomRules;
use crate::server::session::{HeartbeatSettings, QuotaRates, Rate};
use crate::server::transport::ConnectionSettings;

/// Number of frames of a room in memory, for readers that fall behind.
const RING_MESSAGES: usize = 4096;
/// Minimum of their total size in bytes. The ring has room for at least four messages of the maximum size.
const RING_BYTES: usize = 4 * 1024 * 1024;
/// Number of sweeps per heartbeat interval. Pings and expiry are late by at most the interval of sweeps.
const SWEEPS_PER_HEARTBEAT: u32 = 8;
/// Minimum and maximum interval of sweeps.
const SWEEP_INTERVAL: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The limits, grouped by the floor that applies them.
pub(super) struct Limits {
    pub(super) hub: HubSettings,
    pub(super) connection: ConnectionSettings,
    pub(super) header_timeout: Duration,
    pub(super) connect_rate: Rate,
    pub(super) quotas: QuotaRates,
}

/// Reads all limits.
pub(super) fn read(reader: &mut ConfigReader<'_>) -> Limits {
    let default = RoomRules {
        max_message: reader.value("max-message", value::size),
        is_public: reader.value("anonymous", value::anonymous),
        ..RoomRules::default()
    };
    let rules = rooms::read(reader, default);
    let connection = ConnectionSettings {
        max_message: rules.max_message(),
        send_buffer: reader.value("send-buffer", value::size),
        heartbeat: heartbeat(reader),
        rate: rate(reader, "message-rate", "message-burst"),
        max_subscriptions: reader.value("max-subscriptions", value::count),
        compression: reader.value("compression", value::on_or_off),
    };
    let quotas = quotas(reader);

    let (min_sweep, max_sweep) = SWEEP_INTERVAL;
    let sweep_every = connection.heartbeat.ping_after / SWEEPS_PER_HEARTBEAT;
    Limits {
        hub: HubSettings {
            max_connections: reader.value("max-connections", value::count),
            max_connections_per_ip: reader.value("max-connections-per-ip", value::count),
            max_rooms: reader.value("max-rooms", value::count),
            max_room_members: reader.value("max-room-members", value::count),
            memory_budget: reader.value("memory-budget", value::memory),
            log: LogLimits {
                messages: RING_MESSAGES,
                bytes: RING_BYTES.max(connection.max_message.saturating_mul(4)),
            },
            sweep_every: sweep_every.clamp(min_sweep, max_sweep),
            rules: Arc::new(rules),
        },
        header_timeout: reader.value("header-timeout", value::duration),
        connect_rate: rate(reader, "connect-rate", "connect-burst"),
        // Without a limit per connection, there is none per id or address either.
        quotas: match connection.rate.per_second {
            0 => QuotaRates::UNLIMITED,
            _ => quotas,
        },
        connection,
    }
}

/// Reads the heartbeat, whose expiry must be longer than the time before a ping.
fn heartbeat(reader: &mut ConfigReader<'_>) -> HeartbeatSettings {
    let ping_after = reader.value("heartbeat", value::duration);
    let expire_after = reader.value("expire", value::duration);
    if ping_after >= expire_after {
        reader.reject(
            "expire",
            "more than --heartbeat, so that clients can answer a ping in time",
        );
    }

    HeartbeatSettings {
        ping_after,
        expire_after,
    }
}

/// Reads the rates that connections share.
fn quotas(reader: &mut ConfigReader<'_>) -> QuotaRates {
    let rooms_per_day = reader.value("room-rate", value::daily_rate);
    QuotaRates {
        id: rate(reader, "id-rate", "id-burst"),
        address: rate(reader, "address-rate", "address-burst"),
        http: rate(reader, "publish-rate", "publish-burst"),
        rooms: Rate {
            per_second: rooms_per_day,
            burst: rooms_per_day.max(1),
        },
    }
}

/// Reads a rate from two settings.
fn rate(reader: &mut ConfigReader<'_>, per_second: &str, burst: &str) -> Rate {
    Rate {
        per_second: reader.value(per_second, value::rate),
        burst: reader.value(burst, value::burst),
    }
}
