//! Settings of where messages are kept, how safely, and how many.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::server::config::reading::ConfigReader;
use crate::server::config::value;
use crate::server::room::DedupLimits;
use crate::server::store::{
    Durability, NatsLogin, NatsServers, NatsSettings, Retention, SqliteSettings, StoreSettings,
};

/// How long a key makes a send repeatable.
const KEY_LIMITS: DedupLimits = DedupLimits {
    messages: 10_000,
    age: Duration::from_secs(600),
};

/// Reads where messages are kept: in the folder `data`, none longer than `max_message` bytes, in at most `max_rooms`
/// rooms.
pub(super) fn read(
    reading: &mut ConfigReader<'_>,
    data: Option<&Path>,
    max_message: Option<usize>,
    max_rooms: Option<usize>,
) -> Option<StoreSettings> {
    let retention = retention(reading);
    let store = reading.value("store", store_kind);
    let durability = reading.value("durability", durability);
    let quick_check = reading.value("quick-check", value::yes_or_no);
    let login = login(reading);
    let ca = reading.optional("nats-ca", value::file);
    let stream = reading.value("nats-stream", stream_name);
    let replicas = reading.value("nats-replicas", replicas);

    let retention = retention?;
    Some(match store? {
        StoreKind::Memory => StoreSettings::Memory(retention),
        StoreKind::Sqlite(file) => StoreSettings::Sqlite(SqliteSettings {
            path: database(reading, &data?.join(file))?,
            durability: durability?,
            retention,
            max_rooms: max_rooms?,
            quick_check: quick_check?,
        }),
        StoreKind::Nats(servers) => StoreSettings::Nats(NatsSettings {
            servers,
            login: login?,
            ca: ca?,
            stream: stream?,
            replicas: replicas?,
            max_message: max_message?,
            retention,
        }),
    })
}

/// Returns `path`, unless there is something else than a file.
fn database(reading: &mut ConfigReader<'_>, path: &Path) -> Option<PathBuf> {
    if path.exists() && !path.is_file() {
        let path = path.display();
        reading.reject(
            "store",
            &format!("the name of a file, and {path} is not one"),
        );
        return None;
    }
    Some(path.to_owned())
}

fn login(reading: &mut ConfigReader<'_>) -> Option<NatsLogin> {
    let credentials = reading.optional("nats-creds", value::file);
    let nkey = reading.optional("nats-nkey", value::file);
    match (credentials?, nkey?) {
        (None, None) => Some(NatsLogin::Address),
        (Some(file), None) => Some(NatsLogin::Credentials(file)),
        (None, Some(file)) => Some(NatsLogin::Nkey(file)),
        (Some(_), Some(_)) => {
            reading.reject("nats-nkey", "one of --nats-creds and --nats-nkey, not both");
            None
        }
    }
}

fn retention(reading: &mut ConfigReader<'_>) -> Option<Retention> {
    let messages = reading.value("history-messages", value::count);
    let bytes = reading.value("history-bytes", value::size);
    let age = reading.value("history-age", value::duration);
    Some(Retention {
        messages: messages?,
        bytes: bytes?,
        age: age?,
        keys: KEY_LIMITS,
    })
}

/// What `--store` names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum StoreKind {
    Memory,
    /// A file, in the data folder unless its path is absolute.
    Sqlite(PathBuf),
    /// Servers of a NATS.
    Nats(NatsServers),
}

fn store_kind(text: &str) -> Result<StoreKind, &'static str> {
    if let Ok(servers) = NatsServers::parse(text) {
        return Ok(StoreKind::Nats(servers));
    }
    match text.strip_prefix("sqlite:") {
        Some(path) if !path.trim().is_empty() && !path.ends_with('/') => {
            Ok(StoreKind::Sqlite(path.into()))
        }
        None if text == "memory" => Ok(StoreKind::Memory),
        _ => Err("'memory', 'sqlite:FILE', like sqlite:fanfare.db, or 'nats://HOST:PORT'"),
    }
}

fn durability(text: &str) -> Result<Durability, &'static str> {
    match text {
        "process" => Ok(Durability::Process),
        "disk" => Ok(Durability::Disk),
        _ => Err("'process' or 'disk'"),
    }
}

/// The name of a stream, which is also the first token of its subjects.
fn stream_name(text: &str) -> Result<String, &'static str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if (1..=64).contains(&text.len()) && text.chars().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err("1 to 64 of a-z A-Z 0-9 - _")
    }
}

fn replicas(text: &str) -> Result<usize, &'static str> {
    text.parse()
        .ok()
        .filter(|replicas| matches!(replicas, 1 | 3 | 5))
        .ok_or("1, 3 or 5")
}
