//! The claims of the user's own token. The page reads them to renew the token in time, and to show that the user may only read,
//! before the user writes. The server decides.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::protocol::{RoomName, RoomSelector};

/// The access in a token that grants no right to write.
const READ: &str = "r";

#[derive(Deserialize)]
struct RoomClaims {
    #[serde(default)]
    rooms: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct ExpiryClaim {
    /// The seconds since 1970 UTC, which may have a fraction (RFC 7519 section 2).
    exp: f64,
}

/// Returns the expiry in `claims`, as JSON, since 1970 UTC.
pub(super) fn expires_at(claims: &[u8]) -> Option<Duration> {
    let ExpiryClaim { exp } = serde_json::from_slice(claims).ok()?;
    Duration::try_from_secs_f64(exp).ok()
}

/// Returns true if `claims`, as JSON, grant no right to write in `room`. Claims that cannot be read are left to the server.
pub(super) fn is_read_only(claims: &[u8], room: &RoomName) -> bool {
    let Ok(RoomClaims { rooms }) = serde_json::from_slice(claims) else {
        return false;
    };

    let may_write = |(rooms, access): (&String, &String)| {
        access != READ && RoomSelector::parse(rooms).is_ok_and(|rooms| rooms.matches(room))
    };
    !rooms.iter().any(may_write)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_read_only_in(room: &str, claims: &str) -> bool {
        is_read_only(claims.as_bytes(), &RoomName::parse(room).expect("a room"))
    }

    #[test]
    fn a_token_without_a_grant_to_write_in_the_room_is_read_only_there() {
        let claims =
            r#"{"sub":"ann","exp":4000000000,"rooms":{"lobby":"r","class-*":"rw","*":"r"}}"#;

        assert!(is_read_only_in("lobby", claims));
        assert!(is_read_only_in("other", claims));
        assert!(!is_read_only_in("class-7b", claims));
        assert!(!is_read_only_in(
            "lobby",
            r#"{"rooms":{"*":"admin","lobby":"r"}}"#
        ));
        assert!(!is_read_only_in("lobby", r#"{"rooms":{"lobby":"w"}}"#));
        assert!(is_read_only_in("lobby", r#"{"sub":"ann"}"#));
    }

    #[test]
    fn the_expiry_is_a_number_of_seconds() {
        for (claims, expected) in [
            (
                r#"{"exp":4000000000,"rooms":["lobby"]}"#,
                Some(4_000_000_000_000),
            ),
            (r#"{"exp":1.5}"#, Some(1500)),
            (r#"{"exp":-1}"#, None),
            (r#"{"exp":"1"}"#, None),
            ("{}", None),
        ] {
            let expected = expected.map(Duration::from_millis);
            assert_eq!(expires_at(claims.as_bytes()), expected, "{claims}");
        }
    }

    #[test]
    fn claims_that_cannot_be_read_are_left_to_the_server() {
        for claims in ["", "null", "[]x", r#"{"rooms":["lobby"]}"#] {
            assert!(!is_read_only_in("lobby", claims), "{claims}");
        }
    }
}
