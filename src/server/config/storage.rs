//! The settings of the store: the kind, the location, the durability, and the retention of messages.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::server::config::limits::Limits;
use crate::server::config::reader::ConfigReader;
use crate::server::config::value;
use crate::server::room::DedupLimits;
use crate::server::store::{
    Durability, MemorySettings, NatsLogin, NatsServers, NatsSettings, Retention, SqliteSettings,
    StoreSettings,
};

/// Limits after which the key of a message expires.
const KEY_LIMITS: DedupLimits = DedupLimits {
    messages: 10_000,
    age: Duration::from_secs(600),
};

/// Reads the settings of the store. `data` is the data folder.
pub(super) fn read(reader: &mut ConfigReader<'_>, data: &Path, limits: &Limits) -> StoreSettings {
    let retention = Retention {
        messages: reader.value("history-messages", value::count),
        bytes: reader.value("history-bytes", value::size),
        age: reader.value("history-age", value::duration),
        keys: KEY_LIMITS,
    };
    let durability = reader.value("durability", durability);
    let quick_check = reader.value("quick-check", value::yes_or_no);
    let login = login(reader);
    let ca = reader.optional("nats-ca", value::file);
    let stream = reader.value("nats-stream", stream_name);
    let replicas = reader.value("nats-replicas", replicas);

    match reader.value("store", store_kind) {
        StoreKind::Memory => StoreSettings::Memory(MemorySettings {
            retention,
            rules: limits.hub.rules.clone(),
            max_rooms: limits.hub.max_rooms,
        }),
        StoreKind::Sqlite(file) => StoreSettings::Sqlite(SqliteSettings {
            path: database(reader, data.join(file)),
            durability,
            retention,
            rules: limits.hub.rules.clone(),
            max_rooms: limits.hub.max_rooms,
            quick_check,
        }),
        StoreKind::Nats(servers) => StoreSettings::Nats(NatsSettings {
            servers,
            login,
            ca,
            stream,
            replicas,
            max_message: limits.connection.max_message,
            retention,
            rules: limits.hub.rules.clone(),
        }),
    }
}

/// Returns `path`. Rejects the setting if the path exists and is not a file.
fn database(reader: &mut ConfigReader<'_>, path: PathBuf) -> PathBuf {
    if path.exists() && !path.is_file() {
        let path = path.display();
        reader.reject("store", &format!("the path of a file; {path} is not one"));
    }
    path
}

/// Reads the login to NATS.
fn login(reader: &mut ConfigReader<'_>) -> NatsLogin {
    let credentials = reader.optional("nats-creds", value::file);
    let nkey = reader.optional("nats-nkey", value::file);

    match (credentials, nkey) {
        (None, None) => NatsLogin::Address,
        (Some(file), None) => NatsLogin::Credentials(file),
        (None, Some(file)) => NatsLogin::Nkey(file),
        (Some(file), Some(_)) => {
            reader.reject("nats-nkey", "one of --nats-creds and --nats-nkey, not both");
            NatsLogin::Credentials(file)
        }
    }
}

/// A value of `--store`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum StoreKind {
    /// Messages in memory only.
    Memory,
    /// A database file, in the data folder unless its path is absolute.
    Sqlite(PathBuf),
    /// Servers of a NATS cluster.
    Nats(NatsServers),
}

/// Parses a value of `--store`.
fn store_kind(text: &str) -> Result<StoreKind, &'static str> {
    if let Some(servers) = NatsServers::parse(text) {
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

/// Parses the name of a stream, which is also the first token of its subjects.
fn stream_name(text: &str) -> Result<String, &'static str> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if (1..=64).contains(&text.len()) && text.chars().all(is_allowed) {
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
