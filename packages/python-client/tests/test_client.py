"""The client against the real server, which is killed meanwhile.

FANFARE_PROGRAM is the program, by default the development build. Run with `python3 -m unittest discover -s tests`.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
import unittest
from contextlib import aclosing
from pathlib import Path

from fanfare_client import Closed, Deleted, Event, Fanfare, FanfareError, Gap, Message

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = os.environ.get("FANFARE_PROGRAM", str(ROOT / "target/debug/fanfare"))
#: The longest wait of a test. It is long enough for a busy machine: reaching it is a failure.
PATIENCE = 60
COUNT = 300


class Server:
    """A server process with a data folder of its own."""

    def __init__(self, *flags: str) -> None:
        self.flags = flags
        self.folder = tempfile.TemporaryDirectory()
        self.address = "127.0.0.1:0"
        self.start()

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def start(self) -> None:
        settings = ["--listen", self.address, "--ops-listen", "off", "--data", self.folder.name, "--message-rate", "0"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FANFARE_")}
        self.process = subprocess.Popen(
            [PROGRAM, *settings, *self.flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        assert self.process.stdout
        self.address = self.process.stdout.readline().strip().removeprefix("listening on http://")

    def crash(self) -> None:
        """Kills the server at once, and starts it again with the same data and address."""
        self.end()
        self.start()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()

    def stop(self) -> None:
        self.end()
        self.folder.cleanup()


async def take(fanfare: Fanfare, count: int, *rooms: str, after: int | str | None = None) -> list[Event]:
    """Returns the next `count` events of `rooms`."""
    events: list[Event] = []
    async with aclosing(fanfare.follow(*rooms, after=after)) as stream:
        async for event in stream:
            events.append(event)
            if len(events) == count:
                break
    return events


def values(events: list[Event]) -> list[object]:
    return [event.json for event in events if isinstance(event, Message)]


class ClientTest(unittest.IsolatedAsyncioTestCase):
    server: Server

    def serve(self, *flags: str) -> Fanfare:
        """Starts a server, and returns a client of it."""
        self.server = Server(*flags)
        self.addCleanup(self.server.stop)
        fanfare = Fanfare(self.server.url, id="ann")
        self.addAsyncCleanup(fanfare.close)
        return fanfare

    async def test_each_message_of_many_rooms_arrives_once_and_in_order_while_the_server_is_killed(self) -> None:
        fanfare = self.serve()

        async def publish() -> None:
            for number in range(COUNT):
                await fanfare.publish("numbers" if number % 2 else f"builds-{number % 3}", number)
                if number % 100 == 50:
                    self.server.crash()

        async with asyncio.timeout(PATIENCE):
            publishing = asyncio.create_task(publish())
            events = await take(fanfare, COUNT, "numbers", "builds-*", after=0)
            await publishing

        self.assertEqual(values(events), list(range(COUNT)))

    async def test_a_program_that_starts_again_continues_after_its_last_position(self) -> None:
        fanfare = self.serve()
        for number in range(10):
            await fanfare.publish("numbers", number)

        async with asyncio.timeout(PATIENCE):
            before = await take(fanfare, 4, "numbers", after=0)
            self.server.crash()
            last = before[-1]
            assert isinstance(last, Message)
            async with Fanfare(self.server.url) as second:
                rest = await take(second, 6, "numbers", after=last.position)

        self.assertEqual(values(before + rest), list(range(10)))

    async def test_the_same_key_is_stored_once(self) -> None:
        fanfare = self.serve()

        first = await fanfare.publish("lobby", "hello", key="k")
        second = await fanfare.publish("lobby", "hello", key="k")

        self.assertEqual((first.offset, first.duplicate), (second.offset, False))
        self.assertTrue(second.duplicate)

    async def test_text_json_and_bytes_arrive_as_they_were_published(self) -> None:
        fanfare = self.serve()
        text = "line\u2028separator \x85 and \U0001f600"
        first = await fanfare.publish("lobby", text, kind="note")
        await fanfare.publish("lobby", None, reply_to=first.offset)
        await fanfare.publish("lobby", b"\x00\xff")

        async with asyncio.timeout(PATIENCE):
            note, null, data = await take(fanfare, 3, "lobby", after=0)

        assert isinstance(note, Message) and isinstance(null, Message) and isinstance(data, Message)
        self.assertEqual((note.text, note.kind, note.sender), (text, "note", "ann"))
        self.assertEqual((null.text, null.json, null.reply_to), (None, None, first.offset))
        self.assertEqual(data.data, b"\x00\xff")

    async def test_messages_that_are_no_longer_kept_are_a_gap(self) -> None:
        fanfare = self.serve("--history-messages", "3")
        first = await fanfare.publish("lobby", 0)
        for number in range(1, 10):
            await fanfare.publish("lobby", number)

        async with asyncio.timeout(PATIENCE):
            gap, *messages = await take(fanfare, 4, "lobby", after=first.position)

        assert isinstance(gap, Gap)
        self.assertEqual((gap.room, gap.count, gap.reason), ("lobby", 6, "expired"))
        self.assertEqual(values(messages), [7, 8, 9])

    async def test_the_end_of_a_room_ends_the_iteration(self) -> None:
        fanfare = self.serve()
        await fanfare._http.put(f"{self.server.url}/streams/log", headers={"content-type": "text/plain"})
        await fanfare._http.post(
            f"{self.server.url}/streams/log",
            content=b"last",
            headers={"content-type": "text/plain", "stream-closed": "true"},
        )

        async with asyncio.timeout(PATIENCE):
            events = [event async for event in fanfare.follow("log", after=0)]

        self.assertIsInstance(events[-1], Closed)
        self.assertFalse(any(isinstance(event, Deleted) for event in events))

    async def test_a_request_that_is_refused_for_good_raises_the_code_of_the_server(self) -> None:
        fanfare = self.serve()

        with self.assertRaises(FanfareError) as publishing:
            await fanfare.publish("not a room", "hello")
        with self.assertRaises(FanfareError) as following:
            await take(fanfare, 1, "not a room")

        self.assertEqual(publishing.exception.code, "bad_name")
        self.assertEqual(following.exception.status, 400)

    async def test_a_token_is_fetched_for_each_request(self) -> None:
        key = Path(tempfile.mkdtemp()) / "key"
        key.write_text("the secret of these tests, 32 bytes and more")
        self.serve("--auth-key-file", str(key))
        tokens = []

        async def token() -> str:
            grant = ["--sub", "ann", "--room", "lobby:rw", "--auth-key-file", str(key)]
            tokens.append(subprocess.check_output([PROGRAM, "token", *grant], text=True).strip())
            return tokens[-1]

        async with Fanfare(self.server.url, token=token) as fanfare:
            await fanfare.publish("lobby", "hello")
            async with asyncio.timeout(PATIENCE):
                (message,) = await take(fanfare, 1, "lobby", after=0)

        assert isinstance(message, Message)
        self.assertEqual((message.sender, len(tokens)), ("ann", 2))


if __name__ == "__main__":
    unittest.main()
