//! English.

use super::Text;

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
    unconfirmed: "may not have arrived",

    message_to: |room| format!("Message {room}"),
    send: "Send",
    keys: "Enter sends, Shift+Enter for a new line",
    kept: "Not connected. Your text stays here and is sent once the connection is back.",
    kept_refused: "The server refused the connection. Your text stays here; reload the page to try again.",

    connecting: "Connecting",
    live: "Live",
    reconnecting: "Reconnecting",
    reconnecting_in: |seconds| format!("Reconnecting in {seconds} s"),
    offline: "Offline",
    refused: "Refused by the server",
};
