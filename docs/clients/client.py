"""Publishes a message to a room and prints every message of that room and others, or of all rooms that match a pattern.
Usage: client.py URL ROOM [ROOM or PATTERN...]"""
import http.client, json, random, sys, time, urllib.error, urllib.parse, urllib.request, uuid

api, rooms = f"{sys.argv[1]}/api/v1", sys.argv[2:]


def publish(text):
    """Returns when the message is stored. Its key makes the server store it once, after any number of attempts."""
    body = json.dumps({"text": text, "from": "python", "key": str(uuid.uuid4())}).encode()
    url = f"{api}/rooms/{urllib.parse.quote(rooms[0], safe='')}/messages"
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    while True:
        try:
            return json.load(urllib.request.urlopen(request, timeout=30))
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code != 429:
                raise
            time.sleep(random.uniform(0, 1))


def follow():
    """Yields every message once and in order, over any number of disconnects."""
    url = f"{api}/stream?after=0&" + urllib.parse.urlencode([("room", room) for room in rooms])
    position = None  # EPOCH:OFFSET of the last message received, which is the position in all rooms
    while True:
        headers = {"accept": "application/x-ndjson"} | ({"last-event-id": position} if position else {})
        try:
            request = urllib.request.Request(url, headers=headers)
            with urllib.request.urlopen(request, timeout=60) as stream:
                epoch = stream.headers["last-event-id"].split(":")[0]
                for line in stream:
                    if not line.endswith(b"\n"):
                        break  # an incomplete line: the next connection receives it again
                    if not line.strip():
                        continue  # a heartbeat
                    frame = json.loads(line)
                    if frame["type"] == "message":
                        position = f"{epoch}:{frame['offset']}"
                    yield frame
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(random.uniform(0, 1))


publish("hello from Python")
for frame in follow():
    if frame["type"] == "message":
        print(f"{frame['room']}: {frame['from']}: {frame.get('text', frame.get('json', '(bytes)'))}", flush=True)
    elif frame["type"] == "gap":
        print(f"{frame['count'] or 'some'} messages are gone", flush=True)
