#!/usr/bin/env bash
# Runs all checks, the fastest first, and stops at the first failure.
# `test.sh check` runs only the fast ones: format, clippy and unit tests. `test.sh long` adds those that take minutes.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

mode=${1:-all}
case $mode in all | check | long) ;; *) die "test.sh: unknown argument '$mode'; use 'check', 'long' or none" ;; esac

scripts/setup.sh "$([ "$mode" = check ] && echo build || echo test)"
choose_toolchain || die "no Rust toolchain can build wasm, although scripts/setup.sh succeeded"
began=$SECONDS

# check NAME COMMAND...: runs the command, and exits if it fails.
check() {
  local name=$1 start=$SECONDS; shift
  say "$name"
  "$@" || die "failed: $name"
  say "passed ($((SECONDS - start)) s): $name"
}

# cargo_of TOOL: prints the cargo command of a toolchain that has TOOL. Debian's Rust has no clippy.
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
  # Another compiler gets its own target folder; otherwise each would rebuild the other's output.
  if [ "$cargo" != cargo ]; then export CARGO_TARGET_DIR=target/lint; fi
  $cargo clippy --quiet --locked --features ssr --all-targets -- -D warnings &&
    $cargo clippy --quiet --locked --features hydrate --lib -- -D warnings
}

browser_types() {
  (cd end2end/browser && npx tsc --noEmit)
}

# Most end-to-end tests wait for a timer or another process, so three for each processor keep it busy.
rust_tests() {
  RUST_TEST_THREADS=$((3 * $(getconf _NPROCESSORS_ONLN))) cargo test --quiet --locked --features ssr
}

stream_tests() {
  (cd end2end/streams && FANFARE_PYTHONPATH="$ROOT/target/python/$STREAMS_CLIENT" npx vitest run)
}

python_tests() {
  PYTHONPATH=packages/python-client/src:target/python/$PYTHON_HTTP python3 -m unittest discover -s packages/python-client/tests
}

browser_tests() {
  (cd end2end/browser && npx playwright test)
}

check "format" cargo fmt --check
if [ "$mode" != check ]; then
  check "types of the browser tests" browser_types
fi
if clippy=$(cargo_of clippy); then
  check "clippy, server and page" lint "$clippy"
else
  say "skipped: no installed toolchain has clippy (Debian's Rust has none)"
fi
if [ "$mode" = check ]; then
  check "unit tests" cargo test --quiet --locked --features ssr --lib
  exit
fi
if cargo deny -V >/dev/null 2>&1; then
  check "licences and sources of the libraries" cargo deny --offline --locked check licenses bans sources
  if timeout 120 cargo deny --locked fetch db >/dev/null 2>&1; then
    check "known vulnerabilities of the libraries" cargo deny --locked check --disable-fetch advisories
  else
    say "skipped: the RustSec database of vulnerabilities cannot be reached"
  fi
else
  say "skipped: cargo-deny is not installed, so the libraries are not checked against the RustSec database (the Rust tests check licences and sources)"
fi
check "the code documentation builds without warnings" \
  env RUSTDOCFLAGS="-D warnings" cargo doc --quiet --locked --no-deps --features ssr --document-private-items
check "the book builds" scripts/docs.sh
check "the server and the page build" scripts/build.sh dev
check "Rust tests" rust_tests
if [ "$mode" = long ]; then
  check "long Rust tests, with thousands of clients" cargo test --quiet --locked --features ssr --test server -- --ignored --skip attack
fi
check "fuzzing of the decoders and the session" scripts/fuzz.sh "$([ "$mode" = long ] && echo 600 || echo 5)"
check "conformance and clients of Durable Streams" stream_tests
if [ -d "target/python/$PYTHON_HTTP" ]; then
  check "the Python client, while the server is killed" python_tests
fi
check "browser tests (Chromium)" browser_tests
say "all checks passed in $((SECONDS - began)) s"
