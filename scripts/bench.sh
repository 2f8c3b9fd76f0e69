#!/usr/bin/env bash
# Starts a server, measures it at the standard loads, and writes target/bench/table.md and latency.svg.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/build.sh release
out=target/bench
mkdir -p "$out"
: >"$out/loads.jsonl"
started=$(mktemp)
data=$(mktemp -d)
target/release/fanfare serve --listen 127.0.0.1:0 --ops-listen off --site target/site --data "$data" --log-level warn \
  --message-rate 0 --connect-rate 0 --max-connections-per-ip 100000 >"$started" &
server=$!
trap 'kill "$server"; rm -rf "$started" "$data"' EXIT
until grep -q '^listening on' "$started"; do kill -0 "$server" || die "the server did not start"; done
url=$(sed -n 's/^listening on //p' "$started")
for dialect in plain fanfare.v1; do
  for load in "--rate 100" "--rate 1000" "--rate 4000 --burst 40"; do
    say "500 subscribers, 64 bytes, $dialect, $load"
    target/release/fanfare bench --url "$url" --connections 500 --size 64 --seconds 10 --dialect "$dialect" $load --json >>"$out/loads.jsonl" ||
      die "messages were lost or out of order"
  done
done
node scripts/bench.mjs "$out"
cat "$out/table.md"
