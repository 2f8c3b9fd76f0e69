"""Says hello in a room and follows it from its beginning. Only what Python brings. client.py URL ROOM"""
import http.client, json, random, sys, time, urllib.error, urllib.request, uuid

room = f"{sys.argv[1]}/api/v1/rooms/{sys.argv[2]}"


def say(text):
    """Returns once it is stored; its key makes that once, however often it is tried."""
    body = json.dumps({"text": text, "from": "python", "key": str(uuid.uuid4())}).encode()
    request = urllib.request.Request(f"{room}/messages", body, {"content-type": "application/json"})
    while True:
        try:
            return json.load(urllib.request.urlopen(request, timeout=30))
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code != 429:
                raise
            time.sleep(random.uniform(0, 1))


def follow():
    """Every message once and in order, over any number of broken connections."""
    seen = None  # EPOCH:OFFSET
    while True:
        headers = {"accept": "application/x-ndjson"} | ({"last-event-id": seen} if seen else {})
        try:
            request = urllib.request.Request(f"{room}/stream?after=0", headers=headers)
            with urllib.request.urlopen(request, timeout=60) as stream:
                epoch = stream.headers["last-event-id"].split(":")[0]
                for line in stream:
                    if not line.endswith(b"\n"):
                        break  # the connection broke within it: the next one begins before it
                    if not line.strip():
                        continue  # a sign of life
                    frame = json.loads(line)
                    if frame["type"] == "message":
                        seen = f"{epoch}:{frame['offset']}"
                    yield frame
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(random.uniform(0, 1))


say("hello from Python")
for frame in follow():
    if frame["type"] == "message":
        print(f"{frame['from']}: {frame.get('text', '(bytes)')}", flush=True)
    elif frame["type"] == "gap":
        print(f"{frame['count'] or 'some'} messages are gone", flush=True)
