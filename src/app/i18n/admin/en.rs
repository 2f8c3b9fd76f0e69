//! English.

use super::AdminText;
use crate::app::admin::Event;

/// Returns `count` with the singular or the plural of a noun.
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
    silent: "The server does not respond. Below is the last state that it sent; this page keeps trying.",
    unscripted: "JavaScript is off: reload the page to update it. A trace needs JavaScript.",

    enter: "This page is for operators. Enter a token with the grant admin.",
    token: "Token",
    come_in: "Sign in",
    refused: "The token is not accepted.",
    elsewhere: "This server has no keys, so it cannot be administered at this address. Use the ops listener \
                on the machine itself: /admin at --ops-listen, by default http://127.0.0.1:12346/admin.",
    needs_script: "JavaScript is off, and a token needs it. The ops listener needs neither.",

    now: "Now",
    published: "Messages stored / s",
    delivered: "Deliveries / s",
    bytes: "Bytes delivered / s",
    connections: "Connections",
    chart: |of, now, most| format!("{of}: now {now}, at most {most} in the last three minutes"),
    peak: |most| format!("at most {most} in 3 min"),
    held: |rooms, held, budget| {
        format!("Rooms in memory: {rooms}. Memory in use for clients: {held} of {budget}.")
    },
    some_rooms: "You administer some of the rooms; server-wide figures are for operators of all rooms.",

    rooms: "Rooms",
    prefix: "Name begins with",
    show: "Show",
    show_all: "Show all",
    next: "Next",
    no_rooms: "No rooms. A room appears when a client joins it or publishes in it.",
    room: "Room",
    members: "Members",
    head: "Newest",
    first: "Oldest kept",
    in_memory: "In memory",
    size: "Size",
    acts: "Actions",
    closed: "closed",

    older: "Older",
    to_newest: "Newest",
    up_to: "Up to offset",
    holds_still: "The list holds still while you are in it.",
    messages: |room| format!("Messages of {room}"),
    newest: |count| format!("At most {count}, the newest first."),
    no_messages: "No messages.",
    unread: "The messages cannot be read from the store now.",
    deleted: "deleted",
    binary: |bytes| format!("binary, {bytes} bytes"),
    ago: |span| format!("{span} ago"),

    who: "Id or address",
    in_room: |room| format!("Only connections in {room}."),
    no_connections: "No connections.",
    number: "No.",
    id: "Id",
    nobody: "a stream without an id",
    address: "Address",
    since: "Open for",
    behind: "Behind",
    waiting: "Waiting",
    dialect: "Dialect",

    tracing: |number| format!("Trace of connection {number}"),
    trace_note: "Type and size of each frame, never its content. The last 200 events are kept.",
    stop: "Stop",
    trace_empty: "No events yet.",
    trace_over: "The trace has ended: the connection was closed, or another operator traces it.",
    event: |event| match event {
        Event::Frame => "sent a {kind} frame of {bytes} bytes: {led_to}",
        Event::Write => "received {bytes} bytes, up to offset {offset}",
        Event::Blocked => "does not read",
        Event::Missed => "{count} events were missed",
    },

    bans: "Bans",
    no_bans: "No bans.",
    more_bans: |count| format!("The newest {count}; fanfare admin bans lists all."),
    whom: "Client",
    everywhere: "in all rooms",
    until: "Until",
    until_lifted: "until it is lifted",
    ends_in: |span| format!("for {span} more"),
    reason: "Reason",
    by: "By",

    hooks: "Hooks",
    hook: "Hook",
    status: "State",
    oldest: "Oldest waits for",
    last_error: "Last error",
    hook_active: "active",
    hook_paused: "paused",
    hook_gone: "disabled (410)",
    hook_standby: "on another node",
    hook_opening: "opening",
    pause: "Pause",
    resume: "Resume",
    replay: "Replay",
    replay_from: "From offset",
    hook_is_paused: "The hook is paused.",
    hook_is_active: "The hook is active.",
    hook_replays: "The hook delivers the messages from there on.",

    kick: "Kick",
    ban: "Ban",
    ban_somebody: "Add a ban",
    trace: "Trace",
    close: "Close",
    open: "Open",
    lift: "Lift",
    delete: "Delete",
    cancel: "Cancel",

    ask_kick: |number, id| format!("Kick connection {number} of {id}?"),
    kick_note: "It is closed with 4003, and the client may reconnect. A ban keeps it away.",
    ask_ban: "Ban which client?",
    id_or_address: "Id or address",
    this_id: |id| format!("clients with the id {id}"),
    this_address: |address| format!("clients from {address}"),
    place: "Rooms",
    only_in: |room| format!("only in {room}"),
    only_room: "Only in this room (empty: in all rooms)",
    how_long: "Duration",
    reason_shown: "Reason, shown to the client (optional)",
    ban_note: "Connections are closed with 4501, and the client is refused until the ban ends, also after a restart. \
               Without tokens anyone can choose another id: ban the address too.",
    ask_close: |room| format!("Close the room {room}?"),
    close_note: "All connections in it are closed with 4003. Joins and messages are refused until you open it. \
                 Its messages stay.",
    ask_delete: |room, offset| format!("Delete message {offset} of {room}?"),
    delete_note: "Its text is erased for all readers and from the disk. Its offset and sender stay.",
    gone: "This connection has ended.",

    kicked: "The connection is closed.",
    banned: |count| {
        format!(
            "Banned; {} closed.",
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
    failed: "The action failed.",
};
