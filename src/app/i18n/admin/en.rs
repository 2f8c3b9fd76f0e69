//! English.

use super::AdminText;
use crate::app::admin::Event;

/// So many of something, and how that is called when it is one.
fn counted(count: usize, one: &str, many: &str) -> String {
    if count == 1 {
        format!("1 {one}")
    } else {
        format!("{count} {many}")
    }
}

pub(super) const EN: AdminText = AdminText {
    title: "Operator's page",
    ready: "Ready",
    not_ready: "Not ready",
    up: "up",
    span: |seconds| match (
        seconds / 86_400,
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
    ) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, _) => format!("{minutes} min"),
        (0, hours, 0, _) => format!("{hours} h"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, 0, _, _) => format!("{days} d"),
        (days, hours, _, _) => format!("{days} d {hours} h"),
    },
    forget: "Forget the token",
    silent: "The server does not answer. What is below is what it said last; this page keeps asking.",
    unscripted: "JavaScript is off here: reload the page to see what is new. A trace needs it.",

    enter: "This page is for operators. Bring a token with the grant admin.",
    token: "Token",
    come_in: "Come in",
    refused: "The token is not accepted.",
    elsewhere: "This server has no keys, so nobody administers it at this address. Ask the ops listener instead, \
                from the machine itself: /admin at --ops-listen, by default http://127.0.0.1:12346/admin.",
    needs_script: "JavaScript is off here, and without it a token cannot be brought. The ops listener needs neither.",

    now: "Now",
    published: "Messages stored / s",
    delivered: "Deliveries / s",
    bytes: "Bytes delivered / s",
    connections: "Connections",
    chart: |of, now, most| format!("{of}: now {now}, at most {most} in the last three minutes"),
    peak: |most| format!("at most {most} in 3 min"),
    held: |rooms, held, budget| {
        format!("Rooms in memory: {rooms}. What clients make the server hold: {held} of {budget}.")
    },
    some_rooms: "You administer some of the rooms; the figures of the whole server are for who administers all.",

    rooms: "Rooms",
    prefix: "Name begins with",
    show: "Show",
    show_all: "Show all",
    next: "Next",
    no_rooms: "No room is in memory. One is, from when somebody comes in or says something.",
    room: "Room",
    members: "Members",
    head: "Newest",
    first: "Oldest kept",
    in_memory: "In memory",
    size: "Size",
    acts: "Actions",
    closed: "closed",

    messages: |room| format!("Messages of {room}"),
    newest: |count| format!("The newest {count} at most."),
    no_messages: "Nothing is kept here.",
    unread: "They cannot be read from the store now.",
    deleted: "deleted",
    binary: |bytes| format!("binary, {bytes} bytes"),
    ago: |span| format!("{span} ago"),

    who: "Id or address",
    in_room: |room| format!("Only those in {room}."),
    no_connections: "Nobody is connected here.",
    number: "No.",
    id: "Id",
    nobody: "a reader that nobody sees",
    address: "Address",
    since: "Open for",
    behind: "Behind",
    waiting: "Waiting",
    dialect: "Dialect",

    tracing: |number| format!("Trace of connection {number}"),
    trace_note: "Kinds and sizes as they pass, never what was said. The last 200 are kept.",
    stop: "Stop",
    trace_empty: "Nothing has passed yet.",
    trace_over: "The trace is over: the connection has ended, or somebody else traces it.",
    event: |event| match event {
        Event::Frame => "sent a {kind} frame of {bytes} bytes: {led_to}",
        Event::Write => "was given {bytes} bytes, up to offset {offset}",
        Event::Blocked => "takes nothing now",
        Event::Missed => "{count} events were missed",
    },

    bans: "Kept out",
    no_bans: "Nobody is kept out.",
    more_bans: |count| format!("The newest {count}; fanfare admin bans lists all."),
    whom: "Who",
    everywhere: "everywhere",
    until: "Until",
    until_lifted: "until it is lifted",
    ends_in: |span| format!("for {span} more"),
    reason: "Reason",
    by: "By",

    kick: "Kick",
    ban: "Ban",
    ban_somebody: "Ban somebody",
    trace: "Trace",
    close: "Close",
    open: "Open",
    lift: "Lift",
    delete: "Delete",
    cancel: "Cancel",

    ask_kick: |number, id| format!("Kick connection {number} of {id}?"),
    kick_note: "It is closed with 4003 and may come back. A ban keeps it away.",
    ask_ban: "Whom to keep out?",
    id_or_address: "Id or address",
    this_id: |id| format!("whoever is called {id}"),
    this_address: |address| format!("whoever comes from {address}"),
    place: "Where",
    only_in: |room| format!("only in {room}"),
    only_room: "Only in this room (empty: everywhere)",
    how_long: "For how long",
    reason_shown: "Reason, which they read (may be empty)",
    ban_note: "Connections are closed with 4501, and whoever it is is refused from now on, also after a restart. \
               Without tokens anyone can take another id: ban the address too.",
    ask_close: |room| format!("Close the room {room}?"),
    close_note: "Everyone in it is closed with 4003. Nobody comes in and nothing is said there until you open it. \
                 What was said stays.",
    ask_delete: |room, offset| format!("Delete message {offset} of {room}?"),
    delete_note: "Its text is gone for good, for all readers and from the disk. Its place and sender stay.",
    gone: "That is not there any more.",

    kicked: "The connection is closed.",
    banned: |count| {
        format!(
            "Kept out from now on; {} closed.",
            counted(count, "connection", "connections")
        )
    },
    lifted: "The ban is lifted.",
    room_closed: |count| {
        format!(
            "The room is closed; {} ended.",
            counted(count, "connection", "connections")
        )
    },
    room_opened: "The room is open.",
    message_deleted: "The message is deleted.",
    failed: "It was not done.",
};
