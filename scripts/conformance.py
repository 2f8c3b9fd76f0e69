"""Runs the cases of the public AutobahnTestSuite against a running server that echoes (a plain client does hear itself).

The suite as published needs Python 2 and a Twisted of its day. Its cases do not: each is a small class that says
what to send, what must come back and how the connection must end. This loads them unchanged but for three
spellings, gives them the few calls of the old protocol class that they use, and lets the cases judge. Each of the
cases 12 and 13 (compression) sends 50 messages instead of 1000: what it tries is the same. Two in seven of cases 13
offer nothing but windows of 9 bits, which the server leaves: the suite calls that unimplemented, and allows it.

usage: conformance.py FOLDER_OF_CASES HOST:PORT
"""
import asyncio
import base64
import binascii
import builtins
import os
import re
import sys
import types
import zlib

AT_ONCE = 16
# The suite itself does not run it.
LEFT_OUT = r"case9_9_"
GOOD = ("OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED")
COMPRESSED_MESSAGES = 50
# How each compressed message ends, which is not sent.
TAIL = b"\0\0\xff\xff"


class DeflateOffer:
    """What a case calls `PerMessageDeflateOffer`, with the defaults of that."""
    def __init__(self, requestNoContextTakeover=False, requestMaxWindowBits=0):
        self.requestNoContextTakeover = requestNoContextTakeover
        self.requestMaxWindowBits = requestMaxWindowBits

    def __str__(self):
        bits = self.requestMaxWindowBits
        return ("permessage-deflate; client_no_context_takeover; client_max_window_bits"
                + ("; server_no_context_takeover" if self.requestNoContextTakeover else "")
                + (f"; server_max_window_bits={bits}" if bits else ""))


class Protocol:
    """What a case calls `self.p`: one connection. Payloads are texts of one character a byte, as in Python 2."""
    STATE_CLOSED, STATE_CLOSING, STATE_OPEN = 0, 2, 3
    CLOSE_STATUS_CODE_NORMAL = 1000
    CLOSE_STATUS_CODE_GOING_AWAY = 1001
    CLOSE_STATUS_CODE_PROTOCOL_ERROR = 1002
    CLOSE_STATUS_CODE_UNSUPPORTED_DATA = 1003
    CLOSE_STATUS_CODE_INVALID_PAYLOAD = 1007
    MAX_HANDSHAKE_SECONDS = 5
    factory = types.SimpleNamespace(isServer=False)
    createWirelog = False
    perMessageCompressionOffers = ()
    _perMessageCompress = None
    autoFragmentSize = 0

    def __init__(self):
        self.state = self.STATE_CLOSED
        self.connectionWasOpen = self.closedByMe = self.failedByMe = self.droppedByMe = self.wasClean = False
        self.remoteCloseCode = self.remoteCloseReason = self.localCloseCode = self.localCloseReason = None
        self.trafficStats = None
        self.txFrameStats = {}
        self.message = None
        self.ended = asyncio.Event()
        self.timers = []

    async def run(self, case, host, port, path):
        self.case = case
        self.reader, self.writer = await asyncio.open_connection(host, port, limit=64 << 20)
        key = base64.b64encode(os.urandom(16)).decode()
        offers = ", ".join(map(str, self.perMessageCompressionOffers))
        extensions = f"Sec-WebSocket-Extensions: {offers}\r\n" if offers else ""
        self.writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{extensions}\r\n".encode())
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        if b"permessage-deflate; server_no_context_takeover" in head:
            assert offers, "compression that was not offered"
            self._perMessageCompress = True
        self.state, self.connectionWasOpen = self.STATE_OPEN, True
        case.onOpen()
        try:
            while await self.frame():
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        self.wasClean = self.localCloseCode is not None and self.remoteClosed
        self.state = self.STATE_CLOSED
        [timer.cancel() for timer in self.timers]
        case.onClose(self.wasClean, self.remoteCloseCode, self.remoteCloseReason)
        case.onConnectionLost(self.failedByMe)
        self.writer.close()

    remoteClosed = False

    async def frame(self):
        """Reads one frame; false at the end."""
        first, second = await self.reader.readexactly(2)
        assert second < 128, "a server must not mask"
        length = second
        if length > 125:
            length = int.from_bytes(await self.reader.readexactly(2 if length == 126 else 8), "big")
        payload = await self.reader.readexactly(length)
        opcode = first & 15
        if first & 64 and self._perMessageCompress and opcode in (1, 2):
            first &= ~64
            payload = zlib.decompressobj(-15).decompress(payload + TAIL)
        if not self.perMessageCompressionOffers or opcode > 2:
            payload = payload.decode("latin-1")
        assert first & 112 == 0 and (first & 128 or opcode < 8), "a frame that is against the RFC"
        if opcode == 8:
            self.remoteClosed = True
            if payload:
                self.remoteCloseCode = int.from_bytes(payload[:2].encode("latin-1"), "big")
                self.remoteCloseReason = payload[2:]
            if self.localCloseCode is None:
                self.localCloseCode = self.remoteCloseCode or 1000
                self.raw(self.header(8, payload[:2]))
            self.state = self.STATE_CLOSING
            # A server closes first (section 7.1.1): wait for it, but not for ever.
            self.timers.append(asyncio.get_running_loop().call_later(self.MAX_HANDSHAKE_SECONDS, self.drop))
        elif opcode == 9:
            self.case.onPing(payload)
        elif opcode == 10:
            self.case.onPong(payload)
        elif first & 128 and opcode:
            self.case.onMessage(payload, opcode == 2)
        else:
            raise AssertionError("an echo in pieces")
        return True

    def raw(self, data):
        try:
            self.writer.write(data)
        except ConnectionError:
            pass

    def header(self, opcode, payload, fin=True, rsv=0, length=None):
        data = payload if isinstance(payload, bytes) else payload.encode("latin-1")
        if length is not None and data:
            data = (data * (length // len(data) + 1))[:length]
        size = len(data)
        head = bytes([(128 if fin else 0) | rsv << 4 | opcode])
        if size < 126:
            head += bytes([128 | size])
        elif size < 65536:
            head += bytes([254]) + size.to_bytes(2, "big")
        else:
            head += bytes([255]) + size.to_bytes(8, "big")
        mask = os.urandom(4)
        keys = (mask * (size // 4 + 1))[:size]
        masked = (int.from_bytes(data, "big") ^ int.from_bytes(keys, "big")).to_bytes(size, "big")
        self.txFrameStats[opcode] = self.txFrameStats.get(opcode, 0) + 1
        return head + mask + masked

    def sendFrame(self, opcode, payload="", fin=True, rsv=0, mask=None, payload_len=None, chopsize=None, sync=False):
        data = self.header(opcode, payload, fin, rsv, payload_len)
        # In pieces of `chopsize` as far as TCP can be made to keep them apart.
        for at in range(0, len(data), chopsize or len(data)):
            self.raw(data[at:at + (chopsize or len(data))])

    def sendMessage(self, payload, binary=False, isBinary=False, fragmentSize=None):
        opcode = 2 if binary or isBinary else 1
        if self._perMessageCompress:
            deflate = zlib.compressobj(wbits=-15)
            payload = (deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-len(TAIL)]
        rsv = 4 if self._perMessageCompress else 0
        size = fragmentSize or self.autoFragmentSize or len(payload) or 1
        pieces = [payload[at:at + size] for at in range(0, len(payload), size)] or [payload]
        for at, piece in enumerate(pieces):
            self.sendFrame(opcode if at == 0 else 0, piece, fin=at == len(pieces) - 1, rsv=0 if at else rsv)

    # A message whose frames are sent octet by octet.
    def beginMessage(self, binary=False, isBinary=False):
        self.message = 2 if binary or isBinary else 1

    def beginMessageFrame(self, length):
        self.frame_left = length
        mask = bytes(4)
        head = bytes([self.message]) + (bytes([128 | length]) if length < 126 else bytes([254]) + length.to_bytes(2, "big"))
        self.raw(head + mask)
        self.message = 0

    def sendMessageFrameData(self, payload, sync=False):
        self.raw(payload if isinstance(payload, bytes) else payload.encode("latin-1"))

    def endMessage(self):
        self.sendFrame(0, "")

    def sendCloseFrame(self, code=None, reasonUtf8=None, isReply=False):
        payload = b"" if code is None else code.to_bytes(2, "big")
        if reasonUtf8:
            payload += reasonUtf8 if isinstance(reasonUtf8, bytes) else reasonUtf8.encode("latin-1")
        self.localCloseCode = code or 0
        self.closedByMe = True
        self.state = self.STATE_CLOSING
        self.raw(self.header(8, payload))

    def sendClose(self, code=None, reason=None):
        if self.localCloseCode is None:
            self.localCloseReason = reason
            self.sendCloseFrame(code, reason.encode("utf8") if isinstance(reason, str) else reason)

    def drop(self):
        self.droppedByMe = True
        self.writer.transport.abort()

    def failConnection(self):
        if self.state != self.STATE_CLOSED:
            self.failedByMe = True
            if not self.remoteClosed:
                self.closedByMe = True
            self.drop()

    def later(self, delay, call):
        self.timers.append(asyncio.get_running_loop().call_later(delay, call))

    def killAfter(self, delay):
        self.later(delay, self.failConnection)

    def closeAfter(self, delay):
        self.later(delay, lambda: self.state == self.STATE_OPEN and self.sendClose())

    def continueLater(self, delay, call, tag=None):
        self.later(delay, lambda: self.state != self.STATE_CLOSED and call())

    def enableWirelog(self, on):
        pass


class Utf8Validator:
    """Says of one whole text whether it is UTF-8 and ends with a character."""
    def reset(self):
        pass

    def validate(self, text):
        try:
            text.encode("latin-1").decode("utf8")
            return True, True
        except UnicodeDecodeError:
            return False, False


def load(folder):
    """Every case class but those left out, in the suite's order."""
    def module(name, **names):
        sys.modules[name] = made = types.ModuleType(name)
        vars(made).update(names)
        return made
    for name in ("autobahn", "autobahn.websocket", "twisted", "zope"):
        module(name)
    module("autobahn.websocket.protocol", WebSocketProtocol=Protocol)
    module("autobahn.websocket.utf8validator", Utf8Validator=Utf8Validator)
    response = types.SimpleNamespace(PerMessageDeflateOffer=DeflateOffer, PerMessageDeflateResponse=None)
    module("autobahn.websocket.compress", **vars(response))
    module("pkg_resources", resource_filename=lambda package, path: f"{folder}/{path}")
    octets = lambda text: text if isinstance(text, bytes) else text.encode("latin-1")
    hexed = lambda text: binascii.hexlify(octets(text)).decode()
    unhexed = lambda text: binascii.unhexlify(text).decode("latin-1")
    builtins.xrange = range

    def execute(name):
        # Python 2 takes a text for its bytes.
        source = open(f"{folder}/{name}.py", encoding="latin-1").read()
        source = source.replace("(object, Case, )", "(Case,)").replace("len(self.payload) / self", "len(self.payload) // self")
        source = re.sub(r"^(\s*)print (.*)$", r"\1print(\2)", source, flags=re.M)
        source = re.sub(r"^import binascii$", "", source, flags=re.M)
        made = module(name, binascii=types.SimpleNamespace(b2a_hex=hexed, a2b_hex=unhexed, hexlify=hexed, unhexlify=unhexed))
        exec(compile(source, name, "exec"), vars(made))
        return made

    case = execute("case").Case
    plain = lambda value: (value.decode("latin-1") if isinstance(value, bytes)
                           else type(value)(map(plain, value)) if isinstance(value, (list, tuple)) else value)
    case.compare = lambda self, one, other: plain(one) == plain(other)
    for file in sorted(os.listdir(folder)):
        if re.match(r"case\d+_.*\.py$", file) and not re.match(LEFT_OUT, file):
            execute(file[:-3])
    found, ahead = {}, list(case.__subclasses__())
    while ahead:
        some = ahead.pop()
        ahead += some.__subclasses__()
        if hasattr(some, "COUNT") and hasattr(some, "CLIENT_OFFERS"):
            some.COUNT = COMPRESSED_MESSAGES
        numbers = re.fullmatch(r"Case([\d_]+)", some.__name__)
        if numbers:
            found[tuple(map(int, numbers[1].split("_")))] = some
    return sorted(found.items())


async def main(folder, authority):
    host, port = authority.split(":")
    places, counts, bad = asyncio.Semaphore(AT_ONCE), {}, []

    async def judge(numbers, kind):
        name = ".".join(map(str, numbers))
        async with places:
            protocol = Protocol()
            case = kind(protocol)
            try:
                await asyncio.wait_for(protocol.run(case, host, int(port), f"/ws?room=case-{name}&id=wstest"), 120)
                result = (case.behavior, case.behaviorClose, case.result, case.resultClose, protocol.remoteCloseCode)
            except Exception as error:
                result = ("FAILED", "FAILED", repr(error), "", None)
        counts[result[:2]] = counts.get(result[:2], 0) + 1
        if result[0] == "NON-STRICT":
            print(name, "is answered in a way that the suite allows but does not prefer")
        if result[0] not in GOOD or result[1] not in GOOD:
            bad.append(name)
            print(name, *result, sep=" | ")

    cases = load(folder)
    await asyncio.gather(*(judge(*case) for case in cases))
    for (behavior, close), count in sorted(counts.items()):
        print(f"{count:4} cases: behaviour {behavior}, close {close}")
    print(f"{len(cases) - len(bad)} passed, {len(bad)} failed")
    return bool(bad)


sys.exit(asyncio.run(main(*sys.argv[1:])))
