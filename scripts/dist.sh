#!/usr/bin/env bash
# Makes dist/: the program `fanfare` and `site/` beside it. Runs from anywhere, needs no variable.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/build.sh release
rm -rf dist.new
mkdir dist.new
cp target/release/fanfare dist.new/
cp -r target/site dist.new/site
# Type declarations are for people who build on the page's files, not for browsers.
find dist.new/site -name '*.d.ts*' -delete
rm -rf dist
mv dist.new dist
say "dist/ is ready: $(du -sh dist | cut -f1). Start it with dist/fanfare"
