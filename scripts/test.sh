#!/usr/bin/env bash
# Runs every check, cheapest first, and stops at the first one that fails.
# `test.sh check` runs only what takes seconds: format, clippy and the unit tests. `test.sh long` adds what takes minutes.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

mode=${1:-all}
case $mode in all | check | long) ;; *) die "test.sh takes 'check', 'long' or nothing, not '$mode'" ;; esac

scripts/setup.sh "$([ "$mode" = check ] && echo build || echo test)"
choose_toolchain || die "no Rust toolchain that can build wasm, though the set-up went through"
began=$SECONDS

# promise WORDS COMMAND...
promise() {
  local words=$1 start=$SECONDS; shift
  say "$words"
  "$@" || die "broken: $words"
  say "holds ($((SECONDS - start)) s): $words"
}

# cargo_of TOOL: Cargo of a toolchain that has it. Debian's Rust comes without clippy.
cargo_of() {
  local tool=$1 name
  cargo "$tool" -V >/dev/null 2>&1 && { echo cargo; return; }
  have rustup || return 1
  for name in $(rustup toolchain list | cut -d' ' -f1 | grep -v '^nightly'); do
    cargo "+$name" "$tool" -V >/dev/null 2>&1 && { echo "cargo +$name"; return; }
  done
  return 1
}

lint() {
  local cargo=$1; shift
  # Another compiler has a folder of its own, or the two would rebuild each other's work.
  if [ "$cargo" != cargo ]; then export CARGO_TARGET_DIR=target/lint; fi
  $cargo clippy --quiet --locked --features ssr --all-targets -- -D warnings &&
    $cargo clippy --quiet --locked --features hydrate --lib -- -D warnings
}

browser_types() {
  (cd end2end/browser && npx tsc --noEmit)
}

browser_tests() {
  (cd end2end/browser && npx playwright test)
}

promise "the code is formatted" cargo fmt --check
if [ "$mode" != check ]; then
  promise "the browser's tests are typed" browser_types
fi
if clippy=$(cargo_of clippy); then
  promise "clippy finds nothing, neither in the server nor in the page" lint "$clippy"
else
  say "skipped: no toolchain here has clippy (Debian's Rust does not package it)"
fi
if [ "$mode" = check ]; then
  promise "the units do what they promise" cargo test --quiet --locked --features ssr --lib
  exit
fi
if cargo deny -V >/dev/null 2>&1; then
  promise "libraries have the licences and sources that are allowed" cargo deny --offline --locked check licenses bans sources
  if timeout 120 cargo deny --locked fetch db >/dev/null 2>&1; then
    promise "no library has a known vulnerability" cargo deny --locked check --disable-fetch advisories
  else
    say "skipped: RustSec's database of vulnerabilities cannot be reached"
  fi
else
  say "skipped: cargo-deny is not installed, so libraries are not compared with RustSec's database (the Rust tests check licences and sources)"
fi
promise "the documentation builds without warnings" \
  env RUSTDOCFLAGS="-D warnings" cargo doc --quiet --locked --no-deps --features ssr --document-private-items
promise "the book builds" scripts/docs.sh
promise "server and page build" scripts/build.sh dev
promise "the server keeps its promises (Rust tests)" cargo test --quiet --locked --features ssr
if [ "$mode" = long ]; then
  promise "it does so for thousands of clients too (long Rust tests)" cargo test --quiet --locked --features ssr --test server -- --ignored --skip attack
fi
promise "no input upsets the decoders or the session (fuzzing)" scripts/fuzz.sh "$([ "$mode" = long ] && echo 600 || echo 5)"
promise "the page keeps its promises (Chromium)" browser_tests
say "all promises hold, after $((SECONDS - began)) s"
