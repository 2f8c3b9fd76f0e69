"""The events of a stream, and the acknowledgement of a message."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Union


@dataclass(frozen=True)
class Message:
    """A message of a room, with `text`, `json` or `data`; with none of them if it is `deleted`."""

    room: str
    offset: int
    #: The position in all rooms, `EPOCH:OFFSET`; `Fanfare.follow` resumes after it.
    position: str
    #: The time at which it was stored, in milliseconds since 1970 UTC.
    at: int
    #: The id of the sender.
    sender: str
    text: str | None = None
    #: The value of a message that was published as JSON.
    json: Any = None
    data: bytes | None = None
    #: True if the sender or an operator deleted it.
    deleted: bool = False
    #: The type of the message, chosen by the application.
    kind: str | None = None
    key: str | None = None
    #: The offset of the message that this one answers.
    reply_to: int | None = None
    #: The offset of the sender's earlier message that this one replaces.
    edits: int | None = None


@dataclass(frozen=True)
class Gap:
    """Messages that will not be delivered, because the server no longer has them."""

    room: str
    #: The last offset before the gap.
    after: int
    #: The first offset after the gap.
    before: int
    #: The number of missing messages; None if unknown.
    count: int | None
    #: `expired`, `lagged` or `damaged`.
    reason: str


@dataclass(frozen=True)
class Deleted:
    """A message that was delivered before was deleted: stop showing it."""

    room: str
    offset: int
    at: int


@dataclass(frozen=True)
class Closed:
    """The end of a room: no message follows the one at `offset`."""

    room: str
    offset: int


@dataclass(frozen=True)
class Ack:
    """The acknowledgement of a message: the server has stored it."""

    room: str
    offset: int
    position: str
    at: int
    #: True if an earlier attempt stored it.
    duplicate: bool


Event = Union[Message, Gap, Deleted, Closed]


def event_of(frame: dict[str, Any], epoch: str) -> Event | None:
    """Returns the event of a frame of a stream; None for frames that are not for the application."""
    kind = frame["type"]
    if kind == "message":
        data = frame.get("data")
        return Message(
            room=frame["room"],
            offset=frame["offset"],
            position=f"{epoch}:{frame['offset']}",
            at=frame["at"],
            sender=frame["from"],
            text=frame.get("text"),
            json=frame.get("json"),
            data=None if data is None else base64.b64decode(data),
            deleted=frame.get("deleted", False),
            kind=frame.get("kind"),
            key=frame.get("key"),
            reply_to=frame.get("reply_to"),
            edits=frame.get("edits"),
        )
    if kind == "gap":
        return Gap(frame["room"], frame["after"], frame["before"], frame.get("count"), frame["reason"])
    if kind == "deleted":
        return Deleted(frame["room"], frame["offset"], frame["at"])
    if kind == "closed":
        return Closed(frame["room"], frame["offset"])
    return None
