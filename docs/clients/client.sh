#!/usr/bin/env bash
# Says hello in a room and follows it from its beginning: curl alone. client.sh URL ROOM
# (`fanfare send` and `fanfare listen` do the same, and more.)
set -eu
room=$1/api/v1/rooms/$2

# Stored once, however often it is tried: by the key.
curl --silent --show-error --fail --output /dev/null --retry 100 --retry-all-errors --retry-max-time 60 \
  --header "idempotency-key: $$-$RANDOM-$RANDOM" --data 'hello from a shell' "$room/messages"

seen=
while true; do
  # An event is `id: EPOCH:OFFSET`, `data: JSON` and an empty line, and counts once it is whole: the next try begins
  # after the last one that was printed.
  id=$seen data=
  while IFS= read -r line; do
    case $line in
      id:*) id=${line#id: } ;;
      data:*) data=${line#data: } ;;
      '')
        if [ -n "$data" ]; then printf '%s\n' "$data"; fi
        seen=$id data=
        ;;
    esac
  done < <(curl --silent --no-buffer ${seen:+--header "last-event-id: $seen"} "$room/stream?after=0")
  sleep 1
done
