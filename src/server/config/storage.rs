//! Settings of where messages are kept, how safely, and how many.

use std::time::Duration;

use crate::server::config::reading::Reading;
use crate::server::config::value::{self, StoreKind};
use crate::server::room::KeyLimits;
use crate::server::store::{Retention, SqliteSettings, StoreSettings};

/// How long a key makes a send repeatable.
const KEY_LIMITS: KeyLimits = KeyLimits { messages: 10_000, age: Duration::from_secs(600) };

pub(super) fn read(reading: &mut Reading<'_>) -> Option<StoreSettings> {
    let retention = retention(reading);
    let store = reading.value("store", value::store);
    let data = reading.value("data", value::folder);
    let durability = reading.value("durability", value::durability);
    let quick_check = reading.value("quick-check", value::yes_or_no);

    let retention = retention?;
    Some(match store? {
        StoreKind::Memory => StoreSettings::Memory(retention),
        StoreKind::Sqlite(file) => StoreSettings::Sqlite(SqliteSettings {
            path: data?.join(file),
            durability: durability?,
            retention,
            quick_check: quick_check?,
        }),
    })
}

fn retention(reading: &mut Reading<'_>) -> Option<Retention> {
    let messages = reading.value("history-messages", value::count);
    let bytes = reading.value("history-bytes", value::size);
    let age = reading.value("history-age", value::duration);
    Some(Retention { messages: messages?, bytes: bytes?, age: age?, keys: KEY_LIMITS })
}
