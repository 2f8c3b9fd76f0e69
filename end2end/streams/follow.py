"""Prints the first messages of a JSON stream with the Python client of the protocol: follow.py URL COUNT."""

import itertools
import sys
import time

import httpx
from durable_streams import DurableStreamError, stream

url, count = sys.argv[1], int(sys.argv[2])
offset = "-1"
while count > 0:
    try:
        with stream(url, offset=offset, live="long-poll") as reader:
            try:
                for number in itertools.islice(reader.iter_json(), count):
                    print(number, flush=True)
                    count -= 1
            finally:
                offset = reader.offset
    except (httpx.HTTPError, DurableStreamError):
        # The stream does not exist yet, or the server is gone: the reader continues at its offset.
        time.sleep(0.05)
