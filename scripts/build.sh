#!/usr/bin/env bash
# Builds the server and the page: `build.sh release` for use, `build.sh dev` for tests. Does nothing if nothing has changed.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

profile=${1:-release}
case $profile in
  release) binary=target/release/fanfare; flags=(--release --precompress) ;;
  dev) binary=target/debug/fanfare; flags=() ;;
  *) die "build.sh: unknown argument '$profile'; use 'release' or 'dev'" ;;
esac
scripts/setup.sh build
choose_toolchain || die "no Rust toolchain can build wasm, although scripts/setup.sh succeeded"

# Both profiles write the page to target/site. target/site-of names the profile of the page, and exists only if it is complete.
mark=target/built-$profile
is_fresh() {
  [ "$(cat target/site-of 2>/dev/null)" = "$profile" ] && [ -e "$mark" ] && [ -x "$binary" ] &&
    [ -s target/site/pkg/fanfare.wasm ] && [ ! target/site/pkg/fanfare.wasm -nt target/site-of ] &&
    [ -z "$(find src style public .cargo Cargo.toml Cargo.lock package-lock.json -newer "$mark" -print -quit)" ]
}
if is_fresh; then exit 0; fi

say "Building the server and the page ($profile; the first time usually takes 9 minutes with two processors, later ones less)"
rm -f target/site-of
mkdir -p target
# Set before the build, so a file that is saved during the build counts as newer.
touch "$mark"
cargo leptos build "${flags[@]}" || { rm -f "$mark"; die "the build failed; see the compiler output above"; }
printf '%s\n' "$profile" >target/site-of
