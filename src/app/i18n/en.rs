//! English.

use super::Text;
use super::text::grouped;
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
    leave: |room| format!("Remove {room} from the list"),
    unread_in_room: |unread| format!("{unread} unread"),
    members: "Here now",
    here: |count| format!("{count} here"),
    you: "(you)",
    your_name: "Your name",
    change: "Change",
    renamed: "You are called that from now on.",
    bad_name: "A name has 1 to 64 characters.",
    unverified: "Names are not verified here.",
    rename_waits: "Some of your messages are not sent yet. Change the name after that.",
    notify: "Notify me of mentions",
    notify_blocked: "The browser does not let this page show notifications.",
    sound: "Sound for mentions",
    on: "on",
    off: "off",
    close: "Close",
    theme: "Colours",
    theme_system: "as the system",
    theme_light: "light",
    theme_dark: "dark",

    search: "Search",
    search_in: |room| format!("Words in the messages of {room}"),
    date: "Go to a day",
    searching: "Searching",
    found: |count, more| match (count, more) {
        (0, _) => "Nothing found in the messages that the server keeps".to_owned(),
        (1, false) => "1 message found".to_owned(),
        (count, false) => format!("{count} messages found"),
        (count, true) => format!("The newest {count} messages found"),
    },
    found_in_loaded: |count| {
        format!("{count} found. Only the loaded messages were searched: this server has no search.")
    },
    search_failed: "The search failed. Try again.",
    none_since: "There are no messages since that day",
    older: "Older matches",

    share: "Share",
    invite: "Invite others",
    share_needs_token: "This server needs a token. The address alone lets nobody in.",
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
    log_keys: "Arrow keys go from message to message, the Tab key to the actions of a message.",
    empty: "Nothing here yet",
    empty_promise: |room| {
        format!(
            "This is {room}, a room of Fanfare. Everyone in it sees the same messages in the same order."
        )
    },
    open_to_all: "Everyone with the address of this page can read and write here. Messages are kept until the server removes old ones.",
    open_to_tokens: "Everyone with a token for this room can read it. Messages are kept until the server removes old ones.",
    day: |Day {
              weekday,
              month,
              date,
          }| format!("{}, {} {date}", WEEKDAYS[weekday], MONTHS[month]),
    unread_line: "New since you looked away",
    to_unread: |missed| format!("{missed} new: go to the first"),
    to_end: |count| match count {
        0 => "To the newest".to_owned(),
        1 => "1 new message".to_owned(),
        count => format!("{count} new messages"),
    },
    older_messages: "Older messages",
    newer_messages: "Newer messages",
    newest_messages: "Newest messages",
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
        Reason::TooFast => "not sent, too many at once".to_owned(),
        Reason::TooLong { size, limit } => {
            let (size, limit) = (grouped(size), grouped(limit));
            format!("not sent, too long: {size} bytes, at most {limit}")
        }
        Reason::Unavailable => "not sent, the server could not store it".to_owned(),
        Reason::NotAllowed => "not sent, you may only read here".to_owned(),
        Reason::Refused => "not sent, refused by the server".to_owned(),
    },
    discard: "Discard",
    actions: "Message actions",
    copy_link: "Copy link",
    reply: "Reply",
    edit: "Edit",
    delete: "Delete",
    delete_for_all: "Delete for everyone",
    edited: "(edited)",
    answer_to: "In reply to",
    earlier_message: "an earlier message",
    show_more: "Show more",
    show_less: "Show less",
    skipped: "There are more messages here",
    retry: "Retry",
    take_back: "Edit",

    message_to: |room| format!("Message {room}"),
    typing: |names| match names {
        [one] => format!("{one} is typing"),
        [one, other] => format!("{one} and {other} are typing"),
        names => format!("{} people are typing", names.len()),
    },
    needs_token: "This server needs a token, and this page has none or an old one.",
    token: "Token",
    join: "Join",
    no_access: "You cannot write here now.",
    replying_to: |name| format!("Reply to {name}"),
    editing: "Edit your message",
    cancel: "Cancel",
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
        Refusal::Closed => "This room is closed",
        Refusal::Other => "Refused by the server",
    },
};
