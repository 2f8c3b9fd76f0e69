//! What the server knows when it renders the page, and what the browser must therefore know too.
//!
//! It travels inside the HTML (`SharedValue`), so both sides render from the same value. Only what the first
//! render needs belongs here.

use serde::{Deserialize, Serialize};

use super::Locale;
use crate::protocol::RoomName;

/// The first render's input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The room that the page shows.
    pub room: RoomName,
    /// The language that the page speaks.
    pub locale: Locale,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_survives_the_way_through_the_html() {
        let sent = Snapshot { room: RoomName::lobby(), locale: Locale::ZhCn };
        let html = serde_json::to_string(&sent).expect("plain data");
        assert_eq!(serde_json::from_str::<Snapshot>(&html).expect("what was written"), sent);
    }
}
