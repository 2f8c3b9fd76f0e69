"""The client: requests that are repeated until they succeed, over one pool of connections."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import random
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Union
from urllib.parse import quote

import httpx

from ._events import Ack, Event, Message, event_of

Token = Union[str, Callable[[], Union[str, Awaitable[str]]]]

#: The ceiling of the random pause before the next attempt, in seconds: it doubles from the first to the second value.
_MIN_BACKOFF, _MAX_BACKOFF = 0.5, 20.0
#: The wait for a connection or a response. It is also the longest silence of a stream: the server sends an empty line
#: after each of its heartbeats, by default 25 s.
_TIMEOUT = 60.0


class FanfareError(Exception):
    """A request that the server refused for good."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{message} ({code}, HTTP {status})")
        self.status = status
        #: The code of the server, such as `not_allowed` or `bad_name`.
        self.code = code
        self.message = message


class _Backoff:
    """The pause before the next attempt: random, so that clients do not reconnect at the same moment."""

    def __init__(self) -> None:
        self._ceiling = _MIN_BACKOFF

    def reset(self) -> None:
        self._ceiling = _MIN_BACKOFF

    async def wait(self, requested: float = 0.0) -> None:
        """Waits for a random time, but at least for the `requested` one."""
        pause = random.uniform(0, self._ceiling)
        self._ceiling = min(self._ceiling * 2, _MAX_BACKOFF)
        await asyncio.sleep(requested + pause)


class Fanfare:
    """A client of the server at `url`.

    `id` is the name of the sender; with a token, it is the `sub` of the token. `token` is a string, or a function that
    returns one, which is called before each request.
    """

    def __init__(
        self, url: str = "http://127.0.0.1:12345", *, id: str | None = None, token: Token | None = None
    ) -> None:
        self._api = f"{url.rstrip('/')}/api/v1"
        self._id = id
        self._token = token
        self._http = httpx.AsyncClient(timeout=_TIMEOUT)

    async def __aenter__(self) -> Fanfare:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes all connections."""
        await self._http.aclose()

    async def publish(
        self,
        room: str,
        value: Any,
        *,
        kind: str | None = None,
        key: str | None = None,
        reply_to: int | None = None,
        edits: int | None = None,
    ) -> Ack:
        """Publishes a `str` as text, `bytes` as data, and any other value as JSON. Returns when the message is stored.

        The request is repeated until there is a response. `key`, by default a random one, makes the server store the
        message once: give the same key to publish the same message from another run of the program.

        Raises FanfareError if the server refuses the message for good.
        """
        message: dict[str, Any] = {"key": key or str(uuid.uuid4())}
        if isinstance(value, str):
            message["text"] = value
        elif isinstance(value, (bytes, bytearray)):
            message["data"] = base64.b64encode(value).decode()
        else:
            message["json"] = value
        options = {"from": self._id, "kind": kind, "reply_to": reply_to, "edits": edits}
        message.update({name: option for name, option in options.items() if option is not None})

        url = f"{self._api}/rooms/{quote(room, safe='')}/messages"
        body = json.dumps(message).encode()
        backoff = _Backoff()
        while True:
            pause = 0.0
            try:
                headers = {"content-type": "application/json", **await self._authorization()}
                response = await self._http.post(url, content=body, headers=headers)
                if response.status_code == 201:
                    stored = response.json()
                    position = f"{stored['epoch']}:{stored['offset']}"
                    return Ack(stored["room"], stored["offset"], position, stored["at"], stored["duplicate"])
                pause = _pause_after(response)
            except (httpx.TransportError, json.JSONDecodeError):
                pass
            await backoff.wait(pause)

    async def follow(self, *rooms: str, after: int | str | None = None) -> AsyncGenerator[Event, None]:
        """Yields every message of `rooms`, which are names or patterns like `builds-*`, once and in order.

        `after` is the `position` of the last message that was processed, or an offset; 0 begins with the oldest kept
        message. Without it, only new messages are yielded. The iterator ends when all rooms are closed.

        Raises FanfareError if the server refuses the stream for good.
        """
        query = httpx.QueryParams([("room", room) for room in rooms])
        position = after if isinstance(after, str) else None
        if isinstance(after, int):
            query = query.add("after", after)

        backoff = _Backoff()
        while True:
            pause = 0.0
            try:
                headers = {"accept": "application/x-ndjson", **await self._authorization()}
                if position is not None:
                    headers["last-event-id"] = position
                url = f"{self._api}/stream"
                async with self._http.stream("GET", url, params=query, headers=headers) as response:
                    if response.status_code == 204:
                        return
                    if response.status_code == 200:
                        # The beginning of the stream: an attempt that follows a broken one resumes here.
                        position = response.headers["last-event-id"]
                        epoch = position.partition(":")[0]
                        async for frame in _frames(response):
                            if frame["type"] == "drain":
                                pause = frame["reconnect_after_ms"] / 1000
                            event = event_of(frame, epoch)
                            if isinstance(event, Message):
                                backoff.reset()
                                position = event.position
                            if event is not None:
                                yield event
                    else:
                        await response.aread()
                        pause = _pause_after(response)
            except httpx.TransportError:
                pass
            await backoff.wait(pause)

    async def _authorization(self) -> dict[str, str]:
        """Returns the header with the token, if there is one."""
        token = self._token() if callable(self._token) else self._token
        if inspect.isawaitable(token):
            token = await token
        return {} if token is None else {"authorization": f"Bearer {token}"}


async def _frames(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """Yields the JSON objects of a stream of lines. An incomplete last line is dropped: the next stream repeats it."""
    rest = b""
    async for chunk in response.aiter_bytes():
        # Only a line feed ends a line: texts may contain the other line separators of Unicode.
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield json.loads(line)


def _pause_after(response: httpx.Response) -> float:
    """Returns the pause that the server requests before the next attempt.

    Raises FanfareError if another attempt would fail in the same way.
    """
    status = response.status_code
    if status == 429 or status >= 500:
        retry_after = response.headers.get("retry-after", "")
        return float(retry_after) if retry_after.isdigit() else 0.0

    try:
        error = response.json()["error"]
        code, message = error["code"], error["message"]
    except (ValueError, KeyError, TypeError):
        code, message = "unknown", response.reason_phrase
    raise FanfareError(status, code, message)
