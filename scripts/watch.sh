#!/usr/bin/env bash
# Rebuilds and reloads on every change, with `cargo leptos watch`. Installs missing tools first.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/setup.sh build
choose_toolchain || die "no Rust toolchain can build wasm, although scripts/setup.sh succeeded"
exec cargo leptos watch "$@"
