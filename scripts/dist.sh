#!/usr/bin/env bash
# Builds dist/: the program `fanfare` with `site/` beside it, `fanfare-one` with the site inside, `share/` with completions and
# man pages, and checksums of all files.
# Works from any folder and needs no environment variables. `dist.sh deb` also builds a Debian package. `dist.sh check`
# builds everything a second time in another folder, and fails if a byte differs.
#
# Builds are reproducible: the result depends on the commit, not on the machine, the folder or the time.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

want=${1:-}
case $want in '' | deb | check) ;; *) die "dist.sh: unknown argument '$want'; use 'deb', 'check' or none" ;; esac

scripts/setup.sh build
choose_toolchain || die "no Rust toolchain can build wasm, although scripts/setup.sh succeeded"
commit=$(git describe --always --abbrev=12 --dirty --exclude '*') || die "cannot read the commit, which is built into a release: run this in a git repository"
export FANFARE_COMMIT=$commit
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

# build TARGET_FOLDER OUT_FOLDER CARGO_HOME
build() {
  local target=$1 out=$2 cargo_home=$3
  say "Building $commit for release (in ${target#"$ROOT"/}; usually takes 9 minutes with two processors)"
  # All builds write the site to target/site. Remove it, so that no other build uses this one by mistake.
  rm -rf target/site target/site-of
  # Panic messages contain paths of source files: these prefixes make them the same everywhere. The last matching prefix is
  # used. Symbols are stripped: they are a quarter of the program, and only developers need them.
  CARGO_HOME=$cargo_home CARGO_PROFILE_RELEASE_STRIP=symbols CARGO_TARGET_DIR=$target \
    RUSTFLAGS="--remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$ROOT=/fanfare --remap-path-prefix=$target=/target" \
    cargo leptos build --release --precompress || die "the build failed; see the compiler output above"
  rm -rf "$out.new"
  mkdir "$out.new"
  cp "$target/release/fanfare" "$out.new/"
  cp -r target/site "$out.new/site"
  rm -rf target/site
  # Browsers do not need the type declarations.
  find "$out.new/site/pkg" -name '*.d.ts*' -delete
  # A library puts a hash of Cargo's folder into an unused name; the hash depends on this machine.
  LC_ALL=C sed -i 's/_WASM_SPLIT_MARKER_[0-9a-f]\{16\}/_WASM_SPLIT_MARKER_0000000000000000/' "$out.new/site/pkg/fanfare.wasm"
  node -e 'const [, file] = process.argv, fs = require("fs"), { brotliCompressSync } = require("zlib")
    fs.writeFileSync(`${file}.br`, brotliCompressSync(fs.readFileSync(file)))' "$out.new/site/pkg/fanfare.wasm"
  # Compress again: the files from the build contain the time.
  find "$out.new/site" -name '*.gz' | while read -r packed; do gzip -9 -n -c "${packed%.gz}" >"$packed"; done
  scripts/pack.sh "$out.new/fanfare" "$out.new/site" "$out.new/fanfare-one"
  "$out.new/fanfare-one" check-config | grep -q '^# site: inside the program$' || die "fanfare-one does not find the site inside it"
  scripts/share.sh "$out.new/fanfare" "$out.new"
  (cd "$out.new" && find . -type f ! -name SHA256SUMS -print0 | sort -z | xargs -0 sha256sum >SHA256SUMS)
  rm -rf "$out"
  mv "$out.new" "$out"
}

build "$ROOT/target/dist" "$ROOT/dist" "$CARGO_HOME"
say "dist/ is complete: $(du -sh dist | cut -f1), $(dist/fanfare --version). Start it with dist/fanfare"

if [ "$want" = deb ]; then
  scripts/setup.sh deb
  say "Building the Debian package (a few seconds)"
  cargo deb --quiet --no-build --no-strip --output dist/
  say "$(ls dist/*.deb): $(du -h dist/*.deb | cut -f1). Install it with: apt install ./$(ls dist/*.deb)"
fi

if [ "$want" = check ]; then
  # Uses another path for Cargo's folder, because the result must not depend on it.
  elsewhere=$(mktemp -d)
  trap 'rm -rf "$elsewhere"' EXIT
  ln -s "$CARGO_HOME"/* "$elsewhere/"
  build "$ROOT/target/dist-again" "$ROOT/target/again" "$elsewhere"
  diff dist/SHA256SUMS target/again/SHA256SUMS || die "the second build differs from the first; see the diff above"
  say "the second build is identical"
fi
