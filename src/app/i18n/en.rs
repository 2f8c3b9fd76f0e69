//! English.

use super::Text;
use crate::app::live::Reason;

pub(super) const EN: Text = Text {
    description: "A room where everyone sees the same messages in the same order.",
    unscripted: "Messages need JavaScript for now, and it is off in this browser.",

    messages: "Messages",
    empty: "Nothing here yet",
    empty_promise: |room| {
        format!("What is said in {room} from now on appears here, for everyone in the room.")
    },
    binary: |bytes| match bytes {
        1 => "Binary message, 1 byte".to_owned(),
        bytes => format!("Binary message, {bytes} bytes"),
    },
    missing: |count| match count {
        1 => "1 message is missing here".to_owned(),
        count => format!("{count} messages are missing here"),
    },
    missing_some: "Messages are missing here",
    missing_perhaps: "Messages may be missing here",
    sending: "sending",
    waiting: "waiting for connection",
    not_sent: |reason| match reason {
        Reason::TooFast => "not sent, too many at once",
        Reason::TooLong => "not sent, too long",
        Reason::Unavailable => "not sent, the server could not store it",
        Reason::Refused => "not sent, refused by the server",
    },
    retry: "Retry",

    message_to: |room| format!("Message {room}"),
    send: "Send",
    keys: "Enter sends, Shift+Enter for a new line",
    kept_refused: "The server refused the connection. Your text stays here; reload the page to try again.",

    here: |count| format!("{count} here"),

    connecting: "Connecting",
    live: "Live",
    reconnecting: "Reconnecting",
    reconnecting_in: |seconds| format!("Reconnecting in {seconds} s"),
    offline: "Offline",
    refused: "Refused by the server",
};
