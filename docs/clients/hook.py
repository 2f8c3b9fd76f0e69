"""Receives a hook of Fanfare, checks each signature, and prints every message once.
Usage: hook.py PORT SECRET, with the library standardwebhooks (pip install standardwebhooks)"""
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

port, webhook = int(sys.argv[1]), Webhook(sys.argv[2])
seen = {"epoch": None, "offset": 0}  # a real receiver stores this together with what it makes of the messages


def process(frame):
    if frame["type"] == "message":
        print(f"{frame['room']}: {frame['from']}: {frame.get('text', frame.get('json', '(bytes)'))}", flush=True)
    elif frame["type"] == "gap":
        print(f"{frame['count'] or 'some'} messages of {frame['room']} are gone", flush=True)


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            webhook.verify(body.decode(), {name.lower(): value for name, value in self.headers.items()})
            self.process_all(json.loads(body))
            self.send_response(204)
        except WebhookVerificationError:
            self.send_response(401)
        self.send_header("content-length", "0")
        self.end_headers()

    def process_all(self, frames):
        epoch = self.headers["webhook-id"].split(":")[0]
        if epoch != seen["epoch"]:
            seen.update(epoch=epoch, offset=0)
        for frame in frames:
            if frame.get("offset", sys.maxsize) <= seen["offset"]:
                continue  # delivered before: the answer to it was lost
            process(frame)
            seen["offset"] = frame.get("offset", seen["offset"])

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", port), Receiver).serve_forever()
