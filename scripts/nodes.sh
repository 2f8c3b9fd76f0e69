#!/usr/bin/env bash
# Measures one node on SQLite, one on NATS and three on NATS at the same load, all on this machine, and writes
# target/bench/nodes.md. The results depend on the machine.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

have nats-server || die "nats-server is missing: run scripts/setup.sh test"
[ -n "${FANFARE_BIN:-}" ] || scripts/build.sh release
fanfare=${FANFARE_BIN:-target/release/fanfare}
seconds=${SECONDS_EACH:-5}
out=target/bench
mkdir -p "$out"
folder=$(mktemp -d)
nats=
nodes=()
end() { for one in "${nodes[@]}"; do kill "$one" 2>/dev/null && wait "$one" || true; done; nodes=(); }
trap 'end; [ -z "$nats" ] || kill "$nats"; rm -rf "$folder"' EXIT

nats-server -js -a 127.0.0.1 -p -1 -sd "$folder/nats" --ports_file_dir "$folder" >/dev/null 2>&1 &
nats=$!
until nats_url=$(sed -n 's/.*"nats": *\["\([^"]*\)".*/\1/p' "$folder"/*.ports 2>/dev/null) && [ -n "$nats_url" ]; do
  kill -0 "$nats" || die "nats-server did not start"
done

# start_node STORE: starts another node and adds its URL to urls.
start_node() {
  local name="$folder/node-$RANDOM-${#nodes[@]}"
  "$fanfare" serve --listen 127.0.0.1:0 --ops-listen off --site target/site --data "$name" --log-level warn \
    --store "$1" --message-rate 0 --connect-rate 0 --max-connections-per-ip 100000 >"$name.said" &
  nodes+=($!)
  until grep -q '^listening on' "$name.said"; do kill -0 "${nodes[-1]}" || die "a node did not start"; done
  urls+=("$(sed -n 's/^listening on //p' "$name.said")")
}

# ticks PROCESS...: prints the CPU time that the processes have used, in hundredths of a second.
ticks() { local sum=0 one; for one in "$@"; do sum=$((sum + $(cut -d' ' -f14,15 "/proc/$one/stat" | tr ' ' '+'))); done; echo "$sum"; }

echo "| nodes | subscribers | load, messages per second | deliveries | lost | p50 ms | p99 ms | CPU of the nodes per delivery, µs | CPU of NATS per message, µs |" >"$out/nodes.md"
echo "|---|---|---|---|---|---|---|---|---|" >>"$out/nodes.md"
# measure NAME SUBSCRIBERS: runs the standard loads on the running nodes.
measure() {
  local name=$1 subscribers=$2 load before of_nats figures used more=()
  for url in "${urls[@]:1}"; do more+=(--node "$url"); done
  for load in "--rate 100" "--rate 1000" "--rate 4000 --burst 40"; do
    say "$name: $subscribers subscribers, $load"
    before=$(ticks "${nodes[@]}") of_nats=$(ticks "$nats")
    figures=$("$fanfare" bench --url "${urls[0]}" "${more[@]}" --connections "$subscribers" --size 64 --seconds "$seconds" $load --json) ||
      die "messages were lost or out of order"
    used="$(($(ticks "${nodes[@]}") - before)) $(($(ticks "$nats") - of_nats))"
    node -e '
      const [figures, name, subscribers, load, used] = process.argv.slice(1);
      const f = JSON.parse(figures), [nodes, nats] = used.split(" ").map((ticks) => ticks * 10000);
      const row = [name, subscribers, load.replaceAll("--", ""), f.delivered, f.lost, f.p50_ms.toFixed(2), f.p99_ms.toFixed(2),
        (nodes / f.delivered).toFixed(2), ((nats * subscribers) / f.delivered).toFixed(0)];
      console.log(`| ${row.join(" | ")} |`);' "$figures" "$name" "$subscribers" "$load" "$used" >>"$out/nodes.md"
  done
}

# nodes_of COUNT STORE: stops the running nodes and starts COUNT new ones.
nodes_of() {
  end
  urls=()
  for _ in $(seq "$1"); do start_node "$2"; done
}

nodes_of 1 sqlite:bench.db
measure "1, SQLite" 300
nodes_of 1 "$nats_url"
measure "1, NATS" 300
nodes_of 3 "$nats_url"
measure "3, NATS" 300
measure "3, NATS" 900
cat "$out/nodes.md"
