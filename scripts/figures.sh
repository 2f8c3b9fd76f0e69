#!/usr/bin/env bash
# Takes the page's own figures: what it weighs, how soon it is there on a slow machine, how it bears a flood and
# a long log, and what memory it takes (FANFARE_MEMORY_MINUTES=10 for longer than a minute). Builds what is
# released. What comes out depends on the machine.
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
printf '%8d in all\n' "$total"
(cd end2end/browser && FANFARE_BIN="$ROOT/target/release/fanfare" npx --no-install playwright test --config figures.config.ts)
