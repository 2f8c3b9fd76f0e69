//! English.

use super::Text;
use crate::app::live::{Day, Reason, Refusal};

const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

pub(super) const EN: Text = Text {
    language: "English",
    description: "A room where everyone sees the same messages in the same order.",
    unscripted: "JavaScript is off here: reload the page to see what is new. Times are in UTC.",

    menu: "Rooms, people and settings",
    rooms: "Rooms",
    other_room: "Another room",
    room_rule: "1 to 128 of A-Z a-z 0-9 - _ . : @ ~ /",
    go: "Go",
    members: "Here now",
    here: |count| format!("{count} here"),
    you: "(you)",
    your_name: "Your name",
    change: "Change",
    renamed: "You are called that from now on.",
    bad_name: "A name has 1 to 64 characters.",
    unverified: "Names are not verified here.",
    rename_waits: "Some of your messages are not sent yet. Change the name after that.",
    theme: "Colours",
    theme_system: "as the system",
    theme_light: "light",
    theme_dark: "dark",

    search: "Search",
    search_in: "Search the loaded messages",
    older: "Older",
    newer: "Newer",
    no_match: "Nothing found",
    matches: |at, count| format!("{at} of {count}"),

    share: "Share",
    address: "Address of this room",
    qr: "QR code of the address",
    copy: "Copy",
    copied: "Copied",

    connection: "Connection",
    round_trip: "Round trip",
    position: "Position",
    resumes: "Resumed",
    unsent: "Not sent yet",
    unknown: "unknown",
    measure: "Measure",
    break_off: "Break my connection",

    messages: "Messages",
    log_keys: "Arrow keys go from message to message.",
    empty: "Nothing here yet",
    empty_promise: |room| {
        format!("What is said in {room} from now on appears here, for everyone in the room.")
    },
    day: |Day {
              weekday,
              month,
              date,
          }| format!("{}, {} {date}", WEEKDAYS[weekday], MONTHS[month]),
    unread_line: "New since you looked away",
    to_end: |count| match count {
        0 => "To the newest".to_owned(),
        1 => "1 new message".to_owned(),
        count => format!("{count} new messages"),
    },
    deleted: "message deleted",
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
    load: "Load them",
    loading: "loading",
    gone: |count| match count {
        1 => "1 message is gone: the server no longer keeps it".to_owned(),
        count => format!("{count} messages are gone: the server no longer keeps them"),
    },
    gone_some: "Messages are gone: the server no longer keeps them",
    queued: "queued",
    waiting: "waiting for connection",
    sending: "sending",
    sent: "sent",
    not_sent: |reason| match reason {
        Reason::TooFast => "not sent, too many at once",
        Reason::TooLong => "not sent, too long",
        Reason::Unavailable => "not sent, the server could not store it",
        Reason::NotAllowed => "not sent, you may only read here",
        Reason::Refused => "not sent, refused by the server",
    },
    retry: "Retry",
    take_back: "Edit",

    message_to: |room| format!("Message {room}"),
    send: "Send",
    keys: "Enter sends, Shift+Enter for a new line",
    kept_refused: "The server refused the connection. Your text stays here; reload the page to try again.",

    connecting: "Connecting",
    live: "Live",
    reconnecting: "Reconnecting",
    reconnecting_in: |seconds| format!("Reconnecting in {seconds} s"),
    retry_now: "Retry now",
    offline: "Offline",
    stalled: "Connected, messages are delayed",
    refused: |why| match why {
        Refusal::NoToken => "Come in by a new link: this one has no token, or an old one",
        Refusal::NotAllowed => "You may not come into this room",
        Refusal::Other => "Refused by the server",
    },
};
