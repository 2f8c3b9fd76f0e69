//! Settings of how much and how fast: connections, rooms, messages, times.

use std::time::Duration;

use crate::server::config::reading::ConfigReader;
use crate::server::config::value;
use crate::server::hub::HubSettings;
use crate::server::room::LogLimits;
use crate::server::session::{HeartbeatSettings, QuotaRates, Rate};
use crate::server::transport::ConnectionSettings;

/// Frames that a room keeps in memory for readers that fall behind.
const RING_MESSAGES: usize = 4096;
/// Bytes of them; at least four of the largest messages, or a reader could not be one behind.
const RING_BYTES: usize = 4 * 1024 * 1024;
/// The sweep looks this often in a heartbeat, so that pings and expiry are late by little.
const SWEEPS_A_HEARTBEAT: u32 = 8;
/// No use looking more often, and no less often however long the heartbeat is.
const SWEEP_BOUNDS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// What the floors are held to.
pub(super) struct Limits {
    pub(super) hub: HubSettings,
    pub(super) connection: ConnectionSettings,
    pub(super) header_timeout: Duration,
    pub(super) connect_rate: Rate,
    pub(super) quotas: QuotaRates,
}

pub(super) fn read(reading: &mut ConfigReader<'_>) -> Option<Limits> {
    let header_timeout = reading.value("header-timeout", value::duration);
    let heartbeat = heartbeat(reading);
    let max_message = reading.value("max-message", value::size);
    let send_buffer = reading.value("send-buffer", value::size);
    let compression = reading.value("compression", value::on_or_off);
    let max_connections = reading.value("max-connections", value::count);
    let max_connections_per_ip = reading.value("max-connections-per-ip", value::count);
    let max_rooms = reading.value("max-rooms", value::count);
    let max_room_members = reading.value("max-room-members", value::count);
    let memory_budget = reading.value("memory-budget", value::memory);
    let connect_rate = rate(reading, "connect-rate", "connect-burst");
    let quotas = quotas(reading);
    let message_rate = rate(reading, "message-rate", "message-burst");

    let (max_message, heartbeat, message_rate) = (max_message?, heartbeat?, message_rate?);
    let (shortest, longest) = SWEEP_BOUNDS;
    Some(Limits {
        hub: HubSettings {
            max_connections: max_connections?,
            max_connections_per_ip: max_connections_per_ip?,
            max_rooms: max_rooms?,
            max_room_members: max_room_members?,
            memory_budget: memory_budget?,
            log: LogLimits {
                messages: RING_MESSAGES,
                bytes: RING_BYTES.max(max_message.saturating_mul(4)),
            },
            sweep_every: (heartbeat.ping_after / SWEEPS_A_HEARTBEAT).clamp(shortest, longest),
        },
        connection: ConnectionSettings {
            max_message,
            send_buffer: send_buffer?,
            heartbeat,
            rate: message_rate,
            compression: compression?,
        },
        header_timeout: header_timeout?,
        connect_rate: connect_rate?,
        quotas: match message_rate.per_second {
            0 => QuotaRates::UNLIMITED,
            _ => quotas?,
        },
    })
}

fn heartbeat(reading: &mut ConfigReader<'_>) -> Option<HeartbeatSettings> {
    let ping_after = reading.value("heartbeat", value::duration);
    let expire_after = reading.value("expire", value::duration);
    let (ping_after, expire_after) = (ping_after?, expire_after?);
    if ping_after >= expire_after {
        reading.reject(
            "expire",
            "more than --heartbeat, or nobody could answer a ping in time",
        );
    }
    Some(HeartbeatSettings {
        ping_after,
        expire_after,
    })
}

fn quotas(reading: &mut ConfigReader<'_>) -> Option<QuotaRates> {
    let id = rate(reading, "id-rate", "id-burst");
    let address = rate(reading, "address-rate", "address-burst");
    let http = rate(reading, "publish-rate", "publish-burst");
    let rooms = reading.value("room-rate", value::daily_rate);
    Some(QuotaRates {
        id: id?,
        address: address?,
        http: http?,
        rooms: rooms.map(|per_day| Rate {
            per_second: per_day,
            burst: per_day.max(1),
        })?,
    })
}

fn rate(reading: &mut ConfigReader<'_>, per_second: &str, burst: &str) -> Option<Rate> {
    let per_second = reading.value(per_second, value::rate);
    let burst = reading.value(burst, value::burst);
    Some(Rate {
        per_second: per_second?,
        burst: burst?,
    })
}
