#!/usr/bin/env bash
# Measures the release build of the page: download size, time to first content on a slow machine, many messages at once,
# a long log, and memory (for one minute; FANFARE_MEMORY_MINUTES=10 for ten). The results depend on the machine.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/setup.sh test
scripts/build.sh release
say "What a browser downloads, in bytes (brotli)"
total=0
for file in fanfare.wasm fanfare.js fanfare.css; do
  bytes=$(wc -c <"target/site/pkg/$file.br")
  total=$((total + bytes))
  printf '%8d %s\n' "$bytes" "$file"
done
printf '%8d in total\n' "$total"
(cd end2end/browser && FANFARE_BIN="$ROOT/target/release/fanfare" npx --no-install playwright test --config figures.config.ts)
