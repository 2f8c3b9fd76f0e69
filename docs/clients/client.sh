#!/usr/bin/env bash
# Publishes a message to a room and prints every message of that room and others, or of all rooms that match a pattern,
# with curl. Usage: client.sh URL ROOM [ROOM or PATTERN...]
# (`fanfare send` and `fanfare listen` do the same, and more.)
set -eu
api=$1/api/v1 room=${2//\//%2F}
shift
stream="$api/stream?after=0$(printf '&room=%s' "$@")"

# The key makes the server store the message once, after any number of attempts.
curl --silent --show-error --fail --output /dev/null --retry 100 --retry-all-errors --retry-max-time 60 \
  --header "idempotency-key: $$-$RANDOM-$RANDOM" --data 'hello from a shell' "$api/rooms/$room/messages"

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
  done < <(curl --silent --no-buffer ${position:+--header "last-event-id: $position"} "$stream")
  sleep 1
done
