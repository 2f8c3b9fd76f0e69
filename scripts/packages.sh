#!/usr/bin/env bash
# Builds all packages into dist/, and tries each: `packages.sh`. It builds dist/ for release first.
# `packages.sh PROGRAM SITE OUT` makes the packages, except that of Debian, from a program and a site that are built already.
#
# Nothing is published: docs/src/releasing.md has the commands for that. The version is the one in Cargo.toml.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

case $# in
  0) program=dist/fanfare site=dist/site out=$ROOT/dist ;;
  3) program=$1 site=$2 out=$(realpath -m "$3") ;;
  *) die "packages.sh: wrong arguments; use none, or PROGRAM SITE OUT" ;;
esac
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)

if [ $# = 0 ]; then scripts/dist.sh deb; fi
choose_toolchain || die "no Rust toolchain can build wasm: run scripts/setup.sh build"
have npm || die "npm is missing: run scripts/setup.sh build"
have readelf || die "readelf is missing: install binutils"
python3 -m pip --version >/dev/null 2>&1 || die "pip is missing: install python3-pip and python3-venv"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out/clients"
scripts/pack.sh "$program" "$site" "$work/fanfare"
scripts/share.sh "$work/fanfare" "$work"

# first_message URL FOLDER: fetches the page with its script and wasm, and stores a message. FOLDER gets the answers.
first_message() {
  local file
  curl -sf --max-time 10 -o "$2/page" "$1/" || return 1
  grep -o '/pkg/[^"]*' "$2/page" | sort -u >"$2/files"
  grep -q '\.js$' "$2/files" && grep -q '\.wasm$' "$2/files" || return 1
  while read -r file; do curl -sf --max-time 10 -o "$2/file" "$1$file" || return 1; done <"$2/files"
  curl -sf --max-time 10 -d 'first message' "$1/api/v1/rooms/lobby/messages" | grep -q '"offset":1'
}

# try PROGRAM: fails unless the program starts in an empty folder, serves its page and stores a message.
try() {
  local folder=$work/try log=$work/try/log url process result=0
  rm -rf "$folder"
  mkdir "$folder"
  (cd "$folder" && exec env -i PATH="$PATH" "$1" --listen 127.0.0.1:0 --ops-listen off >"$log" 2>&1) &
  process=$!
  for _ in $(seq 100); do
    url=$(sed -n 's/^listening on //p' "$log")
    [ -n "$url" ] && break
    sleep 0.1
  done
  first_message "$url" "$folder" || result=1
  kill "$process" && wait "$process" || result=1
  [ $result = 0 ] || { cat "$log" >&2; die "$1 does not serve its page and store a message"; }
}

# stamp FOLDER: copies packages/FOLDER with the version and the licence, and prints the copy.
stamp() {
  cp -r "packages/$1" "$work/$1"
  cp LICENSE "$work/$1/"
  sed -i "s/^\(  \"version\": \|version = \)\"0\.0\.0\"/\1\"$version\"/" "$work/$1/package.json" "$work/$1/pyproject.toml" 2>/dev/null || true
  grep -q "\"$version\"" "$work/$1"/p*.* || die "packages/$1 has no version 0.0.0 to replace"
  echo "$work/$1"
}

say "Tarball"
name=fanfare-$version-linux-$(uname -m)
mkdir "$work/$name"
cp -r "$work/fanfare" "$work/share" README.md LICENSE deploy/fanfare.toml "$work/$name/"
tar --create --gzip --file "$out/$name.tar.gz" --directory "$work" --sort name --owner 0 --group 0 --numeric-owner "$name"
mkdir "$work/untarred"
tar --extract --file "$out/$name.tar.gz" --directory "$work/untarred"
try "$work/untarred/$name/fanfare"

say "Wheel, for pip, pipx and uv"
wheel=$(scripts/wheel.py "$work/fanfare" "$version" "$out")
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-index "$wheel"
try "$work/venv/bin/fanfare"

say "npm package"
npm=$(stamp npm)
install -D "$work/fanfare" "$npm/bin/fanfare"
(cd "$npm" && npm pack --silent --pack-destination "$out" >/dev/null)
mkdir "$work/npm-try"
npm install --silent --offline --no-audit --no-fund --prefix "$work/npm-try" "$out/fanfare-$version.tgz" >/dev/null
try "$work/npm-try/node_modules/.bin/fanfare"

say "Client packages"
javascript=$(stamp npm-client)
cp public/fanfare.js public/fanfare.d.ts "$javascript/"
(cd "$javascript" && npm pack --silent --pack-destination "$out/clients" >/dev/null)
npm install --silent --offline --no-audit --no-fund --prefix "$work/npm-try" "$out/clients/fanfare-client-$version.tgz" >/dev/null
(cd "$work/npm-try" && node --input-type=module -e 'import { Fanfare } from "fanfare-client"; if (typeof Fanfare !== "function") process.exit(1)')
python=$(stamp python-client)
"$work/venv/bin/pip" wheel --quiet --no-deps --wheel-dir "$out/clients" "$python"
"$work/venv/bin/pip" install --quiet "$out/clients/fanfare_client-$version-py3-none-any.whl"
FANFARE_PROGRAM=$work/fanfare "$work/venv/bin/python" -m unittest discover -s "$python/tests" 2>"$work/log" || { cat "$work/log" >&2; die "the Python client fails its tests"; }

# The site is an archive in the crate, which the feature packaged-site includes: `cargo install` needs no tools for wasm.
say "Crate"
crate=$work/crate
mkdir "$crate"
cp -r src Cargo.toml Cargo.lock README.md LICENSE .cargo "$crate/"
# Without the settings in .cargo, which `cargo install` does not read from a registry's crate, the page asks for another name.
cp -r "$site" "$work/site"
for file in "$work/site/pkg/fanfare.wasm"*; do cp "$file" "${file/fanfare.wasm/fanfare_bg.wasm}"; done
tar --create --file "$crate/site.tar" --directory "$work/site" --format ustar --sort name --mtime @0 --owner 0 --group 0 \
  --numeric-owner --mode u=rwX,go=rX .
# The tests, examples and benchmarks are not in the crate. `publish = false` protects the repository, which has no site.
sed -i -e 's/^default = \[\]$/default = ["ssr", "packaged-site"]/' -e '/^publish = false$/d' \
  -e '/^\[\[\(test\|example\|bench\)\]\]$/,/^$/d' "$crate/Cargo.toml"
sed -i '/^publish/d; /^readme/a include = ["/src", "/site.tar", "/README.md", "/LICENSE", "/.cargo"]' "$crate/Cargo.toml"
(cd "$crate" && cargo package --quiet --no-verify --allow-dirty --target-dir "$work/packaged")
cp "$work/packaged/package/fanfare-$version.crate" "$out/"
if [ $# = 0 ]; then
  say "Building the crate, as cargo install does (some minutes)"
  tar --extract --file "$out/fanfare-$version.crate" --directory "$work"
  CARGO_TARGET_DIR=target/crate cargo install --quiet --locked --path "$work/fanfare-$version" --root "$work/installed"
  try "$work/installed/bin/fanfare"
fi

(cd "$out" && ls -l --human-readable fanfare?* clients/* >&2)
say "All packages are in $out. docs/src/releasing.md describes how to publish them"
