#!/usr/bin/env bash
# Rebuilds and reloads on every change: `cargo leptos watch` with its tools in place.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/setup.sh build
choose_toolchain || die "no Rust toolchain that can build wasm, though the set-up went through"
exec cargo leptos watch "$@"
