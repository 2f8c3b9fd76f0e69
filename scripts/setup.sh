#!/usr/bin/env bash
# Installs missing tools: to build Fanfare (`setup.sh build`), to test it (`setup.sh test`), to build its Debian package
# (`setup.sh deb`) and its documentation (`setup.sh docs`).
# Each step prints what it installs and why, is skipped if it is not needed, and can be interrupted and repeated.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

purpose=${1:-build}
case $purpose in build | test | deb | docs) ;; *) die "setup.sh: unknown argument '$purpose'; use 'build', 'test', 'deb' or 'docs'" ;; esac

is_debian_root() { [ "$(id -u)" = 0 ] && have apt-get; }

# apt_install REASON PACKAGE...: installs packages with apt, or exits with an error that names them.
apt_install() {
  local why=$1; shift
  is_debian_root || die "missing: $why. Install it, or run this as root on Debian (apt-get install $*)"
  say "Installing $* with apt ($why; usually less than a minute)"
  local apt=(apt-get -o DPkg::Lock::Timeout=300 -qq)
  if [ -z "${apt_lists_fresh:-}" ]; then
    "${apt[@]}" update >/dev/null || die "apt-get update failed: Debian's packages cannot be reached"
    apt_lists_fresh=1
  fi
  DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends "$@" >/dev/null </dev/null ||
    die "apt-get could not install: $*"
}

# apt_install_stopped REASON PACKAGE...: the same for packages with a service, which is not started.
apt_install_stopped() {
  local policy=/usr/sbin/policy-rc.d
  if [ -e "$policy" ] || ! is_debian_root; then apt_install "$@"; return; fi
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  apt_install "$@"
  rm -f "$policy"
  trap - EXIT
}

# Builds the standard library for wasm from Debian's sources, because Debian packages the compiler without it.
# It runs in a subshell, so that its trap ends with it.
build_debian_wasm_std() (
  lib=/usr/lib/rustlib/$WASM_TARGET/lib
  if compgen -G "$lib/libstd-*.rlib" >/dev/null; then exit 0; fi
  say "Building Rust's standard library for wasm from Debian's sources (about a minute)"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work/src" "$work/out" "$(dirname "$lib")"
  : >"$work/src/lib.rs"
  printf '[package]\nname = "wasm_std"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[profile.release]\npanic = "abort"\n' >"$work/Cargo.toml"
  # The libraries must contain bitcode for link-time optimisation of the page.
  (cd "$work" && env -u RUSTUP_TOOLCHAIN -u CARGO_TARGET_DIR RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc RUSTFLAGS=-Cembed-bitcode=yes \
    /usr/bin/cargo build --quiet --release --target "$WASM_TARGET" -Zbuild-std=std,panic_abort,panic_unwind) ||
    die "building the standard library for wasm failed"
  find "$work/target/$WASM_TARGET/release/deps" -name '*.rlib' ! -name 'libwasm_std-*' -exec cp {} "$work/out/" \;
  rm -rf "$lib" "$lib.new"
  cp -r "$work/out" "$lib.new"
  mv "$lib.new" "$lib"
)

install_debian_rust() {
  local llvm linker=/usr/lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld
  have /usr/bin/rustc && /usr/bin/rustc -V | grep -q "^rustc 1\.$MIN_RUST_MINOR\." && [ -d /usr/lib/rustlib/src/rust ] && [ -x /usr/bin/rustfmt ] ||
    apt_install "Debian's Rust, because rustup cannot install one" rustc-web cargo-web rust-web-src rustfmt-web
  llvm=$(/usr/bin/rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
  [ -x "/usr/bin/lld-$llvm" ] || apt_install "the linker for wasm" "lld-$llvm"
  if [ ! -e "$linker" ]; then
    mkdir -p "$(dirname "$linker")"
    ln -sfn "/usr/bin/lld-$llvm" "$linker"
  fi
  build_debian_wasm_std
  if have rustup && ! rustup toolchain list | grep -q '^debian'; then
    say "Adding Debian's Rust to rustup as 'debian' (a second)"
    rustup toolchain link debian /usr
  fi
}

install_rust() {
  choose_toolchain && return 0
  if have rustup; then
    say "Adding Rust's wasm target (the page is compiled to wasm; usually some seconds)"
    if timeout 300 rustup target add "$WASM_TARGET" >/dev/null 2>&1 && choose_toolchain; then return 0; fi
    say "Installing Rust 1.$MIN_RUST_MINOR with rustup (the active one is older or lacks wasm; usually a minute)"
    if timeout 600 rustup toolchain install "1.$MIN_RUST_MINOR.0" --profile minimal -c clippy -c rustfmt -t "$WASM_TARGET" >/dev/null 2>&1 &&
      choose_toolchain; then return 0; fi
  fi
  is_debian_root || die "no Rust that can build wasm: install Rust 1.$MIN_RUST_MINOR or later with rustup, then 'rustup target add $WASM_TARGET'"
  install_debian_rust
  choose_toolchain || die "Debian's Rust is installed but still cannot build for wasm"
}

# Makes a plain `cargo leptos watch` in this folder use the same toolchain as the scripts.
override_toolchain() {
  have rustup || return 0
  [ "$(env -u RUSTUP_TOOLCHAIN rustup show active-toolchain 2>/dev/null | cut -d' ' -f1)" = "$RUSTUP_TOOLCHAIN" ] && return 0
  say "Setting rustup's toolchain for this folder to $RUSTUP_TOOLCHAIN (a second)"
  rustup override set "$RUSTUP_TOOLCHAIN" >/dev/null 2>&1 || die "rustup could not set the folder's toolchain to $RUSTUP_TOOLCHAIN"
}

# install_tool CRATE VERSION_COMMAND VERSION USUAL_TIME CARGO_INSTALL_ARGS...: USUAL_TIME is that of a build from source.
install_tool() {
  local what=$1 probe=$2 version=$3 usual=$4; shift 4
  $probe 2>/dev/null | grep -qF " $version" && return 0
  if cargo binstall -V >/dev/null 2>&1; then
    say "Installing $what $version (prebuilt, by cargo binstall; usually some seconds)"
    timeout 300 cargo binstall --no-confirm --disable-strategies compile "$what@$version" >/dev/null 2>&1 && return 0
  fi
  say "Installing $what $version from source (once; usually takes $usual with two processors)"
  # Without rustup, Cargo's folder is not on PATH for a plain `cargo leptos watch`.
  if ! have rustup && [ -w /usr/local/bin ]; then export CARGO_INSTALL_ROOT=/usr/local; fi
  # Link-time optimisation would take a quarter of an hour and does not make these tools faster.
  CARGO_TARGET_DIR=$(mktemp -d) CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=256 CARGO_PROFILE_RELEASE_STRIP=symbols \
    bash -c 'trap "rm -rf \"$CARGO_TARGET_DIR\"" EXIT; cargo install --quiet --force "$@"' _ "$what@$version" "$@" ||
    die "building $what $version failed"
}

# Playwright needs a newer Node.js than Debian bookworm has; npm can install it as a package.
install_node() {
  local major
  have npm || apt_install "Node.js, which runs wasm-opt and the browser tests" nodejs npm
  major=$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)
  [ "$major" -ge "$MIN_NODE_MAJOR" ] && return 0
  say "Installing Node.js $MIN_NODE_MAJOR with npm (the one here is $major; usually less than a minute)"
  npm install --global --prefix /usr/local --no-audit --no-fund --loglevel=error "node@$MIN_NODE_MAJOR" >/dev/null ||
    die "Node.js $MIN_NODE_MAJOR or later is needed, and npm could not install it"
  hash -r
}

# npm_install FOLDER REASON: installs the locked npm packages of FOLDER.
npm_install() {
  local lock=$1/package-lock.json done_mark=$1/node_modules/.fanfare-lock
  cmp -s "$lock" "$done_mark" && return 0
  say "Installing npm packages in ${1#"$ROOT"/} ($2; usually less than a minute)"
  # Playwright uses Debian's Chromium and does not need its own browsers.
  (cd "$1" && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --no-audit --no-fund --loglevel=error >/dev/null) ||
    die "npm ci failed in $1"
  cp "$lock" "$done_mark"
}

# pip_install PACKAGE REASON: installs a Python package into a folder of its own; fails if pip cannot.
pip_install() {
  [ -d "target/python/$1" ] && return 0
  say "Installing $1 from PyPI ($2; usually some seconds)"
  rm -rf target/python/new
  python3 -m pip install --quiet --target target/python/new "$1" >/dev/null 2>&1 && mv target/python/new "target/python/$1"
}

install_browser() {
  if [ ! -x /usr/bin/chromium ] || [ ! -x /usr/bin/chromedriver ]; then
    apt_install "Chromium and its driver, for the browser tests" chromium chromium-driver
  fi
}

have cc || apt_install "a C compiler, which Rust needs for linking" gcc libc6-dev
install_rust
override_toolchain
CARGO_PROFILE_RELEASE_OPT_LEVEL=0 install_tool cargo-leptos "cargo leptos --version" "$CARGO_LEPTOS_VERSION" "4 minutes" --locked --features no_downloads
CARGO_PROFILE_RELEASE_OPT_LEVEL=1 install_tool wasm-bindgen-cli "wasm-bindgen --version" "$WASM_BINDGEN_VERSION" "a minute"
install_node
npm_install "$ROOT" "wasm-opt, which makes the page smaller"
if [ "$purpose" = test ]; then
  # Only prebuilt: building it takes many minutes, and the tests work without it.
  if ! cargo deny -V >/dev/null 2>&1 && cargo binstall -V >/dev/null 2>&1; then
    say "Installing cargo-deny $CARGO_DENY_VERSION (prebuilt, by cargo binstall; usually some seconds)"
    timeout 300 cargo binstall --no-confirm --disable-strategies compile "cargo-deny@$CARGO_DENY_VERSION" >/dev/null 2>&1 ||
      say "no prebuilt cargo-deny found: the libraries will not be checked against the RustSec database"
  fi
  have nats-server || apt_install "NATS, for the tests with several nodes" nats-server
  have c++ || apt_install "a C++ compiler, for the fuzzer" g++
  npm_install "$ROOT/end2end/browser" "Playwright, for the browser tests"
  npm_install "$ROOT/end2end/streams" "the conformance suite and the client of Durable Streams"
  npm_install "$ROOT/end2end/identity" "an OpenID provider, for the tests of its tokens"
  npm_install "$ROOT/end2end/hooks" "the library that checks the signatures of hooks"
  pip_install "$STREAMS_CLIENT" "the Python client of Durable Streams" || say "pip cannot install it: that client will not be tested"
  pip_install "$PYTHON_HTTP" "for the tests of our Python client" || say "pip cannot install it: that client will not be tested"
  pip_install "$WEBHOOKS_LIBRARY" "it checks the signatures of hooks" || die "pip cannot install $WEBHOOKS_LIBRARY, which the tests of hooks need"
  install_browser
  if [ ! -x /usr/sbin/nginx ] || [ ! -x /usr/sbin/haproxy ] || ! have caddy; then
    apt_install_stopped "nginx, Caddy and HAProxy, for the tests behind a proxy" nginx-light caddy haproxy
  fi
  have systemd-socket-activate || apt_install_stopped "systemd, for the tests of socket activation" systemd
  have prometheus || apt_install_stopped "Prometheus, for the tests of the alerts and the dashboard" prometheus
  have go || apt_install "Go, for the test of the Go example in the documentation" golang-go
fi
if [ "$purpose" = deb ]; then
  CARGO_PROFILE_RELEASE_OPT_LEVEL=0 install_tool cargo-deb "cargo deb --version" "$CARGO_DEB_VERSION" "some minutes" --locked
fi
if [ "$purpose" = docs ]; then
  # mdbook prints v0.5.4, other tools print 0.5.4.
  mdbook_version() { mdbook --version | tr v ' '; }
  CARGO_PROFILE_RELEASE_OPT_LEVEL=0 install_tool mdbook mdbook_version "$MDBOOK_VERSION" "some minutes" --locked --no-default-features --features search
fi
