#!/usr/bin/env bash
# Makes dist/: the program `fanfare` with `site/` beside it, `fanfare-one` with the site inside, and the digests of all of
# it. Runs from anywhere, needs no variable. `dist.sh deb` makes a Debian package of it too; `dist.sh check` builds all of
# it a second time, elsewhere, and fails unless every byte is the same.
#
# Reproducible: nothing of this machine, this folder or this moment goes into it; the commit does.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

want=${1:-}
case $want in '' | deb | check) ;; *) die "dist.sh takes nothing, 'deb' or 'check', not '$want'" ;; esac

scripts/setup.sh build
choose_toolchain || die "no Rust toolchain that can build wasm, though the set-up went through"
commit=$(git describe --always --abbrev=12 --dirty --exclude '*') || die "a release knows its commit: build it in a git repository"
export FANFARE_COMMIT=$commit
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

# build TARGET_FOLDER OUT_FOLDER CARGO_HOME
build() {
  local target=$1 out=$2 cargo_home=$3
  say "Building $commit for release (in ${target#"$ROOT"/})"
  # The site has one place for all builds: nobody may take this one for theirs.
  rm -rf target/site target/site-of
  # Where a panic happened is told by paths; these are the same everywhere. The last that fits counts. Names of functions,
  # a quarter of the program, are for whoever builds it.
  CARGO_HOME=$cargo_home CARGO_PROFILE_RELEASE_STRIP=symbols CARGO_TARGET_DIR=$target \
    RUSTFLAGS="--remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$ROOT=/fanfare --remap-path-prefix=$target=/target" \
    cargo leptos build --release --precompress || die "the build failed; what the compiler said is above"
  rm -rf "$out.new"
  mkdir "$out.new"
  cp "$target/release/fanfare" "$out.new/"
  cp -r target/site "$out.new/site"
  rm -rf target/site
  # Type declarations of the page's own files are for whoever builds on them, not for browsers.
  find "$out.new/site/pkg" -name '*.d.ts*' -delete
  # A library names something that nobody uses after the place of Cargo's folder, which is this machine's.
  LC_ALL=C sed -i 's/_WASM_SPLIT_MARKER_[0-9a-f]\{16\}/_WASM_SPLIT_MARKER_0000000000000000/' "$out.new/site/pkg/fanfare.wasm"
  node -e 'const [, file] = process.argv, fs = require("fs"), { brotliCompressSync } = require("zlib")
    fs.writeFileSync(`${file}.br`, brotliCompressSync(fs.readFileSync(file)))' "$out.new/site/pkg/fanfare.wasm"
  # Packed anew: the ones that come with the build have the time in them.
  find "$out.new/site" -name '*.gz' | while read -r packed; do gzip -9 -n -c "${packed%.gz}" >"$packed"; done
  scripts/pack.sh "$out.new/fanfare" "$out.new/site" "$out.new/fanfare-one"
  "$out.new/fanfare-one" check-config | grep -q '^# site: inside the program$' || die "fanfare-one does not find its site"
  (cd "$out.new" && find . -type f ! -name SHA256SUMS -print0 | sort -z | xargs -0 sha256sum >SHA256SUMS)
  rm -rf "$out"
  mv "$out.new" "$out"
}

build "$ROOT/target/dist" "$ROOT/dist" "$CARGO_HOME"
say "dist/ is ready: $(du -sh dist | cut -f1), $(dist/fanfare --version). Start it with dist/fanfare"

if [ "$want" = deb ]; then
  scripts/setup.sh deb
  say "Making the Debian package"
  cargo deb --quiet --no-build --no-strip --output dist/
  say "$(ls dist/*.deb): $(du -h dist/*.deb | cut -f1). Install it with: apt install ./$(ls dist/*.deb)"
fi

if [ "$want" = check ]; then
  # With Cargo's folder elsewhere, for nothing may depend on where it is.
  elsewhere=$(mktemp -d)
  trap 'rm -rf "$elsewhere"' EXIT
  ln -s "$CARGO_HOME"/* "$elsewhere/"
  build "$ROOT/target/dist-again" "$ROOT/target/again" "$elsewhere"
  diff dist/SHA256SUMS target/again/SHA256SUMS || die "a second build is another one"
  say "a second build is the same, byte for byte"
fi
