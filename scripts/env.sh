# Sourced by every script: pins the versions of the tools, finds a Rust toolchain that can build both the server and the
# wasm page, and puts the tools on PATH. It installs nothing; setup.sh does that.

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"

# The only place for each version. wasm-bindgen-cli must have exactly the version of the crate, so it is read from Cargo.toml.
CARGO_LEPTOS_VERSION=0.3.11
CARGO_DENY_VERSION=0.20.2
CARGO_DEB_VERSION=3.8.0
MDBOOK_VERSION=0.5.4
STREAMS_CLIENT=durable-streams==0.1.0 # from PyPI
WEBHOOKS_LIBRARY=standardwebhooks==1.1.0 # from PyPI
PYTHON_HTTP=httpx==0.29.0 # from PyPI
MIN_RUST_MINOR=96 # cargo-leptos 0.3.11 is built with its own lock file, which needs rustc 1.96
MIN_NODE_MAJOR=20  # required by Playwright
WASM_TARGET=wasm32-unknown-unknown
WASM_BINDGEN_VERSION=$(sed -n 's/^wasm-bindgen = .*"=\([0-9.]*\)".*/\1/p' Cargo.toml)

# Retry slow registries more often.
export CARGO_NET_RETRY=${CARGO_NET_RETRY:-10}

CARGO_HOME=${CARGO_HOME:-$HOME/.cargo}
case ":$PATH:" in *":$CARGO_HOME/bin:"*) ;; *) PATH="$CARGO_HOME/bin:$PATH" ;; esac
export PATH

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
die() { printf '\033[1;31merror:\033[0m %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# builds_wasm TOOLCHAIN: succeeds if it is new enough and has the standard library for wasm ("" means the active toolchain).
builds_wasm() {
  local version dir
  version=$(RUSTUP_TOOLCHAIN=$1 rustc -V 2>/dev/null) || return 1
  version=${version#rustc 1.}
  [ "${version%%.*}" -ge "$MIN_RUST_MINOR" ] || return 1
  dir=$(RUSTUP_TOOLCHAIN=$1 rustc --print target-libdir --target "$WASM_TARGET" 2>/dev/null) || return 1
  compgen -G "$dir/libstd-*.rlib" >/dev/null
}

# choose_toolchain: sets RUSTUP_TOOLCHAIN to the first toolchain that can build wasm: the one it already names, the active one,
# the pinned release, Debian's. Without rustup the variable has no effect, and PATH decides.
choose_toolchain() {
  local name
  if ! have rustup; then builds_wasm ""; return; fi
  for name in "${RUSTUP_TOOLCHAIN:-}" "$(rustup show active-toolchain 2>/dev/null | cut -d' ' -f1)" "1.$MIN_RUST_MINOR.0" debian; do
    if [ -n "$name" ] && builds_wasm "$name"; then
      export RUSTUP_TOOLCHAIN=$name
      return 0
    fi
  done
  return 1
}
