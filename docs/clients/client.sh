#!/usr/bin/env bash
# Publishes a message to a room and prints every message of the room, with curl. Usage: client.sh URL ROOM
# (`fanfare send` and `fanfare listen` do the same, and more.)
set -eu
room=$1/api/v1/rooms/$2

# The key makes the server store the message once, after any number of attempts.
curl --silent --show-error --fail --output /dev/null --retry 100 --retry-all-errors --retry-max-time 60 \
  --header "idempotency-key: $$-$RANDOM-$RANDOM" --data 'hello from a shell' "$room/messages"

position=
while true; do
  # An event is `id: EPOCH:OFFSET`, `data: JSON` and an empty line. The next connection resumes after the last complete
  # event.
  id=$position data=
  while IFS= read -r line; do
    case $line in
      id:*) id=${line#id: } ;;
      data:*) data=${line#data: } ;;
      '')
        if [ -n "$data" ]; then printf '%s\n' "$data"; fi
        position=$id data=
        ;;
    esac
  done < <(curl --silent --no-buffer ${position:+--header "last-event-id: $position"} "$room/stream?after=0")
  sleep 1
done
