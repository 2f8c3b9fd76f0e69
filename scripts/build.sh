#!/usr/bin/env bash
# Builds server and page: `build.sh release` for use, `build.sh dev` for tests. Skipped if nothing changed.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

profile=${1:-release}
case $profile in
  release) binary=target/release/fanfare; flags=(--release --precompress) ;;
  dev) binary=target/debug/fanfare; flags=() ;;
  *) die "build.sh takes 'release' or 'dev', not '$profile'" ;;
esac
scripts/setup.sh build
choose_toolchain || die "no Rust toolchain that can build wasm, though the set-up went through"

# Both profiles put the page in target/site; target/site-of says whose it is, and that all of it is there.
mark=target/built-$profile
is_fresh() {
  [ "$(cat target/site-of 2>/dev/null)" = "$profile" ] && [ -e "$mark" ] && [ -x "$binary" ] &&
    [ -s target/site/pkg/fanfare.wasm ] && [ ! target/site/pkg/fanfare.wasm -nt target/site-of ] &&
    [ -z "$(find src style public .cargo Cargo.toml Cargo.lock package-lock.json -newer "$mark" -print -quit)" ]
}
if is_fresh; then exit 0; fi

say "Building the server and the page ($profile)"
rm -f target/site-of
mkdir -p target
# From before the build: a file saved while it runs counts as newer than it.
touch "$mark"
cargo leptos build "${flags[@]}" || { rm -f "$mark"; die "the build failed; what the compiler said is above"; }
printf '%s\n' "$profile" >target/site-of
